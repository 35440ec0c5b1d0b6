//! Input read on a separate thread.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::sys::spawn;

/// The maximum number of bytes in the queue, not counting one payload.
const MAX_BYTES: usize = 8 << 20;
/// The memory of an empty payload.
const OVERHEAD: usize = 64;

/// Reads payloads ahead of sending them, on a thread of its own, so that a program that waits for input can do something
/// else, or end. The queue is bounded in bytes.
pub(crate) struct ReadAhead<E>(Arc<Queue<E>>);

/// The end of the thread that reads.
struct Writer<E>(Arc<Queue<E>>);

struct Queue<E> {
    state: Mutex<State<E>>,
    changed: Condvar,
}

struct State<E> {
    waiting: VecDeque<Result<Vec<u8>, E>>,
    bytes: usize,
    /// The writer was dropped.
    ended: bool,
    /// The reader was dropped.
    abandoned: bool,
    /// No wait for payloads is wanted any more.
    woken: bool,
}

/// The result of a request for payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// There are payloads.
    Some,
    /// None has been read yet.
    NoneYet,
    /// The input has ended.
    End,
}

impl<E: Send + 'static> ReadAhead<E> {
    /// Starts a thread that calls `read` until it returns `None` or an error.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn start(
        mut read: impl FnMut() -> Result<Option<Vec<u8>>, E> + Send + 'static,
    ) -> std::io::Result<Self> {
        let state =
            State { waiting: VecDeque::new(), bytes: 0, ended: false, abandoned: false, woken: false };
        let queue = Arc::new(Queue { state: Mutex::new(state), changed: Condvar::new() });
        let writer = Writer(Arc::clone(&queue));
        let work = move || {
            while let Some(read) = read().transpose() {
                let is_last = read.is_err();
                if !writer.put(read) || is_last {
                    return;
                }
            }
        };
        spawn("input", work)?;
        Ok(Self(queue))
    }

    /// Appends payloads to `into` until it holds `most`, waiting up to `wait` for the first one.
    ///
    /// # Errors
    /// The error of `read`, after the payloads before it.
    pub(crate) fn take(
        &self,
        wait: Duration,
        most: usize,
        into: &mut Vec<Vec<u8>>,
    ) -> Result<ReadOutcome, E> {
        let empty = |state: &mut State<E>| state.waiting.is_empty() && !state.ended && !state.woken;
        let waited = self.0.changed.wait_timeout_while(self.0.lock(), wait, empty);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        while into.len() < most
            && let Some(read) = state.waiting.pop_front()
        {
            match read {
                Ok(payload) => {
                    state.bytes -= OVERHEAD + payload.len();
                    into.push(payload);
                }
                Err(error) if into.is_empty() => return Err(error),
                Err(error) => {
                    state.waiting.push_front(Err(error));
                    break;
                }
            }
        }
        self.0.changed.notify_all();
        Ok(match (into.is_empty(), state.ended) {
            (false, _) => ReadOutcome::Some,
            (true, true) => ReadOutcome::End,
            (true, false) => ReadOutcome::NoneYet,
        })
    }

    /// Returns how many payloads have been read and not taken.
    #[must_use]
    pub(crate) fn pending(&self) -> usize {
        self.0.lock().waiting.iter().filter(|read| read.is_ok()).count()
    }

    /// Returns a function that ends the current wait for payloads, and all later ones.
    pub(crate) fn waker(&self) -> impl Fn() + Send + Sync + use<E> {
        let queue = Arc::clone(&self.0);
        move || {
            queue.lock().woken = true;
            queue.changed.notify_all();
        }
    }
}

impl<E> Writer<E> {
    /// Waits for room, and queues a payload; returns `false` if the reader was dropped.
    fn put(&self, read: Result<Vec<u8>, E>) -> bool {
        let full = |state: &mut State<E>| !state.abandoned && state.bytes >= MAX_BYTES;
        let waited = self.0.changed.wait_while(self.0.lock(), full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.abandoned {
            return false;
        }
        state.bytes += OVERHEAD + read.as_ref().map_or(0, Vec::len);
        state.waiting.push_back(read);
        self.0.changed.notify_all();
        true
    }
}

impl<E> Drop for Writer<E> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

impl<E> Drop for ReadAhead<E> {
    fn drop(&mut self) {
        self.0.lock().abandoned = true;
        self.0.changed.notify_all();
    }
}

impl<E> Queue<E> {
    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> std::fmt::Debug for ReadAhead<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadAhead").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// Reads this number of payloads of a length, and waits until the queue is full.
    fn full_queue(payloads: usize, length: usize) -> (ReadAhead<&'static str>, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let reads = Arc::clone(&count);
        let read = move || Ok((reads.fetch_add(1, Ordering::Relaxed) < payloads).then(|| vec![0; length]));
        let reader = ReadAhead::start(read).unwrap();
        let deadline = Instant::now() + SOON;
        while reader.0.lock().bytes < MAX_BYTES {
            assert!(Instant::now() < deadline, "nothing is read ahead");
            std::thread::yield_now();
        }
        (reader, count)
    }

    #[test]
    fn the_queue_is_bounded_in_bytes() {
        const LENGTH: usize = 1 << 20;
        let (reader, _) = full_queue(100, LENGTH);
        let mut most = 0;
        for _ in 0..100 {
            most = most.max(reader.0.lock().bytes);
            let mut payloads = Vec::new();
            assert_eq!(reader.take(SOON, 1, &mut payloads).unwrap(), ReadOutcome::Some);
            assert_eq!(payloads[0].len(), LENGTH);
        }
        assert!(most < MAX_BYTES + LENGTH + OVERHEAD, "{most}");
        assert_eq!(reader.take(SOON, 1, &mut Vec::new()).unwrap(), ReadOutcome::End);
    }

    #[test]
    fn empty_payloads_are_bounded_too() {
        let (reader, count) = full_queue(1_000_000, 0);
        // One more waits for room.
        assert!(count.load(Ordering::Relaxed) <= MAX_BYTES / OVERHEAD + 1);
        drop(reader);
    }

    #[test]
    fn a_wait_for_a_payload_has_a_limit() {
        let (sender, input) = std::sync::mpsc::channel();
        let reader = ReadAhead::<()>::start(move || Ok(input.recv().ok())).unwrap();
        assert_eq!(reader.take(Duration::ZERO, 1, &mut Vec::new()).unwrap(), ReadOutcome::NoneYet);
        reader.waker()();
        assert_eq!(reader.take(Duration::MAX, 1, &mut Vec::new()).unwrap(), ReadOutcome::NoneYet);
        drop(sender);
    }

    #[test]
    fn an_error_comes_after_the_payloads_before_it() {
        let mut left = 2_i8;
        let read = move || {
            left -= 1;
            if left >= 0 { Ok(Some(vec![left as u8])) } else { Err("unreadable") }
        };
        let reader = ReadAhead::start(read).unwrap();
        let deadline = Instant::now() + SOON;
        while !reader.0.lock().ended {
            assert!(Instant::now() < deadline, "the thread does not end");
            std::thread::yield_now();
        }
        let mut payloads = Vec::new();
        assert_eq!(reader.pending(), 2);
        assert_eq!(reader.take(SOON, 9, &mut payloads).unwrap(), ReadOutcome::Some);
        assert_eq!((payloads, reader.pending()), (vec![vec![1], vec![0]], 0));
        assert_eq!(reader.take(SOON, 9, &mut Vec::new()), Err("unreadable"));
        assert_eq!(reader.take(SOON, 9, &mut Vec::new()).unwrap(), ReadOutcome::End);
    }
}
