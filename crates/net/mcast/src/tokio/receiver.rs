//! A receiver for tokio.

use mcast_group::{Membership, SourceFilter};

use super::readiness::Readable;
use crate::receiver::PollerCheck;
use crate::{Arrival, Batch, Datagram, MembershipStatus, Result, Statistics, Waker};

/// A [`Receiver`](crate::Receiver) whose waits are futures.
///
/// It has no blocking calls. For other operations, [`blocking`](Self::blocking) returns the
/// underlying receiver.
///
/// ```no_run
/// # async fn receive() -> Result<(), Box<dyn std::error::Error>> {
/// let receiver = mcast::Receiver::join_one("239.1.2.3:7000".parse()?)?;
/// let receiver = mcast::tokio::Receiver::new(receiver)?;
/// let mut buffer = [0; 65_536];
/// loop {
///     let datagram = receiver.recv(&mut buffer).await?;
///     println!("{} bytes from {}", datagram.length, datagram.source.ip());
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Receiver {
    receiver: crate::Receiver,
    readable: Readable,
}

impl Receiver {
    /// Registers a receiver with the current runtime.
    ///
    /// # Errors
    /// If the descriptor cannot be registered with the runtime.
    ///
    /// # Panics
    /// If called outside a tokio runtime with IO enabled.
    pub fn new(receiver: crate::Receiver) -> Result<Self> {
        let readable = Readable::new(&receiver)?;
        Ok(Self { receiver, readable })
    }

    /// Waits for a datagram and receives it into this buffer.
    ///
    /// # Errors
    /// As [`Receiver::recv`](crate::Receiver::recv).
    pub async fn recv<'b>(&self, buffer: &'b mut [u8]) -> Result<Datagram<'b>> {
        let (arrival, length) =
            self.readable.when(|| self.receiver.attempt(buffer, PollerCheck::Last)).await?;
        Ok(Datagram::new(&buffer[..length], arrival))
    }

    /// Waits for datagrams, receives as many as are available and fit the batch, and returns their
    /// number.
    ///
    /// # Errors
    /// As [`Receiver::recv_batch`](crate::Receiver::recv_batch).
    pub async fn recv_batch(&self, batch: &mut Batch) -> Result<usize> {
        self.readable.when(|| self.receiver.attempt_batch(batch, PollerCheck::Last)).await
    }

    /// Receives a datagram if one is available; otherwise returns `None`.
    ///
    /// # Errors
    /// As [`Receiver::try_recv`](crate::Receiver::try_recv).
    pub fn try_recv<'b>(&self, buffer: &'b mut [u8]) -> Result<Option<Datagram<'b>>> {
        self.receiver.try_recv(buffer)
    }

    /// Receives the datagrams that are available and fit the batch, and returns their number.
    ///
    /// # Errors
    /// As [`Receiver::try_recv_batch`](crate::Receiver::try_recv_batch).
    pub fn try_recv_batch(&self, batch: &mut Batch) -> Result<usize> {
        self.receiver.try_recv_batch(batch)
    }

    /// Sends a reply to a datagram's source; see [`Receiver::reply`](crate::Receiver::reply).
    ///
    /// # Errors
    /// As [`Receiver::reply`](crate::Receiver::reply).
    pub fn reply(&self, to: &Arrival, payload: &[u8]) -> Result<()> {
        self.receiver.reply(to, payload)
    }

    /// Joins a group while receiving.
    ///
    /// # Errors
    /// As [`Receiver::join`](crate::Receiver::join).
    pub fn join(&self, membership: Membership) -> Result<()> {
        self.receiver.join(membership)
    }

    /// Leaves a group while receiving.
    ///
    /// # Errors
    /// As [`Receiver::leave`](crate::Receiver::leave).
    pub fn leave(&self, membership: &Membership) -> Result<()> {
        self.receiver.leave(membership)
    }

    /// Replaces the sources of a membership.
    ///
    /// # Errors
    /// As [`Receiver::set_sources`](crate::Receiver::set_sources).
    pub fn set_sources(&self, membership: &Membership, sources: SourceFilter) -> Result<()> {
        self.receiver.set_sources(membership, sources)
    }

    /// Returns the state of each membership on each of its interfaces.
    #[must_use]
    pub fn memberships(&self) -> Vec<MembershipStatus> {
        self.receiver.memberships()
    }

    /// Returns counts of datagrams received, refused, truncated and dropped.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.receiver.statistics()
    }

    /// Returns the smallest receive buffer that the system granted to one of the sockets, in bytes.
    #[must_use]
    pub fn receive_buffer(&self) -> usize {
        self.receiver.receive_buffer()
    }

    /// Returns a handle that ends a wait from another task or thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.receiver.waker()
    }

    /// Returns the underlying blocking receiver. Its calls that wait (`recv`, `recv_timeout`,
    /// `recv_batch`, `wait`, `reader`...) block the executor: call them in `spawn_blocking` only.
    #[must_use]
    pub const fn blocking(&self) -> &crate::Receiver {
        &self.receiver
    }

    /// Returns the underlying blocking receiver by value.
    #[must_use]
    pub fn into_inner(self) -> crate::Receiver {
        self.receiver
    }
}
