//! Interfaces, with everything that multicast depends on.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use mcast::{Family, Interface, InterfaceIndex};

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) interface: Interface,
    pub(crate) wireless: bool,
    /// The kind of virtual interface: `veth`, `bridge`, `tun`, `wireguard`; `None` for a physical device.
    pub(crate) kind: Option<String>,
    /// The interface below it (VLAN, macvlan) or its peer (veth), if that is in this namespace.
    pub(crate) lower: Option<InterfaceIndex>,
    /// Whether the interface below it, or its peer, is in another namespace.
    pub(crate) peer_elsewhere: bool,
    pub(crate) statistics: Statistics,
    /// The multicast settings, if it is a bridge.
    pub(crate) bridge: Option<Bridge>,
    /// The port settings, if it is a port of a bridge or bond.
    pub(crate) port: Option<BridgePort>,
    /// Its queueing disciplines.
    pub(crate) queues: Vec<Queue>,
    /// The service that configures it at boot, if there is one.
    pub(crate) config_service: Option<ConfigService>,
    /// The XDP program that is attached to it.
    pub(crate) xdp_program: Option<XdpProgram>,
    /// The queueing discipline that filters of traffic control are attached to (`clsact`, `ingress`).
    pub(crate) classifier: Option<Queue>,
    /// The filters of traffic control at ingress and egress.
    pub(crate) filters: Vec<TrafficFilter>,
    /// The mode, if it is a macvlan.
    pub(crate) macvlan_mode: Option<MacvlanMode>,
    /// Whether it takes frames to all addresses, because a program or a device above it wants them.
    pub(crate) is_promiscuous: bool,
    /// The VLANs of a port with a limit of groups.
    pub(crate) vlan_limits: Vec<VlanLimit>,
}

/// A VLAN of a bridge port that may have a limited number of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VlanLimit {
    pub(crate) vlan: u16,
    /// The number of groups that snooping has learnt in it behind the port.
    pub(crate) groups: u32,
    pub(crate) limit: u32,
}

/// With which other macvlan interfaces on the same device a macvlan exchanges frames.
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    allow(dead_code, reason = "only Linux reports it, but its judgement is tested on every system")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MacvlanMode {
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
pub(crate) struct XdpProgram {
    pub(crate) id: u32,
    /// Where it runs, as in `ip link set`: `xdpgeneric`, `xdpdrv`, `xdpoffload`; `xdp` if it is not known.
    pub(crate) mode: &'static str,
}

/// A filter of traffic control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrafficFilter {
    /// `u32`, `bpf`, `flower`…
    pub(crate) kind: String,
    /// Whether it is at ingress; otherwise at egress.
    pub(crate) is_ingress: bool,
    pub(crate) preference: u32,
    /// The name of its BPF program.
    pub(crate) name: Option<String>,
}

/// The service that configures an interface at boot.
#[cfg_attr(
    not(any(test, target_os = "linux", target_os = "android")),
    expect(
        dead_code,
        reason = "these services exist only on Linux, but the remedies for it are tested on every system"
    )
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConfigService {
    /// systemd-networkd, with the name of the `.network` file.
    Networkd { file: String },
    /// NetworkManager, with the UUID of the connection.
    NetworkManager { connection: String },
}

/// The counters of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statistics {
    pub(crate) received: u64,
    pub(crate) received_bytes: u64,
    /// Frames dropped because the device's ring was full.
    pub(crate) receive_missed: u64,
}

/// The multicast settings of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bridge {
    pub(crate) snooping: bool,
    pub(crate) table_limit: u32,
    pub(crate) table_entries: u32,
    /// Whether spanning tree runs, in the kernel or in a program.
    pub(crate) spanning_tree: bool,
    /// Whether it sends queries itself.
    pub(crate) querier: bool,
    /// How long it keeps a membership that is not reported again.
    pub(crate) membership_interval: Duration,
    /// How long it considers another querier present after that querier's last query.
    pub(crate) querier_interval: Duration,
    /// The other querier of IPv4 that it considers present.
    pub(crate) other_querier_v4: Option<OtherQuerier>,
    /// The same for IPv6.
    pub(crate) other_querier_v6: Option<OtherQuerier>,
    /// How often it sends queries.
    pub(crate) query_interval: Duration,
}

/// A querier on the network of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OtherQuerier {
    pub(crate) address: IpAddr,
    /// The port behind which it is.
    pub(crate) port: Option<InterfaceIndex>,
    /// How long the bridge still considers it present without another query.
    pub(crate) remaining: Duration,
}

impl Bridge {
    /// Returns the querier of a family, other than itself, that the bridge considers present.
    pub(crate) fn other_querier(&self, family: Family) -> Option<OtherQuerier> {
        match family {
            Family::V4 => self.other_querier_v4,
            Family::V6 => self.other_querier_v6,
        }
    }

    /// Returns whether it forwards groups of a family to their members only. Without a querier, it floods them.
    pub(crate) fn limits_groups(&self, family: Family) -> bool {
        self.snooping && (self.querier || self.other_querier(family).is_some())
    }
}

/// A port of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BridgePort {
    /// Whether unregistered groups are flooded to it.
    pub(crate) floods_multicast: bool,
    pub(crate) fast_leave: bool,
    /// Whether it is a router port, which receives every group.
    pub(crate) leads_to_router: bool,
    /// The number of hosts learnt behind it.
    pub(crate) hosts: u32,
    pub(crate) state: PortState,
    /// Whether it exchanges no frames with other isolated ports.
    pub(crate) isolated: bool,
    /// Whether it accepts frames only from hosts in the forwarding table (802.1X).
    pub(crate) locked: bool,
    /// The number of groups that snooping has learnt behind it.
    pub(crate) groups: u32,
    /// How many of them it may have; 0 for any number.
    pub(crate) group_limit: u32,
}

/// The spanning tree state of a port.
#[cfg_attr(
    not(any(test, target_os = "linux", target_os = "android")),
    expect(dead_code, reason = "only Linux reports it, but its judgement is tested on every system")
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PortState {
    Disabled,
    Listening,
    Learning,
    #[default]
    Forwarding,
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
pub(crate) struct Queue {
    pub(crate) kind: String,
    pub(crate) dropped: u64,
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
            statistics: Statistics::default(),
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
        }
    }
}

impl Link {
    pub(crate) fn name(&self) -> &str {
        &self.interface.name
    }

    pub(crate) fn index(&self) -> InterfaceIndex {
        self.interface.index
    }

    /// Returns whether the host receives groups on it: it is up, not the loopback, and not a port of a bridge.
    pub(crate) fn is_of_the_host(&self) -> bool {
        self.interface.up && !self.interface.loopback && self.interface.port_of.is_none()
    }

    /// Returns whether it is a tunnel.
    pub(crate) fn is_tunnel(&self) -> bool {
        const TUNNELS: [&str; 10] =
            ["tun", "wireguard", "ppp", "ipip", "sit", "gre", "ip6gre", "vti", "xfrm", "ip6tnl"];
        self.interface.point_to_point || self.kind.as_deref().is_some_and(|kind| TUNNELS.contains(&kind))
    }

    /// Returns whether one of both is on the other, and takes the same frames without a VLAN tag.
    pub(crate) fn has_frames_of(&self, other: &Self) -> bool {
        let is_above = |upper: &Self, lower: &Self| upper.lower == Some(lower.index()) && !upper.is_vlan();
        is_above(self, other) || is_above(other, self)
    }

    pub(crate) fn is_vlan(&self) -> bool {
        self.kind.as_deref() == Some("vlan")
    }

    pub(crate) fn has_address(&self, family: Family) -> bool {
        self.interface.addresses_of(family).next().is_some()
    }

    /// Returns whether an address is in one of its subnets.
    pub(crate) fn is_next_to(&self, address: IpAddr) -> bool {
        self.interface.addresses.iter().any(|own| own.contains(address))
    }
}
