//! The main loop: sends each datagram when it is due, and counts the results.

use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Context;
use mcast::{Family, LaunchClock, Outgoing, Sender};
use mcast_capture::{
    DatagramBatch, RecordedDatagram, Replay, ReplayEvent, ReplayRound, ReplaySchedule, SkippedFrames,
    TransmitTimes,
};
use mcast_measure::Histogram;

use super::json::Summary;
use super::timing::wait_until;
use super::{Hops, Plan, Timing, text};
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::write_record;
use crate::sending::{Count, Dispatch, Pace, Target, targets};

/// The maximum number of datagrams sent in one call.
const TOGETHER: usize = 64;
/// The time until the first datagram is due.
const LEAD: Duration = Duration::from_millis(20);
/// How long before its launch time a datagram is passed to the kernel.
const AHEAD: Duration = Duration::from_millis(2);

/// The state of `mcast replay`.
pub(super) struct Delivery<'a> {
    plan: &'a Plan<'a>,
    sender: &'a Sender,
    dispatch: Dispatch<'a>,
    interrupt: Interrupt,
    console: &'a Console,
    transmit_times: Option<TransmitTimes>,
    /// The targets of each destination in the file.
    targets: Vec<Vec<Target>>,
    report: Report,
}

/// The results.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Datagrams of the file that were selected.
    pub(super) taken: u64,
    /// Datagrams sent, counted per interface.
    pub(super) sent: u64,
    pub(super) bytes: u64,
    pub(super) refused: u64,
    pub(super) rounds: u64,
    pub(super) skipped: SkippedFrames,
    pub(super) bad_checksums: u64,
    pub(super) clock_jumps: u64,
    pub(super) is_damaged: bool,
    /// How late datagrams were passed to the kernel.
    pub(super) late: Histogram,
    /// Whether `--measure` was given.
    pub(super) measured: bool,
    /// How far the kernel's transmit times are from the scheduled ones, in nanoseconds; `None` if it is unknown.
    pub(super) transmit_errors: Option<Histogram>,
    pub(super) time: Duration,
}

/// When datagrams are due: at the recorded times, counted from a start, or at a rate.
enum Times {
    Recorded(Instant, ReplaySchedule),
    Paced(Pace),
}

/// Whether to continue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Continue,
    End,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(
        plan: &'a Plan<'a>,
        sender: &'a Sender,
        transmit_times: Option<TransmitTimes>,
        interrupt: Interrupt,
        console: &'a Console,
    ) -> Self {
        Self {
            plan,
            sender,
            dispatch: Dispatch::new(sender, console),
            interrupt,
            console,
            transmit_times,
            targets: Vec::new(),
            report: Report::default(),
        }
    }

    pub(super) fn run(mut self, replay: Replay) -> anyhow::Result<Outcome> {
        let events = replay.start().context("cannot start a thread")?;
        let begin = Instant::now();
        let mut times = self.times(begin);
        let sent = self.send_all(&events, &mut times, begin);
        self.report.time = begin.elapsed();
        let Count { sent: datagrams, bytes, refused } = self.dispatch.count();
        (self.report.sent, self.report.bytes, self.report.refused) = (datagrams, bytes, refused);
        if let Times::Recorded(_, schedule) = &times {
            self.report.clock_jumps = schedule.clock_jumps();
        }
        sent?;
        if let Some(times) = self.transmit_times.take() {
            self.report.measured = true;
            self.report.transmit_errors = times.errors()?.map(|errors| {
                let mut histogram = Histogram::new();
                errors.iter().for_each(|error| histogram.record(nanoseconds(*error)));
                histogram
            });
        }
        if self.plan.json {
            let mut out = self.console.output();
            write_record(&mut out, "summary", &Summary::new(&self.report))?;
            out.flush()?;
        }
        text::print(&self.report, self.console);
        let has_failed = self.report.refused > 0 || self.report.sent == 0 || self.report.is_damaged;
        Ok(self.interrupt.outcome().unwrap_or_else(|| Outcome::of(!has_failed)))
    }

    fn times(&self, begin: Instant) -> Times {
        match self.plan.timing {
            Timing::Recorded { speed, max_gap } => {
                Times::Recorded(begin + LEAD, ReplaySchedule::new(speed, max_gap))
            }
            Timing::Paced(rate) => {
                Times::Paced(Pace::new(rate, 1, self.deadline(begin), self.interrupt.clone()))
            }
        }
    }

    fn deadline(&self, begin: Instant) -> Option<Instant> {
        self.plan.timeout.and_then(|timeout| begin.checked_add(timeout))
    }

    fn send_all(
        &mut self,
        events: &Receiver<ReplayEvent>,
        times: &mut Times,
        begin: Instant,
    ) -> anyhow::Result<()> {
        let deadline = self.deadline(begin);
        while !self.interrupt.has_arrived() {
            // Interrupts are checked between waits: the reading thread may block on a pipe forever.
            let event = match events.recv_timeout(Duration::from_millis(50)) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout)
                    if deadline.is_none_or(|deadline| Instant::now() < deadline) =>
                {
                    continue;
                }
                Err(_) => break,
            };
            match event {
                ReplayEvent::Batch(batch) => {
                    self.resolve(&batch)?;
                    if self.send_batch(&batch, times, deadline)? == Flow::End {
                        break;
                    }
                }
                ReplayEvent::RoundEnded(round) => self.end_round(round, times),
                ReplayEvent::Failed(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Resolves the interfaces of the batch's new destinations.
    fn resolve(&mut self, batch: &DatagramBatch) -> anyhow::Result<()> {
        for destination in batch.new_destinations() {
            let found = targets::resolve(std::slice::from_ref(destination), self.plan.interfaces)?;
            match self.plan.hops {
                None => targets::print(&found, 1, true, self.console),
                Some(Hops::Fixed(hops)) => targets::print(&found, hops, false, self.console),
                Some(Hops::Recorded) => {
                    self.console.note(format_args!("to {destination}, hop limits as recorded"));
                }
            }
            if let Some(times) = &self.transmit_times {
                let family = destination.address.group.family();
                times.add_port(self.port(family)?);
            }
            self.targets.push(found);
        }
        Ok(())
    }

    fn port(&self, family: Family) -> anyhow::Result<u16> {
        Ok(self.sender.local_address(family)?.port())
    }

    fn end_round(&mut self, round: ReplayRound, times: &mut Times) {
        self.report.rounds += 1;
        self.report.is_damaged |= round.is_damaged();
        self.report.skipped += round.skipped;
        self.report.bad_checksums += round.bad_checksums;
        if let Some(failure) = round.failure.filter(|_| self.report.rounds == 1) {
            self.console.warn(format_args!("{failure}; everything before it was sent"));
        }
        if let Times::Recorded(_, schedule) = times {
            schedule.next_round();
        }
    }

    fn send_batch(
        &mut self,
        batch: &DatagramBatch,
        times: &mut Times,
        deadline: Option<Instant>,
    ) -> anyhow::Result<Flow> {
        match times {
            Times::Recorded(start, schedule) => self.send_in_time(batch, *start, schedule, deadline),
            Times::Paced(pace) => self.send_at_rate(batch, pace),
        }
    }

    fn send_in_time(
        &mut self,
        batch: &DatagramBatch,
        start: Instant,
        schedule: &mut ReplaySchedule,
        deadline: Option<Instant>,
    ) -> anyhow::Result<Flow> {
        let datagrams = batch.datagrams();
        let mut due: Vec<Instant> = datagrams.iter().map(|each| start + schedule.due(each.time)).collect();
        due.truncate(self.left());
        let ahead = if self.plan.clock.is_some() { AHEAD } else { Duration::ZERO };
        let mut next = 0;
        while let Some(first) = due.get(next) {
            if !wait_until(*first - ahead, deadline, &self.interrupt) {
                return Ok(Flow::End);
            }
            let now = Instant::now();
            let ready =
                due[next..].iter().take(TOGETHER).take_while(|due| **due - ahead <= now).count().max(1);
            let range = next..next + ready;
            self.send_ready(batch, &datagrams[range.clone()], &due[range], now)?;
            next += ready;
        }
        Ok(self.flow())
    }

    fn send_at_rate(&mut self, batch: &DatagramBatch, pace: &mut Pace) -> anyhow::Result<Flow> {
        for chunk in batch.datagrams()[..batch.datagrams().len().min(self.left())].chunks(TOGETHER) {
            let outgoing: Vec<_> = chunk.iter().map(|each| Outgoing::new(batch.payload(each))).collect();
            let mut rest = 0;
            while rest < chunk.len() {
                let Some(ready) = pace.wait(&outgoing[rest..]) else { return Ok(Flow::End) };
                self.send_ready(batch, &chunk[rest..rest + ready], &[], Instant::now())?;
                rest += ready;
            }
        }
        Ok(self.flow())
    }

    /// Returns how many datagrams may still be sent.
    fn left(&self) -> usize {
        let left = self.plan.count.map(|count| count.saturating_sub(self.report.taken));
        left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX))
    }

    fn flow(&self) -> Flow {
        if self.left() == 0 { Flow::End } else { Flow::Continue }
    }

    /// Sends datagrams that are due to their targets. `due` is empty if datagrams are sent at a rate.
    fn send_ready(
        &mut self,
        batch: &DatagramBatch,
        datagrams: &[RecordedDatagram],
        due: &[Instant],
        now: Instant,
    ) -> anyhow::Result<()> {
        self.report.taken += datagrams.len() as u64;
        let clock = self.plan.clock.map(LaunchClock::now).transpose()?;
        let mut outgoing = Vec::with_capacity(datagrams.len());
        for (position, datagram) in datagrams.iter().enumerate() {
            let due = due.get(position).copied();
            for target in self.targets.get(datagram.to).into_iter().flatten() {
                let one = target.outgoing(batch.payload(datagram)).traffic_class(datagram.dscp << 2);
                let one = match self.plan.hops {
                    Some(Hops::Recorded) => one.hop_limit(datagram.hop_limit),
                    _ => one,
                };
                let one = match clock.zip(due) {
                    Some((clock, due)) => one.launch_at(clock + due.saturating_duration_since(now)),
                    None => one,
                };
                outgoing.push(one);
                if let (Some(times), Some(due), Some(by)) =
                    (&mut self.transmit_times, due, target.interface())
                {
                    times.add_due(by, due);
                }
            }
            if let Some(due) = due.filter(|_| clock.is_none()) {
                let late = now.saturating_duration_since(due);
                self.report.late.record(nanoseconds(late));
            }
        }
        self.dispatch.send(&outgoing, self.targets.iter().flatten())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
