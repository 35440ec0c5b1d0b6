//! Parsers for the tables in `/proc/thread-self/net`.

pub(super) mod counters;
pub(super) mod multicast_routes;
pub(super) mod sockets;
