//! Unicast answers to what was sent.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use mcast_group::{Family, InterfaceIndex};

use super::Sender;
use crate::error::{Error, Operation, Result};
use crate::sys::Received;
use crate::sys::poller::wait_readable;

/// A unicast datagram that came to a sender's port: an answer to what it sent, as
/// [`Receiver::reply`](crate::Receiver::reply) sends them.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Answer<'a> {
    /// The bytes.
    pub payload: &'a [u8],
    /// Who sent it. A claim of the sender's.
    pub source: SocketAddr,
    /// The interface that it came in by, where the system tells.
    pub interface: Option<InterfaceIndex>,
    /// The hop limit that was left, where the system tells.
    pub hop_limit: Option<u8>,
    /// When the kernel received it, where it tells.
    pub time: Option<SystemTime>,
    /// The buffer was too small, and the rest is gone.
    pub truncated: bool,
}

impl Sender {
    /// Waits for a unicast answer of this family, for no longer than this; `None` when the time
    /// is over.
    ///
    /// # Errors
    /// When the system cannot receive.
    pub fn recv_answer<'b>(
        &self,
        family: Family,
        buffer: &'b mut [u8],
        timeout: Duration,
    ) -> Result<Option<Answer<'b>>> {
        // Whoever spins asks again and again, and reads no clock for it.
        let deadline = if timeout.is_zero() { None } else { Instant::now().checked_add(timeout) };
        loop {
            if let Some((received, length)) = self.try_answer(family, buffer)? {
                return Ok(Some(Answer::new(&buffer[..length], &received)));
            }
            if timeout.is_zero() {
                return Ok(None);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            self.wait_answer(family, left)?;
        }
    }

    /// Receives an answer if one is there.
    pub(crate) fn try_answer(&self, family: Family, buffer: &mut [u8]) -> Result<Option<(Received, usize)>> {
        let socket = self.socket(family)?;
        loop {
            match socket.receive(buffer) {
                // What was sent to a group is no answer.
                Ok(received)
                    if received.destination.is_some_and(|destination| destination.is_multicast()) => {}
                Ok(received) => return Ok(Some((received, received.length))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What the network said about something that was sent is no answer.
                Err(_) if socket.forget_errors() => {}
                Err(error) => return Err(Error::os(Operation::Receive, error)),
            }
        }
    }

    /// Makes ready to wait for an answer: forgets what the network said about what was sent, or a
    /// wait would end at once, and there would be no room for answers.
    pub(crate) fn make_room(&self, family: Family) -> Result<()> {
        self.socket(family)?.forget_errors();
        Ok(())
    }

    /// Waits until [`recv_answer`](Self::recv_answer) may find an answer at once, for no longer than this (without
    /// limit for `None`); says whether it may. For those who share a sender and must not take an answer before they hold
    /// what it is for.
    ///
    /// # Errors
    /// When the system cannot wait.
    pub fn wait_answer(&self, family: Family, timeout: Option<Duration>) -> Result<bool> {
        self.make_room(family)?;
        match wait_readable(self.socket(family)?, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            result => result.map_err(|error| Error::os(Operation::Receive, error)),
        }
    }
}

impl<'a> Answer<'a> {
    pub(crate) fn new(payload: &'a [u8], received: &Received) -> Self {
        Self {
            payload,
            source: received.source,
            interface: received.interface,
            hop_limit: received.hop_limit,
            time: received.time,
            truncated: received.truncated,
        }
    }
}
