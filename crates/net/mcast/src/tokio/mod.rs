//! Receiver and sender for tokio (feature `tokio`).
//!
//! Every call is cancel-safe unless its documentation says otherwise: a future that is dropped has
//! not consumed a datagram. Calls that change memberships are short and do not wait for the
//! network.
//!
//! ```
//! use mcast::tokio::Receiver;
//!
//! async fn receive() -> mcast::Result<Vec<u8>> {
//!     let receiver = Receiver::new(mcast::Receiver::builder().build()?)?;
//!     let mut buffer = [0; 2_000];
//!     Ok(receiver.recv(&mut buffer).await?.payload().to_vec())
//! }
//! ```
//!
//! Blocking calls are not available:
//!
//! ```compile_fail
//! fn blocks(receiver: &mcast::tokio::Receiver) {
//!     let _ = receiver.recv_timeout(&mut [0; 2_000], std::time::Duration::from_secs(1));
//! }
//! ```

#[cfg(feature = "futures")]
mod futures;
#[cfg(unix)]
#[path = "readiness_unix.rs"]
mod readiness;
#[cfg(not(unix))]
#[path = "readiness_by_thread.rs"]
mod readiness;

use std::sync::Arc;

use mcast_group::{Family, GroupAddr, Membership, SourceFilter};

use crate::error::{Error, ErrorKind, Operation};
use crate::receiver::PollerCheck;
use crate::sender::{RunOutcome, is_stale};
use crate::{Arrival, Batch, Datagram, Outgoing, PaceDecision, Reply, Result};
use readiness::{Readable, Sockets};

/// A [`Receiver`](crate::Receiver) whose waits are futures.
///
/// It has no blocking calls. For other operations, [`blocking`](Self::blocking) returns the
/// underlying receiver.
///
/// ```no_run
/// # async fn receive() -> Result<(), Box<dyn std::error::Error>> {
/// let receiver = mcast::Receiver::join_one("239.255.2.3:7000".parse()?)?;
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
        let mut arrival = None;
        let attempt = || self.receiver.attempt(buffer, PollerCheck::Last, &mut arrival);
        let length = self.readable.when(attempt).await?;
        // An attempt that received something has set it.
        let arrival = arrival.ok_or_else(|| Error::new(Operation::Receive, ErrorKind::Other))?;
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

    /// Returns the underlying blocking receiver, for what does not wait: the states of memberships, statistics, the waker,
    /// receiving with a timeout of zero. Its calls that wait (`recv`, `wait`, `reader`...) block the executor: call them in
    /// `spawn_blocking` only.
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

/// A [`Sender`](crate::Sender) whose waits are futures.
///
/// ```no_run
/// # async fn send() -> Result<(), Box<dyn std::error::Error>> {
/// let sender = mcast::Sender::to("239.255.2.3%eth0:7000".parse()?)?;
/// let sender = mcast::tokio::Sender::new(sender);
/// sender.send(b"hello").await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Sender {
    sender: Arc<crate::Sender>,
    sockets: Sockets,
}

impl Sender {
    /// Wraps a sender for tokio.
    #[must_use]
    pub fn new(sender: crate::Sender) -> Self {
        Self { sender: Arc::new(sender), sockets: Sockets::default() }
    }

    /// Sends a datagram to every destination of the sender, by every interface requested.
    ///
    /// If the future is dropped early, the datagram may have been sent to some of them.
    ///
    /// # Errors
    /// As [`Sender::send`](crate::Sender::send).
    pub async fn send(&self, payload: &[u8]) -> Result<()> {
        self.send_one(&Outgoing::new(payload)).await
    }

    /// Sends a datagram to this group.
    ///
    /// # Errors
    /// As [`Sender::send`](crate::Sender::send).
    pub async fn send_to(&self, payload: &[u8], to: GroupAddr) -> Result<()> {
        self.send_one(&Outgoing::new(payload).to(to)).await
    }

    /// Sends a datagram with settings of its own.
    ///
    /// If the future is dropped early, the datagram may have been sent by some of several
    /// interfaces.
    ///
    /// # Errors
    /// As [`Sender::send_one`](crate::Sender::send_one).
    pub async fn send_one(&self, outgoing: &Outgoing<'_>) -> Result<()> {
        self.keep_pace(std::slice::from_ref(outgoing)).await;
        self.send_everywhere(outgoing).await
    }

    /// Sends datagrams in order, with as few system calls as possible, and returns the number sent.
    ///
    /// If the future is dropped early, some datagrams may have been sent, from the first on.
    ///
    /// # Errors
    /// As [`Sender::send_batch`](crate::Sender::send_batch).
    pub async fn send_batch(&self, outgoing: &[Outgoing<'_>]) -> Result<usize> {
        let mut sent = 0;
        while sent < outgoing.len() {
            let due = sent + self.keep_pace(&outgoing[sent..]).await;
            while sent < due {
                match self.send_run(&outgoing[sent..due]).await {
                    Ok(count) => sent += count,
                    Err(error) if sent == 0 => return Err(error),
                    Err(_) => return Ok(sent),
                }
            }
        }
        Ok(sent)
    }

    /// Waits until the first of these datagrams is due, if there is a pace; returns the number that
    /// is due.
    async fn keep_pace(&self, outgoing: &[Outgoing<'_>]) -> usize {
        loop {
            match self.sender.allowance(outgoing) {
                PaceDecision::Now(count) => return count,
                PaceDecision::After(wait) => ::tokio::time::sleep(wait).await,
            }
        }
    }

    /// Sends the datagrams that one system call can take.
    async fn send_run(&self, outgoing: &[Outgoing<'_>]) -> Result<usize> {
        loop {
            match self.sender.try_send_run(outgoing)? {
                RunOutcome::Sent(count) => return Ok(count),
                RunOutcome::Several => return self.send_everywhere(&outgoing[0]).await.map(|()| 1),
                RunOutcome::Full(family) => self.sockets.writable(&self.sender, family).await?,
            }
        }
    }

    /// Sends a datagram to all its destinations.
    async fn send_everywhere(&self, outgoing: &Outgoing<'_>) -> Result<()> {
        let destinations = self.sender.expand(outgoing)?;
        let mut result = Ok(());
        for destination in &destinations {
            result = result.and(self.send_to_one(destination).await);
        }
        // An interface may have been created again under another index.
        if result.as_ref().is_err_and(is_stale) && self.sender.refresh_egress(outgoing)? {
            result = Ok(());
            for destination in self
                .sender
                .expand(outgoing)?
                .iter()
                .filter(|destination| !is_among(destination, &destinations))
            {
                result = result.and(self.send_to_one(destination).await);
            }
        }
        result
    }

    async fn send_to_one(&self, destination: &Outgoing<'_>) -> Result<()> {
        while !self.sender.try_send_one(destination)? {
            let family = destination.to.map_or(Family::V4, |to| Family::of(to.ip()));
            self.sockets.writable(&self.sender, family).await?;
        }
        Ok(())
    }

    /// Returns the blocking sender, for what does not wait: paths, statistics, settings.
    #[must_use]
    pub fn blocking(&self) -> &crate::Sender {
        &self.sender
    }

    /// Waits for a unicast reply of this family.
    ///
    /// # Errors
    /// As [`Sender::recv_answer`](crate::Sender::recv_answer).
    pub async fn recv_answer<'b>(&self, family: Family, buffer: &'b mut [u8]) -> Result<Reply<'b>> {
        loop {
            if let Some((received, length)) = self.sender.try_answer(family, buffer)? {
                return Ok(Reply::new(&buffer[..length], &received));
            }
            self.sender.discard_errors(family)?;
            self.sockets.readable(&self.sender, family).await?;
        }
    }
}

/// Returns whether this destination is among others.
fn is_among(one: &Outgoing<'_>, others: &[Outgoing<'_>]) -> bool {
    others.iter().any(|other| (other.to, other.interface) == (one.to, one.interface))
}
