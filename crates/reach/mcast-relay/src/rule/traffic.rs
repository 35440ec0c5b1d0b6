//! What a rule forwards: addresses, and discovery protocols, which the relay treats by their own rules.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mcast_group::{AddrRange, Family, Group, GroupAddr, GroupRange, SourceFilter};
use mcast_pace::Quota;
use mcast_packet::payload::{Ssdp, SsdpKind};

/// The datagrams that a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Where they are sent to.
    pub selection: Selection,
    /// The sources to forward.
    pub sources: SourceFilter,
    /// The discovery protocol that the rule names.
    pub protocol: Option<LocalDiscovery>,
}

/// Destination addresses of the datagrams that a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// These groups and ports.
    Groups(Vec<AddrRange>),
    /// IPv4 broadcast to this port.
    Broadcast(u16),
    /// The groups of the playlist that HTTP clients get. They are not known here: it may change while the relay runs.
    Playlist,
}

/// What the rule names that serves a playlist.
pub(super) const PLAYLIST: &str = "playlist";
/// Stands for all ports.
pub(super) const ANY_PORT: &str = "*";

impl Traffic {
    /// Returns whether it includes a datagram with these addresses.
    #[must_use]
    pub fn includes(&self, source: IpAddr, destination: SocketAddr) -> bool {
        let is_selected = match (&self.selection, GroupAddr::try_from(destination)) {
            (Selection::Groups(ranges), Ok(address)) => ranges.iter().any(|range| range.contains(address)),
            (Selection::Broadcast(port), Err(_)) => destination.is_ipv4() && destination.port() == *port,
            _ => false,
        };
        is_selected && self.sources.admits(source)
    }

    /// Returns the ranges of groups and ports.
    #[must_use]
    pub fn ranges(&self) -> &[AddrRange] {
        match &self.selection {
            Selection::Groups(ranges) => ranges,
            Selection::Broadcast(_) | Selection::Playlist => &[],
        }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.sources.is_any() {
            f.write_str(if matches!(self.sources, SourceFilter::Exclude(_)) { "!" } else { "" })?;
            for (position, source) in self.sources.sources().enumerate() {
                write!(f, "{}{source}", if position > 0 { "," } else { "" })?;
            }
            f.write_str("@")?;
        }
        match (&self.selection, self.protocol) {
            (_, Some(protocol)) => f.write_str(protocol.name()),
            (Selection::Broadcast(port), None) => write!(f, "broadcast:{port}"),
            (Selection::Playlist, None) => f.write_str(PLAYLIST),
            (Selection::Groups(ranges), None) => ranges.iter().try_for_each(|range| write_range(f, range)),
        }
    }
}

/// Writes a range in the form that `Expand` parses.
fn write_range(f: &mut fmt::Formatter<'_>, range: &AddrRange) -> fmt::Result {
    let groups = range.groups;
    let (open, close) = match groups.first.family() {
        Family::V4 => ("", ""),
        Family::V6 => ("[", "]"),
    };
    match groups.count() {
        1 => write!(f, "{open}{}{close}", groups.first)?,
        count => match prefix_length(groups.first, count) {
            Some(length) => write!(f, "{open}{}/{length}{close}", groups.first)?,
            None => write!(f, "{open}{}{close}+{count}", groups.first)?,
        },
    }
    match (*range.ports.start(), *range.ports.end()) {
        (1, u16::MAX) => write!(f, ":{ANY_PORT}"),
        (first, last) if first == last => write!(f, ":{first}"),
        (first, last) => write!(f, ":{first}-{last}"),
    }
}

/// Returns the length of the prefix that consists of `count` groups from `first` on, if there is one.
fn prefix_length(first: Group, count: u128) -> Option<u32> {
    let (bits, width) = match first.addr() {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    (count.is_power_of_two() && bits & (count - 1) == 0).then(|| width - count.trailing_zeros())
}

mcast_group::named! {
    /// A discovery protocol. Repeats of its datagrams within a quarter of a second are harmless, so the relay may drop them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum LocalDiscovery {
        /// Multicast DNS (RFC 6762).
        Mdns = "mdns",
        /// SSDP of UPnP.
        Ssdp = "ssdp",
        /// WS-Discovery.
        WsDiscovery = "wsd",
        /// LLMNR (RFC 4795).
        Llmnr = "llmnr",
        /// CoAP discovery (RFC 7252).
        Coap = "coap",
        /// KNXnet/IP discovery.
        Knx = "knx",
    }
    /// Returns its name in rules.
    fn name;
}

impl LocalDiscovery {
    /// The limits of traffic that stays on one link where it is used as intended.
    pub(crate) const EACH_SOURCE: Quota = Quota { per_second: 100, burst: 200 };
    pub(crate) const ALL_SOURCES: Quota = Quota { per_second: 1_000, burst: 2_000 };

    /// Returns the protocol with this name in rules.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// Returns its name in the registry of groups.
    pub(crate) const fn registry_name(self) -> &'static str {
        match self {
            Self::WsDiscovery => "ws-discovery",
            _ => self.name(),
        }
    }

    /// Returns the hop limit that its datagrams are sent with on every segment.
    #[must_use]
    pub const fn hop_limit(self) -> u8 {
        match self {
            // RFC 6762 section 11, RFC 4795 section 2.
            Self::Mdns | Self::Llmnr => 255,
            Self::Ssdp => 2,
            Self::WsDiscovery | Self::Coap | Self::Knx => 1,
        }
    }

    /// Returns the port that its datagrams must be sent from: responders ignore others (RFC 6762 section 6).
    #[must_use]
    pub const fn source_port(self) -> Option<u16> {
        match self {
            Self::Mdns => Some(5353),
            _ => None,
        }
    }

    /// Returns whether the datagram requests a unicast reply, so that the same content from another source is another
    /// request. Two hosts with the same program often send the same request.
    #[must_use]
    pub fn requests_reply(self, source: SocketAddr, payload: &[u8]) -> bool {
        match self {
            // A one-shot query (RFC 6762 section 6.7).
            Self::Mdns => Some(source.port()) != self.source_port(),
            Self::Ssdp => Ssdp::parse(payload).is_some_and(|message| message.kind == SsdpKind::Search),
            Self::WsDiscovery | Self::Llmnr | Self::Coap | Self::Knx => true,
        }
    }
}

/// Returns whether a group is one of a single link, which no router forwards: in 224.0.0.0/24, or with link-local scope.
pub(crate) fn is_of_link(group: Group) -> bool {
    match group.addr() {
        IpAddr::V4(group) => group.to_bits() <= 0xe000_00ff,
        IpAddr::V6(group) => group.segments()[0] & 0xf == 2,
    }
}

/// The groups and ports that a rule sends to instead of those of arrival. Text form: `239.9.9.9:6000`, `239.9.9.9`,
/// `239.9.2.0/24:6000`, `:6000`, `broadcast:6000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The groups.
    pub target: RewriteTarget,
    /// The port; `None` keeps it.
    pub port: Option<u16>,
}

/// The groups that a rule sends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewriteTarget {
    /// Those of arrival.
    Unchanged,
    /// One group for all, or one for each: the nth of the rule becomes the nth of the range.
    Groups(GroupRange),
    /// The broadcast address of IPv4.
    Broadcast,
}

impl Rewrite {
    /// Returns where a datagram to this address is sent. `range` is the one of the rule that it belongs to; `None` for
    /// broadcast.
    #[must_use]
    pub fn apply(&self, range: Option<&AddrRange>, destination: SocketAddr) -> SocketAddr {
        let port = self.port.unwrap_or_else(|| destination.port());
        let address = match self.target {
            RewriteTarget::Unchanged => destination.ip(),
            RewriteTarget::Broadcast => Ipv4Addr::BROADCAST.into(),
            RewriteTarget::Groups(groups) if groups.count() == 1 => groups.first.addr(),
            RewriteTarget::Groups(groups) => {
                let first = range.map_or_else(|| destination.ip(), |range| range.groups.first.addr());
                at_offset(groups, offset(first, destination.ip()))
            }
        };
        SocketAddr::new(address, port)
    }

    /// Returns the groups of the range that are sent to this group.
    #[must_use]
    pub fn origins(&self, range: &AddrRange, group: Group) -> Option<GroupRange> {
        match self.target {
            RewriteTarget::Unchanged => range.groups.contains(group).then(|| group.into()),
            RewriteTarget::Broadcast => None,
            RewriteTarget::Groups(groups) if !groups.contains(group) => None,
            RewriteTarget::Groups(groups) if groups.count() == 1 => Some(range.groups),
            RewriteTarget::Groups(groups) => {
                let offset = offset(groups.first.addr(), group.addr());
                Group::new(at_offset(range.groups, offset)).ok().map(GroupRange::from)
            }
        }
    }
}

/// Returns how far the address is behind the first one.
fn offset(first: IpAddr, address: IpAddr) -> u128 {
    bits(address).saturating_sub(bits(first))
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Returns the group at this offset in the range, or the last one.
fn at_offset(groups: GroupRange, offset: u128) -> IpAddr {
    let bits = bits(groups.first.addr()).saturating_add(offset.min(groups.count() - 1));
    match (groups.first.addr(), u32::try_from(bits)) {
        (IpAddr::V4(_), Ok(bits)) => Ipv4Addr::from_bits(bits).into(),
        (IpAddr::V4(_), Err(_)) => groups.last.addr(),
        (IpAddr::V6(_), _) => Ipv6Addr::from_bits(bits).into(),
    }
}

impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.target, self.port) {
            (RewriteTarget::Groups(groups), Some(port)) => {
                return write_range(f, &AddrRange { groups, ports: port..=port });
            }
            (RewriteTarget::Groups(groups), None) => write!(f, "{}", groups.first)?,
            (RewriteTarget::Unchanged, _) => {}
            (RewriteTarget::Broadcast, _) => f.write_str("broadcast")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}
