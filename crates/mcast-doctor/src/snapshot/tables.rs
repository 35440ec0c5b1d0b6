//! The kernel's tables: routes, firewall rules, sockets and joined groups.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::netfilter::{Hook, Layer};
use mcast::joined::Process;
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

/// An nftables rule or chain policy that drops or diverts packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DroppingRule {
    /// `inet`, `ip`, `ip6`, `netdev`…
    pub(crate) family: String,
    pub(crate) table: String,
    pub(crate) chain: String,
    /// The rule in the chain: `handle 4` or `policy drop`.
    pub(crate) part: String,
    pub(crate) layer: Layer,
    /// The hook from which packets reach it.
    pub(crate) hook: Hook,
    /// Whether its chain begins at the hook; others are jumped to, maybe from other hooks as well.
    pub(crate) is_base: bool,
    /// The number of packets dropped, if the rule has a counter.
    pub(crate) packets: Option<u64>,
}

impl DroppingRule {
    /// Returns its location in `nft` syntax: `nft inet filter input handle 4`.
    pub(crate) fn location(&self) -> String {
        format!("nft {} {} {} {}", self.family, self.table, self.chain, self.part)
    }

    /// Returns whether firewalld created the rule.
    pub(crate) fn is_of_firewalld(&self) -> bool {
        self.table == "firewalld"
    }
}

/// The processes that have each socket open, by the inode of the socket, as far as they can be determined.
pub(crate) type SocketOwners = BTreeMap<u64, Vec<Process>>;

/// A bound UDP socket of any program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UdpSocket {
    pub(crate) local: SocketAddr,
    /// The address that it is connected to.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) inode: u64,
    /// Datagrams dropped since the socket was opened, because its receive buffer was full.
    pub(crate) drops: u64,
    /// The programs that have it open, if they can be determined.
    pub(crate) programs: Vec<String>,
}

/// A group that is joined on an interface, by any program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JoinedGroup {
    pub(crate) group: IpAddr,
    pub(crate) interface: InterfaceIndex,
}
