//! The main loop: sends as fast as possible or at the given pace, and counts the results.

use std::io::Write;
use std::time::{Duration, Instant};

use mcast::{Outgoing, Sender};
use mcast_stream::ReadAhead;
use serde::Serialize;

use super::payloads::Payloads;
use super::{Arguments, TimingOptions};
use crate::arguments::one_every;
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{bits_per_second, bytes, count, count_of, datagrams_per_second, seconds, write_record};
use crate::sending::{Count, Dispatch, Pace, Target};

/// The approximate number of datagrams per round.
const BATCH: usize = 64;

/// The state of `mcast send`.
pub(super) struct Delivery<'a> {
    arguments: &'a Arguments,
    dispatch: Dispatch<'a>,
    targets: &'a [Target],
    console: &'a Console,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(
        arguments: &'a Arguments,
        sender: &'a Sender,
        targets: &'a [Target],
        console: &'a Console,
    ) -> Self {
        Self { arguments, dispatch: Dispatch::new(sender, console), targets, console }
    }

    pub(super) fn run(mut self, payloads: Payloads) -> anyhow::Result<Outcome> {
        if payloads.is_typed() {
            self.console.note("each line that you type is sent as a datagram; Ctrl-D ends the input");
        }
        let start = Instant::now();
        let interrupt = match payloads.may_wait() {
            true => self.send_stream(payloads, start)?,
            false => self.send_available(payloads, start)?,
        };
        self.print_summary(start.elapsed())?;
        Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(self.dispatch.count().refused == 0)))
    }

    /// Sends payloads that are available without waiting.
    fn send_available(&mut self, mut payloads: Payloads, start: Instant) -> anyhow::Result<Interrupt> {
        let interrupt = Interrupt::catch(|| {})?;
        let mut pace = self.pace(start, &interrupt);
        let mut round: Vec<Vec<u8>> = vec![Vec::new(); BATCH];
        let mut left = self.arguments.timing.count.unwrap_or(u64::MAX);
        while left > 0 {
            let mut filled = 0;
            while filled < self.at_once(left) && payloads.next(&mut round[filled])? {
                filled += 1;
            }
            if filled == 0 || !self.send_in_time(&round[..filled], &mut pace)? {
                break;
            }
            left -= filled as u64;
        }
        Ok(interrupt)
    }

    /// Sends payloads as they are read. A separate thread reads, because reading cannot be interrupted.
    fn send_stream(&mut self, mut payloads: Payloads, start: Instant) -> anyhow::Result<Interrupt> {
        let input = ReadAhead::<anyhow::Error>::start(move || {
            let mut payload = Vec::new();
            Ok(payloads.next(&mut payload)?.then_some(payload))
        })?;
        let interrupt = Interrupt::catch(input.waker())?;
        let mut pace = self.pace(start, &interrupt);
        let mut round = Vec::new();
        let mut left = self.arguments.timing.count.unwrap_or(u64::MAX);
        while left > 0 {
            let time_left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
            let wait = self.deadline(start).map_or(Duration::MAX, time_left);
            round.clear();
            input.take(wait, self.at_once(left), &mut round)?;
            // It is empty at the end of the input, at the deadline and after an interrupt.
            if round.is_empty() || !self.send_in_time(&round, &mut pace)? {
                break;
            }
            left -= round.len() as u64;
        }
        Ok(interrupt)
    }

    /// Returns the pace. `--rate` counts the datagrams to all groups; with `--every`, one is sent to each group at a
    /// time.
    fn pace(&self, start: Instant, interrupt: &Interrupt) -> Pace {
        let TimingOptions { rate, every, .. } = self.arguments.timing;
        let (rate, together) = match (rate, every) {
            (Some(rate), _) => (Some(rate), 1),
            (None, every) => (every.map(one_every), self.targets.len()),
        };
        Pace::new(rate, together, self.deadline(start), interrupt.clone())
    }

    /// Returns the number of payloads of a round, if this many are left.
    fn at_once(&self, left: u64) -> usize {
        let most = BATCH.div_ceil(self.targets.len());
        usize::try_from(left).map_or(most, |left| left.min(most))
    }

    fn deadline(&self, start: Instant) -> Option<Instant> {
        self.arguments.timing.timeout.and_then(|timeout| start.checked_add(timeout))
    }

    /// Sends payloads to every target when they are due. Returns `false` after the deadline or an interrupt.
    fn send_in_time(&mut self, round: &[Vec<u8>], pace: &mut Pace) -> anyhow::Result<bool> {
        let targets = self.targets;
        let outgoing: Vec<Outgoing<'_>> =
            round.iter().flat_map(|payload| targets.iter().map(|target| target.outgoing(payload))).collect();
        let mut rest = &outgoing[..];
        while !rest.is_empty() {
            let Some(due) = pace.wait(rest) else { return Ok(false) };
            self.dispatch.send(&rest[..due], targets.iter())?;
            rest = &rest[due..];
        }
        Ok(true)
    }

    fn print_summary(&self, time: Duration) -> anyhow::Result<()> {
        let Count { sent, bytes: volume, refused } = self.dispatch.count();
        if self.arguments.json {
            let mut out = self.console.output();
            write_record(
                &mut out,
                "summary",
                &Summary { sent, bytes: volume, seconds: time.as_secs_f64(), refused },
            )?;
            out.flush()?;
        }
        // A rate of one datagram is meaningless.
        let rates = match sent {
            0 | 1 => String::new(),
            _ => {
                let rates = [datagrams_per_second(sent, time), bits_per_second(volume, time)];
                format!(" ({})", rates.into_iter().flatten().collect::<Vec<_>>().join(", "))
            }
        };
        self.console.note(format_args!(
            "sent {}, {} in {}{rates}; refused by the kernel: {}",
            count_of(sent, "datagram"),
            bytes(volume),
            seconds(time),
            count(refused)
        ));
        Ok(())
    }
}

/// A summary as JSON: `schemas/send-summary.json`.
#[derive(Serialize)]
struct Summary {
    sent: u64,
    bytes: u64,
    seconds: f64,
    refused: u64,
}
