//! The routes of groups.

use std::net::IpAddr;

use mcast::{Family, InterfaceIndex};

/// The interface that a family's groups leave by if the program chooses none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) family: Family,
    /// `None` if there is no route.
    pub(crate) interface: Option<InterfaceIndex>,
}

/// An entry of the kernel's multicast routing table, on a machine that is a multicast router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MulticastRoute {
    pub(crate) group: IpAddr,
    pub(crate) source: IpAddr,
    /// The name of the incoming interface; `None` if the entry is unresolved.
    pub(crate) from: Option<String>,
    pub(crate) packets: u64,
    /// Packets that arrived on another interface and were dropped.
    pub(crate) wrong_interface: u64,
    /// The outgoing interfaces, each with the threshold that the hop limit must exceed.
    pub(crate) to: Vec<(String, u8)>,
}
