//! Things that announce themselves, which a person looks for by name: a printer, a speaker, a node.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mcast::{Group, GroupAddr, InterfaceIndex, InterfaceSelector};
use mcast_watch::discovery::{Discovered, DiscoveryProtocol};
use mcast_watch::live::DescribeError;

/// What to look for: the name of a service, a device or a host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceTarget {
    /// The name, or a part of it, in any case: `Office printer`, `office`, `printer.local`.
    pub name: String,
    /// The interfaces of the programs that look for it; none means all.
    pub interfaces: Vec<InterfaceSelector>,
}

impl ServiceTarget {
    /// The group by which all domains announce themselves, each to its port (RTPS 2.5 section 9.6.1.4).
    pub(crate) const DDS_GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 255, 0, 1));

    /// Looks for a name on all interfaces.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), interfaces: Vec::new() }
    }

    /// Returns whether the name stands for everything that announces itself by DDS, such as nodes of ROS 2: `dds`, `rtps`, `ros`, `ros2`.
    #[must_use]
    pub fn is_dds(&self) -> bool {
        ["dds", "rtps", "ros", "ros2"].iter().any(|name| self.name.eq_ignore_ascii_case(name))
    }

    /// Returns whether it is announced by DDS, if at all: topics of ROS have slashes.
    pub(crate) fn is_of_dds(&self) -> bool {
        self.is_dds() || self.name.starts_with('/') || self.name.starts_with("rt/")
    }

    /// Returns what is looked for: a name, or the address of a host.
    pub(crate) fn described(&self) -> String {
        match self.name.parse::<IpAddr>() {
            Ok(address) => format!("the address {address}"),
            Err(_) => format!("the name {self}"),
        }
    }

    /// Sets the interfaces.
    #[must_use]
    pub fn on(self, interfaces: impl IntoIterator<Item = InterfaceSelector>) -> Self {
        Self { interfaces: interfaces.into_iter().collect(), ..self }
    }
}

/// Writes the name in quotes.
impl fmt::Display for ServiceTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name)
    }
}

/// What was observed of a name.
#[derive(Debug)]
pub(crate) struct ServiceSearch {
    pub(crate) target: ServiceTarget,
    /// The interfaces of the programs that look for it.
    pub(crate) wanted: BTreeSet<InterfaceIndex>,
    /// What has the name, on any interface.
    pub(crate) found: Vec<Discovered>,
    /// What else was announced by other hosts.
    pub(crate) others: Vec<Discovered>,
    /// What this machine announces by DDS.
    pub(crate) own: Vec<Discovered>,
    /// The programs of this machine that have ports of the DDS domain open.
    pub(crate) own_programs: BTreeSet<String>,
    /// Whether these are known to have joined no group on a network.
    pub(crate) is_own_restricted: bool,
    /// The interfaces that were listened on.
    pub(crate) listened_on: Vec<InterfaceIndex>,
    pub(crate) listened: Duration,
    /// Answers by mDNS that programs ignore, because they came from another port than 5353.
    pub(crate) wrong_ports: u64,
    /// Why the names that devices have in their descriptions are not known.
    pub(crate) undescribed: Vec<DescribeError>,
    /// Why some announcements could not be seen.
    pub(crate) gaps: Vec<String>,
    /// The results of connecting to the addresses of what was found.
    pub(crate) connections: BTreeMap<SocketAddr, Connection>,
}

impl ServiceSearch {
    /// Returns the group of the announcements of what was found; that of mDNS if nothing was.
    pub(crate) fn group(&self) -> Option<GroupAddr> {
        let first = self.found.first();
        let is_v6 = first.and_then(|entry| entry.source.ip()).is_some_and(|source| source.is_ipv6());
        let protocol = match first {
            Some(entry) => entry.key.protocol,
            None if self.target.is_of_dds() => DiscoveryProtocol::Rtps,
            None => DiscoveryProtocol::Mdns,
        };
        let (v4, v6, port) = match protocol {
            DiscoveryProtocol::Mdns => (Ipv4Addr::new(224, 0, 0, 251), 0xfb, 5353),
            DiscoveryProtocol::Ssdp => (Ipv4Addr::new(239, 255, 255, 250), 0xc, 1900),
            DiscoveryProtocol::WsDiscovery => (Ipv4Addr::new(239, 255, 255, 250), 0xc, 3702),
            // That of IPv6 depends on the implementation.
            DiscoveryProtocol::Rtps if !is_v6 => {
                let port = dds_port(first.and_then(|entry| entry.dds()?.domain).unwrap_or_default())?;
                return Some(GroupAddr::new(Group::new(ServiceTarget::DDS_GROUP).ok()?, port));
            }
            _ => return None,
        };
        let group: IpAddr = match is_v6 {
            true => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, v6).into(),
            false => v4.into(),
        };
        Some(GroupAddr::new(Group::new(group).ok()?, port))
    }
}

/// Returns the port to which the participants of a DDS domain announce themselves; those at which they receive follow
/// (RTPS 2.5 section 9.6.1.1).
pub(crate) fn dds_port(domain: u32) -> Option<u16> {
    u16::try_from(domain.checked_mul(250)?.checked_add(7_400)?).ok()
}

/// What became of a TCP connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    Accepted,
    /// A host is there, and nothing listens on the port.
    Refused,
    /// No answer arrived.
    Silent,
    /// The system reports that it cannot get there.
    Unreachable(String),
}

impl Connection {
    pub(crate) const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepts connections"),
            Self::Refused => f.write_str("refuses connections: nothing listens on the port"),
            Self::Silent => f.write_str("does not answer"),
            Self::Unreachable(why) => write!(f, "is unreachable: {why}"),
        }
    }
}
