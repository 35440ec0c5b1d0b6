//! What a rule forwards.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use mcast_group::{AddrRange, Family, Group, GroupAddr, SourceFilter};

use super::DiscoveryProtocol;

/// The datagrams that a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Where they are sent to.
    pub selection: Selection,
    /// The sources to forward.
    pub sources: SourceFilter,
    /// The discovery protocol that the rule names.
    pub protocol: Option<DiscoveryProtocol>,
}

/// Destination addresses of the datagrams that a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// These groups and ports.
    Groups(Vec<AddrRange>),
    /// IPv4 broadcast to this port.
    Broadcast(u16),
}

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
            Selection::Broadcast(_) => &[],
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
            (Selection::Groups(ranges), None) => ranges.iter().try_for_each(|range| write_range(f, range)),
        }
    }
}

/// Writes a range in the form that `Expand` parses.
pub(super) fn write_range(f: &mut fmt::Formatter<'_>, range: &AddrRange) -> fmt::Result {
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
    let (first, last) = (range.ports.start(), range.ports.end());
    if first == last { write!(f, ":{first}") } else { write!(f, ":{first}-{last}") }
}

/// Returns the length of the prefix that consists of `count` groups from `first` on, if there is one.
fn prefix_length(first: Group, count: u128) -> Option<u32> {
    let (bits, width) = match first.addr() {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    (count.is_power_of_two() && bits & (count - 1) == 0).then(|| width - count.trailing_zeros())
}
