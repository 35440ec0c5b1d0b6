//! The main loop: sends as fast as possible or at the given pace, and counts the results.

use std::io::Write;
use std::time::{Duration, Instant};

use mcast::{Outgoing, Rate};
use mcast_stream::ReadAhead;
use mcast_terminal::Console;
use serde::Serialize;

use super::payloads::Payloads;
use super::{Plan, TimingOptions};
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{count, traffic_in, write_record};
use crate::sending::{Count, Dispatch, Pace, Target, targets};

/// The approximate number of datagrams per round.
const BATCH: usize = 64;

/// The state of `mcast send`.
struct Delivery<'a> {
    dispatch: Dispatch<'a>,
    targets: &'a [Target],
    timing: &'a TimingOptions,
    start: Instant,
}

pub(super) fn run(plan: Plan<'_>, console: &Console) -> anyhow::Result<Outcome> {
    let Plan { targets, payloads, timing, json, .. } = plan;
    let sender = plan.builder.build()?;
    targets::print(&targets, plan.hop_limit, plan.is_default_reach, console);
    if payloads.is_typed() {
        console.note("each line that you type is sent as a datagram; Ctrl-D ends the input");
    }
    let dispatch = Dispatch::new(&sender, console);
    let mut delivery = Delivery { dispatch, targets: &targets, timing, start: Instant::now() };
    let interrupt = match payloads.may_wait() {
        true => delivery.send_stream(payloads)?,
        false => delivery.send_available(payloads)?,
    };
    let count = delivery.dispatch.count();
    print_summary(count, delivery.start.elapsed(), json, console)?;
    Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(count.refused == 0)))
}

impl Delivery<'_> {
    /// Sends payloads that are available without waiting.
    fn send_available(&mut self, mut payloads: Payloads) -> anyhow::Result<Interrupt> {
        let interrupt = Interrupt::catch(|| {})?;
        let mut pace = self.pace(&interrupt);
        let mut round: Vec<Vec<u8>> = vec![Vec::new(); BATCH];
        let mut left = self.timing.count.unwrap_or(u64::MAX);
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
    fn send_stream(&mut self, mut payloads: Payloads) -> anyhow::Result<Interrupt> {
        let input = ReadAhead::<anyhow::Error>::start(move || {
            let mut payload = Vec::new();
            Ok(payloads.next(&mut payload)?.then_some(payload))
        })?;
        let interrupt = Interrupt::catch(input.waker())?;
        let mut pace = self.pace(&interrupt);
        let mut round = Vec::new();
        let mut left = self.timing.count.unwrap_or(u64::MAX);
        while left > 0 {
            let time_left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
            let wait = self.deadline().map_or(Duration::MAX, time_left);
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
    fn pace(&self, interrupt: &Interrupt) -> Pace {
        let TimingOptions { rate, every, .. } = *self.timing;
        let (rate, together) = match (rate, every) {
            (Some(rate), _) => (Some(rate), 1),
            (None, every) => (every.map(Rate::one_per), self.targets.len()),
        };
        Pace::new(rate, together, self.deadline(), interrupt.clone())
    }

    /// Returns the number of payloads of a round, if this many are left.
    fn at_once(&self, left: u64) -> usize {
        let most = BATCH.div_ceil(self.targets.len());
        usize::try_from(left).map_or(most, |left| left.min(most))
    }

    fn deadline(&self) -> Option<Instant> {
        self.timing.timeout.and_then(|timeout| self.start.checked_add(timeout))
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
}

fn print_summary(
    Count { sent, bytes, refused }: Count,
    time: Duration,
    json: bool,
    console: &Console,
) -> anyhow::Result<()> {
    if json {
        let mut out = console.output();
        write_record(&mut out, "summary", &Summary { sent, bytes, seconds: time.as_secs_f64(), refused })?;
        out.flush()?;
    }
    // A rate of one datagram is meaningless.
    let text = traffic_in(sent, "datagram", bytes, time, 2);
    console.note(format_args!("sent {text}; refused by the kernel: {}", count(refused)));
    Ok(())
}

/// A summary as JSON: `schemas/send-summary.json`.
#[derive(Serialize)]
struct Summary {
    sent: u64,
    bytes: u64,
    seconds: f64,
    refused: u64,
}
