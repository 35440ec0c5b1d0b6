//! Datagrams from anywhere, to anywhere: what receivers, captures, files and simulators share.

use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::error::Result;
use crate::outgoing::Outgoing;
use crate::receiver::Receiver;
use crate::sender::Sender;

/// Where datagrams come from.
///
/// A [`Receiver`] is one, and so may be a capture, a file or a simulator: what takes a
/// `dyn DatagramSource` reads them all, and is tested without a network.
pub trait DatagramSource {
    /// Puts datagrams into the batch, waiting for the first of them no longer than this (`None`:
    /// as long as it takes); says how many. What the batch held before is forgotten. 0: the time
    /// is over, or there will be no more ([`is_at_end`](Self::is_at_end)).
    ///
    /// # Errors
    /// As the source has them.
    fn receive_batch(&mut self, batch: &mut Batch, timeout: Option<Duration>) -> Result<usize>;

    /// Whether nothing more will come, as at the end of a file.
    fn is_at_end(&self) -> bool {
        false
    }
}

/// Where datagrams go.
pub trait DatagramSink {
    /// Sends datagrams in order; says how many went.
    ///
    /// # Errors
    /// When the first cannot be sent.
    fn send_batch(&mut self, outgoing: &[Outgoing<'_>]) -> Result<usize>;
}

impl DatagramSource for &Receiver {
    fn receive_batch(&mut self, batch: &mut Batch, timeout: Option<Duration>) -> Result<usize> {
        self.recv_batch_until(batch, timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }
}

impl DatagramSource for Receiver {
    fn receive_batch(&mut self, batch: &mut Batch, timeout: Option<Duration>) -> Result<usize> {
        (&*self).receive_batch(batch, timeout)
    }
}

impl DatagramSink for &Sender {
    fn send_batch(&mut self, outgoing: &[Outgoing<'_>]) -> Result<usize> {
        Sender::send_batch(self, outgoing)
    }
}

impl DatagramSink for Sender {
    fn send_batch(&mut self, outgoing: &[Outgoing<'_>]) -> Result<usize> {
        Self::send_batch(self, outgoing)
    }
}
