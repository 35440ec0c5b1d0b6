//! The queue of control datagrams (all kinds but data) to be sent.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::sign::SIGNATURE_EXTENSION;
use crate::wire::{DatagramWriter, Header, NakWriter, TAG_LENGTH, WriteError};

/// The largest number of queued datagrams: a control datagram that does not fit is generated again later.
const MAX_QUEUED: usize = 256;
/// The length of the longest control datagram: a list with its headers, a signature and the tag.
const LONGEST: usize = 64 + NakWriter::LONGEST_BODY + 64 + SIGNATURE_EXTENSION + TAG_LENGTH;

/// The destination of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The group of the stream, on each of its paths.
    Group,
    /// A single address that receives what is sent to it, as far as the sender knows.
    Address(SocketAddr),
    /// A single address that may not exist: it has not proven itself, or it is another subscriber's. The system may hold a
    /// datagram to it for seconds while it looks for the host. Such datagrams must not use up the send buffer of the others:
    /// send them from other sockets, or only while most of the buffer is free. They may be dropped.
    Aside(SocketAddr),
    /// The discovery group, to which streams are announced.
    Discovery,
}

/// A control datagram (any kind but data), or the repair of a subscriber, ready to be sent.
#[derive(Debug)]
pub struct Control {
    /// The destination.
    pub to: Target,
    bytes: Vec<u8>,
}

impl Control {
    /// Returns the bytes of the datagram.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A queue that reuses its buffers.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: VecDeque<Control>,
    spare: Vec<Vec<u8>>,
    /// The length of the longest datagram.
    longest: usize,
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Outbox {
    /// Creates a queue of lists and shorter datagrams, and of others of at most `longest` bytes.
    pub(crate) fn new(longest: usize) -> Self {
        Self { queue: VecDeque::new(), spare: Vec::new(), longest: longest.max(LONGEST) }
    }

    /// Adds a datagram; returns its length, or 0 if it was not added.
    pub(crate) fn push(
        &mut self,
        to: Target,
        header: &Header,
        write: impl FnOnce(&mut DatagramWriter<'_>) -> Result<(), WriteError>,
        seal: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> usize {
        if self.queue.len() >= MAX_QUEUED {
            return 0;
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.resize(self.longest, 0);
        let written = DatagramWriter::new(&mut bytes, header).and_then(|mut writer| {
            write(&mut writer)?;
            Ok(writer.finish())
        });
        debug_assert!(written.is_ok(), "a control datagram is longer than its buffer: {written:?}");
        bytes.truncate(written.unwrap_or(0));
        if written.is_err() || !seal(&mut bytes) {
            self.spare.push(bytes);
            return 0;
        }
        let length = bytes.len();
        debug_assert!(length > 0, "an empty control datagram");
        self.queue.push_back(Control { to, bytes });
        length
    }

    /// Adds a copy of a datagram that is complete.
    pub(crate) fn push_copy(&mut self, to: Target, datagram: &[u8]) {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(datagram);
        debug_assert!(self.queue.len() <= MAX_QUEUED, "more control datagrams than may wait");
        self.queue.push_back(Control { to, bytes });
    }

    pub(crate) fn pop(&mut self) -> Option<Control> {
        self.queue.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes back the buffer of a sent datagram.
    pub(crate) fn reuse(&mut self, control: Control) {
        if self.spare.len() < MAX_QUEUED {
            self.spare.push(control.bytes);
        }
    }
}
