//! What systems without trains, merging and batches do in their place: a datagram is a message,
//! and a call is made for each.

use std::io;

use super::socket::Socket;
use super::{Received, Sent, Transmit};
use crate::batch::Buffer;
use crate::outgoing::Outgoing;

impl Socket {
    /// There are no trains here.
    pub(crate) fn set_segmentation(&self, _on: bool) {}

    /// How many datagrams may leave in one train.
    pub(crate) fn segments_at_once(&self) -> usize {
        1
    }

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

    /// Sends the datagrams at the start of `outgoing`, in order, up to one that `transmit` says
    /// is not this call's to send. An error is that of the first datagram.
    pub(crate) fn send_run<'a>(
        &self,
        outgoing: &[Outgoing<'a>],
        transmit: impl FnMut(&Outgoing<'a>) -> Option<Transmit<'a>>,
    ) -> io::Result<Sent> {
        let mut sent = Sent::default();
        for transmit in outgoing.iter().map_while(transmit) {
            match self.send(&transmit) {
                Ok(()) => sent.datagrams += 1,
                Err(error) if sent.datagrams == 0 => return Err(error),
                // Sending the rest tells why.
                Err(_) => break,
            }
        }
        Ok(sent)
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
