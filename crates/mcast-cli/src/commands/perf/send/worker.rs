//! A sending thread with its socket, streams and pace.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mcast::{ErrorKind, Outgoing, PaceDecision, Pacer, Rate, Sender};
use mcast_probe::wire::SessionId;

use super::load::{Load, Stream, emptied};
use crate::commands::perf::unix_now;
use crate::interrupt::Interrupt;

/// Trains handed to the system at once.
const TRAINS: usize = 8;
/// Datagrams handed to the system at once where there are no trains.
const SINGLES: usize = 64;
/// Bytes that a train holds at most.
const TRAIN_BYTES: usize = 65_000;
/// A sleep may last longer than requested by about this time, so the rest is waited for awake.
const SLEEP_ERROR: Duration =
    if cfg!(windows) { Duration::from_millis(2) } else { Duration::from_micros(150) };
/// An interrupt is noticed after this time at the latest.
const LONGEST_SLEEP: Duration = Duration::from_millis(20);

/// What all workers have sent so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) sent: AtomicU64,
    pub(super) refused: AtomicU64,
    stopped: AtomicBool,
}

impl Progress {
    /// Ends all workers after a failure.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// What a worker is to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) session: SessionId,
    pub(super) rate: Option<Rate>,
    pub(super) deadline: Option<Instant>,
    /// Datagrams of each stream.
    pub(super) count: Option<u64>,
}

/// A thread's socket and streams.
#[derive(Debug)]
pub(super) struct Worker {
    sender: Sender,
    streams: Vec<Stream>,
    load: Load,
    size: usize,
}

impl Worker {
    pub(super) fn new(sender: Sender, streams: Vec<Stream>, size: usize) -> Self {
        Self { sender, streams, load: Load::new(size), size }
    }

    pub(super) fn streams(&self) -> &[Stream] {
        &self.streams
    }

    pub(super) fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Sends until the task is done or an interrupt comes.
    pub(super) fn run(
        &mut self,
        task: &Task,
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> mcast::Result<()> {
        self.load.begin(task.session, &self.streams);
        for stream in &mut self.streams {
            (stream.sent, stream.left) = (0, task.count.unwrap_or(u64::MAX));
        }
        let (at_once, train) = self.portions()?;
        let mut left = task.count.map_or(u64::MAX, |count| count.saturating_mul(self.streams.len() as u64));
        let mut pacer = task.rate.map(Pacer::new);
        let mut list = Vec::with_capacity(at_once);
        while left > 0 && !is_over(task, progress, interrupt) {
            let most = usize::try_from(left).map_or(at_once, |left| left.min(at_once));
            let due = due(pacer.as_mut(), most, self.size, task.deadline);
            if due == 0 {
                continue;
            }
            // Where there is a pace, streams take turns as often as they can.
            let at_a_time = if pacer.is_some() { train.min(due / self.streams.len()) } else { train };
            let mut round = emptied(list);
            let now = unix_now();
            self.load.fill(&mut self.streams, task.session, due, at_a_time, now, &mut round);
            let refused = send(&self.sender, &round)?;
            progress.sent.fetch_add(due as u64 - refused, Ordering::Relaxed);
            progress.refused.fetch_add(refused, Ordering::Relaxed);
            left -= due as u64;
            list = emptied(round);
        }
        Ok(())
    }

    /// How many datagrams to hand over at once, and how many of a stream at a time: whole trains
    /// where the system takes them.
    fn portions(&self) -> mcast::Result<(usize, usize)> {
        let mut train = usize::MAX;
        for stream in &self.streams {
            let family = stream.target.address().group.family();
            train = train.min(self.sender.segments_at_once(family)?);
        }
        let train = train.min(TRAIN_BYTES / self.size).max(1);
        let at_once = if train > 1 { train * TRAINS } else { SINGLES };
        Ok((at_once.min(self.load.places()), train))
    }
}

/// Hands all over; says how many the interface's queue refused.
fn send(sender: &Sender, round: &[Outgoing<'_>]) -> mcast::Result<u64> {
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

fn is_over(task: &Task, progress: &Progress, interrupt: &Interrupt) -> bool {
    interrupt.has_come()
        || progress.stopped.load(Ordering::Relaxed)
        || task.deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// How many may go now; if none, after a wait.
fn due(pacer: Option<&mut Pacer>, most: usize, size: usize, deadline: Option<Instant>) -> usize {
    let Some(pacer) = pacer else { return most };
    let now = Instant::now();
    match pacer.allow(now, std::iter::repeat_n(size, most)) {
        PaceDecision::Now(count) => count,
        PaceDecision::After(time) => {
            let left = deadline.map_or(time, |deadline| deadline.saturating_duration_since(now).min(time));
            rest(left);
            0
        }
    }
}

/// Waits for this time, to within microseconds, or for the first part of a longer wait.
fn rest(time: Duration) {
    if time > SLEEP_ERROR {
        thread::sleep((time - SLEEP_ERROR).min(LONGEST_SLEEP));
    } else {
        std::hint::spin_loop();
    }
}
