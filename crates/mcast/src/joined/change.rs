//! Computes the changes between two snapshots.

use super::Holding;

/// A change of the memberships of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
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
pub(super) fn changes(before: &[Holding], now: &[Holding]) -> Vec<Change> {
    let find = |among: &[Holding], wanted: &Holding| {
        let start =
            among.partition_point(|each| (each.group, each.interface) < (wanted.group, wanted.interface));
        among[start..]
            .iter()
            .take_while(|each| (each.group, each.interface) == (wanted.group, wanted.interface))
            .find(|each| each.is_same_as(wanted))
            .cloned()
    };
    let left = before.iter().filter(|holding| find(now, holding).is_none()).cloned().map(Change::Left);
    let rest = now.iter().filter_map(|holding| match find(before, holding) {
        None => Some(Change::Joined(holding.clone())),
        Some(old) if old == *holding => None,
        Some(old) => Some(Change::Changed { before: old, now: holding.clone() }),
    });
    left.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::joined::{Holder, JoinedSocket, Process, SocketHolder, SocketKind};
    use mcast_group::{Family, InterfaceIndex, SourceFilter};
    use std::sync::Arc;

    fn holding(group: &str, inode: u64, filter: SourceFilter) -> Holding {
        let process = Process { pid: inode as u32, name: "listener".into(), descriptor: 3 };
        let socket = JoinedSocket {
            inode,
            family: Family::V4,
            kind: SocketKind::Udp,
            local: None,
            peer: None,
            bound_interface: None,
            receive_buffer: 4096,
            drops: Some(0),
            processes: vec![process],
        };
        let holder = SocketHolder {
            filter,
            multicast_all: Some(true),
            loopback: Some(true),
            socket: Arc::new(socket),
        };
        Holding { holder: Holder::Socket(holder), ..kernels(group) }
    }

    fn kernels(group: &str) -> Holding {
        Holding {
            group: group.parse().unwrap(),
            interface: InterfaceIndex::new(2).unwrap(),
            interface_name: "eth0".into(),
            version: None,
            holder: Holder::Kernel,
        }
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
                Change::Left(before[0].clone()),
                Change::Changed { before: before[1].clone(), now: now[0].clone() },
                Change::Joined(now[1].clone()),
            ]
        );
    }
}
