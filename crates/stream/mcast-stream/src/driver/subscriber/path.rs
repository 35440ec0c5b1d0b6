//! Maps datagrams to paths, by the group and interface of each path's membership.

use mcast::{Arrival, GroupAddr, InterfaceIndex, Membership, MembershipStatus, Receiver};

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
