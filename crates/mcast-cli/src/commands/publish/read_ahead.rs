//! A queue of messages that were read and wait to be published, bounded in bytes.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The result of reading a message.
pub(super) type Read = io::Result<Vec<u8>>;

/// The maximum number of bytes in the queue, not counting one message.
const MAX_BYTES: usize = 8 << 20;
/// The memory of an empty message.
const OVERHEAD: usize = 64;

/// The end for the thread that reads messages.
pub(super) struct Writer(Arc<Queue>);

/// The end for the thread that publishes messages.
pub(super) struct Reader(Arc<Queue>);

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Read>,
    bytes: usize,
    /// The writer was dropped.
    ended: bool,
    /// The reader was dropped.
    abandoned: bool,
}

/// The result of a wait for a message.
#[derive(Debug)]
pub(super) enum Poll {
    Some(Read),
    NoneYet,
    End,
}

pub(super) fn read_ahead() -> (Writer, Reader) {
    let queue = Arc::new(Queue::default());
    (Writer(Arc::clone(&queue)), Reader(queue))
}

impl Writer {
    /// Waits for room, and queues a message; returns `false` if the reader was dropped.
    pub(super) fn put(&self, read: Read) -> bool {
        let state = self.0.lock();
        let full = |state: &mut State| !state.abandoned && state.bytes >= MAX_BYTES;
        let mut state = self.0.changed.wait_while(state, full).unwrap_or_else(PoisonError::into_inner);
        if state.abandoned {
            return false;
        }
        state.bytes += size(&read);
        state.waiting.push_back(read);
        self.0.changed.notify_all();
        true
    }
}

impl Reader {
    /// Returns the next message, waiting up to `wait` for one.
    pub(super) fn take(&self, wait: Duration) -> Poll {
        let state = self.0.lock();
        let empty = |state: &mut State| state.waiting.is_empty() && !state.ended;
        let waited = self.0.changed.wait_timeout_while(state, wait, empty);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match state.waiting.pop_front() {
            Some(read) => {
                state.bytes -= size(&read);
                self.0.changed.notify_all();
                Poll::Some(read)
            }
            None if state.ended => Poll::End,
            None => Poll::NoneYet,
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.lock().abandoned = true;
        self.0.changed.notify_all();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(read: &Read) -> usize {
    OVERHEAD + read.as_ref().map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn the_queue_is_bounded_in_bytes() {
        const LENGTH: usize = 1 << 20;
        let (writer, reader) = read_ahead();
        let work = move || (0..100).take_while(|_| writer.put(Ok(vec![0; LENGTH]))).count();
        let reading = thread::spawn(work);
        let deadline = std::time::Instant::now() + SOON;
        while reader.0.lock().bytes < MAX_BYTES {
            assert!(std::time::Instant::now() < deadline, "nothing is read ahead");
            thread::yield_now();
        }
        let mut most = 0;
        for _ in 0..100 {
            most = most.max(reader.0.lock().bytes);
            assert!(matches!(reader.take(SOON), Poll::Some(Ok(message)) if message.len() == LENGTH));
        }
        assert!(most < MAX_BYTES + LENGTH + OVERHEAD, "{most}");
        assert_eq!(reading.join().unwrap(), 100);
        assert!(matches!(reader.take(SOON), Poll::End));
    }

    #[test]
    fn empty_messages_are_bounded_too() {
        let (writer, reader) = read_ahead();
        let reading =
            thread::spawn(move || (0..1_000_000).take_while(|_| writer.put(Ok(Vec::new()))).count());
        let deadline = std::time::Instant::now() + SOON;
        while reader.0.lock().bytes < MAX_BYTES {
            assert!(std::time::Instant::now() < deadline, "nothing is read ahead");
            thread::yield_now();
        }
        drop(reader);
        assert!(reading.join().unwrap() <= MAX_BYTES / OVERHEAD);
    }

    #[test]
    fn a_wait_for_a_message_has_a_limit() {
        let (writer, reader) = read_ahead();
        assert!(matches!(reader.take(Duration::ZERO), Poll::NoneYet));
        assert!(writer.put(Err(io::ErrorKind::InvalidData.into())));
        drop(writer);
        assert!(matches!(reader.take(SOON), Poll::Some(Err(_))));
        assert!(matches!(reader.take(SOON), Poll::End));
    }
}
