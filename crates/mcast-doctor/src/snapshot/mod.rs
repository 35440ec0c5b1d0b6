//! This machine as it was at one moment: what the causes are judged by.
//!
//! Plain data, so that tests can invent machines. `gather` fills it.

mod counters;
mod joined;
mod link;
mod multicast_route;
mod route;
mod rule;
mod socket;

use std::collections::BTreeMap;
use std::net::IpAddr;

pub(crate) use counters::{Counter, Counters};
pub(crate) use joined::Joined;
pub(crate) use link::{Address, AddressState, Link, Queue};
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use link::{Bridge, BridgePort, Statistics};
pub(crate) use multicast_route::MulticastRoute;
pub(crate) use route::Route;
pub(crate) use rule::DroppingRule;
pub(crate) use socket::UdpSocket;

/// This machine, or this thread's network namespace, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) links: Vec<Link>,
    pub(crate) counters: Counters,
    /// Settings by their names with dots, as `sysctl` has them.
    pub(crate) settings: BTreeMap<String, String>,
    /// By which interface groups leave that no program has chosen one for.
    pub(crate) group_routes: Vec<Route>,
    /// The names of the interfaces behind which there is a default gateway.
    pub(crate) gateways: Vec<String>,
    /// Whether the loopback interface has a route of type local for IPv6 groups.
    pub(crate) loopback_takes_v6_groups: bool,
    /// The groups that are joined, by interface.
    pub(crate) joined: Vec<Joined>,
    /// The version of IGMP in force, by the interface's name.
    pub(crate) igmp_versions: BTreeMap<String, u8>,
    pub(crate) udp_sockets: Vec<UdpSocket>,
    pub(crate) multicast_routes: Vec<MulticastRoute>,
    /// Packets that each processor dropped from its queue before the protocols, all together. The
    /// whole machine's, also inside a namespace.
    pub(crate) backlog_dropped: u64,
    /// What in the firewall drops and counts, where it may be read.
    pub(crate) dropping_rules: Vec<DroppingRule>,
    /// What blocks what comes in unless it is admitted, on systems whose rules cannot be read.
    pub(crate) firewall: Option<String>,
    pub(crate) machine: Machine,
}

/// What kind of machine this is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The cloud it is rented in.
    pub(crate) cloud: Option<String>,
    /// What says that it is a container.
    pub(crate) container: Option<String>,
}

impl Snapshot {
    pub(crate) fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    pub(crate) fn link_named(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.setting(name)?.trim().parse().ok()
    }

    /// Whether an address is one of this machine's own.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        self.links.iter().flat_map(|link| &link.addresses).any(|own| own.address == address)
    }

    pub(crate) fn is_joined(&self, group: IpAddr, interface: u32) -> bool {
        self.joined.iter().any(|joined| joined.group == group && joined.interface == interface)
    }
}
