//! A datagram to send.

use std::net::SocketAddr;
use std::time::Duration;

use mcast_group::{GroupAddr, InterfaceIndex};
use mcast_sys::OutgoingDatagram;

/// A datagram to send, with its deviations from the sender's settings.
///
/// ```
/// use mcast::Outgoing;
/// let to = "239.1.2.3:7000".parse()?;
/// let outgoing = Outgoing::new(b"hello").to(to).hop_limit(4);
/// # Ok::<(), mcast::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) to: Option<SocketAddr>,
    pub(crate) interface: Option<InterfaceIndex>,
    pub(crate) hop_limit: Option<u8>,
    pub(crate) traffic_class: Option<u8>,
    pub(crate) launch: Option<Duration>,
}

impl<'a> Outgoing<'a> {
    /// Creates a datagram with the sender's settings.
    #[must_use]
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { payload, to: None, interface: None, hop_limit: None, traffic_class: None, launch: None }
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

    /// Sends it with this hop limit (IPv4: TTL) instead of the sender's.
    #[must_use]
    pub const fn hop_limit(mut self, hops: u8) -> Self {
        self.hop_limit = Some(hops);
        self
    }

    /// Sends it with this traffic class (DSCP and ECN) instead of the sender's.
    #[must_use]
    pub const fn traffic_class(mut self, class: u8) -> Self {
        self.traffic_class = Some(class);
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

impl OutgoingDatagram for Outgoing<'_> {
    #[inline]
    fn payload(&self) -> &[u8] {
        self.payload
    }

    #[inline]
    fn shares_settings(&self, other: &Self) -> bool {
        self.to == other.to
            && self.interface == other.interface
            && self.hop_limit == other.hop_limit
            && self.traffic_class == other.traffic_class
            && self.launch == other.launch
    }
}
