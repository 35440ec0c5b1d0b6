//! Bridges and their multicast settings.

use std::net::IpAddr;
use std::time::Duration;

use mcast_group::InterfaceIndex;

/// A bridge of this machine's kernel: a software switch, which may snoop and act as querier.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bridge {
    /// The index of the bridge interface.
    pub index: InterfaceIndex,
    /// The name of the bridge interface.
    pub name: String,
    /// Whether multicast snooping (RFC 4541) is on: while there is a querier, groups are forwarded
    /// only to ports with members.
    pub snooping: bool,
    /// Whether the bridge acts as querier when there is no other.
    pub querier: bool,
    /// The IGMP version of its queries; `None` where the kernel does not report it.
    pub igmp_version: Option<u8>,
    /// The MLD version of its queries; `None` where the kernel does not report it.
    pub mld_version: Option<u8>,
    /// The interval between its general queries.
    pub query_interval: Option<Duration>,
    /// How long a membership lasts without another report.
    pub membership_interval: Option<Duration>,
    /// The queriers that the bridge knows of, at most one per family. Reported by Linux 5.16 or
    /// newer.
    pub queriers: Vec<BridgeQuerier>,
}

/// A querier that a bridge knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BridgeQuerier {
    /// The source address of its queries; the bridge's own may be unspecified.
    pub address: IpAddr,
    /// The bridge port on which its queries arrive; `None` for the bridge itself.
    pub port: Option<InterfaceIndex>,
    /// The time until the bridge considers it gone, unless another query arrives; `None` for the
    /// bridge itself.
    pub expires: Option<Duration>,
}
