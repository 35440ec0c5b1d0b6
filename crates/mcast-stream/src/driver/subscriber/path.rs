//! Which of several paths a datagram came by: a path is known by what it was joined as.

use mcast::{GroupAddr, InterfaceIndex, Membership, MembershipStatus, Receiver};

/// How long an interface that is not known stays so before it is looked for again, in nanoseconds.
const AGAIN: u64 = 10_000_000;

/// The paths of a stream, in the order in which they were named.
#[derive(Debug)]
pub(super) struct Paths {
    all: Vec<Path>,
    /// When the interfaces may be looked up again.
    look_from: u64,
}

#[derive(Debug)]
struct Path {
    membership: Membership,
    /// The one interface that it names, by its present index; `None` where it names none or several.
    interface: Option<InterfaceIndex>,
}

impl Paths {
    /// With the interface that each means now.
    pub(super) fn new(paths: impl IntoIterator<Item = (Membership, Option<InterfaceIndex>)>) -> Self {
        let path = |(membership, interface)| Path { membership, interface };
        Self { all: paths.into_iter().map(path).collect(), look_from: 0 }
    }

    pub(super) const fn count(&self) -> u8 {
        self.all.len() as u8
    }

    /// Whether each names an interface.
    pub(super) fn name_interfaces(&self) -> bool {
        self.all.iter().all(|path| path.interface.is_some())
    }

    /// The path that this came by. An interface that is not known may have been made again, so that
    /// its path has another one by now.
    #[inline]
    pub(super) fn of(
        &mut self,
        group: GroupAddr,
        interface: InterfaceIndex,
        now: u64,
        receiver: &Receiver,
    ) -> u8 {
        if self.all.len() == 1 {
            return 0;
        }
        let mut path = self.known(group, interface);
        if path.is_none() && now >= self.look_from {
            self.look_from = now + AGAIN;
            self.look_up(&receiver.memberships());
            path = self.known(group, interface);
        }
        let of_the_group = || self.all.iter().position(|path| path.membership.address == group);
        path.or_else(of_the_group).unwrap_or(0) as u8
    }

    fn known(&self, group: GroupAddr, interface: InterfaceIndex) -> Option<usize> {
        let on = |wanted| move |path: &Path| path.membership.address == group && path.interface == wanted;
        self.all.iter().position(on(Some(interface))).or_else(|| self.all.iter().position(on(None)))
    }

    /// Takes over the interfaces that the memberships mean by now.
    fn look_up(&mut self, statuses: &[MembershipStatus]) {
        for path in self.all.iter_mut().filter(|path| path.interface.is_some()) {
            let status = statuses.iter().find(|status| status.membership == path.membership);
            if let Some(on) = status.and_then(|status| status.interfaces.first()) {
                path.interface = Some(on.index);
            }
        }
    }
}
