//! A route for groups: the kernel's multicast routing, where this machine is a router.

use std::net::IpAddr;

/// How a group of a source goes through this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MulticastRoute {
    pub(crate) group: IpAddr,
    pub(crate) source: IpAddr,
    /// The name of the interface that it must come in by; none while nobody has said it.
    pub(crate) from: Option<String>,
    pub(crate) packets: u64,
    /// Packets that came in by another interface, and were dropped.
    pub(crate) wrong_interface: u64,
    /// Where it goes: the interface, and the hop limit that must be exceeded.
    pub(crate) to: Vec<(String, u8)>,
}
