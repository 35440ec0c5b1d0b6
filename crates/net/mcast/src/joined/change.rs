//! Computes the changes between two readings.

use mcast_group::{Group, InterfaceIndex};

use super::{Holder, Holding};

/// A change of the memberships of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MembershipChange {
    /// A group was joined on an interface.
    Joined(Holding),
    /// A group was left, or its holder or interface is gone.
    Left(Holding),
    /// The sources changed, or the socket: its options, its processes, its drop counter.
    Changed {
        /// The membership before the change.
        before: Holding,
        /// The membership after the change.
        now: Holding,
    },
}

/// Returns the changes since `before`, in the order of listings, groups that were left first.
pub(super) fn changes(before: &[Holding], now: &[Holding]) -> Vec<MembershipChange> {
    let find = |among: &[Holding], wanted: &Holding| {
        let start =
            among.partition_point(|each| (each.group, each.interface) < (wanted.group, wanted.interface));
        among[start..]
            .iter()
            .take_while(|each| (each.group, each.interface) == (wanted.group, wanted.interface))
            .find(|each| is_same(each, wanted))
            .cloned()
    };
    let left =
        before.iter().filter(|holding| find(now, holding).is_none()).cloned().map(MembershipChange::Left);
    let rest = now.iter().filter_map(|holding| match find(before, holding) {
        None => Some(MembershipChange::Joined(holding.clone())),
        Some(old) if old == *holding => None,
        Some(old) => Some(MembershipChange::Changed { before: old, now: holding.clone() }),
    });
    left.chain(rest).collect()
}

/// Returns the key that identifies a holding and determines its position in listings.
pub(super) fn sort_key(holding: &Holding) -> (Group, InterfaceIndex, u8, u32, u64) {
    match &holding.holder {
        Holder::Socket(socket_holder) => {
            let pid = socket_holder.socket.processes.first().map_or(0, |process| process.pid);
            (holding.group, holding.interface, 0, pid, socket_holder.socket.inode)
        }
        Holder::Kernel => (holding.group, holding.interface, 1, 0, 0),
        // Holders that cannot be inspected, the only others.
        _ => (holding.group, holding.interface, 2, 0, 0),
    }
}

/// Returns whether both are the same holder's membership of the same group on the same interface.
fn is_same(one: &Holding, other: &Holding) -> bool {
    // A socket stays the same when the first of its processes exits.
    let without_process = |(group, interface, rank, _, inode)| (group, interface, rank, inode);
    without_process(sort_key(one)) == without_process(sort_key(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::joined::{JoinedSocket, Process, SocketHolder, SocketKind};
    use mcast_group::{Family, SourceFilter};
    use std::sync::Arc;

    fn holding(group: &str, inode: u64, filter: SourceFilter) -> Holding {
        let mut socket = JoinedSocket::new(inode, Family::V4, SocketKind::Udp);
        socket.processes = vec![Process::new(inode as u32, "listener".into(), 3)];
        let holder = Holder::Socket(SocketHolder::new(filter, Arc::new(socket)));
        Holding::new(group.parse().unwrap(), interface(), "eth0".into(), holder)
    }

    fn kernels(group: &str) -> Holding {
        Holding::new(group.parse().unwrap(), interface(), "eth0".into(), Holder::Kernel)
    }

    fn interface() -> InterfaceIndex {
        InterfaceIndex::new(2).unwrap()
    }

    #[test]
    fn unchanged_memberships_are_not_reported() {
        let same = [kernels("224.0.0.1"), holding("239.1.2.3", 7, SourceFilter::ANY)];
        assert_eq!(changes(&same, &same), []);
    }

    #[test]
    fn joins_leaves_and_changes_are_distinguished_by_socket() {
        let source = SourceFilter::Include(["10.0.0.1".parse().unwrap()].into());
        let before = [holding("239.1.2.3", 7, SourceFilter::ANY), holding("239.1.2.3", 8, SourceFilter::ANY)];
        let now = [holding("239.1.2.3", 8, source), holding("239.1.2.3", 9, SourceFilter::ANY)];
        let actual = changes(&before, &now);
        assert_eq!(
            actual,
            [
                MembershipChange::Left(before[0].clone()),
                MembershipChange::Changed { before: before[1].clone(), now: now[0].clone() },
                MembershipChange::Joined(now[1].clone()),
            ]
        );
    }
}
