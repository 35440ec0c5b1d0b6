//! The kernel's tables: routes, firewall rules, sockets and joined groups.

use std::collections::BTreeMap;
use std::fmt;
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

/// An entry of the group table of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BridgeGroup {
    pub(crate) port: InterfaceIndex,
    pub(crate) group: IpAddr,
    /// `None` for every source.
    pub(crate) source: Option<IpAddr>,
    /// Whether the members behind the port excluded the source.
    pub(crate) blocked: bool,
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
    /// `inet`, `ip`, `ip6`, `netdev`…; `iptables` or `ip6tables` for rules of the old programs.
    pub(crate) family: String,
    pub(crate) table: String,
    pub(crate) chain: String,
    /// The rule in the chain: `handle 4`, `rule 4` or `policy drop`.
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
    /// Returns its location in `nft` syntax: `nft inet filter input handle 4`; that of a rule of the old `iptables` as its
    /// options name it: `iptables-legacy -t filter INPUT rule 4`.
    pub(crate) fn location(&self) -> String {
        match self.is_legacy() {
            true => format!("{}-legacy -t {} {} {}", self.family, self.table, self.chain, self.part),
            false => format!("nft {} {} {} {}", self.family, self.table, self.chain, self.part),
        }
    }

    /// Returns whether it is a rule of the old `iptables` or `ip6tables`.
    pub(crate) fn is_legacy(&self) -> bool {
        self.family.ends_with("tables")
    }

    /// Returns whether ufw may have created the rule or policy.
    pub(crate) fn may_be_of_ufw(&self) -> bool {
        self.table == "filter" && (self.chain.starts_with("ufw") || self.part.starts_with("policy"))
    }

    /// Returns whether firewalld created the rule.
    pub(crate) fn is_of_firewalld(&self) -> bool {
        self.table == "firewalld"
    }
}

/// An IPsec policy for packets that arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IpsecPolicy {
    /// The addresses that it selects, as networks.
    pub(crate) source: (IpAddr, u8),
    pub(crate) destination: (IpAddr, u8),
    /// The protocol that it selects; 0 for all.
    pub(crate) protocol: u8,
    /// The destination port that it selects; `None` for all.
    pub(crate) port: Option<u16>,
    /// Of the policies that select a packet, the one with the lowest number decides.
    pub(crate) priority: u32,
    pub(crate) action: IpsecAction,
}

/// What an IPsec policy does with the packets that it selects.
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    allow(dead_code, reason = "only Linux reports it, but its judgement is tested on every system")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IpsecAction {
    Allow,
    Block,
    /// It accepts them only if they arrived by an IPsec association.
    Protect,
}

impl IpsecPolicy {
    /// Returns whether it selects the datagrams from a source.
    pub(crate) fn applies_to(&self, source: IpAddr, to: SocketAddr) -> bool {
        const UDP: u8 = 17;
        contains(self.source, source)
            && contains(self.destination, to.ip())
            && [0, UDP].contains(&self.protocol)
            && self.port.is_none_or(|port| port == to.port())
    }

    /// Returns the packets that it selects, in the syntax of `ip xfrm`.
    pub(crate) fn selector(&self) -> String {
        let ((source, from), (destination, to)) = (self.source, self.destination);
        let protocol = match self.protocol {
            0 => String::new(),
            17 => " proto udp".to_owned(),
            other => format!(" proto {other}"),
        };
        let port = self.port.map(|port| format!(" dport {port}")).unwrap_or_default();
        format!("src {source}/{from} dst {destination}/{to}{protocol}{port}")
    }
}

impl fmt::Display for IpsecPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            IpsecAction::Allow => " action allow",
            IpsecAction::Block => " action block",
            IpsecAction::Protect => "",
        };
        write!(f, "{}{action} priority {}", self.selector(), self.priority)
    }
}

/// Returns whether an address is in a network.
fn contains((network, prefix): (IpAddr, u8), address: IpAddr) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let ((network, width), (address, other)) = (bits(network), bits(address));
    let differing = (network ^ address).checked_shr(128 - u32::from(prefix.min(width)));
    width == other && differing.unwrap_or_default() == 0
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

/// What a relay on this machine does not forward.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RelayRefusal {
    pub(crate) pid: u32,
    /// The rule, as the relay was given it.
    pub(crate) rule: String,
    /// The relay's name for the reason.
    pub(crate) reason: String,
}

/// A group that is joined on an interface, by any program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JoinedGroup {
    pub(crate) group: IpAddr,
    pub(crate) interface: InterfaceIndex,
}
