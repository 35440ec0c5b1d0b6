//! Reading continuously: a plain loop over datagrams at the cost of batches, and a thread that only reads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use mcast_sys::poller::Poller;

use super::Receiver;
use super::waiting::PollResult;
use crate::batch::{Batch, Position};
use crate::datagram::Datagram;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::timing::pin_to_processor;

/// The number of buffers in a reader's batch: enough to make the system call cheap.
const BUFFERS: usize = 32;
/// The size of each: enough for every UDP datagram and every coalesced buffer.
const BYTES: usize = 65_536;

/// Reads a receiver's datagrams one after the other, from a batch of its own.
///
/// It waits only if no datagram is available. Up to a batch of datagrams is stored inside the
/// reader, so mixing one reader with direct receive calls or with other readers changes the order.
#[derive(Debug)]
pub struct Reader<'r> {
    receiver: &'r Receiver,
    batch: Batch,
    position: Position,
}

impl<'r> Reader<'r> {
    pub(crate) fn new(receiver: &'r Receiver) -> Self {
        Self::with_batch(receiver, Batch::new(BUFFERS, BYTES))
    }

    /// Creates a reader that uses this batch.
    #[must_use]
    pub fn with_batch(receiver: &'r Receiver, mut batch: Batch) -> Self {
        batch.clear();
        Self { receiver, batch, position: Position::default() }
    }

    /// Returns the next datagram, waiting for it if necessary. `None` when a
    /// [`Waker`](crate::Waker) ended the wait.
    ///
    /// # Errors
    /// The system's error.
    #[expect(
        clippy::should_implement_trait,
        reason = "a datagram borrows from the reader, which the `Iterator` trait cannot express"
    )]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Datagram<'_>>> {
        self.next_or(|| None)
    }

    /// Like [`next`](Self::next), but also returns `None` after waiting for `timeout`.
    ///
    /// # Errors
    /// The system's error.
    #[inline]
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Datagram<'_>>> {
        self.next_or(|| Instant::now().checked_add(timeout))
    }

    /// Returns the next datagram of the batch, refilling it if it is empty. The clock is read only
    /// to wait.
    #[inline]
    fn next_or(&mut self, deadline: impl FnOnce() -> Option<Instant>) -> Result<Option<Datagram<'_>>> {
        if !self.batch.has(self.position) {
            self.refill(deadline())?;
        }
        Ok(self.batch.take_at(&mut self.position))
    }

    /// Returns the next datagram, waiting for it if necessary. `None` when `stopping` is set or a
    /// [`Waker`](crate::Waker) ended the wait.
    pub(super) fn next_unless(&mut self, stopping: &AtomicBool) -> Result<Option<Datagram<'_>>> {
        if !self.batch.has(self.position) {
            self.position = Position::default();
            self.batch.clear();
            let (receiver, batch) = (self.receiver, &mut self.batch);
            let received = receiver.wait_until(None, |check| match stopping.load(Ordering::Acquire) {
                true => Ok(PollResult::Done(0)),
                false => receiver.attempt_batch(batch, check),
            });
            received.map(|_| ()).or_else(unless_woken)?;
        }
        Ok(self.batch.take_at(&mut self.position))
    }

    /// Waits for the next batch, which stays empty on timeout or when a waker ended the wait.
    fn refill(&mut self, deadline: Option<Instant>) -> Result<()> {
        self.position = Position::default();
        self.batch.clear();
        self.receiver.recv_batch_until(&mut self.batch, deadline).map(|_| ()).or_else(unless_woken)
    }
}

/// Turns a wake-up into success: it ends a wait and is not a failure.
fn unless_woken(error: Error) -> Result<()> {
    if error.kind() == ErrorKind::Woken { Ok(()) } else { Err(error) }
}

/// The interval of further wake-ups for a thread that is to stop.
const AGAIN: Duration = Duration::from_millis(20);

/// A thread that reads a receiver's datagrams; see [`Receiver::read_on_thread`].
#[derive(Debug)]
pub struct ReaderThread {
    thread: Option<JoinHandle<Result<()>>>,
    poller: Arc<Poller>,
    stopping: Arc<AtomicBool>,
    /// Nothing is ever sent; the channel closes when the thread ends.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Receiver {
    /// Starts a thread that passes every datagram to `handle`, optionally pinned to one processor,
    /// so that nothing else runs there between the kernel and `handle`.
    ///
    /// With [`ReceiverBuilder::spin`](super::ReceiverBuilder::spin) the thread polls in a loop
    /// instead of sleeping, which gives the lowest latency and occupies a whole processor.
    ///
    /// # Errors
    /// If the system cannot start another thread, or the thread cannot be pinned.
    pub fn read_on_thread(
        self: &Arc<Self>,
        processor: Option<usize>,
        mut handle: impl FnMut(&Datagram<'_>) + Send + 'static,
    ) -> Result<ReaderThread> {
        let receiver = Arc::clone(self);
        let (pinned, pin_result) = mpsc::sync_channel(1);
        let (running, ended) = mpsc::channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let read = move || {
            let _running: mpsc::Sender<()> = running;
            let result = processor.map_or(Ok(()), pin_to_processor);
            let failed = result.is_err();
            // The thread that started this one waits for the result.
            let _ = pinned.send(result);
            if failed {
                return Ok(());
            }
            let mut reader = receiver.reader();
            while !stop.load(Ordering::Acquire) {
                if let Some(datagram) = reader.next_unless(&stop)? {
                    handle(&datagram);
                }
            }
            Ok(())
        };
        let thread = Builder::new().name("mcast reader".into()).spawn(read);
        let mut thread = ReaderThread {
            thread: Some(thread.map_err(|error| Error::os(Operation::Receive, error))?),
            poller: Arc::clone(&self.poller),
            stopping,
            ended: Mutex::new(ended),
        };
        match pin_result.recv().unwrap_or(Ok(())) {
            Ok(()) => Ok(thread),
            Err(error) => {
                // It ends on its own; a wake-up could reach another thread.
                thread.thread.take().map(JoinHandle::join);
                Err(error)
            }
        }
    }
}

impl ReaderThread {
    /// Stops the thread after the current datagram.
    ///
    /// # Errors
    /// The error that ended the thread earlier, if any.
    pub fn stop(mut self) -> Result<()> {
        match self.end() {
            None => Ok(()),
            // A panic in the handler continues here.
            Some(result) => result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        }
    }

    fn end(&mut self) -> Option<std::thread::Result<Result<()>>> {
        let thread = self.thread.take()?;
        self.wake_until_ended();
        Some(thread.join())
    }

    /// Makes the thread notice `stopping`. Another thread that waits on the same receiver may
    /// consume the poller's event, so one wake-up may not be enough. A [`Waker`](super::Waker) is
    /// not used, so that the wake-ups of others are not consumed.
    fn wake_until_ended(&self) {
        self.stopping.store(true, Ordering::Release);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let mut interval = Duration::ZERO;
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(interval) {
            // A refusal has no known cause; the next attempt may succeed.
            let _ = self.poller.wake();
            interval = AGAIN;
        }
    }
}

impl Drop for ReaderThread {
    fn drop(&mut self) {
        // A destructor cannot report the error.
        let _ = self.end();
    }
}
