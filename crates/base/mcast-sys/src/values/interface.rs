//! Interfaces, their addresses, and bridges.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mcast_group::{Family, InterfaceIndex};

/// A network interface, as of the time of the listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interface {
    /// Its index. (In rare cases, Windows numbers IPv4 and IPv6 differently; this is the IPv4 index
    /// where both exist. See [`Interface::index_for`].)
    pub index: InterfaceIndex,
    /// Its IPv6 index, if different. Windows only.
    pub(crate) ipv6_index: Option<InterfaceIndex>,
    /// Its name (`eth0`; on Windows the friendly name, such as `Ethernet 2`).
    pub name: String,
    /// Whether it is administratively up. On Windows also connected, because Windows refuses to
    /// join groups on a disconnected interface.
    pub up: bool,
    /// Whether it is up and has a carrier.
    pub running: bool,
    /// Whether the system marks it as able to multicast.
    pub multicast: bool,
    /// Whether it is a loopback interface.
    pub loopback: bool,
    /// Whether it is a point-to-point link, such as a tunnel.
    pub point_to_point: bool,
    /// The MTU: the largest IP packet it carries, in bytes.
    pub mtu: u32,
    /// Its hardware address, if it has one of six bytes.
    pub hardware_address: Option<HardwareAddress>,
    /// Its addresses of both families.
    pub addresses: Vec<InterfaceAddress>,
    /// The bridge or bond that it is a port of. Such an interface carries traffic of other hosts,
    /// so groups are not joined on it by default. Linux only; `None` elsewhere.
    pub port_of: Option<InterfaceIndex>,
}

/// An address of an interface, with its prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// The prefix length in bits.
    pub prefix: u8,
    /// Whether the address can be used yet.
    pub state: AddressState,
}

/// Whether an address can be used as a source. IPv4 addresses always can, except on Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AddressState {
    /// Usable.
    Ready,
    /// Not usable yet: duplicate address detection is in progress (RFC 4862 section 5.4).
    Tentative,
    /// Never usable: another host has the same address.
    Duplicate,
}

/// A hardware (MAC) address of six bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HardwareAddress(pub [u8; 6]);

impl InterfaceAddress {
    /// Creates an address that is ready to use.
    #[must_use]
    pub const fn new(address: IpAddr, prefix: u8) -> Self {
        Self { address, prefix, state: AddressState::Ready }
    }
}

impl Interface {
    /// Creates an interface with only these fields known, for simulators, tests, and programs that
    /// store listings.
    #[must_use]
    pub const fn new(index: InterfaceIndex, name: String) -> Self {
        Self {
            index,
            ipv6_index: None,
            name,
            up: false,
            running: false,
            multicast: false,
            loopback: false,
            point_to_point: false,
            mtu: 0,
            hardware_address: None,
            addresses: Vec::new(),
            port_of: None,
        }
    }

    /// Returns its addresses of one family.
    pub fn addresses_of(&self, family: Family) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().map(|entry| entry.address).filter(move |address| Family::of(*address) == family)
    }

    /// Returns the addresses that are ready to use.
    pub fn usable_addresses(&self) -> impl Iterator<Item = &InterfaceAddress> + '_ {
        self.addresses.iter().filter(|entry| entry.state == AddressState::Ready)
    }

    /// Returns the broadcast address of each of its IPv4 subnets (RFC 919): the last address. Subnets of one or two
    /// addresses have none (RFC 3021).
    pub fn broadcast_addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.addresses.iter().filter_map(|entry| match entry.address {
            IpAddr::V4(own) if entry.prefix < 31 => {
                Some(Ipv4Addr::from_bits(own.to_bits() | (u32::MAX >> entry.prefix)))
            }
            _ => None,
        })
    }

    /// Returns its index in this family. Only Windows may use different ones.
    #[must_use]
    pub fn index_for(&self, family: Family) -> InterfaceIndex {
        match family {
            Family::V4 => self.index,
            Family::V6 => self.ipv6_index.unwrap_or(self.index),
        }
    }

    /// Returns whether a membership without an interface joins on it: the interface is up, can
    /// multicast, and is neither loopback nor a port of a bridge or bond.
    #[must_use]
    pub fn is_joined_by_default(&self) -> bool {
        self.up && self.multicast && !self.loopback && self.port_of.is_none()
    }
}

impl InterfaceAddress {
    /// Returns whether another address is in the same network.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        let common_bits = match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            _ => return false,
        };
        common_bits >= u32::from(self.prefix)
    }
}

impl HardwareAddress {
    /// Converts an address as a system reports it. Returns `None` unless it has six bytes that are
    /// not all zero (as those of a loopback interface are).
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        <[u8; 6]>::try_from(bytes).ok().filter(|bytes| *bytes != [0; 6]).map(Self)
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The contents of a system notice beyond "list the interfaces again".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// Interfaces that were deleted, even if they exist again.
    pub deleted: BTreeSet<InterfaceIndex>,
    /// Whether notices were lost.
    pub overrun: bool,
}

impl Notice {
    /// Adds a later notice to this one.
    pub fn merge(&mut self, later: Self) {
        self.deleted.extend(later.deleted);
        self.overrun |= later.overrun;
    }
}

/// A bridge of this machine's kernel: a software switch, which may snoop and act as querier.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bridge {
    /// The index of the bridge interface.
    pub index: InterfaceIndex,
    /// The name of the bridge interface.
    pub name: String,
    /// Whether multicast snooping (RFC 4541) is on: while there is a querier, groups are forwarded
    /// only to ports with members.
    pub snooping: bool,
    /// Whether the bridge acts as querier when there is no other.
    pub querier: bool,
    /// The IGMP version of its queries; `None` where the kernel does not report it.
    pub igmp_version: Option<u8>,
    /// The MLD version of its queries; `None` where the kernel does not report it.
    pub mld_version: Option<u8>,
    /// The interval between its general queries.
    pub query_interval: Option<Duration>,
    /// How long a membership lasts without another report.
    pub membership_interval: Option<Duration>,
    /// The queriers that the bridge knows of, at most one per family. Reported by Linux 5.16 or
    /// newer.
    pub queriers: Vec<BridgeQuerier>,
}

/// A querier that a bridge knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BridgeQuerier {
    /// The source address of its queries; the bridge's own may be unspecified.
    pub address: IpAddr,
    /// The bridge port on which its queries arrive; `None` for the bridge itself.
    pub port: Option<InterfaceIndex>,
    /// The time until the bridge considers it gone, unless another query arrives; `None` for the
    /// bridge itself.
    pub expires: Option<Duration>,
}

/// The direction of a frame, and the kind of its Ethernet destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Direction {
    /// Received, addressed to this machine.
    ToUs,
    /// Received, addressed to broadcast.
    Broadcast,
    /// Received, addressed to a group.
    Multicast,
    /// Received, addressed to another machine.
    ToOthers,
    /// Sent by this machine.
    Outgoing,
    /// Unknown, because a file need not record it.
    Unknown,
}

impl Direction {
    /// All directions with their names.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::ToUs, "to-us"),
        (Self::Broadcast, "broadcast"),
        (Self::Multicast, "multicast"),
        (Self::ToOthers, "to-others"),
        (Self::Outgoing, "outgoing"),
        (Self::Unknown, "unknown"),
    ];

    /// Returns the name, as JSON and Python have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Returns whether this machine sent the frame.
    #[must_use]
    pub const fn is_outgoing(self) -> bool {
        matches!(self, Self::Outgoing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(address: &str, prefix: u8) -> InterfaceAddress {
        InterfaceAddress::new(address.parse().unwrap(), prefix)
    }

    #[test]
    fn each_direction_has_the_name_beside_it() {
        for (direction, name) in Direction::ALL {
            assert_eq!(direction.name(), name);
        }
    }

    #[test]
    fn a_network_contains_addresses_with_its_prefix() {
        let own = address("10.0.1.200", 23);
        assert!(own.contains("10.0.0.7".parse().unwrap()));
        assert!(!own.contains("10.0.2.7".parse().unwrap()));
        assert!(!own.contains("fe80::1".parse().unwrap()));
        assert!(address("fe80::1", 64).contains("fe80::ffff".parse().unwrap()));
        assert!(address("0.0.0.0", 0).contains("203.0.113.1".parse().unwrap()));
        assert!(!address("10.0.0.1", 32).contains("10.0.0.2".parse().unwrap()));
    }
}
