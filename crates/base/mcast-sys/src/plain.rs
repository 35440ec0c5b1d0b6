//! The fallback for systems without GRO and batched receives: one call per datagram.

use std::io;

use mcast_group::InterfaceIndex;

use super::Received;
use super::poller::Poller;
use super::socket::Socket;
use crate::ReceiveBuffer;

impl Socket {
    /// These systems do not coalesce datagrams.
    pub const COALESCES: bool = false;

    /// Does nothing; see [`COALESCES`](Self::COALESCES).
    pub fn enable_gro(&self) -> io::Result<()> {
        Ok(())
    }

    /// Returns whether the interface still exists. These systems have no network namespaces.
    pub fn has_interface(&self, index: InterfaceIndex) -> io::Result<bool> {
        Ok(super::interface::list()?.iter().any(|interface| interface.index == index))
    }

    /// Does nothing: these systems have no error queue.
    pub fn forget_errors(&self) -> bool {
        false
    }

    /// Receives into as many of `buffers` as there are datagrams, and returns the number.
    ///
    /// [`ReceiveSlots::received`] returns the results. FreeBSD's `recvmmsg` is such a loop in its C
    /// library, and Apple's `recvmsg_x` is a private API.
    pub fn receive_many(&self, slots: &mut ReceiveSlots, buffers: &mut [ReceiveBuffer]) -> io::Result<usize> {
        slots.received.clear();
        for buffer in buffers.iter_mut().take(slots.count) {
            match self.receive(buffer.bytes_mut()) {
                Ok(received) => slots.received.push(received),
                Err(error) if slots.received.is_empty() => return Err(error),
                // An error other than "nothing available" occurs again with the next receive.
                Err(_) => break,
            }
        }
        Ok(slots.received.len())
    }
}

impl Poller {
    /// Does nothing: receivers without GRO deliver every datagram at once.
    pub fn set_pending(&self, _pending: bool) -> io::Result<()> {
        Ok(())
    }
}

/// The result of a batched receive.
#[derive(Debug)]
pub struct ReceiveSlots {
    received: Vec<Received>,
    count: usize,
}

impl ReceiveSlots {
    /// Creates slots for this number of datagrams.
    pub fn new(count: usize) -> Self {
        Self { received: Vec::with_capacity(count), count }
    }

    /// Returns the result of the last `receive_many` for the buffer with this index.
    pub fn received(&self, index: usize) -> io::Result<Received> {
        self.received.get(index).copied().ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}
