//! The groups that the system joins on its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_group::{Group, GroupKind};

use crate::Holder;

/// How many memberships of a group on an interface belong to the system.
pub(crate) enum KernelShare {
    /// None: the system does not join this group.
    Nothing,
    /// At most one.
    One,
    /// One for each address of the interface that maps to the group.
    PerAddress,
}

impl KernelShare {
    pub(crate) fn of(group: Group) -> Self {
        if matches!(group.kind(), GroupKind::SolicitedNode { .. }) {
            return Self::PerAddress;
        }
        let joined = match group.addr() {
            IpAddr::V4(address) => JOINED_V4.contains(&address),
            IpAddr::V6(address) => JOINED_V6.contains(&address),
        };
        if joined { Self::One } else { Self::Nothing }
    }

    /// Attributes the holders that no known socket accounts for to the system and to unseen
    /// sockets. `unaccounted` is `None` where the system does not count holders.
    pub(crate) fn attribute(group: Group, unaccounted: Option<u32>) -> impl Iterator<Item = Holder> {
        let (kernel, unseen) = match (Self::of(group), unaccounted) {
            (Self::Nothing, None) => (false, Some(None)),
            (Self::One | Self::PerAddress, None) => (true, None),
            (Self::Nothing, Some(count)) => (false, Some(Some(count))),
            (Self::One, Some(count)) => (count > 0, Some(Some(count.saturating_sub(1)))),
            (Self::PerAddress, Some(count)) => (count > 0, None),
        };
        let unseen = unseen.filter(|sockets| *sockets != Some(0)).map(|sockets| Holder::Unseen { sockets });
        kernel.then_some(Holder::Kernel).into_iter().chain(unseen)
    }
}

/// All systems (RFC 1112 section 7.1), and all snoopers, joined on bridges (RFC 4286).
const JOINED_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(224, 0, 0, 1), Ipv4Addr::new(224, 0, 0, 106)];

/// All nodes (RFC 4291 section 2.8), all routers if packets are forwarded, and all snoopers, joined
/// on bridges (RFC 4286).
const JOINED_V6: [Ipv6Addr; 6] = [
    Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 2),
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2),
    Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 2),
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x6a),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn attributed(group: &str, unaccounted: impl Into<Option<u32>>) -> Vec<Holder> {
        KernelShare::attribute(group.parse().unwrap(), unaccounted.into()).collect()
    }

    #[test]
    fn one_membership_of_all_systems_belongs_to_the_kernel() {
        let unseen = |sockets| Holder::Unseen { sockets: Some(sockets) };
        assert_eq!(attributed("224.0.0.1", 1), [Holder::Kernel]);
        assert_eq!(attributed("224.0.0.1", 3), [Holder::Kernel, unseen(2)]);
        assert_eq!(attributed("239.1.2.3", 2), [unseen(2)]);
        assert_eq!(attributed("ff02::1", 0), []);
    }

    #[test]
    fn a_solicited_node_group_is_joined_once_for_each_address() {
        assert_eq!(attributed("ff02::1:ff00:2", 2), [Holder::Kernel]);
    }

    #[test]
    fn without_a_count_each_group_has_one_kind_of_holder() {
        assert_eq!(attributed("224.0.0.1", None), [Holder::Kernel]);
        assert_eq!(attributed("ff02::1:ff00:2", None), [Holder::Kernel]);
        assert_eq!(attributed("239.1.2.3", None), [Holder::Unseen { sockets: None }]);
    }
}
