//! How groups are spread over sockets on macOS and FreeBSD.

use std::net::IpAddr;

use mcast_group::{Family, Group};

pub(crate) use super::os::most_descriptors;

/// A socket bound to a group receives that group alone, and takes nobody's unicast.
pub(crate) const BINDS_TO_GROUP: bool = true;

/// A socket only ever hears what it has joined itself, so memberships cannot be held by others:
/// every group has its own.
pub(crate) const HOLDS_APART: bool = false;

/// Never: see [`HOLDS_APART`].
pub(crate) fn held_above(_family: Family) -> usize {
    usize::MAX
}

/// The kernel looks at the interface when it filters sources, for both families.
pub(crate) const FILTERS_BY_INTERFACE_V6: bool = true;

/// No socket is relied on to receive by one interface alone.
pub(crate) fn implies_interface(_family: Family) -> bool {
    false
}

/// These kernels do not count drops by socket.
pub(crate) const COUNTS_DROPS: bool = false;

/// Whether a socket is bound to the group with an interface, and so hears that one only: IPv6
/// groups of interface-local and link-local scope, into which these kernels write the interface.
pub(crate) fn is_scoped(group: Group) -> bool {
    match group.addr() {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => matches!(address.octets()[1] & 0x0f, 1 | 2),
    }
}
