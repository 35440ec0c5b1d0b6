//! The sending end of a measurement: opening, data, closing, reports.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use mcast::{ErrorKind, Outgoing, PaceDecision, Pacer, Rate, Sender};
use mcast_measure::wire::{HEADER_LENGTH, SessionId, SessionSettings, UnixNanos};
use mcast_measure::{DropCounts, DropPoint, Inquiry, NumberedDatagrams, PerfSession, ReceiverReports};

use super::asker::{Asker, families_of};
use super::clock_id;
use mcast_doctor::{Error, Result, host_drops};

const SECOND: Duration = Duration::from_secs(1);

/// How much a session sends, and how fast.
#[derive(Clone, Copy, Debug, Default)]
pub struct PerfSendPlan {
    /// The rate of all streams together; without it, as fast as possible.
    pub rate: Option<Rate>,
    /// For how long to send; without it, until the count is reached.
    pub duration: Option<Duration>,
    /// The number of datagrams of each stream; without it there is no limit.
    pub count: Option<u64>,
    /// Whether another session follows soon, such as the next step of a sweep.
    pub more_follows: bool,
}

/// What a session has sent so far.
#[derive(Clone, Copy, Debug)]
pub struct PerfSendProgress {
    /// The time since its start.
    pub elapsed: Duration,
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams that the interface's own queue refused.
    pub refused: u64,
}

/// The results of a session.
#[derive(Debug)]
pub struct PerfSendResult {
    /// What was announced to the receivers, and whether segmentation offload was used.
    pub settings: SessionSettings,
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams that the interface's own queue refused.
    pub refused: u64,
    /// How long sending took.
    pub elapsed: Duration,
    /// The system calls that it took.
    pub calls: u64,
    /// The reports of the receivers.
    pub reports: ReceiverReports,
    /// What this host dropped meanwhile.
    pub drops: DropCounts,
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

/// Sends numbered datagrams as fast as possible or at a rate, and collects the reports of each
/// [`Listener`](crate::Listener). Its sessions run one after another.
///
/// ```no_run
/// use mcast::{Outgoing, Sender};
/// use mcast_path::{PerfSendPlan, PerfSender};
///
/// let targets = [Outgoing::new(&[]).to("239.255.2.3:5000".parse()?)];
/// let mut sender = PerfSender::new(&targets, 1, 1_400, || Sender::builder().details(false).build())?;
/// let plan = PerfSendPlan { count: Some(1_000), ..PerfSendPlan::default() };
/// let result = sender.run(&plan, &|| true, |_| Ok::<_, mcast_doctor::Error>(()))?;
/// println!("{} sent, worst loss {:?} %", result.sent, result.reports.worst_loss());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PerfSender {
    control: Sender,
    workers: Vec<PerfWorker>,
    targets: Vec<Outgoing<'static>>,
    settings: SessionSettings,
    /// The latest session.
    session: Option<PerfSession>,
}

impl PerfSender {
    /// Creates a sender of `streams` streams to each target, whose payload is ignored; each has a socket, which `open`
    /// opens, and a thread. `size` is that of each datagram, at least [`HEADER_LENGTH`].
    ///
    /// # Errors
    /// If a socket cannot be opened.
    pub fn new(
        targets: &[Outgoing<'static>],
        streams: u16,
        size: usize,
        open: impl Fn() -> mcast::Result<Sender>,
    ) -> Result<Self> {
        let size = size.max(HEADER_LENGTH);
        let mut workers = Vec::new();
        let number = |stream: usize| u16::try_from(stream).unwrap_or(u16::MAX);
        for first in (0..usize::from(streams)).map(|worker| worker * targets.len()) {
            let numbers = (first..first + targets.len()).map(number);
            workers.push(PerfWorker::new(open()?, targets.to_vec(), numbers, size));
        }
        let settings = SessionSettings {
            size: u32::try_from(size).unwrap_or(u32::MAX),
            clock: clock_id(),
            streams: number(targets.len() * usize::from(streams)),
            ..SessionSettings::default()
        };
        Ok(Self { control: open()?, workers, targets: targets.to_vec(), settings, session: None })
    }

    /// Runs a session until it is complete or `keep_going` returns `false`. `each_second` is called while sending; its
    /// first error ends the session. Without receivers there are no reports.
    ///
    /// # Errors
    /// Those of `each_second`; if the system cannot send, or cannot start a thread.
    pub fn run<E: From<Error>>(
        &mut self,
        plan: &PerfSendPlan,
        keep_going: &(dyn Fn() -> bool + Sync),
        each_second: impl FnMut(&PerfSendProgress) -> std::result::Result<(), E>,
    ) -> std::result::Result<PerfSendResult, E> {
        let settings = SessionSettings {
            rate: plan.rate.map(|rate| rate.datagrams_per_second(self.settings.size as usize)),
            gso: self.uses_gso()?,
            more_follows: plan.more_follows,
            ..self.settings
        };
        let numbers = self.workers.iter().flat_map(PerfWorker::streams).map(|(number, _)| number);
        let session = PerfSession::new(SessionId::random(), settings, numbers);
        let (drops, before) = (drops_in_sending(), system_work(&self.workers));
        let mut asker = Asker::new(&self.control, &self.targets);
        let session = self.session.insert(session);
        ask(&mut asker, session)?;
        let counts = SharedCounts::default();
        let start = Instant::now();
        let task = WorkerTask {
            session: session.id(),
            rate: plan.rate.map(|rate| rate.divided_by(self.workers.len())),
            deadline: plan.duration.and_then(|duration| start.checked_add(duration)),
            count: plan.count,
            counts: &counts,
            keep_going,
        };
        send(&mut self.workers, &task, start, each_second)?;
        let elapsed = start.elapsed();
        let after = system_work(&self.workers);
        let sent = self.workers.iter().flat_map(PerfWorker::streams).map(|(_, sent)| sent);
        session.close_streams(asker.now(), after.segmented > before.segmented, sent);
        ask(&mut asker, session)?;
        Ok(PerfSendResult {
            settings: *session.settings(),
            sent: counts.sent.load(Ordering::Relaxed),
            refused: counts.refused.load(Ordering::Relaxed),
            elapsed,
            calls: after.calls - before.calls,
            reports: session.reports().clone(),
            drops: drops_in_sending().since(&drops),
        })
    }

    fn uses_gso(&self) -> Result<bool> {
        let mut takes = true;
        for (family, worker) in families_of(&self.targets).into_iter().zip(self.workers.iter().cycle()) {
            takes &= worker.sender().segments_at_once(family)? > 1;
        }
        Ok(takes)
    }

    /// Announces that no further session follows: a sweep has ended.
    ///
    /// # Errors
    /// If the system cannot send.
    pub fn finish(&mut self) -> Result<()> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let mut asker = Asker::new(&self.control, &self.targets);
        session.close(asker.now());
        ask(&mut asker, session)
    }
}

fn ask(asker: &mut Asker<'_>, session: &mut PerfSession) -> Result<()> {
    Ok(asker.run(session, || true, |_, event| match event {})?)
}

fn system_work(workers: &[PerfWorker]) -> SystemWork {
    let each = || workers.iter().map(|worker| worker.sender().statistics());
    SystemWork {
        calls: each().map(|statistics| statistics.calls).sum(),
        segmented: each().map(|statistics| statistics.trains).sum(),
    }
}

/// Lets each worker send on its own thread, and calls `each_second` meanwhile.
fn send<E: From<Error>>(
    workers: &mut [PerfWorker],
    task: &WorkerTask<'_>,
    start: Instant,
    mut each_second: impl FnMut(&PerfSendProgress) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let (watcher, running) = (&thread::current(), &AtomicUsize::new(workers.len()));
    thread::scope(|scope| {
        let run = |worker: &'_ mut PerfWorker| {
            let _end = WorkerEnd { running, watcher };
            worker.run(task).inspect_err(|_| task.counts.stop())
        };
        let spawn =
            |worker| thread::Builder::new().name("perf send".into()).spawn_scoped(scope, move || run(worker));
        let threads: io::Result<Vec<_>> = workers.iter_mut().map(spawn).collect();
        let threads = threads.map_err(|source| {
            task.counts.stop();
            Error::Start { program: "a thread for each stream".into(), source }
        })?;
        let mut next = SECOND;
        while running.load(Ordering::Acquire) > 0 {
            thread::park_timeout(next.saturating_sub(start.elapsed()));
            let elapsed = start.elapsed();
            if elapsed >= next {
                next += SECOND * (1 + (elapsed - next).as_secs() as u32);
                let (sent, refused) = (&task.counts.sent, &task.counts.refused);
                let (sent, refused) = (sent.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
                each_second(&PerfSendProgress { elapsed, sent, refused })
                    .inspect_err(|_| task.counts.stop())?;
            }
        }
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result.map_err(|error| Error::from(error).into()),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// Returns what this host has dropped so far while sending.
fn drops_in_sending() -> DropCounts {
    let drops = host_drops().at(DropPoint::InterfaceOut);
    DropCounts::default().with(DropPoint::InterfaceOut, drops)
}

/// Segmented buffers per call.
const BUFFERS_PER_CALL: usize = 8;
/// Datagrams per call without segmentation offload.
const DATAGRAMS_PER_CALL: usize = 64;
/// The maximum number of bytes in a segmented buffer.
const BUFFER_BYTES: usize = 65_000;
/// The longest sleep before checking whether to continue.
const MAX_SLEEP: Duration = Duration::from_millis(20);

/// The counts of all workers so far.
#[derive(Debug, Default)]
struct SharedCounts {
    sent: AtomicU64,
    refused: AtomicU64,
    is_stopped: AtomicBool,
}

impl SharedCounts {
    /// Ends all workers after a failure.
    fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

/// The task of all workers.
struct WorkerTask<'a> {
    session: SessionId,
    rate: Option<Rate>,
    deadline: Option<Instant>,
    /// Datagrams of each stream.
    count: Option<u64>,
    counts: &'a SharedCounts,
    keep_going: &'a (dyn Fn() -> bool + Sync),
}

impl WorkerTask<'_> {
    fn is_over(&self) -> bool {
        !(self.keep_going)()
            || self.counts.is_stopped.load(Ordering::Relaxed)
            || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// A thread's socket and streams, one per target.
#[derive(Debug)]
struct PerfWorker {
    sender: Sender,
    targets: Vec<Outgoing<'static>>,
    datagrams: NumberedDatagrams,
    size: usize,
}

impl PerfWorker {
    /// Creates a worker whose streams have these numbers.
    fn new(
        sender: Sender,
        targets: Vec<Outgoing<'static>>,
        numbers: impl Iterator<Item = u16>,
        size: usize,
    ) -> Self {
        Self { sender, targets, datagrams: NumberedDatagrams::new(size, numbers), size }
    }

    /// Returns the number of each stream, and how many datagrams it has sent. There is one per target, in their order.
    fn streams(&self) -> impl Iterator<Item = (u16, u64)> {
        self.datagrams.streams()
    }

    const fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Sends until the task is done or over.
    fn run(&mut self, task: &WorkerTask<'_>) -> mcast::Result<()> {
        let (at_once, segments) = self.portions()?;
        let Self { sender, targets, datagrams, size } = self;
        datagrams.begin(task.session, task.count);
        let mut pacer = task.rate.map(Pacer::new);
        let mut list = Vec::with_capacity(at_once);
        while datagrams.left() > 0 && !task.is_over() {
            let most = usize::try_from(datagrams.left()).map_or(at_once, |left| left.min(at_once));
            let due = due(pacer.as_mut(), most, *size, task.deadline);
            if due == 0 {
                continue;
            }
            // With a rate, streams take turns as often as possible.
            let at_a_time = if pacer.is_some() { segments.min(due / targets.len()) } else { segments };
            let mut round = emptied(list);
            datagrams.take_next(due, at_a_time, UnixNanos::now(), |stream, datagram| {
                round.push(targets[stream].with_payload(datagram));
            });
            let refused = send_all(sender, &round)?;
            task.counts.sent.fetch_add(due as u64 - refused, Ordering::Relaxed);
            task.counts.refused.fetch_add(refused, Ordering::Relaxed);
            list = emptied(round);
        }
        Ok(())
    }

    /// Returns the number of datagrams per call, and the number from one stream in a row: whole segmented buffers if
    /// the system supports segmentation offload.
    fn portions(&self) -> mcast::Result<(usize, usize)> {
        let mut segments = usize::MAX;
        for group in self.targets.iter().filter_map(Outgoing::group) {
            segments = segments.min(self.sender.segments_at_once(group.group.family())?);
        }
        let segments = segments.min(BUFFER_BYTES / self.size).max(1);
        let at_once = if segments > 1 { segments * BUFFERS_PER_CALL } else { DATAGRAMS_PER_CALL };
        Ok((at_once.min(self.datagrams.capacity()), segments))
    }
}

/// Empties a list but keeps its memory, for datagrams with another lifetime.
fn emptied<'b>(mut list: Vec<Outgoing<'_>>) -> Vec<Outgoing<'b>> {
    list.clear();
    list.into_iter().map(|_| Outgoing::new(&[])).collect()
}

/// Sends all datagrams, and returns how many the interface's queue refused.
fn send_all(sender: &Sender, round: &[Outgoing<'_>]) -> mcast::Result<u64> {
    let (mut rest, mut refused) = (round, 0);
    while !rest.is_empty() {
        match sender.send_batch(rest) {
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == ErrorKind::QueueFull => {
                refused += 1;
                rest = &rest[1..];
            }
            Err(error) => return Err(error),
        }
    }
    Ok(refused)
}

/// Returns how many datagrams may be sent now; if none, waits first.
fn due(pacer: Option<&mut Pacer>, most: usize, size: usize, deadline: Option<Instant>) -> usize {
    let Some(pacer) = pacer else { return most };
    let now = Instant::now();
    match pacer.allow(now, std::iter::repeat_n(size, most)) {
        PaceDecision::Now(count) => count,
        PaceDecision::After(time) => {
            let left = deadline.map_or(time, |deadline| deadline.saturating_duration_since(now).min(time));
            mcast_sys::pause(left.min(MAX_SLEEP));
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_keeps_its_memory() {
        let list: Vec<Outgoing<'_>> = Vec::with_capacity(500);
        assert!(emptied(list).capacity() >= 500);
    }
}
