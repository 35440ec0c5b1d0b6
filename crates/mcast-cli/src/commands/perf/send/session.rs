//! One session: opening, data, closing, reports.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::Context;
use mcast::{Family, Rate, Sender};
use mcast_measure::wire::{MessageType, SessionHeader, SessionId, SessionSettings};
use mcast_measure::{DropCounts, DropPoint, ReceiverReports};

use super::outcome::Meter;
use super::worker::{Progress, Task, Worker};
use crate::commands::perf::clock::{machine_clock, unix_now};
use crate::console::Console;
use crate::interrupt::Interrupt;
use crate::random::random_number;
use crate::sending::Target;

/// The number of opening messages, so that hardly any receiver misses all of them.
const OPENINGS: u32 = 5;
const BETWEEN_OPENINGS: Duration = Duration::from_millis(2);

/// How much to send, and how fast.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) rate: Option<Rate>,
    pub(super) duration: Option<Duration>,
    pub(super) count: Option<u64>,
    /// Whether to print an interim line every second.
    pub(super) progress: bool,
}

/// The results of a session.
#[derive(Debug)]
pub(super) struct SessionResult {
    pub(super) settings: SessionSettings,
    pub(super) sent: u64,
    pub(super) refused: u64,
    pub(super) elapsed: Duration,
    pub(super) calls: u64,
    pub(super) reports: ReceiverReports,
    pub(super) drops: DropCounts,
}

/// The calls to the system, and the segmented buffers among them.
#[derive(Clone, Copy, Debug)]
struct SystemWork {
    calls: u64,
    segmented: u64,
}

/// Reports the end of a worker when dropped, even if the worker panicked.
#[derive(Debug)]
struct WorkerEnd<'a> {
    running: &'a AtomicUsize,
    watcher: &'a Thread,
}

impl Drop for WorkerEnd<'_> {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::Release);
        self.watcher.unpark();
    }
}

/// Sockets and streams, with which sessions run one after another.
#[derive(Debug)]
pub(super) struct SendSession {
    control: Sender,
    workers: Vec<Worker>,
    families: Vec<Family>,
    settings: SessionSettings,
    session: SessionId,
}

impl SendSession {
    pub(super) fn new(
        targets: Vec<Target>,
        streams: u16,
        size: usize,
        open: impl Fn() -> mcast::Result<Sender>,
    ) -> anyhow::Result<Self> {
        let mut families: Vec<Family> =
            targets.iter().map(|target| target.address().group.family()).collect();
        families.sort();
        families.dedup();
        let mut workers = Vec::new();
        // `check_streams` ensures that the numbers suffice.
        let number = |stream: usize| u16::try_from(stream).unwrap_or(u16::MAX);
        for first in (0..usize::from(streams)).map(|worker| worker * targets.len()) {
            let numbers = (first..first + targets.len()).map(number);
            workers.push(Worker::new(open()?, targets.clone(), numbers, size));
        }
        let settings = SessionSettings {
            size: u32::try_from(size).unwrap_or(u32::MAX),
            clock: machine_clock(),
            streams: number(targets.len() * usize::from(streams)),
            ..SessionSettings::default()
        };
        Ok(Self { control: open()?, workers, families, settings, session: SessionId(0) })
    }

    pub(super) fn size(&self) -> u64 {
        self.settings.size.into()
    }

    /// Runs a session. Errors are those of sending; without receivers there are no reports.
    pub(super) fn run(
        &mut self,
        plan: &Plan,
        more_follows: bool,
        interrupt: &Interrupt,
        console: &Console,
    ) -> anyhow::Result<SessionResult> {
        self.session = SessionId(random_number());
        self.settings = SessionSettings {
            rate: plan.rate.map(|rate| rate.datagrams_per_second(self.settings.size as usize)),
            gso: self.uses_gso()?,
            more_follows,
            ..self.settings
        };
        let (drops, before) = (drops_in_sending(), self.system_work());
        self.open_streams()?;
        let progress = Progress::default();
        let start = Instant::now();
        self.send(plan, start, &progress, interrupt, console)?;
        let elapsed = start.elapsed();
        let after = self.system_work();
        self.settings.gso = after.segmented > before.segmented;
        let reports = self.close_streams()?;
        Ok(SessionResult {
            settings: self.settings,
            sent: progress.sent.load(Ordering::Relaxed),
            refused: progress.refused.load(Ordering::Relaxed),
            elapsed,
            calls: after.calls - before.calls,
            reports,
            drops: drops_in_sending().since(&drops),
        })
    }

    fn uses_gso(&self) -> mcast::Result<bool> {
        let mut takes = true;
        for family in &self.families {
            takes &= self.workers[0].sender().segments_at_once(*family)? > 1;
        }
        Ok(takes)
    }

    fn system_work(&self) -> SystemWork {
        let each = || self.workers.iter().map(|worker| worker.sender().statistics());
        SystemWork {
            calls: each().map(|statistics| statistics.calls).sum(),
            segmented: each().map(|statistics| statistics.trains).sum(),
        }
    }

    fn open_streams(&self) -> anyhow::Result<()> {
        for round in 0..OPENINGS {
            if round > 0 {
                thread::sleep(BETWEEN_OPENINGS);
            }
            self.announce(|header| self.settings.opening(header))?;
        }
        Ok(())
    }

    /// Sends a message of each stream to its group.
    fn announce(&self, message: impl Fn(SessionHeader) -> Vec<u8>) -> anyhow::Result<()> {
        for (target, (stream, sequence)) in self.workers.iter().flat_map(Worker::streams) {
            let (kind, session, time) = (MessageType::Opening, self.session, unix_now());
            let header = SessionHeader { kind, stream, session, sequence, time };
            self.control.send_one(&target.outgoing(&message(header)))?;
        }
        Ok(())
    }

    fn send(
        &mut self,
        plan: &Plan,
        start: Instant,
        progress: &Progress,
        interrupt: &Interrupt,
        console: &Console,
    ) -> anyhow::Result<()> {
        let workers = self.workers.len();
        let task = Task {
            session: self.session,
            rate: plan.rate.map(|rate| rate.divided_by(workers)),
            deadline: plan.duration.and_then(|duration| start.checked_add(duration)),
            count: plan.count,
        };
        let size = self.size();
        let (watcher, running) = (thread::current(), AtomicUsize::new(workers));
        let (watcher, running, task) = (&watcher, &running, &task);
        thread::scope(|scope| {
            let run = |worker: &'_ mut Worker| {
                let _end = WorkerEnd { running, watcher };
                worker.run(task, progress, interrupt).inspect_err(|_| progress.stop())
            };
            let spawn = |worker| {
                thread::Builder::new().name("perf send".into()).spawn_scoped(scope, move || run(worker))
            };
            let threads: io::Result<Vec<_>> = self.workers.iter_mut().map(spawn).collect();
            let threads = threads
                .inspect_err(|_| progress.stop())
                .context("cannot start a thread for each of the --streams")?;
            let mut meter = Meter::new(start, size, console);
            while running.load(Ordering::Acquire) > 0 {
                thread::park_timeout(meter.until_next_line());
                if plan.progress {
                    meter.print_if_due(progress).inspect_err(|_| progress.stop())?;
                }
            }
            threads.into_iter().try_for_each(|thread| match thread.join() {
                Ok(result) => Ok(result?),
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }

    /// Repeats the closing message until the receivers have reported.
    fn close_streams(&self) -> anyhow::Result<ReceiverReports> {
        let mut reports = ReceiverReports::new(self.session);
        while let Some(pause) = reports.next_pause() {
            self.announce(|header| self.settings.closing(header))?;
            self.collect(&mut reports, pause)?;
        }
        Ok(reports)
    }

    /// Announces that no further session follows: a sweep has ended.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        self.settings.more_follows = false;
        for _ in 0..OPENINGS {
            self.announce(|header| self.settings.closing(header))?;
            thread::sleep(BETWEEN_OPENINGS);
        }
        Ok(())
    }

    /// Collects reports for this time.
    fn collect(&self, reports: &mut ReceiverReports, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        let mut buffer = [0; 2_048];
        let share = time / u32::try_from(self.families.len()).unwrap_or(1);
        for family in &self.families {
            let end = end.min(Instant::now() + share);
            loop {
                let left = end.saturating_duration_since(Instant::now());
                let Some(answer) = self.control.recv_answer(*family, &mut buffer, left)? else { break };
                reports.record(answer.source.ip(), answer.payload);
                // A flood of datagrams to the port must not prolong this loop.
                if left.is_zero() {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Returns what this host has dropped so far while sending.
fn drops_in_sending() -> DropCounts {
    let drops = mcast_doctor::host_drops().at(DropPoint::InterfaceOut);
    DropCounts::default().with(DropPoint::InterfaceOut, drops)
}
