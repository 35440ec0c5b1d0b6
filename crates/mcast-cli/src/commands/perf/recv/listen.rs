//! The main loop: receives, answers, and prints interim results.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mcast::{Batch, Datagram, ErrorKind, Receiver};
use mcast_measure::wire::{Header, Kind, Message, ReceiverReport, UnixNanos};
use mcast_measure::{ClockRelation, DropCounts, Session, SessionKey, SessionTotals, Sessions};

use super::answer::Answerer;
use super::printer::RunPrinter;
use super::{Arguments, Limits};
use crate::commands::perf::clock::{machine_clock, unix_now, unix_of};
use crate::commands::perf::counters::drops_with;
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{count, too_few};
use crate::random::random_number;

/// Buffers of a batch, each large enough for coalesced datagrams.
const BUFFERS: usize = 32;
const BUFFER: usize = 65_536;
/// The time between checks for sessions that have ended.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
/// A sweep whose next step does not start within this time has ended.
const BETWEEN_STEPS: Duration = Duration::from_secs(10);

/// The state of `mcast perf recv`.
pub(super) struct Listener<'a> {
    arguments: &'a Arguments,
    receiver: &'a Receiver,
    interrupt: Interrupt,
    printer: RunPrinter<'a>,
    answerer: Answerer<'a>,
    sessions: Sessions,
    watches: HashMap<SessionKey, Watch>,
    id: u64,
    start: Instant,
    next_check: Duration,
    next_line: Duration,
    last_line: UnixNanos,
    /// Receive calls that returned datagrams.
    calls: u64,
    /// The system's counters before the run.
    idle: CounterSnapshot,
    tally: Tally,
}

/// The results of the runs that have ended.
#[derive(Debug, Default)]
struct Tally {
    runs: u64,
    /// The last session that ended was a step of a sweep, and more steps may follow.
    between_steps: Option<Duration>,
    datagrams: u64,
    worst_loss: f64,
    foreign: u64,
}

/// The system's counters at some time.
#[derive(Clone, Copy, Debug, Default)]
struct CounterSnapshot {
    drops: DropCounts,
    calls: u64,
    merged: u64,
}

/// The state of a session besides its counts.
#[derive(Debug)]
struct Watch {
    begin: CounterSnapshot,
    reports: u32,
    reported: SessionTotals,
}

/// Reads the system's counters, for this number of receive calls that returned datagrams.
fn snapshot_of(receiver: &Receiver, calls: u64) -> CounterSnapshot {
    let statistics = receiver.statistics();
    CounterSnapshot { drops: drops_with(statistics.dropped), calls, merged: statistics.merged }
}

impl<'a> Listener<'a> {
    pub(super) fn new(
        arguments: &'a Arguments,
        receiver: &'a Receiver,
        interrupt: Interrupt,
        console: &'a Console,
    ) -> Self {
        Self {
            arguments,
            receiver,
            interrupt,
            printer: RunPrinter::new(console, arguments.json),
            answerer: Answerer::new(receiver),
            sessions: Sessions::new(machine_clock()),
            watches: HashMap::new(),
            id: random_number(),
            start: Instant::now(),
            next_check: CHECK_INTERVAL,
            next_line: SECOND,
            last_line: unix_now(),
            calls: 0,
            idle: snapshot_of(receiver, 0),
            tally: Tally::default(),
        }
    }

    pub(super) fn run(mut self) -> anyhow::Result<Outcome> {
        match self.arguments.reply {
            true => self.receive_singly()?,
            false => self.receive_batches()?,
        }
        let rest = self.sessions.take_all();
        self.end(rest, self.start.elapsed())?;
        self.printer.strays(self.tally.foreign, self.sessions.rejected(), self.answerer.withheld());
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
            batch.iter().for_each(|datagram| self.handle(&datagram, now));
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
                self.handle(&datagram, now);
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

    fn handle(&mut self, datagram: &Datagram<'_>, now: Duration) {
        let payload = datagram.payload();
        match Header::decode(payload) {
            Some(header) if header.kind == Kind::Data => self.count(datagram, &header, now),
            Some(_) => self.handle_message(datagram, now),
            None => self.tally.foreign += 1,
        }
    }

    fn count(&mut self, datagram: &Datagram<'_>, header: &Header, now: Duration) {
        let arrival = arrival_time(datagram);
        self.sessions.data(origin(datagram, header), header, datagram.length, arrival, now);
    }

    fn handle_message(&mut self, datagram: &Datagram<'_>, now: Duration) {
        let Ok((header, message)) = Message::decode(datagram.payload()) else {
            self.tally.foreign += 1;
            return;
        };
        let arrival = datagram.arrival();
        match message {
            Message::Opening(settings) => {
                self.sessions.open(origin(datagram, &header), &header, &settings, now);
            }
            Message::Closing(settings) => {
                let origin = origin(datagram, &header);
                let is_known = self.sessions.close(origin, &header, &settings, now).is_some();
                if is_known && self.answerer.may_report(origin.source, now) {
                    self.report(datagram, header, origin);
                }
            }
            Message::Call if self.arguments.reply => self.answerer.token(arrival, header, now),
            Message::Ping(token) => {
                // Answer first, because the sender measures the delay.
                if self.arguments.reply {
                    self.answerer.pong(arrival, header, token, datagram.payload());
                }
                self.count(datagram, &header, now);
            }
            // A call for another receiver, or a message for senders.
            Message::Call | Message::Data | Message::Token(_) | Message::Pong | Message::Report(_) => {}
            Message::Probe(_) | Message::Reply(_) => self.tally.foreign += 1,
        }
    }

    fn report(&mut self, datagram: &Datagram<'_>, header: Header, origin: SessionKey) {
        self.watch_new_sessions();
        let now = self.snapshot();
        let id = self.id;
        let session = self.sessions.iter().find(|(other, _)| *other == origin);
        if let (Some((_, session)), Some(watch)) = (session, self.watches.get_mut(&origin)) {
            watch.reports = watch.reports.saturating_add(1);
            let report = ReceiverReport { receiver: id, ..report_of(session, watch, &now) };
            self.answerer.report(datagram.arrival(), header, &report);
        }
    }

    /// Records the system's counters at the start of new sessions.
    fn watch_new_sessions(&mut self) {
        for origin in self.sessions.take_started() {
            self.tally.between_steps = None;
            self.watches
                .insert(origin, Watch { begin: self.idle, reports: 0, reported: SessionTotals::default() });
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
        self.watch_new_sessions();
        if now >= self.next_line {
            self.next_line += SECOND * (1 + (now - self.next_line).as_secs() as u32);
            self.print_progress(now)?;
        }
        let ended = self.sessions.take_ended(now, self.arguments.limits.idle);
        self.end(ended, now)?;
        self.end_abandoned_sweep(now);
        let Limits { timeout, count, keep, .. } = self.arguments.limits;
        let is_enough = !keep && self.tally.runs >= count && self.sessions.is_empty();
        Ok(is_enough || timeout.is_some_and(|timeout| now >= timeout))
    }

    fn print_progress(&mut self, now: Duration) -> anyhow::Result<()> {
        if self.sessions.is_empty() {
            self.idle = self.snapshot();
        }
        let unix_time = unix_now();
        for (origin, session) in self.sessions.iter() {
            if let Some(watch) = self.watches.get_mut(origin) {
                let totals = session.totals();
                let time = session.active(self.last_line, unix_time);
                self.printer.line(now, time, origin, session, &totals, &watch.reported)?;
                watch.reported = totals;
            }
        }
        self.last_line = unix_time;
        Ok(self.printer.flush()?)
    }

    fn end(&mut self, ended: Vec<(SessionKey, Session)>, now: Duration) -> anyhow::Result<()> {
        self.watch_new_sessions();
        if ended.is_empty() {
            return Ok(());
        }
        let snapshot = self.snapshot();
        for (origin, session) in ended {
            let Some(watch) = self.watches.remove(&origin) else { continue };
            let report = ReceiverReport { receiver: self.id, ..report_of(&session, &watch, &snapshot) };
            self.printer.summary(&origin, &session, &report)?;
            self.tally.add(&session, &report, now);
        }
        self.idle = snapshot;
        Ok(self.printer.flush()?)
    }

    fn end_abandoned_sweep(&mut self, now: Duration) {
        let sweep_timeout = BETWEEN_STEPS.max(self.arguments.limits.idle);
        if self.tally.between_steps.is_some_and(|since| now >= since + sweep_timeout) {
            self.tally.between_steps = None;
            self.tally.runs += 1;
        }
    }

    fn snapshot(&self) -> CounterSnapshot {
        snapshot_of(self.receiver, self.calls)
    }

    fn judge(&self) -> Outcome {
        let limits = &self.arguments.limits;
        let required = limits.expect.unwrap_or(0);
        let is_enough = self.tally.datagrams >= required;
        if !is_enough {
            self.printer.note(&too_few(&count(self.tally.datagrams), required));
        }
        let is_loss_allowed = limits.max_loss.is_none_or(|most| self.tally.worst_loss <= most);
        if let (Some(most), false) = (limits.max_loss, is_loss_allowed) {
            self.printer.note(&format!("lost {:.3}%, more than the allowed {most}%", self.tally.worst_loss));
        }
        let has_ended = self.tally.runs > 0;
        if !has_ended {
            self.printer.note("no run has ended");
        }
        Outcome::of(is_enough && is_loss_allowed && has_ended)
    }
}

impl Tally {
    fn add(&mut self, session: &Session, report: &ReceiverReport, now: Duration) {
        let has_successor = session.settings().is_some_and(|settings| settings.more_follows);
        self.between_steps = has_successor.then_some(now);
        self.runs += u64::from(!has_successor);
        self.datagrams += report.received;
        if report.sent > 0 {
            self.worst_loss = self.worst_loss.max(report.lost as f64 * 100.0 / report.sent as f64);
        }
    }
}

fn report_of(session: &Session, watch: &Watch, now: &CounterSnapshot) -> ReceiverReport {
    let totals = session.totals();
    ReceiverReport {
        receiver: 0,
        number: watch.reports,
        sent: totals.sent,
        received: totals.received,
        lost: totals.lost,
        duplicated: totals.duplicated,
        reordered: totals.reordered,
        before_first: totals.before_first,
        bytes: totals.bytes,
        elapsed: session.elapsed(),
        jitter: session.jitter(),
        delays: session.delays().and_then(mcast_measure::Histogram::percentiles),
        clocks: if session.delays().is_some() { session.clocks() } else { ClockRelation::Apart },
        receive_calls: now.calls.saturating_sub(watch.begin.calls),
        closed: session.is_closed(),
        gro: now.merged > watch.begin.merged,
        drops: now.drops.since(&watch.begin.drops),
    }
}

fn origin(datagram: &Datagram<'_>, header: &Header) -> SessionKey {
    SessionKey {
        source: datagram.source(),
        interface: datagram.interface().number(),
        session: header.session,
    }
}

/// Returns the kernel's time of the arrival, or the current time if there is none.
fn arrival_time(datagram: &Datagram<'_>) -> UnixNanos {
    datagram.time.map_or_else(unix_now, unix_of)
}
