//! The distribution of groups over sockets on macOS and FreeBSD.

use std::net::IpAddr;

use mcast_group::{Family, Group};

pub use super::os::most_descriptors;

/// A socket bound to a group receives only that group, and no unicast datagrams of other programs.
pub const BINDS_TO_GROUP: bool = true;

/// These systems bind sockets only to addresses of the machine itself.
pub const BINDS_TO_BROADCAST: bool = false;

/// A socket only receives what it joined itself, so other sockets cannot hold its memberships:
/// every group has its own socket.
pub const HOLDS_APART: bool = false;

/// Never; see [`HOLDS_APART`].
pub fn held_above(_family: Family) -> usize {
    usize::MAX
}

/// The kernel considers the interface when it filters sources, for both families.
pub const FILTERS_BY_INTERFACE_V6: bool = true;

/// The receiver never relies on a socket to receive on one interface only.
pub fn implies_interface(_family: Family) -> bool {
    false
}

/// These kernels do not count drops per socket.
pub const COUNTS_DROPS: bool = false;

/// Returns whether a socket for the group is bound to an interface, too, and receives on that one
/// only: IPv6 groups of interface-local and link-local scope, into which these kernels write the
/// interface.
pub fn is_scoped(group: Group) -> bool {
    match group.addr() {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => matches!(address.octets()[1] & 0x0f, 1 | 2),
    }
}
