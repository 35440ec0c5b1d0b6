//! A thread that does nothing but read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::{Receiver, Waker};
use crate::datagram::Datagram;
use crate::error::{Error, Operation, Result};
use crate::timing::pin_to_processor;

/// How long after a wake-up a thread that is to end is woken again.
const AGAIN: Duration = Duration::from_millis(20);

/// A thread that reads a receiver's datagrams; see [`Receiver::read_on_thread`].
#[derive(Debug)]
pub struct ReaderThread {
    thread: Option<JoinHandle<Result<()>>>,
    waker: Waker,
    stopping: Arc<AtomicBool>,
    /// Nothing is ever sent: that it is closed tells that the thread has ended.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Receiver {
    /// Starts a thread that hands every datagram to `handle`, kept on one processor if one is
    /// named, so that nothing else is done there between the kernel and `handle`.
    ///
    /// With [`ReceiverBuilder::spin`](super::ReceiverBuilder::spin) it looks again and again
    /// instead of sleeping: the least delay, for a whole processor.
    ///
    /// # Errors
    /// When the system has no more threads, or the thread may not be kept there.
    pub fn read_on_thread(
        self: &Arc<Self>,
        processor: Option<usize>,
        mut handle: impl FnMut(&Datagram<'_>) + Send + 'static,
    ) -> Result<ReaderThread> {
        let receiver = Arc::clone(self);
        let (pinned, told) = mpsc::sync_channel(1);
        let (running, ended) = mpsc::channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let read = move || {
            let _running: mpsc::Sender<()> = running;
            let result = processor.map_or(Ok(()), pin_to_processor);
            let failed = result.is_err();
            // Whoever started the thread waits for this.
            let _ = pinned.send(result);
            if failed {
                return Ok(());
            }
            let mut reader = receiver.reader();
            while !stop.load(Ordering::Acquire) {
                if let Some(datagram) = reader.next()? {
                    handle(&datagram);
                }
            }
            Ok(())
        };
        let thread = Builder::new().name("mcast reader".into()).spawn(read);
        let mut thread = ReaderThread {
            thread: Some(thread.map_err(|error| Error::os(Operation::Receive, error))?),
            waker: self.waker(),
            stopping,
            ended: Mutex::new(ended),
        };
        match told.recv().unwrap_or(Ok(())) {
            Ok(()) => Ok(thread),
            Err(error) => {
                // It ends by itself, and needs no wake-up that could be another's.
                thread.thread.take().map(JoinHandle::join);
                Err(error)
            }
        }
    }
}

impl ReaderThread {
    /// Ends the thread after the datagram that it is at.
    ///
    /// # Errors
    /// What ended it before, if something did.
    pub fn stop(mut self) -> Result<()> {
        match self.end() {
            None => Ok(()),
            // A panic of the handler's goes on here.
            Some(result) => result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        }
    }

    fn end(&mut self) -> Option<std::thread::Result<Result<()>>> {
        let thread = self.thread.take()?;
        self.wake_until_ended();
        let result = thread.join();
        // The last wake-up may have come when the thread had ended, and is meant for nobody else.
        self.waker.woken.store(false, Ordering::Release);
        Some(result)
    }

    /// Wakes the thread. A wake-up may end another's wait on the same receiver, so that one may
    /// not be enough.
    fn wake_until_ended(&self) {
        self.stopping.store(true, Ordering::Release);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let mut patience = Duration::ZERO;
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(patience) {
            // A refusal, for which there is no known reason, may pass.
            let _ = self.waker.wake();
            patience = AGAIN;
        }
    }
}

impl Drop for ReaderThread {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.end();
    }
}
