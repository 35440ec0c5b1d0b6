//! A datagram to be sent.

use std::time::Duration;

use mcast_group::{GroupAddr, InterfaceIndex};

/// A datagram to be sent, with what differs from the sender's own settings.
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
    pub(crate) to: Option<GroupAddr>,
    pub(crate) interface: Option<InterfaceIndex>,
    pub(crate) hop_limit: Option<u8>,
    pub(crate) traffic_class: Option<u8>,
    pub(crate) launch: Option<Duration>,
}

impl<'a> Outgoing<'a> {
    /// A datagram of these bytes, sent as the sender's settings say.
    #[must_use]
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { payload, to: None, interface: None, hop_limit: None, traffic_class: None, launch: None }
    }

    /// To this group, instead of the sender's destinations.
    #[must_use]
    pub const fn to(mut self, group: GroupAddr) -> Self {
        self.to = Some(group);
        self
    }

    /// By this interface, instead of the sender's.
    #[must_use]
    pub const fn by(mut self, interface: InterfaceIndex) -> Self {
        self.interface = Some(interface);
        self
    }

    /// With this hop limit (IPv4: TTL), instead of the sender's.
    #[must_use]
    pub const fn hop_limit(mut self, hops: u8) -> Self {
        self.hop_limit = Some(hops);
        self
    }

    /// With this traffic class (DSCP and ECN), instead of the sender's.
    #[must_use]
    pub const fn traffic_class(mut self, class: u8) -> Self {
        self.traffic_class = Some(class);
        self
    }

    /// At this time of the sender's launch clock
    /// ([`SenderBuilder::launch_clock`](crate::SenderBuilder::launch_clock)), kept by the queue
    /// discipline of the interface. One whose time is past may be dropped there (`etf`) or sent
    /// at once (`fq`).
    #[must_use]
    pub const fn launch_at(mut self, time: Duration) -> Self {
        self.launch = Some(time);
        self
    }

    /// The bytes.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}
