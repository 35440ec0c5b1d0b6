//! Reading continuously: a plain loop over datagrams at the cost of batches.

use std::time::{Duration, Instant};

use super::Receiver;
use crate::batch::{Batch, Position};
use crate::datagram::Datagram;
use crate::error::{Error, ErrorKind, Result};

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
        Self { receiver, batch: Batch::new(BUFFERS, BYTES), position: Position::default() }
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
