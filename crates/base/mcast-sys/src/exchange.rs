//! Inputs and outputs of a socket, common to all platforms.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mcast_group::InterfaceIndex;

/// The result of one receive: a datagram, or several of equal length that the kernel coalesced (UDP
/// GRO).
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// The number of bytes in the buffer.
    pub length: usize,
    /// The number of bytes received; more than `length` if the buffer was too small.
    pub full_length: usize,
    /// Whether the datagram was larger than the buffer.
    pub truncated: bool,
    /// The size of each coalesced datagram (the last may be shorter); `None` for a single one.
    pub segment: Option<usize>,
    /// The sender's address and port.
    pub source: SocketAddr,
    /// The address it was sent to, if reported.
    pub destination: Option<IpAddr>,
    /// The interface it arrived on, if reported.
    pub interface: Option<InterfaceIndex>,
    /// The hop limit (IPv4: TTL) it arrived with, if reported.
    pub hop_limit: Option<u8>,
    /// The traffic class (DSCP and ECN) it arrived with, if reported.
    pub traffic_class: Option<u8>,
    /// When the kernel received it, if reported.
    pub time: Option<SystemTime>,
    /// The time of the device's clock, if it was requested and the device reports it.
    pub hardware_time: Option<SystemTime>,
    /// The socket's running total of drops when this was queued, if reported. It may wrap.
    pub overflow: Option<u32>,
}

impl Default for Received {
    /// An empty datagram from nowhere: the memory for a result.
    fn default() -> Self {
        Self::bare(0, 0, SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0))
    }
}

impl Received {
    /// Makes this the result for a datagram of which only length and source are known, without a copy of all fields.
    #[inline]
    pub fn reset(&mut self, full_length: usize, capacity: usize, source: SocketAddr) {
        self.length = full_length.min(capacity);
        self.full_length = full_length;
        self.truncated = full_length > capacity;
        self.segment = None;
        self.source = source;
        self.destination = None;
        self.interface = None;
        self.hop_limit = None;
        self.traffic_class = None;
        self.time = None;
        self.hardware_time = None;
        self.overflow = None;
    }

    /// Creates the result for a datagram of which only length and source are known.
    #[inline]
    pub fn bare(full_length: usize, capacity: usize, source: SocketAddr) -> Self {
        Self {
            length: full_length.min(capacity),
            full_length,
            truncated: full_length > capacity,
            segment: None,
            source,
            destination: None,
            interface: None,
            hop_limit: None,
            traffic_class: None,
            time: None,
            hardware_time: None,
            overflow: None,
        }
    }
}

/// One datagram to send.
#[derive(Clone, Copy, Debug)]
pub struct SendRequest<'a> {
    /// The payload.
    pub payload: &'a [u8],
    /// The destination.
    pub to: SocketAddr,
    /// The outgoing interface; `None` for the socket's default or the routing table's choice.
    pub interface: Option<InterfaceIndex>,
    /// The source address; `None` for the socket's own, or one of the interface.
    pub source: Option<IpAddr>,
    /// The hop limit (IPv4: TTL); `None` for the socket's.
    pub hop_limit: Option<u8>,
    /// The traffic class (DSCP and ECN); `None` for the socket's.
    pub traffic_class: Option<u8>,
    /// The launch time on the socket's launch clock.
    pub launch: Option<Duration>,
}

/// The datagrams sent by one call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// The number of datagrams.
    pub datagrams: usize,
    /// The number of segmented buffers: those with more than one datagram.
    pub segmented: usize,
}

/// A datagram in a batch to send.
pub trait OutgoingDatagram {
    /// Returns the payload.
    fn payload(&self) -> &[u8];

    /// Returns whether both have the same destination and settings, so that one buffer may hold
    /// them (GSO).
    fn shares_settings(&self, other: &Self) -> bool;
}

/// A clock by which a datagram may be given a launch time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelClock {
    /// `CLOCK_MONOTONIC`.
    Monotonic,
    /// `CLOCK_TAI`.
    Tai,
}

/// One receive buffer, shared with the datagrams that were kept from it.
///
/// The system provides the memory as it is written to: hundreds of large buffers that receive small datagrams take hardly any
/// time to create, and a page each.
#[derive(Debug)]
pub struct ReceiveBuffer {
    /// As much as has ever been written to, from the start on.
    memory: Arc<Vec<u8>>,
    size: usize,
}

impl ReceiveBuffer {
    /// Allocates a buffer of this size.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { memory: Arc::new(Vec::with_capacity(bytes)), size: bytes }
    }

    /// Returns the size of the buffer.
    #[inline]
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Returns the whole buffer for writing. If a datagram of its last use is kept, the buffer is
    /// replaced by a fresh one.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let size = self.size;
        self.written_mut(size)
    }

    /// Copies as much of a payload into the buffer as it has room for, and returns how much that is. If a datagram of its last
    /// use is kept, the buffer is replaced by a fresh one.
    pub fn fill(&mut self, payload: &[u8]) -> usize {
        let length = payload.len().min(self.size);
        self.written_mut(length).copy_from_slice(&payload[..length]);
        length
    }

    /// Returns what has been written to it, which stays as it is for as long as another reference to it is kept.
    #[inline]
    #[must_use]
    pub const fn memory(&self) -> &Arc<Vec<u8>> {
        &self.memory
    }

    /// Returns this many bytes at the start for writing.
    #[inline]
    fn written_mut(&mut self, length: usize) -> &mut [u8] {
        let memory = self.own();
        if memory.len() < length {
            memory.resize(length, 0);
        }
        &mut memory[..length]
    }

    /// Returns the memory, which nobody else uses.
    #[inline]
    fn own(&mut self) -> &mut Vec<u8> {
        // There are no weak references, and only this buffer can add to those that are counted.
        if Arc::strong_count(&self.memory) > 1 {
            return self.replace();
        }
        Arc::make_mut(&mut self.memory)
    }

    #[cold]
    fn replace(&mut self) -> &mut Vec<u8> {
        self.memory = Arc::new(Vec::with_capacity(self.size));
        Arc::make_mut(&mut self.memory)
    }
}

/// Receives that write to a buffer by its address.
#[cfg(any(target_os = "linux", target_os = "android"))]
impl ReceiveBuffer {
    /// Returns the whole buffer for the kernel to write to. If a datagram of its last use is kept, the buffer is replaced by a
    /// fresh one.
    #[inline]
    pub(crate) fn vector(&mut self) -> libc::iovec {
        // With each datagram: `own` would check twice whether others use the memory.
        let start = match Arc::get_mut(&mut self.memory) {
            Some(memory) => memory.as_mut_ptr(),
            None => self.replace().as_mut_ptr(),
        };
        libc::iovec { iov_base: start.cast(), iov_len: self.size }
    }

    /// Notes that this many bytes have been written to the address of [`Self::vector`].
    ///
    /// # Safety
    /// They must have been, and they must be at most as many as the buffer has.
    #[inline]
    pub(crate) unsafe fn note_written(&mut self, length: usize) {
        debug_assert!(length <= self.size, "{length} of {}", self.size);
        // After the first datagrams, it is rarely longer than all before it.
        if self.memory.len() < length {
            // SAFETY: the caller guarantees both conditions.
            unsafe { self.own().set_len(length) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_keeps_what_somebody_holds_and_takes_no_more_than_its_size() {
        let mut buffer = ReceiveBuffer::new(6);
        assert_eq!((buffer.size(), buffer.memory().len()), (6, 0));
        assert_eq!(buffer.fill(b"longer"), 6);
        assert_eq!(buffer.fill(b"a longer one"), 6);
        let kept = Arc::clone(buffer.memory());
        assert_eq!(buffer.fill(b"new"), 3);
        assert_eq!((&kept[..], &buffer.memory()[..]), (&b"a long"[..], &b"new"[..]));
        assert_eq!(buffer.bytes_mut(), b"new\0\0\0");
        let address = buffer.memory().as_ptr();
        drop(kept);
        assert_eq!(buffer.fill(b"again"), 5);
        assert_eq!(buffer.memory().as_ptr(), address, "nobody holds it");
    }
}
