//! The tables in `/proc/thread-self/net`, taken apart.

pub(super) mod counters;
pub(super) mod memberships;
pub(super) mod multicast_routes;
pub(super) mod sockets;
