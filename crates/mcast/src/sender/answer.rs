//! Unicast answers to what was sent.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use mcast_group::{Family, InterfaceIndex};

use super::Sender;
use crate::error::{Error, Operation, Result};
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
        let failed = |error| Error::os(Operation::Receive, error);
        let socket = self.socket(family)?;
        let deadline = Instant::now().checked_add(timeout);
        loop {
            match socket.receive(buffer) {
                Ok(received) => {
                    // What was sent to a group is no answer.
                    if received.destination.is_some_and(|destination| destination.is_multicast()) {
                        continue;
                    }
                    return Ok(Some(Answer {
                        payload: &buffer[..received.length],
                        source: received.source,
                        interface: received.interface,
                        hop_limit: received.hop_limit,
                        time: received.time,
                        truncated: received.truncated,
                    }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            match wait_readable(socket, left) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(failed(error)),
                _ => {}
            }
        }
    }
}
