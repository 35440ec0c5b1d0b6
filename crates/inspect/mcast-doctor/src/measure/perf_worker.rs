//! A sending thread with its socket, streams and pace.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mcast::{ErrorKind, Outgoing, PaceDecision, Pacer, Rate, Sender};
use mcast_measure::NumberedDatagrams;
use mcast_measure::wire::{SessionId, UnixNanos};

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
pub(super) struct SharedCounts {
    pub(super) sent: AtomicU64,
    pub(super) refused: AtomicU64,
    is_stopped: AtomicBool,
}

impl SharedCounts {
    /// Ends all workers after a failure.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

/// The task of all workers.
pub(super) struct WorkerTask<'a> {
    pub(super) session: SessionId,
    pub(super) rate: Option<Rate>,
    pub(super) deadline: Option<Instant>,
    /// Datagrams of each stream.
    pub(super) count: Option<u64>,
    pub(super) counts: &'a SharedCounts,
    pub(super) keep_going: &'a (dyn Fn() -> bool + Sync),
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
pub(super) struct PerfWorker {
    sender: Sender,
    targets: Vec<Outgoing<'static>>,
    datagrams: NumberedDatagrams,
    size: usize,
}

impl PerfWorker {
    /// Creates a worker whose streams have these numbers.
    pub(super) fn new(
        sender: Sender,
        targets: Vec<Outgoing<'static>>,
        numbers: impl Iterator<Item = u16>,
        size: usize,
    ) -> Self {
        Self { sender, targets, datagrams: NumberedDatagrams::new(size, numbers), size }
    }

    /// Returns the number of each stream, and how many datagrams it has sent. There is one per target, in their order.
    pub(super) fn streams(&self) -> impl Iterator<Item = (u16, u64)> {
        self.datagrams.streams()
    }

    pub(super) const fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Sends until the task is done or over.
    pub(super) fn run(&mut self, task: &WorkerTask<'_>) -> mcast::Result<()> {
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
            let refused = send(sender, &round)?;
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

/// Returns how many datagrams may be sent now; if none, waits first.
fn due(pacer: Option<&mut Pacer>, most: usize, size: usize, deadline: Option<Instant>) -> usize {
    let Some(pacer) = pacer else { return most };
    let now = Instant::now();
    match pacer.allow(now, std::iter::repeat_n(size, most)) {
        PaceDecision::Now(count) => count,
        PaceDecision::After(time) => {
            let left = deadline.map_or(time, |deadline| deadline.saturating_duration_since(now).min(time));
            mcast::pause(left.min(MAX_SLEEP));
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
