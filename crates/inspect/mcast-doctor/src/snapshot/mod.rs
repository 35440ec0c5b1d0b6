//! The state of this machine at one moment, which the causes are judged by.
//!
//! Plain data, so that tests can construct machines. `gather` fills it in.

mod counters;
mod link;
pub(crate) mod routing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mcast::{Family, InterfaceIndex};
use mcast_sys::SocketOptions;

use crate::ExaminedPart;
use crate::netfilter::Ruleset;

pub(crate) use counters::{Counter, Counters, explains};
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use link::NextHop;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use link::Statistics;
pub(crate) use link::{
    Bridge, BridgeGroup, Carrier, ConfigService, DroppingRule, FrameMembership, IpsecAction, IpsecPolicy,
    JoinedGroup, Link, MacvlanMode, MulticastRoute, PortState, Queue, RelayRefusal, Remote, Route,
    SocketOwners, TrafficFilter, UdpSocket, XdpProgram,
};
#[cfg(any(test, target_os = "linux", target_os = "android"))]
pub(crate) use link::{BridgePort, OtherQuerier, VlanLimit};
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use routing::ForwardedGroup;
pub(crate) use routing::{
    Decision, Plane, Prefix, Rejection, RouteKind, RoutedPacket, Routing, RoutingRule, RuleAction,
    RuleSelector, TableRoute,
};

/// This machine, or this thread's network namespace, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) links: Vec<Link>,
    pub(crate) counters: Counters,
    /// Settings by their dotted names, as in `sysctl`.
    pub(crate) settings: BTreeMap<String, String>,
    /// The interface that groups leave by if the program chooses none, by family.
    pub(crate) group_routes: Vec<Route>,
    /// The names of the interfaces that a default route with a gateway uses.
    pub(crate) gateways: Vec<String>,
    /// The names of the interfaces with a route for IPv6 groups that does not reject; `None` if the routes are not known.
    pub(crate) v6_group_routes: Option<BTreeSet<String>>,
    /// The groups that are joined, with their interfaces.
    pub(crate) joined: Vec<JoinedGroup>,
    /// The IGMP version in use, by interface name.
    pub(crate) igmp_versions: BTreeMap<String, u8>,
    /// The groups without IP that packet sockets may have joined.
    pub(crate) frame_memberships: Vec<FrameMembership>,
    pub(crate) udp_sockets: Vec<UdpSocket>,
    pub(crate) multicast_routes: Vec<MulticastRoute>,
    /// Packets dropped from the per-CPU backlog queues, summed over all CPUs. Counts the whole machine, even in
    /// a network namespace.
    pub(crate) backlog_dropped: u64,
    /// The rules of nftables, if they can be read.
    pub(crate) ruleset: Ruleset,
    /// The state of a firewall that blocks incoming traffic by default, on systems whose rules cannot be read.
    pub(crate) firewall: Option<String>,
    pub(crate) machine: Machine,
    /// What was read besides interfaces, routes, settings and counters, and what could not be.
    pub(crate) parts: Vec<ExaminedPart>,
    /// The options of UDP sockets, by the inode of the socket, as far as programs may be inspected.
    pub(crate) socket_options: BTreeMap<u64, SocketOptions>,
    /// A process that has each socket open, with its name, by the inode of the socket.
    pub(crate) socket_processes: BTreeMap<u64, (u32, String)>,
    /// The groups that bridges have learnt by snooping.
    pub(crate) bridge_groups: Vec<BridgeGroup>,
    /// The ports of bridges behind which there are routers or queriers, which get every group.
    pub(crate) router_ports: Vec<InterfaceIndex>,
    /// Whether rules for the routing of IPv4 exist besides the three of every machine.
    pub(crate) has_routing_rules: bool,
    /// The rules for routing and the routes of their tables, if they can be read.
    pub(crate) routing: Routing,
    /// The IPsec policies for packets that arrive, if they can be read.
    pub(crate) ipsec_policies: Vec<IpsecPolicy>,
    /// How many datagrams the relays on this machine have refused.
    pub(crate) relay_refusals: BTreeMap<RelayRefusal, u64>,
}

/// The kind of machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The name of the cloud provider, if it is a cloud machine.
    pub(crate) cloud: Option<String>,
    /// The file that marks this as a container, if it is one.
    pub(crate) container: Option<String>,
}

/// Returns the name of an interface's setting, in which `sysctl` writes the dots of the interface as slashes.
pub(crate) fn interface_setting(family: Family, interface: &str, key: &str) -> String {
    let family = match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    format!("net.{family}.conf.{}.{key}", interface.replace('.', "/"))
}

impl Snapshot {
    pub(crate) fn link(&self, index: InterfaceIndex) -> Option<&Link> {
        self.links.iter().find(|link| link.index() == index)
    }

    pub(crate) fn link_named(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name() == name)
    }

    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.setting(name)?.trim().parse().ok()
    }

    /// Returns whether an interface lacks a route for IPv6 groups, without which it neither sends nor receives them.
    pub(crate) fn lacks_v6_group_route(&self, interface: &str) -> bool {
        self.v6_group_routes.as_ref().is_some_and(|names| !names.contains(interface))
    }

    /// Returns whether an address belongs to this machine.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        self.links.iter().flat_map(|link| &link.interface.addresses).any(|own| own.address == address)
    }

    pub(crate) fn is_joined(&self, group: IpAddr, interface: InterfaceIndex) -> bool {
        self.joined.iter().any(|joined| joined.group == group && joined.interface == interface)
    }
}
