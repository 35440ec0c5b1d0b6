//! A plain loop over datagrams that costs no more than batches.

use std::time::{Duration, Instant};

use super::Receiver;
use crate::batch::{Batch, Position};
use crate::datagram::Datagram;
use crate::error::{ErrorKind, Result};

/// Buffers of a reader's batch: enough to make the system call cheap.
const BUFFERS: usize = 32;
/// Bytes of each: whatever UDP carries, and whatever the kernel merges.
const BYTES: usize = 65_536;

/// Reads a receiver's datagrams one after the other, from a batch of its own.
///
/// It takes what is there and waits only when nothing is. Up to a batch of datagrams waits
/// inside it, so one reader, or direct calls, but not both, see them in order.
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

    /// A reader that uses this batch, for other sizes.
    #[must_use]
    pub fn with_batch(receiver: &'r Receiver, mut batch: Batch) -> Self {
        batch.clear();
        Self { receiver, batch, position: Position::default() }
    }

    /// The next datagram; waits for it. `None` when a [`Waker`](crate::Waker) ended the wait.
    ///
    /// # Errors
    /// What the system says.
    #[expect(
        clippy::should_implement_trait,
        reason = "a datagram borrows from the reader, which no iterator can say"
    )]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Datagram<'_>>> {
        self.next_or(|| None)
    }

    /// The same, for no longer than this; `None` also when the time is over.
    ///
    /// # Errors
    /// What the system says.
    #[inline]
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Datagram<'_>>> {
        self.next_or(|| Instant::now().checked_add(timeout))
    }

    /// The next of the batch, or of the next one. The clock is read only to wait.
    #[inline]
    fn next_or(&mut self, deadline: impl FnOnce() -> Option<Instant>) -> Result<Option<Datagram<'_>>> {
        if !self.batch.has(self.position) {
            self.refill(deadline())?;
        }
        Ok(self.batch.take_at(&mut self.position))
    }

    /// Waits for the next batch; leaves it empty when the time is over or a waker ended it.
    fn refill(&mut self, deadline: Option<Instant>) -> Result<()> {
        self.position = Position::default();
        match self.receiver.recv_batch_until(&mut self.batch, deadline) {
            Err(error) if error.kind() == ErrorKind::Woken => {
                self.batch.clear();
                Ok(())
            }
            result => result.map(|_| ()),
        }
    }
}
