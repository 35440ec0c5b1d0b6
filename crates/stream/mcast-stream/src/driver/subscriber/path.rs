//! Maps datagrams to paths, by the group and interface of each path's membership, and finds the reason why repairs do
//! not arrive.

use std::fmt;
use std::net::IpAddr;

use mcast::{Arrival, GroupAddr, InterfaceIndex, InterfaceSelector, Membership, MembershipStatus, Receiver};

use super::Subscriber;
use crate::{ClockTime, Nanos};

/// The shortest time between two lookups of unknown interfaces.
const LOOKUP_INTERVAL: Nanos = Nanos::from_millis(10);

/// The paths of a stream, in the order in which they were named.
#[derive(Debug)]
pub(super) struct Paths {
    all: Vec<Path>,
    /// Whether one more path carries what is sent to this host.
    listens: bool,
    /// The earliest time of the next lookup of the interfaces.
    lookup_allowed_at: ClockTime,
}

#[derive(Debug)]
struct Path {
    membership: Membership,
    /// The present index of the interface that it names; `None` if it does not name a single one.
    interface: Option<InterfaceIndex>,
}

impl Paths {
    /// Returns paths with their interfaces' present indexes, and one for this host if the subscriber listens there.
    pub(super) fn new(
        paths: impl IntoIterator<Item = (Membership, Option<InterfaceIndex>)>,
        listens: bool,
    ) -> Self {
        let path = |(membership, interface)| Path { membership, interface };
        Self { all: paths.into_iter().map(path).collect(), listens, lookup_allowed_at: ClockTime(0) }
    }

    pub(super) const fn count(&self) -> u8 {
        self.all.len() as u8 + self.listens as u8
    }

    /// Whether there are groups, and each names an interface.
    pub(super) fn name_interfaces(&self) -> bool {
        !self.all.is_empty() && self.all.iter().all(|path| path.interface.is_some())
    }

    /// Returns the path of a datagram. An unknown interface may be one that was created again with another index, so
    /// the interfaces are then looked up.
    #[inline]
    pub(super) fn of(&mut self, arrival: &Arrival, now: ClockTime, receiver: &Receiver) -> u8 {
        if self.count() == 1 {
            return 0;
        }
        let Some(group) = arrival.group() else { return self.all.len() as u8 };
        let interface = arrival.interface;
        let mut path = self.find(group, interface);
        if path.is_none() && now >= self.lookup_allowed_at {
            self.lookup_allowed_at = now + LOOKUP_INTERVAL;
            self.refresh_interfaces(&receiver.memberships());
            path = self.find(group, interface);
        }
        let of_the_group = || self.all.iter().position(|path| path.membership.address == group);
        path.or_else(of_the_group).unwrap_or(0) as u8
    }

    fn find(&self, group: GroupAddr, interface: InterfaceIndex) -> Option<usize> {
        let on =
            |interface| move |path: &Path| path.membership.address == group && path.interface == interface;
        self.all.iter().position(on(Some(interface))).or_else(|| self.all.iter().position(on(None)))
    }

    /// Updates the interfaces from the memberships.
    fn refresh_interfaces(&mut self, statuses: &[MembershipStatus]) {
        for path in self.all.iter_mut().filter(|path| path.interface.is_some()) {
            let status = statuses.iter().find(|status| status.membership == path.membership);
            if let Some(on) = status.and_then(|status| status.interfaces.first()) {
                path.interface = Some(on.index);
            }
        }
    }
}

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
