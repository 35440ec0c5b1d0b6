//! The state of this machine at one moment, which the causes are judged by.
//!
//! Plain data, so that tests can construct machines. `gather` fills it in.

mod counters;
mod link;
mod routing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use mcast::{Family, InterfaceIndex};
use mcast_sys::SocketOptions;

use crate::ExaminedPart;
use crate::netfilter::Ruleset;

pub use counters::{Counter, Counters, explains};
pub use link::{
    Bridge, BridgeGroup, BridgePort, Carrier, ConfigService, DroppingRule, IpsecAction, IpsecPolicy,
    JoinedGroup, Link, MacvlanMode, MulticastRoute, OtherQuerier, PortState, Queue, RelayRefusal, Route,
    SocketOwners, Statistics, TrafficFilter, UdpSocket, VlanLimit, XdpProgram,
};
pub use routing::{
    Decision, ForwardedGroup, Plane, Prefix, Rejection, RouteKind, RoutedPacket, Routing, RoutingRule,
    RuleAction, RuleSelector, TableRoute, table_name,
};

/// This machine, or this thread's network namespace, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub links: Vec<Link>,
    pub counters: Counters,
    /// Settings by their dotted names, as in `sysctl`.
    pub settings: BTreeMap<String, String>,
    /// The interface that groups leave by if the program chooses none, by family.
    pub group_routes: Vec<Route>,
    /// The names of the interfaces that a default route with a gateway uses.
    pub gateways: Vec<String>,
    /// The names of the interfaces with a route for IPv6 groups that does not reject; `None` if the routes are not known.
    pub v6_group_routes: Option<BTreeSet<String>>,
    /// The groups that are joined, with their interfaces.
    pub joined: Vec<JoinedGroup>,
    /// The IGMP version in use, by interface name.
    pub igmp_versions: BTreeMap<String, u8>,
    pub udp_sockets: Vec<UdpSocket>,
    pub multicast_routes: Vec<MulticastRoute>,
    /// Packets dropped from the per-CPU backlog queues, summed over all CPUs. Counts the whole machine, even in
    /// a network namespace.
    pub backlog_dropped: u64,
    /// The rules of nftables, if they can be read.
    pub ruleset: Ruleset,
    /// The state of a firewall that blocks incoming traffic by default, on systems whose rules cannot be read.
    pub firewall: Option<String>,
    pub machine: Machine,
    /// What was read besides interfaces, routes, settings and counters, and what could not be.
    pub parts: Vec<ExaminedPart>,
    /// The options of UDP sockets, by the inode of the socket, as far as programs may be inspected.
    pub socket_options: BTreeMap<u64, SocketOptions>,
    /// A process that has each socket open, with its name, by the inode of the socket.
    pub socket_processes: BTreeMap<u64, (u32, String)>,
    /// The groups that bridges have learnt by snooping.
    pub bridge_groups: Vec<BridgeGroup>,
    /// The ports of bridges behind which there are routers or queriers, which get every group.
    pub router_ports: Vec<InterfaceIndex>,
    /// Whether rules for the routing of IPv4 exist besides the three of every machine.
    pub has_routing_rules: bool,
    /// The rules for routing and the routes of their tables, if they can be read.
    pub routing: Routing,
    /// The IPsec policies for packets that arrive, if they can be read.
    pub ipsec_policies: Vec<IpsecPolicy>,
    /// How many datagrams the relays on this machine have refused.
    pub relay_refusals: BTreeMap<RelayRefusal, u64>,
}

/// The kind of machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The name of the cloud provider, if it is a cloud machine.
    pub cloud: Option<String>,
    /// The file that marks this as a container, if it is one.
    pub container: Option<String>,
}

/// Returns the name of an interface's setting, in which `sysctl` writes the dots of the interface as slashes.
pub fn interface_setting(family: Family, interface: &str, key: &str) -> String {
    let family = match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    format!("net.{family}.conf.{}.{key}", interface.replace('.', "/"))
}

/// Returns the path of a setting. In the name of a setting, dots and slashes are swapped.
#[must_use]
pub fn setting_path(name: &str) -> PathBuf {
    let parts = name.split('.').map(|part| part.replace('/', "."));
    Path::new("/proc/sys").join(parts.collect::<PathBuf>())
}

impl Snapshot {
    pub fn link(&self, index: InterfaceIndex) -> Option<&Link> {
        self.links.iter().find(|link| link.index() == index)
    }

    pub fn link_named(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name() == name)
    }

    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    pub fn number(&self, name: &str) -> Option<i64> {
        self.setting(name)?.trim().parse().ok()
    }

    /// Returns whether an interface lacks a route for IPv6 groups, without which it neither sends nor receives them.
    pub fn lacks_v6_group_route(&self, interface: &str) -> bool {
        self.v6_group_routes.as_ref().is_some_and(|names| !names.contains(interface))
    }

    /// Returns whether an address belongs to this machine.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.links.iter().flat_map(|link| &link.interface.addresses).any(|own| own.address == address)
    }

    pub fn is_joined(&self, group: IpAddr, interface: InterfaceIndex) -> bool {
        self.joined.iter().any(|joined| joined.group == group && joined.interface == interface)
    }
}
