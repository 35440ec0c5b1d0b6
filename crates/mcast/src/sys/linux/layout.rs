//! How groups are spread over sockets on Linux. Measured: see ARCHITECTURE.md, "Many groups".

use mcast_group::Family;

/// A socket bound to a group receives that group alone, and takes nobody's unicast.
pub(crate) const BINDS_TO_GROUP: bool = true;

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

/// The kernel counts what it drops on a socket (`SO_RXQ_OVFL`, `SO_MEMINFO`).
pub(crate) const COUNTS_DROPS: bool = true;
