//! A sender on tokio.

use std::ops::Deref;
use std::sync::Arc;

use mcast_group::{Family, GroupAddr};

use super::readiness::Sockets;
use crate::{Allowance, Answer, Outgoing, Result};

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
    /// This sender on tokio.
    #[must_use]
    pub fn new(sender: crate::Sender) -> Self {
        Self { sender: Arc::new(sender), sockets: Sockets::default() }
    }

    /// Sends a datagram to every destination of the sender, by every interface that is meant.
    ///
    /// Dropped before it is done, it may have gone out by some of them.
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
    /// Dropped before it is done, it may have gone out by some of several interfaces.
    ///
    /// # Errors
    /// As [`Sender::send_one`](crate::Sender::send_one).
    pub async fn send_one(&self, outgoing: &Outgoing<'_>) -> Result<()> {
        while let Allowance::After(wait) = self.sender.allowance(std::slice::from_ref(outgoing)) {
            ::tokio::time::sleep(wait).await;
        }
        for outgoing in self.sender.places(outgoing)? {
            while !self.sender.try_send_one(&outgoing)? {
                let family = outgoing.to.map_or(Family::V4, |to| to.group.family());
                self.sockets.writable(&self.sender, family).await?;
            }
        }
        Ok(())
    }

    /// Waits for a unicast answer of this family.
    ///
    /// # Errors
    /// As [`Sender::recv_answer`](crate::Sender::recv_answer).
    pub async fn recv_answer<'b>(&self, family: Family, buffer: &'b mut [u8]) -> Result<Answer<'b>> {
        loop {
            if let Some((received, length)) = self.sender.try_answer(family, buffer)? {
                return Ok(Answer::new(&buffer[..length], &received));
            }
            self.sockets.readable(&self.sender, family).await?;
        }
    }
}

impl Deref for Sender {
    type Target = crate::Sender;

    fn deref(&self) -> &crate::Sender {
        &self.sender
    }
}
