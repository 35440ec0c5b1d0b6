//! Sources and sinks of datagrams: the interface shared by receivers, captures, files and
//! simulators.

use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::datagram::Outgoing;
use crate::error::Result;
use crate::receiver::Receiver;
use crate::sender::Sender;

/// A source of datagrams.
///
/// A [`Receiver`] is one; a capture, a file or a simulator can be one, too. Code that takes a `dyn
/// DatagramSource` works with all of them and can be tested without a network.
pub trait DatagramSource {
    /// Receives datagrams into the batch and returns their number. Waits at most `timeout` for the
    /// first one (`None`: without limit). The previous contents of the batch are removed.
    ///
    /// Returns 0 on timeout and at the end of the source ([`is_at_end`](Self::is_at_end)).
    ///
    /// # Errors
    /// Those of the source.
    fn receive_batch(&mut self, batch: &mut Batch, timeout: Option<Duration>) -> Result<usize>;

    /// Returns whether the source is exhausted, such as at the end of a file.
    fn is_at_end(&self) -> bool {
        false
    }
}

/// A destination of datagrams.
pub trait DatagramSink {
    /// Sends datagrams in order and returns the number sent.
    ///
    /// # Errors
    /// If the first datagram cannot be sent.
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
