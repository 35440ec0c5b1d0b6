//! A receiver on tokio.

use std::ops::Deref;

use super::readiness::Readable;
use crate::receiver::Look;
use crate::{Batch, Datagram, Result};

/// A [`Receiver`](crate::Receiver) whose waits are futures.
///
/// ```no_run
/// # async fn receive() -> Result<(), Box<dyn std::error::Error>> {
/// let receiver = mcast::Receiver::join_one("239.1.2.3:7000".parse()?)?;
/// let receiver = mcast::tokio::Receiver::new(receiver)?;
/// let mut buffer = [0; 65_536];
/// loop {
///     let datagram = receiver.recv(&mut buffer).await?;
///     println!("{} bytes from {}", datagram.length, datagram.source());
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Receiver {
    receiver: crate::Receiver,
    readable: Readable,
}

impl Receiver {
    /// This receiver on the runtime of the calling task.
    ///
    /// # Errors
    /// When the descriptor cannot be registered with the runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime with IO enabled, as all of tokio does.
    pub fn new(receiver: crate::Receiver) -> Result<Self> {
        let readable = Readable::new(&receiver)?;
        Ok(Self { receiver, readable })
    }

    /// Waits for a datagram and receives it into this buffer.
    ///
    /// # Errors
    /// As [`Receiver::recv`](crate::Receiver::recv).
    pub async fn recv<'b>(&self, buffer: &'b mut [u8]) -> Result<Datagram<'b>> {
        let (arrival, length) = self.readable.when(|| self.receiver.attempt(buffer, Look::Last)).await?;
        Ok(Datagram::new(&buffer[..length], arrival))
    }

    /// Waits for datagrams and receives as many as are there; says how many.
    ///
    /// # Errors
    /// As [`Receiver::recv_batch`](crate::Receiver::recv_batch).
    pub async fn recv_batch(&self, batch: &mut Batch) -> Result<usize> {
        self.readable.when(|| self.receiver.attempt_batch(batch, Look::Last)).await
    }

    /// The receiver for threads again.
    #[must_use]
    pub fn into_inner(self) -> crate::Receiver {
        self.receiver
    }
}

impl Deref for Receiver {
    type Target = crate::Receiver;

    fn deref(&self) -> &crate::Receiver {
        &self.receiver
    }
}
