//! The main loop: sends each datagram when it is due, and counts the results.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use mcast::{Family, LaunchClock, Outgoing, Sender};
use mcast_capture::CaptureFile;
use mcast_measure::Histogram;

use super::measure::Measure;
use super::reader::{DatagramBatch, Ended, Event, Item, Selection};
use super::report::{self, Report};
use super::schedule::Schedule;
use super::timing::wait_until;
use super::{Arguments, Hops};
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::sending::Pace;
use crate::sending::{Count, Dispatch};
use crate::sending::{Target, targets};

/// The maximum number of datagrams sent in one call.
const TOGETHER: usize = 64;
/// The time until the first datagram is due.
const LEAD: Duration = Duration::from_millis(20);
/// How long before its launch time a datagram is passed to the kernel.
const AHEAD: Duration = Duration::from_millis(2);

/// The state of `mcast replay`.
pub(super) struct Delivery<'a> {
    arguments: &'a Arguments,
    sender: &'a Sender,
    dispatch: Dispatch<'a>,
    clock: Option<LaunchClock>,
    interrupt: Interrupt,
    console: &'a Console,
    measure: Option<Measure>,
    /// The targets of each destination in the file.
    targets: Vec<Vec<Target>>,
    report: Report,
}

/// When datagrams are due: at the recorded times, or at a rate.
enum Times {
    Recorded(Schedule),
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
        arguments: &'a Arguments,
        sender: &'a Sender,
        clock: Option<LaunchClock>,
        measure: Option<Measure>,
        interrupt: Interrupt,
        console: &'a Console,
    ) -> Self {
        Self {
            arguments,
            sender,
            dispatch: Dispatch::new(sender, console),
            clock,
            interrupt,
            console,
            measure,
            targets: Vec::new(),
            report: Report::default(),
        }
    }

    pub(super) fn run(mut self, selection: Selection, file: CaptureFile) -> anyhow::Result<Outcome> {
        let events = selection.read(file)?;
        let begin = Instant::now();
        let mut times = self.times(begin);
        let sent = self.send_all(&events, &mut times, begin);
        self.report.time = begin.elapsed();
        let Count { sent: datagrams, bytes, refused } = self.dispatch.count();
        (self.report.sent, self.report.bytes, self.report.refused) = (datagrams, bytes, refused);
        if let Times::Recorded(schedule) = &times {
            self.report.clock_jumps = schedule.jumps();
        }
        sent?;
        if let Some(measure) = self.measure.take() {
            self.report.measured = true;
            self.report.accuracy = measure.end()?;
        }
        report::print(&self.report, self.arguments.json, self.console)?;
        let has_failed = self.report.refused > 0 || self.report.sent == 0 || self.report.is_damaged;
        Ok(self.interrupt.outcome().unwrap_or_else(|| Outcome::of(!has_failed)))
    }

    fn times(&self, begin: Instant) -> Times {
        let timing = &self.arguments.timing;
        if timing.keeps_times() {
            return Times::Recorded(Schedule::new(begin + LEAD, timing.speed.unwrap_or(1.0), timing.max_gap));
        }
        Times::Paced(Pace::new(timing.rate, 1, self.deadline(begin), self.interrupt.clone()))
    }

    fn deadline(&self, begin: Instant) -> Option<Instant> {
        self.arguments.timing.timeout.and_then(|timeout| begin.checked_add(timeout))
    }

    fn send_all(
        &mut self,
        events: &Receiver<Event>,
        times: &mut Times,
        begin: Instant,
    ) -> anyhow::Result<()> {
        let deadline = self.deadline(begin);
        while !self.interrupt.has_arrived() {
            // Interrupts are checked between waits: the reading thread may block on a pipe forever.
            let event = match events.recv_timeout(Duration::from_millis(50)) {
                Ok(event) => event,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    match deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        true => break,
                        false => continue,
                    }
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            };
            match event {
                Event::Batch(batch) => {
                    self.resolve(&batch)?;
                    if self.send_batch(&batch, times, deadline)? == Flow::End {
                        break;
                    }
                }
                Event::Round(ended) => self.end_round(ended, times),
                Event::Failed(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Resolves the interfaces of the batch's new destinations.
    fn resolve(&mut self, batch: &DatagramBatch) -> anyhow::Result<()> {
        for destination in &batch.new_destinations {
            let found = targets::resolve(std::slice::from_ref(destination), &self.arguments.interfaces)?;
            match self.arguments.ttl {
                None => targets::print(&found, 1, true, self.console),
                Some(Hops::Fixed(hops)) => targets::print(&found, hops, false, self.console),
                Some(Hops::Recorded) => {
                    self.console.note(format_args!("to {destination}, hop limits as recorded"));
                }
            }
            if let Some(measure) = &self.measure {
                let family = destination.address.group.family();
                measure.add_port(self.port(family)?);
            }
            self.targets.push(found);
        }
        Ok(())
    }

    fn port(&self, family: Family) -> anyhow::Result<u16> {
        Ok(self.sender.local_address(family)?.port())
    }

    fn end_round(&mut self, ended: Ended, times: &mut Times) {
        self.report.rounds += 1;
        self.report.is_damaged |= ended.is_damaged();
        self.report.skipped.merge(ended.skipped);
        self.report.bad_checksums += ended.bad_checksums;
        if let Some(trouble) = ended.trouble.filter(|_| self.report.rounds == 1) {
            self.console.warn(format_args!("{trouble}; everything before it was sent"));
        }
        if let Times::Recorded(schedule) = times {
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
            Times::Recorded(schedule) => self.send_in_time(batch, schedule, deadline),
            Times::Paced(pace) => self.send_at_rate(batch, pace),
        }
    }

    fn send_in_time(
        &mut self,
        batch: &DatagramBatch,
        schedule: &mut Schedule,
        deadline: Option<Instant>,
    ) -> anyhow::Result<Flow> {
        let mut due: Vec<Instant> = batch.items.iter().map(|item| schedule.due(item.time)).collect();
        due.truncate(self.left());
        let ahead = if self.clock.is_some() { AHEAD } else { Duration::ZERO };
        let mut next = 0;
        while let Some(first) = due.get(next) {
            if !wait_until(*first - ahead, deadline, &self.interrupt) {
                return Ok(Flow::End);
            }
            let now = Instant::now();
            let ready =
                due[next..].iter().take(TOGETHER).take_while(|due| **due - ahead <= now).count().max(1);
            let range = next..next + ready;
            self.send_ready(batch, &batch.items[range.clone()], &due[range], now)?;
            next += ready;
        }
        Ok(self.flow())
    }

    fn send_at_rate(&mut self, batch: &DatagramBatch, pace: &mut Pace) -> anyhow::Result<Flow> {
        let items = &batch.items[..batch.items.len().min(self.left())];
        for chunk in items.chunks(TOGETHER) {
            let outgoing: Vec<_> = chunk.iter().map(|item| Outgoing::new(batch.payload(item))).collect();
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
        let left = self.arguments.timing.count.map(|count| count.saturating_sub(self.report.taken));
        left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX))
    }

    fn flow(&self) -> Flow {
        if self.left() == 0 { Flow::End } else { Flow::Continue }
    }

    /// Sends datagrams that are due to their targets. `due` is empty if datagrams are sent at a rate.
    fn send_ready(
        &mut self,
        batch: &DatagramBatch,
        items: &[Item],
        due: &[Instant],
        now: Instant,
    ) -> anyhow::Result<()> {
        self.report.taken += items.len() as u64;
        let clock = self.clock.map(LaunchClock::now).transpose()?;
        let mut outgoing = Vec::with_capacity(items.len());
        for (position, item) in items.iter().enumerate() {
            let due = due.get(position).copied();
            for target in self.targets.get(item.to).into_iter().flatten() {
                let one = target.outgoing(batch.payload(item)).traffic_class(item.dscp << 2);
                let one = match self.arguments.ttl {
                    Some(Hops::Recorded) => one.hop_limit(item.hop_limit),
                    _ => one,
                };
                let one = match clock.zip(due) {
                    Some((clock, due)) => one.launch_at(clock + due.saturating_duration_since(now)),
                    None => one,
                };
                outgoing.push(one);
                if let (Some(measure), Some(due), Some(by)) = (&mut self.measure, due, target.interface()) {
                    measure.add_due(by, due);
                }
            }
            if let Some(due) = due.filter(|_| clock.is_none()) {
                let late = now.saturating_duration_since(due);
                self.report.late.record(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
            }
        }
        self.dispatch.send(&outgoing, self.targets.iter().flatten())
    }
}

impl Default for Report {
    fn default() -> Self {
        Self {
            taken: 0,
            sent: 0,
            bytes: 0,
            refused: 0,
            rounds: 0,
            skipped: super::skipped::Skipped::default(),
            bad_checksums: 0,
            clock_jumps: 0,
            is_damaged: false,
            late: Histogram::new(),
            measured: false,
            accuracy: None,
            time: Duration::ZERO,
        }
    }
}
