//! A datagram and its metadata.

use std::fmt;
use std::net::SocketAddr;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::time::SystemTime;

use mcast_group::{GroupAddr, InterfaceIndex};

/// The metadata of a datagram: destination, interface, source, time of arrival, and losses before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arrival {
    /// The address and port that it was sent to: those of a group, or of this host or a broadcast if the receiver
    /// [listens](crate::ReceiverBuilder::listen) there.
    pub destination: SocketAddr,
    /// The interface on which it arrived.
    pub interface: InterfaceIndex,
    /// The source address. The sender can forge it; nothing on the path verifies it.
    pub source: SocketAddr,
    /// The remaining hop limit (IPv4: TTL); `None` where the system does not report it.
    pub hop_limit: Option<u8>,
    /// The traffic class (IPv4: TOS): DSCP in the upper six bits, ECN in the lower two.
    pub traffic_class: Option<u8>,
    /// When the kernel received it (Linux: `SO_TIMESTAMPNS`, nanoseconds; macOS and FreeBSD:
    /// `SO_TIMESTAMP`, microseconds); `None` on Windows.
    ///
    /// Datagrams that were coalesced share one time.
    pub time: Option<SystemTime>,
    /// When the device received it, by the device's clock. Set only if the device takes timestamps,
    /// is configured to, and
    /// [`ReceiverBuilder::hardware_time`](crate::ReceiverBuilder::hardware_time) requested them.
    /// Linux only.
    pub hardware_time: Option<SystemTime>,
    /// The number of datagrams that the system dropped on this socket, for lack of buffer space,
    /// between the previous datagram and this one; `None` where the system does not count (macOS,
    /// BSD, Windows).
    ///
    /// Drops after the last datagram appear only in
    /// [`Receiver::statistics`](crate::Receiver::statistics).
    pub lost: Option<u64>,
    /// The length of the payload as it was sent, in bytes. Where the system does not report the
    /// full length of a truncated datagram (macOS, BSD, Windows), the length of the part that was
    /// received.
    pub length: usize,
    /// Whether the buffer was too small. The rest of the payload is lost.
    pub truncated: bool,
}

impl Arrival {
    /// Creates metadata with only these fields known, for simulators and tests.
    #[must_use]
    pub fn new(destination: impl Into<SocketAddr>, interface: InterfaceIndex, source: SocketAddr) -> Self {
        Self {
            destination: destination.into(),
            interface,
            source,
            hop_limit: None,
            traffic_class: None,
            time: None,
            hardware_time: None,
            lost: None,
            length: 0,
            truncated: false,
        }
    }

    /// Returns the group and port that it was sent to; `None` if it was sent to this host or as a broadcast.
    #[must_use]
    pub fn group(&self) -> Option<GroupAddr> {
        self.destination.try_into().ok()
    }

    /// Returns the differentiated services code point (RFC 2474).
    #[must_use]
    pub fn dscp(&self) -> Option<u8> {
        self.traffic_class.map(|class| class >> 2)
    }
}

/// A received datagram whose payload is borrowed from the receive buffer.
#[derive(Clone, Copy)]
pub struct Datagram<'a> {
    payload: &'a [u8],
    arrival: Arrival,
    origin: Option<(&'a Arc<[u8]>, usize)>,
}

impl<'a> Datagram<'a> {
    /// Creates a datagram, for simulators and tests.
    #[must_use]
    pub fn new(payload: &'a [u8], arrival: Arrival) -> Self {
        Self { payload, arrival, origin: None }
    }

    #[inline]
    pub(crate) fn in_buffer(buffer: &'a Arc<[u8]>, range: Range<usize>, arrival: Arrival) -> Self {
        Self { payload: &buffer[range.clone()], arrival, origin: Some((buffer, range.start)) }
    }

    /// Returns the payload.
    #[inline]
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Returns the metadata.
    #[must_use]
    pub const fn arrival(&self) -> &Arrival {
        &self.arrival
    }

    /// Returns a datagram that stays valid after the buffer is reused. A datagram of a
    /// [`Batch`](crate::Batch) shares the buffer by reference count; one in a plain buffer is
    /// copied.
    #[must_use]
    pub fn to_owned_datagram(&self) -> OwnedDatagram {
        let (buffer, start) = match self.origin {
            Some((buffer, start)) => (Arc::clone(buffer), start),
            None => (Arc::from(self.payload), 0),
        };
        OwnedDatagram { buffer, range: start..start + self.payload.len(), arrival: self.arrival }
    }
}

impl Deref for Datagram<'_> {
    type Target = Arrival;

    fn deref(&self) -> &Arrival {
        &self.arrival
    }
}

impl AsRef<[u8]> for Datagram<'_> {
    fn as_ref(&self) -> &[u8] {
        self.payload
    }
}

impl fmt::Debug for Datagram<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagram")
            .field("arrival", &self.arrival)
            .field("bytes", &self.payload.len())
            .finish()
    }
}

/// A datagram that owns its share of the buffer it was received into.
#[derive(Clone)]
pub struct OwnedDatagram {
    buffer: Arc<[u8]>,
    range: Range<usize>,
    arrival: Arrival,
}

impl OwnedDatagram {
    /// Returns the payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }

    /// Returns the metadata.
    #[must_use]
    pub const fn arrival(&self) -> &Arrival {
        &self.arrival
    }
}

impl Deref for OwnedDatagram {
    type Target = Arrival;

    fn deref(&self) -> &Arrival {
        &self.arrival
    }
}

impl AsRef<[u8]> for OwnedDatagram {
    fn as_ref(&self) -> &[u8] {
        self.payload()
    }
}

/// The payload, which shares the buffer by reference count.
#[cfg(feature = "bytes")]
impl From<OwnedDatagram> for bytes::Bytes {
    fn from(datagram: OwnedDatagram) -> Self {
        Self::from_owner(datagram)
    }
}

impl fmt::Debug for OwnedDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedDatagram")
            .field("arrival", &self.arrival)
            .field("bytes", &self.range.len())
            .finish()
    }
}
