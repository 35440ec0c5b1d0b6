//! The distribution of groups over sockets on Linux. For measurements see docs/design/001-sockets-per-port.md.

use std::net::IpAddr;

use mcast_group::{Family, Group};

/// A socket bound to a group receives only that group, and no unicast datagrams of other programs.
pub const BINDS_TO_GROUP: bool = true;

/// A socket bound to a broadcast address receives only broadcasts, and no unicast datagrams of other programs.
pub const BINDS_TO_BROADCAST: bool = true;

/// Sockets other than the receiving one may hold its memberships.
pub const HOLDS_APART: bool = true;

/// Returns the maximum number of descriptors under this hard limit.
pub fn most_descriptors(hard_limit: libc::rlim_t) -> libc::rlim_t {
    hard_limit
}

/// Returns the number of groups on one port above which other sockets hold the memberships and one
/// wildcard socket receives. An IPv6 wildcard socket would take the unicast datagrams of other
/// programs, so every IPv6 group keeps its own socket.
pub fn held_above(family: Family) -> usize {
    match family {
        Family::V4 => 64,
        Family::V6 => usize::MAX,
    }
}

/// Whether the kernel considers the interface when it filters IPv6 sources. It does not:
/// `inet6_mc_check` takes the first membership with the group's address. For IPv4 it does.
pub const FILTERS_BY_INTERFACE_V6: bool = false;

/// Returns whether a socket that is bound to a group, and has joined it on one interface only,
/// receives nothing from other interfaces. This holds for IPv4 with `IP_MULTICAST_ALL` off
/// (`ip_mc_sf_allow` compares the interface, `inet6_mc_check` does not).
pub fn implies_interface(family: Family) -> bool {
    family == Family::V4
}

/// The kernel counts drops per socket (`SO_RXQ_OVFL`, `SO_MEMINFO`).
pub const COUNTS_DROPS: bool = true;

/// Returns whether a socket for the group is bound to an interface, too, and receives on that one
/// only: IPv6 groups of interface-local and link-local scope (`__ipv6_addr_needs_scope_id`).
pub fn is_scoped(group: Group) -> bool {
    match group.addr() {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => matches!(address.octets()[1] & 0x0f, 1 | 2),
    }
}
