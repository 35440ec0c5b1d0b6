//! A sender for tokio.

use std::sync::Arc;

use mcast_group::{Family, GroupAddr};

use super::readiness::Sockets;
use crate::sender::{RunOutcome, is_stale};
use crate::{Outgoing, PaceDecision, Reply, Result};

/// A [`Sender`](crate::Sender) whose waits are futures.
///
/// ```no_run
/// # async fn send() -> Result<(), Box<dyn std::error::Error>> {
/// let sender = mcast::Sender::to("239.1.2.3%eth0:7000".parse()?)?;
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
