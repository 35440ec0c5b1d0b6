//! A datagram and its metadata, and a datagram to send.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mcast_group::{GroupAddr, InterfaceIndex};
use mcast_sys::OutgoingDatagram;

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
    /// BSD, Windows). Off the interface ([`ReceiverBuilder::wire`](crate::ReceiverBuilder::wire)),
    /// each of its queues is counted as a socket is.
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
    origin: Option<(&'a Arc<Vec<u8>>, usize)>,
}

impl<'a> Datagram<'a> {
    /// Creates a datagram, for simulators and tests.
    #[must_use]
    pub fn new(payload: &'a [u8], arrival: Arrival) -> Self {
        Self { payload, arrival, origin: None }
    }

    #[inline]
    pub(crate) fn in_buffer(buffer: &'a Arc<Vec<u8>>, range: Range<usize>, arrival: Arrival) -> Self {
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
            None => (Arc::new(self.payload.to_vec()), 0),
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
    buffer: Arc<Vec<u8>>,
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

/// A datagram to send, with its deviations from the sender's settings.
///
/// ```
/// use mcast::Outgoing;
/// let to = "239.255.2.3:7000".parse()?;
/// let outgoing = Outgoing::new(b"hello").to(to).hop_limit(4);
/// # Ok::<(), mcast::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) to: Option<SocketAddr>,
    pub(crate) interface: Option<InterfaceIndex>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) header: HeaderFields,
    pub(crate) launch: Option<Duration>,
}

impl<'a> Outgoing<'a> {
    /// Creates a datagram with the sender's settings.
    #[must_use]
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { payload, to: None, interface: None, source: None, header: HeaderFields(0), launch: None }
    }

    /// Sends it to this group instead of the sender's destinations.
    #[must_use]
    pub const fn to(self, group: GroupAddr) -> Self {
        self.to_address(SocketAddr::new(group.group.addr(), group.port))
    }

    /// Sends it to this address of a group or host instead of the sender's destinations.
    #[must_use]
    pub const fn to_address(mut self, to: SocketAddr) -> Self {
        self.to = Some(to);
        self
    }

    /// Sends it by this interface instead of the sender's.
    #[must_use]
    pub const fn by(mut self, interface: InterfaceIndex) -> Self {
        self.interface = Some(interface);
        self
    }

    /// Sends it from this address instead of the sender's, if it is of the family of the destination. It must belong to this machine.
    #[must_use]
    pub const fn from_address(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Sends it with this hop limit (IPv4: TTL) instead of the sender's.
    #[must_use]
    pub const fn hop_limit(mut self, hops: u8) -> Self {
        self.header = self.header.with(0, hops);
        self
    }

    /// Sends it with this traffic class (DSCP and ECN) instead of the sender's.
    #[must_use]
    pub const fn traffic_class(mut self, class: u8) -> Self {
        self.header = self.header.with(HeaderFields::CLASS, class);
        self
    }

    /// Sends it at this time of the sender's launch clock
    /// ([`SenderBuilder::launch_clock`](crate::SenderBuilder::launch_clock)). The queue discipline
    /// of the interface holds it back until then. If the time is past, the queue discipline may
    /// drop it (`etf`) or send it at once (`fq`).
    #[must_use]
    pub const fn launch_at(mut self, time: Duration) -> Self {
        self.launch = Some(time);
        self
    }

    /// Returns a datagram with this payload and the same settings.
    #[must_use]
    pub const fn with_payload(self, payload: &[u8]) -> Outgoing<'_> {
        Outgoing { payload, ..self }
    }

    /// Returns the group, if it is not the sender's.
    #[must_use]
    pub fn group(&self) -> Option<GroupAddr> {
        self.to?.try_into().ok()
    }

    /// Returns the payload.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// The hop limit and the traffic class of a datagram, if it has its own. Those of neighbours are compared for each datagram of a
/// train, which one number makes a single comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeaderFields(u32);

impl HeaderFields {
    /// The position of the traffic class; that of the hop limit is 0.
    const CLASS: u32 = 16;
    /// Beside a value, shows that it is set.
    const SET: u32 = 1 << 8;

    const fn with(self, position: u32, value: u8) -> Self {
        let cleared = self.0 & !((Self::SET | 0xff) << position);
        Self(cleared | (Self::SET | value as u32) << position)
    }

    fn at(self, position: u32) -> Option<u8> {
        let field = self.0 >> position;
        (field & Self::SET != 0).then_some((field & 0xff) as u8)
    }

    pub(crate) fn hop_limit(self) -> Option<u8> {
        self.at(0)
    }

    pub(crate) fn traffic_class(self) -> Option<u8> {
        self.at(Self::CLASS)
    }
}

impl fmt::Debug for HeaderFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderFields")
            .field("hop_limit", &self.hop_limit())
            .field("traffic_class", &self.traffic_class())
            .finish()
    }
}

impl OutgoingDatagram for Outgoing<'_> {
    #[inline]
    fn payload(&self) -> &[u8] {
        self.payload
    }

    #[inline]
    fn shares_settings(&self, other: &Self) -> bool {
        self.to == other.to
            && self.interface == other.interface
            && self.source == other.source
            && self.header == other.header
            && self.launch == other.launch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields_are_apart_and_replaced() {
        let outgoing = Outgoing::new(b"x");
        assert_eq!((outgoing.header.hop_limit(), outgoing.header.traffic_class()), (None, None));
        let both = outgoing.hop_limit(255).traffic_class(255).hop_limit(0);
        assert_eq!((both.header.hop_limit(), both.header.traffic_class()), (Some(0), Some(255)));
        let replaced = both.traffic_class(1).hop_limit(7);
        assert_eq!((replaced.header.hop_limit(), replaced.header.traffic_class()), (Some(7), Some(1)));
    }

    #[test]
    fn only_datagrams_with_equal_settings_are_sent_as_one_train() {
        let plain = Outgoing::new(b"x");
        let others = [
            plain.hop_limit(0),
            plain.traffic_class(0),
            plain.from_address([10, 9, 0, 1].into()),
            plain.launch_at(Duration::ZERO),
            plain.to_address(([239, 1, 2, 3], 5000).into()),
        ];
        for (number, other) in others.iter().enumerate() {
            assert!(!plain.shares_settings(other) && other.shares_settings(other), "{number}");
        }
        assert!(plain.shares_settings(&Outgoing::new(b"y")));
    }
}
