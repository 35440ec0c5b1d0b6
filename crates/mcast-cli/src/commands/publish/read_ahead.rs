//! What was read and waits to be published: bounded by its bytes.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What comes of reading: a message, or why there is none.
pub(super) type Read = io::Result<Vec<u8>>;

/// Bytes that wait at most, beside one message.
const MOST_BYTES: usize = 8 << 20;
/// Empty messages take memory, too.
const EACH: usize = 64;

/// Whoever reads.
pub(super) struct Writer(Arc<Queue>);

/// Whoever publishes.
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
    /// Nothing more comes.
    ended: bool,
    /// Nobody wants more.
    unwanted: bool,
}

/// What a look came to.
#[derive(Debug)]
pub(super) enum Look {
    Some(Read),
    NoneYet,
    End,
}

pub(super) fn read_ahead() -> (Writer, Reader) {
    let queue = Arc::new(Queue::default());
    (Writer(Arc::clone(&queue)), Reader(queue))
}

impl Writer {
    /// Waits for room; `false` if nobody wants it.
    pub(super) fn put(&self, read: Read) -> bool {
        let state = self.0.lock();
        let full = |state: &mut State| !state.unwanted && state.bytes >= MOST_BYTES;
        let mut state = self.0.changed.wait_while(state, full).unwrap_or_else(PoisonError::into_inner);
        if state.unwanted {
            return false;
        }
        state.bytes += size(&read);
        state.waiting.push_back(read);
        self.0.changed.notify_all();
        true
    }
}

impl Reader {
    /// What waits, or comes within this time.
    pub(super) fn take(&self, wait: Duration) -> Look {
        let state = self.0.lock();
        let empty = |state: &mut State| state.waiting.is_empty() && !state.ended;
        let waited = self.0.changed.wait_timeout_while(state, wait, empty);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match state.waiting.pop_front() {
            Some(read) => {
                state.bytes -= size(&read);
                self.0.changed.notify_all();
                Look::Some(read)
            }
            None if state.ended => Look::End,
            None => Look::NoneYet,
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
        self.0.lock().unwanted = true;
        self.0.changed.notify_all();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(read: &Read) -> usize {
    EACH + read.as_ref().map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn no_more_bytes_wait_than_there_is_room_for() {
        const LENGTH: usize = 1 << 20;
        let (writer, reader) = read_ahead();
        let work = move || (0..100).take_while(|_| writer.put(Ok(vec![0; LENGTH]))).count();
        let reading = thread::spawn(work);
        let deadline = std::time::Instant::now() + SOON;
        while reader.0.lock().bytes < MOST_BYTES {
            assert!(std::time::Instant::now() < deadline, "nothing is read ahead");
            thread::yield_now();
        }
        let mut most = 0;
        for _ in 0..100 {
            most = most.max(reader.0.lock().bytes);
            assert!(matches!(reader.take(SOON), Look::Some(Ok(message)) if message.len() == LENGTH));
        }
        assert!(most < MOST_BYTES + LENGTH + EACH, "{most}");
        assert_eq!(reading.join().unwrap(), 100);
        assert!(matches!(reader.take(SOON), Look::End));
    }

    #[test]
    fn empty_messages_are_bounded_too() {
        let (writer, reader) = read_ahead();
        let reading =
            thread::spawn(move || (0..1_000_000).take_while(|_| writer.put(Ok(Vec::new()))).count());
        let deadline = std::time::Instant::now() + SOON;
        while reader.0.lock().bytes < MOST_BYTES {
            assert!(std::time::Instant::now() < deadline, "nothing is read ahead");
            thread::yield_now();
        }
        drop(reader);
        assert!(reading.join().unwrap() <= MOST_BYTES / EACH);
    }

    #[test]
    fn a_reader_does_not_wait_for_ever() {
        let (writer, reader) = read_ahead();
        assert!(matches!(reader.take(Duration::ZERO), Look::NoneYet));
        assert!(writer.put(Err(io::ErrorKind::InvalidData.into())));
        drop(writer);
        assert!(matches!(reader.take(SOON), Look::Some(Err(_))));
        assert!(matches!(reader.take(SOON), Look::End));
    }
}
