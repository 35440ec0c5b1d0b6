//! A sender on tokio.

use std::ops::Deref;
use std::sync::Arc;

use mcast_group::{Family, GroupAddr};

use super::readiness::Sockets;
use crate::sender::{Run, is_stale};
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
        self.keep_pace(std::slice::from_ref(outgoing)).await;
        self.send_everywhere(outgoing).await
    }

    /// Sends datagrams in order, with as few system calls as there can be; says how many went.
    ///
    /// Dropped before it is done, some may have gone out, from the first on.
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

    /// Waits until the first of these datagrams is due, if there is a pace; says how many are.
    async fn keep_pace(&self, outgoing: &[Outgoing<'_>]) -> usize {
        loop {
            match self.sender.allowance(outgoing) {
                Allowance::Now(count) => return count,
                Allowance::After(wait) => ::tokio::time::sleep(wait).await,
            }
        }
    }

    /// Sends what one system call takes.
    async fn send_run(&self, outgoing: &[Outgoing<'_>]) -> Result<usize> {
        loop {
            match self.sender.try_send_run(outgoing)? {
                Run::Sent(count) => return Ok(count),
                Run::Several => return self.send_everywhere(&outgoing[0]).await.map(|()| 1),
                Run::Full(family) => self.sockets.writable(&self.sender, family).await?,
            }
        }
    }

    /// Sends a datagram to each place that it goes to.
    async fn send_everywhere(&self, outgoing: &Outgoing<'_>) -> Result<()> {
        let places = self.sender.places(outgoing)?;
        let mut result = Ok(());
        for place in &places {
            result = result.and(self.send_there(place).await);
        }
        // An interface may have been made again under another index.
        if result.as_ref().is_err_and(is_stale) && self.sender.look_again(outgoing)? {
            result = Ok(());
            for place in self.sender.places(outgoing)?.iter().filter(|place| !is_among(place, &places)) {
                result = result.and(self.send_there(place).await);
            }
        }
        result
    }

    async fn send_there(&self, place: &Outgoing<'_>) -> Result<()> {
        while !self.sender.try_send_one(place)? {
            let family = place.to.map_or(Family::V4, |to| to.group.family());
            self.sockets.writable(&self.sender, family).await?;
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
            self.sender.make_room(family)?;
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

/// Whether a datagram was sent to this place among others.
fn is_among(place: &Outgoing<'_>, others: &[Outgoing<'_>]) -> bool {
    others.iter().any(|other| (other.to, other.interface) == (place.to, place.interface))
}
