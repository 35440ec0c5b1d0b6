//! The main loop: receives, answers, and prints interim results.

use std::io;
use std::time::{Duration, Instant};

use mcast::{Batch, Datagram, ErrorKind, Receiver};
use mcast_measure::{DropPoint, EndedSession, PerfArrival, PerfReceiver, SystemCounters};

use super::printer::RunPrinter;
use super::{Arguments, Limits};
use crate::commands::perf::clock::{machine_clock, unix_now, unix_of};
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{count, excess_loss, too_few};
use crate::random::random_number;

/// Buffers of a batch, each large enough for coalesced datagrams.
const BUFFERS: usize = 32;
const BUFFER: usize = 65_536;
/// The time between checks for sessions that have ended.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

/// The state of `mcast perf recv`.
pub(super) struct Listener<'a> {
    arguments: &'a Arguments,
    receiver: &'a Receiver,
    interrupt: Interrupt,
    console: &'a Console,
    printer: RunPrinter<'a>,
    perf: PerfReceiver,
    start: Instant,
    next_check: Duration,
    next_line: Duration,
    /// Receive calls that returned datagrams.
    calls: u64,
    /// Answers that the system refused to send.
    unsent: u64,
}

/// Reads the system's counters, for this number of receive calls that returned datagrams.
fn system_counters(receiver: &Receiver, receive_calls: u64) -> SystemCounters {
    let statistics = receiver.statistics();
    let drops = mcast_doctor::host_drops().with(DropPoint::Socket, statistics.dropped.count());
    SystemCounters { drops, receive_calls, coalesced: statistics.merged }
}

impl<'a> Listener<'a> {
    pub(super) fn new(
        arguments: &'a Arguments,
        receiver: &'a Receiver,
        interrupt: Interrupt,
        console: &'a Console,
    ) -> Self {
        let counters = system_counters(receiver, 0);
        Self {
            arguments,
            receiver,
            interrupt,
            console,
            printer: RunPrinter::new(console, arguments.json),
            perf: PerfReceiver::new(random_number(), machine_clock(), arguments.limits.idle, counters),
            start: Instant::now(),
            next_check: CHECK_INTERVAL,
            next_line: SECOND,
            calls: 0,
            unsent: 0,
        }
    }

    pub(super) fn run(mut self) -> anyhow::Result<Outcome> {
        match self.arguments.reply {
            true => self.receive_singly()?,
            false => self.receive_batches()?,
        }
        let (receiver, calls) = (self.receiver, self.calls);
        let rest = self.perf.take_all(self.start.elapsed(), || system_counters(receiver, calls));
        self.print_summaries(&rest)?;
        self.note_strays();
        Ok(self.interrupt.outcome().unwrap_or_else(|| self.judge()))
    }

    /// Receives batches, for the highest rate.
    fn receive_batches(&mut self) -> anyhow::Result<()> {
        let mut batch = Batch::new(BUFFERS, BUFFER);
        loop {
            match self.receiver.recv_batch_timeout(&mut batch, self.wait_time()) {
                Err(error) if error.kind() != ErrorKind::Woken => return Err(error.into()),
                _ => {}
            }
            let now = self.start.elapsed();
            self.calls += u64::from(!batch.is_empty());
            batch.iter().for_each(|datagram| self.record(&datagram, now));
            batch.clear();
            if self.check_sessions(now)? {
                return Ok(());
            }
        }
    }

    /// Receives single datagrams, for the shortest delay.
    fn receive_singly(&mut self) -> anyhow::Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let received = match self.receiver.recv_timeout(&mut buffer, self.wait_time()) {
                Err(error) if error.kind() == ErrorKind::Woken => None,
                received => received?,
            };
            let now = self.start.elapsed();
            if let Some(datagram) = received {
                self.calls += 1;
                let arrival = datagram.arrival();
                if let Some(reply) = self.perf.reply_to(datagram.payload(), arrival.source, now) {
                    self.unsent += u64::from(self.receiver.reply(arrival, reply).is_err());
                }
                self.record(&datagram, now);
            }
            if self.check_sessions(now)? {
                return Ok(());
            }
        }
    }

    /// Returns how long to wait until the next check.
    fn wait_time(&self) -> Duration {
        self.next_check.saturating_sub(self.start.elapsed())
    }

    fn record(&mut self, datagram: &Datagram<'_>, now: Duration) {
        let to = datagram.arrival();
        let arrival = PerfArrival {
            source: to.source,
            interface: to.interface.number(),
            time: datagram.time.map_or_else(unix_now, unix_of),
            length: datagram.length,
        };
        let (receiver, calls) = (self.receiver, self.calls);
        let counters = || system_counters(receiver, calls);
        if let Some(report) = self.perf.record(datagram.payload(), &arrival, now, counters) {
            // A sender that the report does not reach asks again.
            self.unsent += u64::from(receiver.reply(to, &report).is_err());
        }
    }

    /// Prints interim figures and ends sessions that are over; returns whether that was the last one.
    fn check_sessions(&mut self, now: Duration) -> anyhow::Result<bool> {
        if self.interrupt.has_arrived() {
            return Ok(true);
        }
        if now < self.next_check {
            return Ok(false);
        }
        self.next_check = now + CHECK_INTERVAL;
        let (receiver, calls) = (self.receiver, self.calls);
        let counters = || system_counters(receiver, calls);
        if now >= self.next_line {
            self.next_line += SECOND * (1 + (now - self.next_line).as_secs() as u32);
            let mut progress = self.perf.progress(unix_now(), counters);
            progress.try_for_each(|session| self.printer.line(now, &session))?;
            self.printer.flush()?;
        }
        let ended = self.perf.take_ended(now, counters);
        self.print_summaries(&ended)?;
        let Limits { timeout, count, keep, .. } = self.arguments.limits;
        let is_enough = !keep && self.perf.tally().runs >= count && self.perf.is_idle();
        Ok(is_enough || timeout.is_some_and(|timeout| now >= timeout))
    }

    fn print_summaries(&mut self, ended: &[EndedSession]) -> io::Result<()> {
        ended.iter().try_for_each(|ended| self.printer.summary(ended))?;
        self.printer.flush()
    }

    /// Notes counts of datagrams that belong to no run, and of answers that were not sent.
    fn note_strays(&self) {
        for (number, what) in [
            (self.perf.foreign(), "ignored: not from mcast perf send"),
            (self.perf.rejected(), "ignored: too many sessions or streams at once"),
            (self.perf.refused(), "requests not answered (rate limit)"),
            (self.unsent, "answers could not be sent"),
        ] {
            if number > 0 {
                self.console.note(format_args!("{} {what}", count(number)));
            }
        }
    }

    fn judge(&self) -> Outcome {
        let (limits, tally) = (&self.arguments.limits, self.perf.tally());
        let mut misses = Vec::new();
        if let Some(required) = limits.expect.filter(|required| tally.datagrams < *required) {
            misses.push(too_few(&count(tally.datagrams), required));
        }
        misses.extend(excess_loss(tally.worst_loss, limits.max_loss));
        if tally.runs == 0 {
            misses.push("no run has ended".into());
        }
        misses.iter().for_each(|miss| self.console.note(miss));
        Outcome::of(misses.is_empty())
    }
}
