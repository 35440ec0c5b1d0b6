//! The reason why repairs do not arrive.

use std::fmt;
use std::net::IpAddr;

use mcast::InterfaceSelector;

use super::Subscriber;

/// Why a subscriber does not receive what it is missing. `Display` writes a sentence without the final period.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StallCause {
    /// The publisher has not sent a unicast datagram to this subscriber. It replies to the first datagram of each
    /// subscriber, so the usual reason is a firewall between them, in either direction.
    Unanswered {
        /// The publisher's address.
        publisher: IpAddr,
    },
    /// A local interface does not accept the publisher's longest packets.
    MtuTooSmall {
        /// The name of the interface.
        interface: String,
        /// Its MTU, in bytes.
        mtu: u32,
        /// The length of the publisher's longest packets, in bytes.
        packet: u32,
    },
}

impl fmt::Display for StallCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered { publisher } => write!(
                f,
                "{publisher} does not answer this subscriber, so nothing can be repaired: a firewall on either \
                 machine or between them may drop their unicast UDP datagrams"
            ),
            Self::MtuTooSmall { interface, mtu, packet } => write!(
                f,
                "the publisher sends packets of up to {packet} bytes, but {interface} accepts at most {mtu}: \
                 longer ones cannot arrive; set the same MTU at both ends and between"
            ),
        }
    }
}

impl Subscriber {
    /// Returns why repairs of missing datagrams do not arrive, if this machine can determine the cause. Returns `None`
    /// if it cannot, or if no publisher has been found. Call it after
    /// [`SubscriberEvent::Stalled`](crate::subscriber::SubscriberEvent::Stalled).
    #[must_use]
    pub fn stall_cause(&self) -> Option<StallCause> {
        let publisher = self.machine.as_ref()?.publisher()?.ip();
        if !self.is_answered() {
            return Some(StallCause::Unanswered { publisher });
        }
        let headers = if publisher.is_ipv4() { 28 } else { 48 };
        let packet = u32::from(self.longest_datagram()?) + headers;
        let memberships = self.receiver.memberships();
        let indexes = memberships.iter().flat_map(|membership| &membership.interfaces).map(|on| on.index);
        let mut interfaces = indexes.filter_map(|index| mcast::find(&InterfaceSelector::Index(index)).ok());
        let narrow = interfaces.find(|interface| interface.mtu < packet)?;
        Some(StallCause::MtuTooSmall { interface: narrow.name, mtu: narrow.mtu, packet })
    }
}
