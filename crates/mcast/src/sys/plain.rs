//! What systems without merging and batches do in their place: a datagram is a message, and a
//! call is made for each.

use std::io;

use super::Received;
use super::socket::Socket;
use crate::batch::Buffer;

impl Socket {
    /// There is no merging here.
    pub(crate) fn set_merging(&self, _on: bool) -> io::Result<bool> {
        Ok(false)
    }

    /// No errors are kept here.
    pub(crate) fn forget_errors(&self) -> bool {
        false
    }

    /// Receives into as many of `buffers` as there are datagrams for, and returns how many.
    ///
    /// What came is read with [`ReceiveSlots::received`]. FreeBSD's `recvmmsg` is such a loop in
    /// its C library, and Apple's `recvmsg_x` is not for others.
    pub(crate) fn receive_many(&self, slots: &mut ReceiveSlots, buffers: &mut [Buffer]) -> io::Result<usize> {
        slots.received.clear();
        for buffer in buffers.iter_mut().take(slots.count) {
            match self.receive(buffer.bytes_mut()) {
                Ok(received) => slots.received.push(received),
                Err(error) if slots.received.is_empty() => return Err(error),
                // It comes again with the next receive, if it is more than "nothing there".
                Err(_) => break,
            }
        }
        Ok(slots.received.len())
    }
}

/// What a batched receive brought.
#[derive(Debug)]
pub(crate) struct ReceiveSlots {
    received: Vec<Received>,
    count: usize,
}

impl ReceiveSlots {
    /// Slots for so many datagrams at once.
    pub(crate) fn new(count: usize) -> Self {
        Self { received: Vec::with_capacity(count), count }
    }

    /// What the last `receive_many` put into its buffer of this index.
    pub(crate) fn received(&self, index: usize) -> io::Result<Received> {
        self.received.get(index).copied().ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}
