//! Unicast replies to multicast datagrams, and the counts of a sender.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mcast_group::{Family, InterfaceIndex};
use mcast_sys::poller::wait_readable;
use mcast_sys::{Received, Sent};

use super::Sender;
use crate::error::{Error, Operation, Result};

/// A unicast datagram that arrived at a sender's port: a reply such as
/// [`Receiver::reply`](crate::Receiver::reply) sends.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Reply<'a> {
    /// The payload.
    pub payload: &'a [u8],
    /// The source address, which the peer can forge.
    pub source: SocketAddr,
    /// The interface on which it arrived, where the system reports it.
    pub interface: Option<InterfaceIndex>,
    /// The remaining hop limit, where the system reports it.
    pub hop_limit: Option<u8>,
    /// When the kernel received it, where the system reports it.
    pub time: Option<SystemTime>,
    /// Whether the buffer was too small. The rest of the payload is lost.
    pub truncated: bool,
}

impl Sender {
    /// Waits at most `timeout` for a unicast reply of this family; returns `None` on timeout.
    ///
    /// # Errors
    /// If the system cannot receive.
    pub fn recv_answer<'b>(
        &self,
        family: Family,
        buffer: &'b mut [u8],
        timeout: Duration,
    ) -> Result<Option<Reply<'b>>> {
        // A zero timeout is used for polling in a loop, where reading the clock would cost time.
        let deadline = if timeout.is_zero() { None } else { Instant::now().checked_add(timeout) };
        loop {
            if let Some((received, length)) = self.try_answer(family, buffer)? {
                return Ok(Some(Reply::new(&buffer[..length], &received)));
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

    /// Receives a reply if one is available.
    pub(crate) fn try_answer(&self, family: Family, buffer: &mut [u8]) -> Result<Option<(Received, usize)>> {
        let socket = self.socket(family)?;
        loop {
            let received = match self.settings.details {
                true => socket.receive(buffer),
                false => socket.receive_bare(buffer),
            };
            match received {
                // A datagram sent to a group is not a reply.
                Ok(received)
                    if received.destination.is_some_and(|destination| destination.is_multicast()) => {}
                Ok(received) => return Ok(Some((received, received.length))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // An error about a datagram sent earlier is not a reply.
                Err(_) if self.forget_errors(socket) => {}
                Err(error) => return Err(Error::os(Operation::Receive, error)),
            }
        }
    }

    /// Discards the errors about datagrams sent earlier. Otherwise a wait would end at once, and
    /// the errors would take the buffer space of replies.
    pub(crate) fn discard_errors(&self, family: Family) -> Result<()> {
        self.forget_errors(self.socket(family)?);
        Ok(())
    }

    /// Waits at most `timeout` (`None`: without limit) until [`recv_answer`](Self::recv_answer) may
    /// return a reply at once, and returns whether it may. For threads that share a sender and must
    /// not receive a reply before they hold the lock on its request.
    ///
    /// # Errors
    /// If the system cannot wait.
    pub fn wait_answer(&self, family: Family, timeout: Option<Duration>) -> Result<bool> {
        self.discard_errors(family)?;
        match wait_readable(self.socket(family)?, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            result => result.map_err(|error| Error::os(Operation::Receive, error)),
        }
    }
}

impl<'a> Reply<'a> {
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

mcast_metrics::figures! {
    /// The counts of a sender so far.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct SendStatistics {
        /// Datagrams that the system accepted.
        count datagrams: u64,
        /// System calls that sent datagrams.
        count calls: u64,
        /// Buffers with more than one datagram, which the system or the device segments (Linux and
        /// Windows: UDP segmentation offload).
        count trains: u64,
        /// Times at which hosts or routers had reported that datagrams sent earlier did not arrive, for instance because
        /// nothing receives on the port (Linux: ICMP errors; elsewhere always 0).
        count unreachable: u64,
    }
}

/// The counters behind [`SendStatistics`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    datagrams: AtomicU64,
    calls: AtomicU64,
    trains: AtomicU64,
    unreachable: AtomicU64,
}

impl Counters {
    pub(crate) fn sent(&self, sent: Sent) {
        self.datagrams.fetch_add(sent.datagrams as u64, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.trains.fetch_add(sent.segmented as u64, Ordering::Relaxed);
    }

    pub(crate) fn unreachable(&self) {
        self.unreachable.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn statistics(&self) -> SendStatistics {
        SendStatistics {
            datagrams: self.datagrams.load(Ordering::Relaxed),
            calls: self.calls.load(Ordering::Relaxed),
            trains: self.trains.load(Ordering::Relaxed),
            unreachable: self.unreachable.load(Ordering::Relaxed),
        }
    }
}
