//! Interfaces, with everything that multicast depends on, and the tables of the kernel: routes, firewall rules, sockets and
//! joined groups.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast::interface::Interface;
use mcast::joined::Process;
use mcast::{Family, InterfaceIndex};
use mcast_packet::MacAddress;

use crate::FlowKey;
use crate::netfilter::{FilterLayer, Hook};

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name, index, flags, MTU and addresses.
    pub interface: Interface,
    /// Whether it is a wireless device, by its name (`wl…`).
    pub wireless: bool,
    /// The kind of virtual interface: `veth`, `bridge`, `tun`, `wireguard`; `None` for a physical device.
    pub kind: Option<String>,
    /// The interface below it (VLAN, macvlan) or its peer (veth), if that is in this namespace.
    pub lower: Option<InterfaceIndex>,
    /// Whether the interface below it, or its peer, is in another namespace.
    pub peer_elsewhere: bool,
    /// Its counters since it exists (`IFLA_STATS64`).
    pub statistics: DeviceStatistics,
    /// The multicast settings, if it is a bridge.
    pub bridge: Option<BridgeSettings>,
    /// The port settings, if it is a port of a bridge or bond.
    pub port: Option<BridgePort>,
    /// Its root queueing disciplines (netlink `RTM_GETQDISC`).
    pub queues: Vec<Queue>,
    /// The service that configures it at boot, if there is one.
    pub config_service: Option<ConfigService>,
    /// The XDP program that is attached to it.
    pub xdp_program: Option<XdpProgram>,
    /// The queueing discipline that filters of traffic control are attached to (`clsact`, `ingress`).
    pub classifier: Option<Queue>,
    /// The filters of traffic control at ingress and egress.
    pub filters: Vec<TrafficFilter>,
    /// The mode, if it is a macvlan.
    pub macvlan_mode: Option<MacvlanMode>,
    /// Whether it takes frames to all addresses, because a program or a device above it wants them
    /// (`IFLA_PROMISCUITY`).
    pub is_promiscuous: bool,
    /// The VLANs of a port with a limit of groups (netlink `RTM_GETVLAN`).
    pub vlan_limits: Vec<VlanLimit>,
    /// What carries its frames, if it is a VXLAN.
    pub carrier: Option<Carrier>,
    /// Where a VXLAN sends frames to groups.
    pub remotes: Vec<Remote>,
    /// How many frames to groups wait for a macvlan at most on the device below it (`bcqueuelen`).
    pub group_queue: Option<u32>,
}

/// The datagrams that carry the frames of a VXLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carrier {
    /// The group that the other ends send to, if they do not send to an address of this machine.
    pub group: Option<IpAddr>,
    /// The family of the datagrams that carry it.
    pub family: Family,
    /// The UDP port of the other ends.
    pub port: u16,
    /// The number of the network (VNI).
    pub network: u32,
    /// The interface below it: the one on which the group is joined.
    pub interface: Option<InterfaceIndex>,
}

/// Another end of a VXLAN, or the group of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its address, or that of the group.
    pub address: IpAddr,
    /// The next host on the way there; `None` without a route.
    pub hop: Option<NextHop>,
}

/// The next host on the way to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The interface by which it is reached.
    pub interface: InterfaceIndex,
    /// Its address.
    pub address: IpAddr,
    /// Whether it does not answer, so that its Ethernet address is not known.
    pub is_silent: bool,
}

/// A group of Ethernet without IP, and the packet sockets on its interface, by their inodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameMembership {
    /// The interface.
    pub interface: InterfaceIndex,
    /// The group.
    pub address: MacAddress,
    /// The inodes of the packet sockets that may have joined it.
    pub sockets: Vec<u64>,
}

/// A VLAN of a bridge port that may have a limited number of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanLimit {
    /// The VLAN id.
    pub vlan: u16,
    /// The number of groups that snooping has learnt in it behind the port.
    pub groups: u32,
    /// How many groups it may have; not 0.
    pub limit: u32,
}

/// With which other macvlan interfaces on the same device a macvlan exchanges frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacvlanMode {
    /// With none.
    Private,
    /// With those that the switch sends the frames back to.
    Vepa,
    /// With all.
    Bridge,
    /// With none; it receives only from the Ethernet addresses in a list.
    Source,
}

/// An XDP program that is attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpProgram {
    /// The number of the program, as `bpftool prog` lists it.
    pub id: u32,
    /// Where it runs, as in `ip link set`: `xdpgeneric`, `xdpdrv`, `xdpoffload`; `xdp` if it is not known.
    pub mode: &'static str,
}

/// A filter of traffic control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficFilter {
    /// The kind of classifier: `u32`, `bpf`, `flower`…
    pub kind: String,
    /// Whether it is at ingress; otherwise at egress.
    pub is_ingress: bool,
    /// Its place: filters with a lower number are asked first (`pref`).
    pub preference: u32,
    /// The name of its BPF program.
    pub name: Option<String>,
}

/// The service that configures an interface at boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigService {
    /// systemd-networkd, with the name of the `.network` file.
    Networkd {
        /// The name of the file, without its folder.
        file: String,
    },
    /// NetworkManager, with the UUID of the connection.
    NetworkManager {
        /// The UUID, in the words of `nmcli`.
        connection: String,
    },
}

/// The counters of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStatistics {
    /// Frames received.
    pub received: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Frames dropped because the device's ring was full.
    pub receive_missed: u64,
}

/// The multicast settings of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeSettings {
    /// Whether it forwards groups to their members only (`mcast_snooping`).
    pub snooping: bool,
    /// How many groups its table holds at most (`mcast_hash_max`).
    pub table_limit: u32,
    /// How many groups its table holds.
    pub table_entries: u32,
    /// Whether spanning tree runs, in the kernel or in a program.
    pub spanning_tree: bool,
    /// Whether it sends queries itself.
    pub querier: bool,
    /// How long it keeps a membership that is not reported again.
    pub membership_interval: Duration,
    /// How long it considers another querier present after that querier's last query.
    pub querier_interval: Duration,
    /// The other querier of IPv4 that it considers present.
    pub other_querier_v4: Option<OtherQuerier>,
    /// The same for IPv6.
    pub other_querier_v6: Option<OtherQuerier>,
    /// How often it sends queries.
    pub query_interval: Duration,
}

/// A querier on the network of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherQuerier {
    /// Its address.
    pub address: IpAddr,
    /// The port behind which it is.
    pub port: Option<InterfaceIndex>,
    /// How long the bridge still considers it present without another query.
    pub remaining: Duration,
}

impl BridgeSettings {
    /// Returns the querier of a family, other than itself, that the bridge considers present.
    pub fn other_querier(&self, family: Family) -> Option<OtherQuerier> {
        match family {
            Family::V4 => self.other_querier_v4,
            Family::V6 => self.other_querier_v6,
        }
    }

    /// Returns whether it forwards groups of a family to their members only. Without a querier, it floods them.
    pub fn limits_groups(&self, family: Family) -> bool {
        self.snooping && (self.querier || self.other_querier(family).is_some())
    }
}

/// A port of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgePort {
    /// Whether unregistered groups are flooded to it.
    pub floods_multicast: bool,
    /// Whether a member that leaves is taken for the last one, without a query (`mcast_fast_leave`).
    pub fast_leave: bool,
    /// Whether it is a router port, which receives every group.
    pub leads_to_router: bool,
    /// The number of hosts learnt behind it (netlink `RTM_GETNEIGH`).
    pub hosts: u32,
    /// Its spanning tree state.
    pub state: PortState,
    /// Whether it exchanges no frames with other isolated ports.
    pub isolated: bool,
    /// Whether it accepts frames only from hosts in the forwarding table (802.1X).
    pub locked: bool,
    /// The number of groups that snooping has learnt behind it.
    pub groups: u32,
    /// How many of them it may have; 0 for any number.
    pub group_limit: u32,
}

/// The spanning tree state of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortState {
    /// Administratively off, or without a carrier: nothing passes.
    Disabled,
    /// It will learn soon: nothing passes.
    Listening,
    /// It learns hosts: nothing passes yet.
    Learning,
    /// Everything passes.
    #[default]
    Forwarding,
    /// Another path leads there: nothing passes.
    Blocking,
}

impl fmt::Display for PortState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disabled => "disabled",
            Self::Listening => "listening",
            Self::Learning => "learning",
            Self::Forwarding => "forwarding",
            Self::Blocking => "blocking",
        })
    }
}

/// A queueing discipline (qdisc) of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// `pfifo_fast`, `fq_codel`, `htb`…
    pub kind: String,
    /// Packets that it and those below it have dropped since it exists.
    pub dropped: u64,
}

impl From<Interface> for Link {
    /// Returns an interface of which nothing else is known.
    fn from(interface: Interface) -> Self {
        Self {
            interface,
            wireless: false,
            kind: None,
            lower: None,
            peer_elsewhere: false,
            statistics: DeviceStatistics::default(),
            bridge: None,
            port: None,
            queues: Vec::new(),
            config_service: None,
            xdp_program: None,
            classifier: None,
            filters: Vec::new(),
            macvlan_mode: None,
            is_promiscuous: false,
            vlan_limits: Vec::new(),
            carrier: None,
            remotes: Vec::new(),
            group_queue: None,
        }
    }
}

impl Link {
    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.interface.name
    }

    /// Returns its index.
    pub fn index(&self) -> InterfaceIndex {
        self.interface.index
    }

    /// Returns whether the host receives groups on it: it is up, not the loopback, and not a port of a bridge.
    pub fn is_of_the_host(&self) -> bool {
        self.interface.up && !self.interface.loopback && self.interface.port_of.is_none()
    }

    /// Returns whether it is a tunnel.
    pub fn is_tunnel(&self) -> bool {
        const TUNNELS: [&str; 10] =
            ["tun", "wireguard", "ppp", "ipip", "sit", "gre", "ip6gre", "vti", "xfrm", "ip6tnl"];
        self.interface.point_to_point || self.kind.as_deref().is_some_and(|kind| TUNNELS.contains(&kind))
    }

    /// Returns whether one of both is on the other, and takes the same frames without a VLAN tag.
    pub fn has_frames_of(&self, other: &Self) -> bool {
        let is_above = |upper: &Self, lower: &Self| upper.lower == Some(lower.index()) && !upper.is_vlan();
        is_above(self, other) || is_above(other, self)
    }

    /// Returns whether it is the interface of a VLAN.
    pub fn is_vlan(&self) -> bool {
        self.kind.as_deref() == Some("vlan")
    }

    /// Returns whether it has an address of a family.
    pub fn has_address(&self, family: Family) -> bool {
        self.interface.addresses_of(family).next().is_some()
    }

    /// Returns whether its MTU is below the least of IPv6 (RFC 8200 section 5), so that Linux has no IPv6 on
    /// it.
    pub fn is_too_small_for_ipv6(&self) -> bool {
        const LEAST: u32 = 1280;
        self.interface.mtu < LEAST && !self.has_address(Family::V6)
    }

    /// Returns whether an address is in one of its subnets.
    pub fn is_next_to(&self, address: IpAddr) -> bool {
        self.interface.addresses.iter().any(|own| own.contains(address))
    }
}

/// The interface that a family's groups leave by if the program chooses none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRoute {
    /// The family of the groups.
    pub family: Family,
    /// `None` if there is no route.
    pub interface: Option<InterfaceIndex>,
}

/// An entry of the group table of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeGroup {
    /// The port behind which the members are, or the bridge itself for those of this machine.
    pub port: InterfaceIndex,
    /// The group.
    pub group: IpAddr,
    /// `None` for every source.
    pub source: Option<IpAddr>,
    /// Whether the members behind the port excluded the source.
    pub blocked: bool,
}

/// An entry of the kernel's multicast routing table, on a machine that is a multicast router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MulticastRoute {
    /// The group.
    pub group: IpAddr,
    /// The address of the sender.
    pub source: IpAddr,
    /// The name of the incoming interface; `None` if the entry is unresolved.
    pub from: Option<String>,
    /// Packets for it, also those that arrived on another interface.
    pub packets: u64,
    /// Packets that arrived on another interface and were dropped.
    pub wrong_interface: u64,
    /// The outgoing interfaces, each with the threshold that the hop limit must exceed.
    pub to: Vec<(String, u8)>,
}

impl MulticastRoute {
    /// Returns whether it is for the group and source of a flow; either may be any of its family.
    pub fn is_for(&self, key: &FlowKey) -> bool {
        let is_or_any = |own: IpAddr, address: IpAddr| {
            own == address || (own.is_unspecified() && own.is_ipv4() == address.is_ipv4())
        };
        is_or_any(self.group, key.group) && is_or_any(self.source, key.source.ip())
    }
}

/// An nftables rule or chain policy that drops or diverts packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppingRule {
    /// `inet`, `ip`, `ip6`, `netdev`…; `iptables` or `ip6tables` for rules of the old programs.
    pub family: String,
    /// The name of the table.
    pub table: String,
    /// The name of the chain.
    pub chain: String,
    /// The rule in the chain: `handle 4`, `rule 4` or `policy drop`.
    pub part: String,
    /// The layer of the hook.
    pub layer: FilterLayer,
    /// The hook from which packets reach it.
    pub hook: Hook,
    /// Whether its chain begins at the hook; others are jumped to, maybe from other hooks as well.
    pub is_base: bool,
    /// The number of packets dropped, if the rule has a counter.
    pub packets: Option<u64>,
    /// Whether `iptables-nft` or `ebtables-nft` manages its table, which does not understand rules of `nft` in it.
    pub is_of_xtables: bool,
}

impl DroppingRule {
    /// Returns its location in `nft` syntax: `nft inet filter input handle 4`; that of a rule of the old `iptables` as its
    /// options name it: `iptables-legacy -t filter INPUT rule 4`.
    pub fn location(&self) -> String {
        match self.is_legacy() {
            true => format!("{}-legacy -t {} {} {}", self.family, self.table, self.chain, self.part),
            false => format!("nft {} {} {} {}", self.family, self.table, self.chain, self.part),
        }
    }

    /// Returns whether it is a rule of the old `iptables` or `ip6tables`.
    pub fn is_legacy(&self) -> bool {
        self.family.ends_with("tables")
    }

    /// Returns whether it is in a table of `ebtables-nft`.
    pub fn is_of_ebtables(&self) -> bool {
        self.is_of_xtables && self.family == "bridge"
    }

    /// Returns whether ufw may have created the rule or policy.
    pub fn may_be_of_ufw(&self) -> bool {
        self.table == "filter" && (self.chain.starts_with("ufw") || self.part.starts_with("policy"))
    }

    /// Returns whether firewalld created the rule.
    pub fn is_of_firewalld(&self) -> bool {
        self.table == "firewalld"
    }
}

/// An IPsec policy for packets that arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpsecPolicy {
    /// The source addresses that it selects, as a network.
    pub source: (IpAddr, u8),
    /// The destination addresses that it selects, as a network.
    pub destination: (IpAddr, u8),
    /// The protocol that it selects; 0 for all.
    pub protocol: u8,
    /// The destination port that it selects; `None` for all.
    pub port: Option<u16>,
    /// Of the policies that select a packet, the one with the lowest number decides.
    pub priority: u32,
    /// What it does with them.
    pub action: IpsecAction,
}

/// What an IPsec policy does with the packets that it selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpsecAction {
    /// It accepts them as they are.
    Allow,
    /// It drops them.
    Block,
    /// It accepts them only if they arrived by an IPsec association.
    Protect,
}

impl IpsecPolicy {
    /// Returns whether it selects the datagrams from a source.
    pub fn applies_to(&self, source: IpAddr, to: SocketAddr) -> bool {
        const UDP: u8 = 17;
        contains(self.source, source)
            && contains(self.destination, to.ip())
            && [0, UDP].contains(&self.protocol)
            && self.port.is_none_or(|port| port == to.port())
    }

    /// Returns the packets that it selects, in the syntax of `ip xfrm`.
    pub fn selector(&self) -> String {
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
pub type SocketOwners = BTreeMap<u64, Vec<Process>>;

/// A bound UDP socket of any program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpSocket {
    /// The address and port that it is bound to.
    pub local: SocketAddr,
    /// The address that it is connected to.
    pub peer: Option<SocketAddr>,
    /// The inode by which `/proc/PID/fd` names it.
    pub inode: u64,
    /// Datagrams dropped since the socket was opened, because its receive buffer was full.
    pub drops: u64,
    /// The programs that have it open, if they can be determined. Empty unless
    /// [`processes::owners`](crate::processes::owners) has been asked.
    pub programs: Vec<String>,
}

/// What a relay on this machine does not forward.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelayRefusal {
    /// The process id of the relay.
    pub pid: u32,
    /// The rule, as the relay was given it.
    pub rule: String,
    /// The relay's name for the reason.
    pub reason: String,
}

/// A group that is joined on an interface, by any program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinedGroup {
    /// The group.
    pub group: IpAddr,
    /// The interface.
    pub interface: InterfaceIndex,
}
