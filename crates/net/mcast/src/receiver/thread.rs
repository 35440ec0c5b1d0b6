//! A thread that only reads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::Receiver;
use crate::datagram::Datagram;
use crate::error::{Error, Operation, Result};
use crate::timing::pin_to_processor;
use mcast_sys::poller::Poller;

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
