//! A datagram, and what is known of how it came.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::time::SystemTime;

use mcast_group::{Group, GroupAddr, InterfaceIndex};

/// How a datagram came: by which group, interface and source, when, and what was lost before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arrival {
    /// The group that it was sent to, and the port.
    pub group: GroupAddr,
    /// The interface that it came in by.
    pub interface: InterfaceIndex,
    /// Who sent it. A claim of the sender's: nothing on the way proves it.
    pub source: SocketAddr,
    /// The hop limit (IPv4: TTL) that was left; `None` where the system doesn't tell.
    pub hop_limit: Option<u8>,
    /// The traffic class (IPv4: TOS): DSCP in the upper six bits, ECN in the lower two.
    pub traffic_class: Option<u8>,
    /// When the kernel received it (Linux: `SO_TIMESTAMPNS`, nanoseconds; macOS and FreeBSD:
    /// `SO_TIMESTAMP`, microseconds); `None` on Windows.
    ///
    /// Datagrams that were merged on the way share one time.
    pub time: Option<SystemTime>,
    /// When the device received it, by the device's own clock, if it keeps one, it is set to do
    /// so, and it was asked ([`ReceiverBuilder::hardware_time`](crate::ReceiverBuilder::hardware_time)).
    /// Linux only.
    pub hardware_time: Option<SystemTime>,
    /// How many the system dropped on this socket, for want of buffer, between the datagram
    /// before this one and this one; `None` where it doesn't count (macOS, BSD, Windows).
    ///
    /// Drops after the last datagram only show in
    /// [`Receiver::statistics`](crate::Receiver::statistics).
    pub lost: Option<u64>,
    /// The length of the payload as it was sent, in bytes. Where the system doesn't tell how
    /// much was cut off (macOS, BSD, Windows), the length of what is there.
    pub length: usize,
    /// The buffer was too small, and the rest is gone.
    pub truncated: bool,
}

impl Arrival {
    /// An arrival of which no more is known: for simulators and tests.
    #[must_use]
    pub const fn new(group: GroupAddr, interface: InterfaceIndex, source: SocketAddr) -> Self {
        Self {
            group,
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

    /// The differentiated services code point (RFC 2474).
    #[must_use]
    pub fn dscp(&self) -> Option<u8> {
        self.traffic_class.map(|class| class >> 2)
    }
}

/// A received datagram, its payload borrowed from the buffer that it was received into.
#[derive(Clone, Copy)]
pub struct Datagram<'a> {
    payload: &'a [u8],
    arrival: Arrival,
    origin: Option<(&'a Arc<[u8]>, usize)>,
}

impl<'a> Datagram<'a> {
    /// A datagram of these bytes: for simulators and tests.
    #[must_use]
    pub fn new(payload: &'a [u8], arrival: Arrival) -> Self {
        Self { payload, arrival, origin: None }
    }

    #[inline]
    pub(crate) fn in_buffer(buffer: &'a Arc<[u8]>, range: Range<usize>, arrival: Arrival) -> Self {
        Self { payload: &buffer[range.clone()], arrival, origin: Some((buffer, range.start)) }
    }

    /// The bytes.
    #[inline]
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// How it came.
    #[must_use]
    pub const fn arrival(&self) -> &Arrival {
        &self.arrival
    }

    /// The group that it was sent to.
    #[must_use]
    pub const fn group(&self) -> Group {
        self.arrival.group.group
    }

    /// The interface that it came in by.
    #[must_use]
    pub const fn interface(&self) -> InterfaceIndex {
        self.arrival.interface
    }

    /// The address of its source.
    #[must_use]
    pub const fn source(&self) -> IpAddr {
        self.arrival.source.ip()
    }

    /// Keeps the datagram beyond its buffer's next use: of a [`Batch`](crate::Batch) by counting
    /// references, of a plain buffer by copying.
    #[must_use]
    pub fn keep(&self) -> KeptDatagram {
        let (buffer, start) = match self.origin {
            Some((buffer, start)) => (Arc::clone(buffer), start),
            None => (Arc::from(self.payload), 0),
        };
        KeptDatagram { buffer, range: start..start + self.payload.len(), arrival: self.arrival }
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
pub struct KeptDatagram {
    buffer: Arc<[u8]>,
    range: Range<usize>,
    arrival: Arrival,
}

impl KeptDatagram {
    /// The bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }

    /// How it came.
    #[must_use]
    pub const fn arrival(&self) -> &Arrival {
        &self.arrival
    }
}

impl Deref for KeptDatagram {
    type Target = Arrival;

    fn deref(&self) -> &Arrival {
        &self.arrival
    }
}

impl AsRef<[u8]> for KeptDatagram {
    fn as_ref(&self) -> &[u8] {
        self.payload()
    }
}

impl fmt::Debug for KeptDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptDatagram")
            .field("arrival", &self.arrival)
            .field("bytes", &self.range.len())
            .finish()
    }
}
