//! How groups are spread over sockets on Linux. Measured: see ARCHITECTURE.md, "Many groups".

use std::net::IpAddr;

use mcast_group::{Family, Group};

/// A socket bound to a group receives that group alone, and takes nobody's unicast.
pub(crate) const BINDS_TO_GROUP: bool = true;

/// Memberships may be kept by other sockets than the one that receives.
pub(crate) const HOLDS_APART: bool = true;

/// How many descriptors a process can have under this hard limit.
pub(crate) fn most_descriptors(hard_limit: libc::rlim_t) -> libc::rlim_t {
    hard_limit
}

/// Above so many groups on one port, memberships are held by other sockets and one wildcard
/// socket receives. IPv6 has no wildcard socket that leaves other programs their unicast, so
/// there every group keeps its own.
pub(crate) fn held_above(family: Family) -> usize {
    match family {
        Family::V4 => 64,
        Family::V6 => usize::MAX,
    }
}

/// The kernel looks at the interface when it filters sources: IPv4 yes, IPv6 no
/// (`inet6_mc_check` takes the first membership with the group's address).
pub(crate) const FILTERS_BY_INTERFACE_V6: bool = false;

/// Whether a socket that is bound to a group, and has joined it on one interface, receives nothing
/// that came by another: IPv4 with `IP_MULTICAST_ALL` off (`ip_mc_sf_allow` compares the
/// interface, `inet6_mc_check` doesn't).
pub(crate) fn implies_interface(family: Family) -> bool {
    family == Family::V4
}

/// The kernel counts what it drops on a socket (`SO_RXQ_OVFL`, `SO_MEMINFO`).
pub(crate) const COUNTS_DROPS: bool = true;

/// Whether a socket is bound to the group with an interface, and so hears that one only: IPv6
/// groups of interface-local and link-local scope (`__ipv6_addr_needs_scope_id`).
pub(crate) fn is_scoped(group: Group) -> bool {
    match group.addr() {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => matches!(address.octets()[1] & 0x0f, 1 | 2),
    }
}
