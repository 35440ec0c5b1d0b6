//! One session: opening, data, closing, reports.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::Context;
use mcast::{Family, Rate, Sender};
use mcast_measure::wire::{Header, Kind, Message, ReceiverReport, SessionId, Settings};
use mcast_measure::{DropCounts, ReceiverReports};

use super::load::Stream;
use super::outcome::Meter;
use super::worker::{Progress, Task, Worker};
use crate::commands::perf::clock::{machine_clock, unix_now};
use crate::commands::perf::counters::drops_in_sending;
use crate::console::Console;
use crate::interrupt::Interrupt;
use crate::random::random_number;
use crate::sending::Target;

/// The number of opening messages, so that hardly any receiver misses all of them.
const OPENINGS: u32 = 5;
const BETWEEN_OPENINGS: Duration = Duration::from_millis(2);
/// The pauses in milliseconds after which the closing message is repeated. Receivers end a run half a second after
/// the last one.
const CLOSINGS: [u64; 12] = [10, 20, 30, 40, 100, 200, 300, 300, 300, 300, 300, 300];
/// After this many rounds without a new report, all receivers have reported.
const QUIET_ROUNDS: u32 = 3;

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
    pub(super) settings: Settings,
    pub(super) sent: u64,
    pub(super) refused: u64,
    pub(super) elapsed: Duration,
    pub(super) calls: u64,
    pub(super) reports: ReceiverReports,
    pub(super) drops: DropCounts,
    /// Datagrams to the sender's port that were not reports.
    pub(super) foreign: u64,
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
    settings: Settings,
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
        for worker in 0..streams {
            let first = usize::from(worker) * targets.len();
            let streams = targets.iter().enumerate().map(|(index, target)| Stream {
                // `check_streams` ensures that the numbers suffice.
                number: u16::try_from(first + index).unwrap_or(u16::MAX),
                target: target.clone(),
                sent: 0,
                left: 0,
            });
            workers.push(Worker::new(open()?, streams.collect(), size));
        }
        let settings = Settings {
            size: u32::try_from(size).unwrap_or(u32::MAX),
            clock: machine_clock(),
            streams: u16::try_from(targets.len() * usize::from(streams)).unwrap_or(u16::MAX),
            ..Settings::default()
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
        self.settings = Settings {
            rate: plan.rate.map(|rate| 1.0 / rate.time_for(self.settings.size as usize).as_secs_f64()),
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
        let (reports, foreign) = self.close_streams()?;
        Ok(SessionResult {
            settings: self.settings,
            sent: progress.sent.load(Ordering::Relaxed),
            refused: progress.refused.load(Ordering::Relaxed),
            elapsed,
            calls: after.calls - before.calls,
            reports,
            drops: drops_in_sending().since(&drops),
            foreign,
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
    fn announce(&self, message: impl Fn(Header) -> Vec<u8>) -> anyhow::Result<()> {
        for stream in self.workers.iter().flat_map(Worker::streams) {
            let header = Header {
                kind: Kind::Opening,
                stream: stream.number,
                session: self.session,
                sequence: stream.sent,
                time: unix_now(),
            };
            self.control.send_one(&stream.target.outgoing(&message(header)))?;
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
            rate: plan.rate.map(|rate| rate_per_worker(rate, workers)),
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
    fn close_streams(&self) -> anyhow::Result<(ReceiverReports, u64)> {
        let (mut reports, mut foreign) = (ReceiverReports::new(), 0);
        let (mut quiet, mut known) = (0, (0, 0));
        for pause in CLOSINGS {
            self.announce(|header| self.settings.closing(header))?;
            foreign += self.collect(&mut reports, Duration::from_millis(pause))?;
            let received = reports.sorted().iter().map(|receiver| receiver.report.received).sum::<u64>();
            let now = (reports.len(), received);
            quiet = if now == known { quiet + 1 } else { 0 };
            known = now;
            if !reports.is_empty() && quiet >= QUIET_ROUNDS {
                break;
            }
        }
        Ok((reports, foreign))
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

    /// Collects reports for this time; returns the number of other datagrams.
    fn collect(&self, reports: &mut ReceiverReports, time: Duration) -> anyhow::Result<u64> {
        let end = Instant::now() + time;
        let (mut buffer, mut foreign) = ([0; 2_048], 0);
        let share = time / u32::try_from(self.families.len()).unwrap_or(1);
        for family in &self.families {
            let end = end.min(Instant::now() + share);
            loop {
                let left = end.saturating_duration_since(Instant::now());
                let Some(answer) = self.control.recv_answer(*family, &mut buffer, left)? else { break };
                match self.report_in(answer.payload) {
                    Some(report) => {
                        reports.record(answer.source.ip(), report);
                    }
                    None => foreign += 1,
                }
                // A flood of datagrams to the port must not prolong this loop.
                if left.is_zero() {
                    break;
                }
            }
        }
        Ok(foreign)
    }

    fn report_in(&self, payload: &[u8]) -> Option<ReceiverReport> {
        match Message::decode(payload) {
            Ok((header, Message::Report(report))) if header.session == self.session => Some(*report),
            _ => None,
        }
    }
}

/// Returns the share of a rate for each of several workers.
fn rate_per_worker(rate: Rate, workers: usize) -> Rate {
    let workers = workers as f64;
    match rate {
        Rate::Datagrams(rate) => Rate::Datagrams(rate / workers),
        Rate::Bits(rate) => Rate::Bits(rate / workers),
    }
}
