//! A thread that does nothing but read.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use super::{Receiver, Waker};
use crate::datagram::Datagram;
use crate::error::{Error, Operation, Result};
use crate::timing::pin_to_processor;

/// A thread that reads a receiver's datagrams; see [`Receiver::read_on_thread`].
#[derive(Debug)]
pub struct ReaderThread {
    thread: Option<JoinHandle<Result<()>>>,
    waker: Waker,
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
        let (pinned, told) = std::sync::mpsc::sync_channel(1);
        let read = move || {
            let result = processor.map_or(Ok(()), pin_to_processor);
            let failed = result.is_err();
            // Whoever started the thread waits for this.
            let _ = pinned.send(result);
            if failed {
                return Ok(());
            }
            let mut reader = receiver.reader();
            while let Some(datagram) = reader.next()? {
                handle(&datagram);
            }
            Ok(())
        };
        let thread = Builder::new().name("mcast reader".into()).spawn(read);
        let thread = ReaderThread {
            thread: Some(thread.map_err(|error| Error::os(Operation::Receive, error))?),
            waker: self.waker(),
        };
        told.recv().unwrap_or(Ok(()))?;
        Ok(thread)
    }
}

impl ReaderThread {
    /// Ends the thread after the datagram that it is at.
    ///
    /// # Errors
    /// What ended it before, if something did.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.waker.wake()?;
        // A panic of the handler's goes on here.
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for ReaderThread {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // Nobody is left to be told.
            let _ = self.waker.wake();
            let _ = thread.join();
        }
    }
}
