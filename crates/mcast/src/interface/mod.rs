//! Interfaces: what there is, which one is meant, and when that changes.

mod bridge;
mod change;
mod route;
mod select;
mod warning;
mod watch;

use std::fmt;
use std::net::IpAddr;

use mcast_group::{Family, InterfaceIndex};

use crate::error::{Error, Operation, Result};
use crate::sys;

pub use bridge::{Bridge, BridgeQuerier, bridges, queue_disciplines};
pub use change::InterfaceChange;
pub(crate) use change::Notice;
pub use route::{default_interface, default_interface_of, interface_towards};
pub use select::find;
pub(crate) use select::select;
pub use warning::Warning;
pub use watch::InterfaceWatcher;

/// A network interface, as it was when it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interface {
    /// The system's number for it. (Windows numbers IPv4 and IPv6 apart in rare cases; this is
    /// the IPv4 number where both exist: see [`Interface::index_for`].)
    pub index: InterfaceIndex,
    /// The system's number for it in IPv6, where that is another one. Windows only.
    pub(crate) ipv6_index: Option<InterfaceIndex>,
    /// Its name (`eth0`; on Windows the friendly name, such as `Ethernet 2`).
    pub name: String,
    /// Administratively up. On Windows also connected: what is not, it lets nobody join on.
    pub up: bool,
    /// Up and with a carrier.
    pub running: bool,
    /// The system says that it can multicast.
    pub multicast: bool,
    /// A loopback interface.
    pub loopback: bool,
    /// A point-to-point link, such as a tunnel.
    pub point_to_point: bool,
    /// The largest IP packet it carries, in bytes.
    pub mtu: u32,
    /// Its hardware address, where it has one of six bytes.
    pub hardware_address: Option<HardwareAddress>,
    /// Its addresses of both families.
    pub addresses: Vec<InterfaceAddress>,
    /// The bridge or bond that it is a port of: such an interface carries other people's
    /// traffic and is not joined on by default. Linux only; `None` elsewhere.
    pub port_of: Option<InterfaceIndex>,
}

/// An address of an interface, with the length of its prefix in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// The length of the prefix in bits.
    pub prefix: u8,
    /// Whether it can be used yet.
    pub state: AddressState,
}

/// Whether an address can be sent from. IPv4 addresses always can, except on Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AddressState {
    /// It can.
    Ready,
    /// Not yet: the system is still asking whether another host has it (RFC 4862 section 5.4).
    Tentative,
    /// Never: another host has it.
    Duplicate,
}

/// A hardware (MAC) address of six bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HardwareAddress(pub [u8; 6]);

/// All interfaces of this machine, by index; on Linux those of the calling thread's network
/// namespace.
///
/// # Errors
/// When the system refuses to list them.
pub fn interfaces() -> Result<Vec<Interface>> {
    sys::interface::list().map_err(|error| Error::os(Operation::Interfaces, error))
}

impl Interface {
    /// Its addresses of one family.
    pub fn addresses_of(&self, family: Family) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().map(|entry| entry.address).filter(move |address| Family::of(*address) == family)
    }

    /// Its addresses that can be sent from.
    pub fn usable_addresses(&self) -> impl Iterator<Item = &InterfaceAddress> + '_ {
        self.addresses.iter().filter(|entry| entry.state == AddressState::Ready)
    }

    /// The system's number for it in this family. Only Windows may number the families apart.
    #[must_use]
    pub fn index_for(&self, family: Family) -> InterfaceIndex {
        match family {
            Family::V4 => self.index,
            Family::V6 => self.ipv6_index.unwrap_or(self.index),
        }
    }

    /// Whether a receiver that names no interface joins on it: up, able to multicast, no
    /// loopback, and no port of a bridge or bond.
    #[must_use]
    pub fn is_joined_by_default(&self) -> bool {
        self.up && self.multicast && !self.loopback && self.port_of.is_none()
    }
}

impl InterfaceAddress {
    /// Whether another address is in the same network.
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
    /// From what a system reports: `None` unless it is six bytes that are not all zero (as those
    /// of a loopback interface are).
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

/// Interfaces for unit tests.
#[cfg(test)]
pub(crate) mod examples {
    use super::*;

    /// An interface that is up, runs and can multicast, without addresses.
    pub(crate) fn interface(index: u32, name: &str) -> Interface {
        Interface {
            index: InterfaceIndex::new(index).unwrap(),
            ipv6_index: None,
            name: name.into(),
            up: true,
            running: true,
            multicast: true,
            loopback: false,
            point_to_point: false,
            mtu: 1500,
            hardware_address: Some(HardwareAddress([2, 0, 0, 0, 0, index as u8])),
            addresses: Vec::new(),
            port_of: None,
        }
    }

    pub(crate) fn loopback() -> Interface {
        Interface {
            multicast: false,
            loopback: true,
            hardware_address: None,
            addresses: vec![address("127.0.0.1", 8), address("::1", 128)],
            ..interface(1, "lo")
        }
    }

    pub(crate) fn address(address: &str, prefix: u8) -> InterfaceAddress {
        InterfaceAddress { address: address.parse().unwrap(), prefix, state: AddressState::Ready }
    }
}

#[cfg(test)]
mod tests {
    use super::examples::address;

    #[test]
    fn a_network_contains_what_shares_its_prefix() {
        let own = address("10.0.1.200", 23);
        assert!(own.contains("10.0.0.7".parse().unwrap()));
        assert!(!own.contains("10.0.2.7".parse().unwrap()));
        assert!(!own.contains("fe80::1".parse().unwrap()));
        assert!(address("fe80::1", 64).contains("fe80::ffff".parse().unwrap()));
        assert!(address("0.0.0.0", 0).contains("203.0.113.1".parse().unwrap()));
        assert!(!address("10.0.0.1", 32).contains("10.0.0.2".parse().unwrap()));
    }
}
