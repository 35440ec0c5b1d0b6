//! The state of this machine at one moment.
//!
//! Plain data, so that tests can construct machines. [`snapshot()`](crate::snapshot()) fills it in.

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
    BridgeGroup, BridgePort, BridgeSettings, Carrier, ConfigService, DeviceStatistics, DroppingRule,
    FrameMembership, GroupRoute, IpsecAction, IpsecPolicy, JoinedGroup, Link, MacvlanMode, MulticastRoute,
    NextHop, OtherQuerier, PortState, Queue, RelayRefusal, Remote, SocketOwners, TrafficFilter, UdpSocket,
    VlanLimit, XdpProgram,
};
pub use routing::{
    AddressPrefix, Decision, ForwardedGroup, Plane, Rejection, RouteKind, RoutedPacket, Routing, RoutingRule,
    RuleAction, RuleSelector, TableRoute, table_name,
};

/// This machine, or this thread's network namespace, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSnapshot {
    /// The interfaces of this network namespace (netlink `RTM_GETLINK`).
    pub links: Vec<Link>,
    /// The counters of the IP layer, UDP and IPsec since boot (`/proc/net/{snmp,netstat,snmp6,xfrm_stat}`).
    pub counters: Counters,
    /// The settings that decide about multicast, by their dotted names as in `sysctl`. One that the system
    /// does not have is missing.
    pub settings: BTreeMap<String, String>,
    /// The interface that ordinary groups leave by if the program chooses none, by family. A family whose
    /// route could not be looked up is missing.
    pub group_routes: Vec<GroupRoute>,
    /// The names of the interfaces that an IPv4 default route with a gateway uses (`/proc/net/route`).
    pub gateways: Vec<String>,
    /// The names of the interfaces with a route for IPv6 groups that does not reject
    /// (`/proc/net/ipv6_route`); `None` if the routes are not known.
    pub v6_group_routes: Option<BTreeSet<String>>,
    /// The groups that are joined, with their interfaces (`/proc/net/{igmp,igmp6}`).
    pub joined: Vec<JoinedGroup>,
    /// The IGMP version in use, 1 to 3, by interface name (`/proc/net/igmp`).
    pub igmp_versions: BTreeMap<String, u8>,
    /// The bound UDP sockets of all programs (`/proc/net/{udp,udp6}`).
    pub udp_sockets: Vec<UdpSocket>,
    /// The multicast routes of a router (`/proc/net/{ip_mr_cache,ip6_mr_cache}`); empty on a machine that is
    /// none.
    pub multicast_routes: Vec<MulticastRoute>,
    /// Packets dropped from the per-CPU backlog queues since boot, summed over all CPUs
    /// (`/proc/net/softnet_stat`). Counts the whole machine, even in a network namespace.
    pub backlog_dropped: u64,
    /// The rules of nftables and of the old iptables, if they can be read: it needs `CAP_NET_ADMIN`.
    /// [`parts`](Self::parts) has what is missing.
    pub ruleset: Ruleset,
    /// The state of a firewall that blocks incoming traffic by default, on systems whose rules cannot be read
    /// (Windows, macOS).
    pub firewall: Option<String>,
    /// Whether it is a cloud machine or a container.
    pub machine: Machine,
    /// What was read besides interfaces, routes, settings and counters, and what could not be.
    pub parts: Vec<ExaminedPart>,
    /// The options of UDP sockets, by the inode of the socket, as far as programs may be inspected. Empty
    /// unless [`processes::socket_options`](crate::processes::socket_options) has been asked.
    pub socket_options: BTreeMap<u64, SocketOptions>,
    /// A process that has each socket open, with its name, by the inode of the socket. Empty unless
    /// [`processes::owners`](crate::processes::owners) has been asked.
    pub socket_processes: BTreeMap<u64, (u32, String)>,
    /// The groups that bridges have learnt by snooping (netlink `RTM_GETMDB`).
    pub bridge_groups: Vec<BridgeGroup>,
    /// The ports of bridges behind which there are routers or queriers, which get every group.
    pub router_ports: Vec<InterfaceIndex>,
    /// Whether rules for the routing of IPv4 exist besides the three of every machine.
    pub has_routing_rules: bool,
    /// The rules for routing and the routes of their tables, if they can be read.
    pub routing: Routing,
    /// The IPsec policies for packets that arrive (netlink `XFRM_MSG_GETPOLICY`); empty if they cannot be
    /// read, which needs `CAP_NET_ADMIN`.
    pub ipsec_policies: Vec<IpsecPolicy>,
    /// The groups without IP that packet sockets may have joined (`/proc/net/dev_mcast`, `/proc/net/packet`).
    pub frame_memberships: Vec<FrameMembership>,
    /// How many datagrams the relays on this machine have refused, from their metrics.
    pub relay_refusals: BTreeMap<RelayRefusal, u64>,
}

/// The kind of machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The name of the cloud provider that the firmware names (`/sys/class/dmi/id`), if it is a cloud
    /// machine.
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

impl HostSnapshot {
    /// Returns the interface with an index.
    pub fn link(&self, index: InterfaceIndex) -> Option<&Link> {
        self.links.iter().find(|link| link.index() == index)
    }

    /// Returns the interface with a name.
    pub fn link_named(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name() == name)
    }

    /// Returns a setting by its dotted name; `None` if the system does not have it, or does not show it.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// Returns a setting that is a number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.setting(name)?.trim().parse().ok()
    }

    /// Returns whether the system may have chosen a port for a socket that asked for none; `false` where it does not show its range.
    pub fn is_ephemeral(&self, port: u16) -> bool {
        let mut ends = self.setting("net.ipv4.ip_local_port_range").unwrap_or_default().split_whitespace();
        let mut end = || ends.next()?.parse().ok();
        end().zip(end()).is_some_and(|(first, last): (u16, u16)| (first..=last).contains(&port))
    }

    /// Returns whether the kernel was built without IGMP (`CONFIG_IP_MULTICAST`), as that of WSL 2 is. Kernels before Linux 3.18
    /// lack the setting, and list the groups.
    pub fn lacks_igmp(&self) -> bool {
        let has = |name| self.setting(name).is_some();
        has("net.ipv4.igmp_max_memberships") && !has("net.ipv4.igmp_qrv") && self.igmp_versions.is_empty()
    }

    /// Returns whether an interface lacks a route for IPv6 groups, without which it neither sends nor receives them.
    pub fn lacks_v6_group_route(&self, interface: &str) -> bool {
        self.v6_group_routes.as_ref().is_some_and(|names| !names.contains(interface))
    }

    /// Returns whether an address belongs to this machine.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.links.iter().flat_map(|link| &link.interface.addresses).any(|own| own.address == address)
    }

    /// Returns whether any program has joined a group on an interface.
    pub fn is_joined(&self, group: IpAddr, interface: InterfaceIndex) -> bool {
        self.joined.iter().any(|joined| joined.group == group && joined.interface == interface)
    }
}
