//! Warnings about interfaces on which multicast does not work or behaves unexpectedly.

use std::fmt;
use std::net::IpAddr;

use mcast_group::{Family, InterfaceIndex};

use super::{AddressState, Interface};

/// A reason why multicast on an interface does not work or behaves unexpectedly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// It is down: nothing is sent or received.
    Down,
    /// It is up without a carrier: no cable, no radio, or the peer is down.
    NoCarrier,
    /// The system does not mark it as able to multicast.
    NotMulticast,
    /// It is a port of this bridge or bond: join on that instead.
    PortOf(InterfaceIndex),
    /// It is loopback: nothing leaves this machine, and it is joined on only if named.
    Loopback,
    /// It is a point-to-point link or tunnel; many of them carry no multicast.
    PointToPoint,
    /// It has no address of this family. Groups can be joined on it by index (IPv6: only if IPv6 is
    /// enabled); sending needs an address.
    NoAddress(Family),
    /// This address is not ready: duplicate address detection is in progress.
    Tentative(IpAddr),
    /// Another host also has this address, so it is not used.
    Duplicate(IpAddr),
}

impl Interface {
    /// Returns the reasons against multicast on the interface, the most severe first. An ordinary
    /// interface that is up and has addresses of both families has none.
    ///
    /// An interface that is down has only that warning. The check covers the interface alone, not
    /// filters, firewalls or switches.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        if !self.up {
            return vec![Warning::Down];
        }
        let mut warnings = Vec::new();
        let mut warn_if = |condition, warning| {
            if condition {
                warnings.push(warning);
            }
        };
        warn_if(!self.running, Warning::NoCarrier);
        warn_if(!self.multicast && !self.loopback, Warning::NotMulticast);
        warn_if(self.loopback, Warning::Loopback);
        warn_if(self.point_to_point, Warning::PointToPoint);
        if let Some(master) = self.port_of {
            warnings.push(Warning::PortOf(master));
            // A port needs no addresses: its bridge or bond has them.
            return warnings;
        }
        let missing =
            [Family::V4, Family::V6].into_iter().filter(|family| self.addresses_of(*family).next().is_none());
        warnings.extend(missing.map(Warning::NoAddress));
        warnings.extend(self.addresses.iter().filter_map(|entry| match entry.state {
            AddressState::Ready => None,
            AddressState::Tentative => Some(Warning::Tentative(entry.address)),
            AddressState::Duplicate => Some(Warning::Duplicate(entry.address)),
        }));
        warnings
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("down"),
            Self::NoCarrier => f.write_str("no carrier"),
            Self::NotMulticast => f.write_str("multicast is disabled"),
            Self::PortOf(master) => write!(f, "port of interface {master}: join on interface {master}"),
            Self::Loopback => f.write_str("loopback: stays on this machine"),
            Self::PointToPoint => f.write_str("point-to-point link: may not carry multicast"),
            Self::NoAddress(family) => write!(f, "no {family} address to send from"),
            Self::Tentative(address) => write!(f, "{address} is not ready yet"),
            Self::Duplicate(address) => write!(f, "{address} is also used by another host"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::InterfaceAddress;
    use super::*;

    fn ordinary() -> Interface {
        Interface {
            up: true,
            running: true,
            multicast: true,
            addresses: vec![address("10.0.0.1", 24), address("fe80::1", 64)],
            ..Interface::new(InterfaceIndex::new(2).unwrap(), "eth0".into())
        }
    }

    fn address(address: &str, prefix: u8) -> InterfaceAddress {
        InterfaceAddress::new(address.parse().unwrap(), prefix)
    }

    #[test]
    fn an_ordinary_interface_has_no_warnings() {
        assert_eq!(ordinary().warnings(), []);
    }

    #[test]
    fn an_interface_that_is_down_has_that_one_warning() {
        let down = Interface { up: false, running: false, addresses: Vec::new(), ..ordinary() };
        assert_eq!(down.warnings(), [Warning::Down]);
    }

    #[test]
    fn loopback_has_no_warning_about_its_missing_flag() {
        let loopback = Interface { multicast: false, loopback: true, ..ordinary() };
        assert_eq!(loopback.warnings(), [Warning::Loopback]);
    }

    #[test]
    fn a_port_has_no_warning_about_missing_addresses() {
        let bridge = InterfaceIndex::new(9).unwrap();
        let port = Interface { port_of: Some(bridge), addresses: Vec::new(), ..ordinary() };
        assert_eq!(port.warnings(), [Warning::PortOf(bridge)]);
    }

    #[test]
    fn missing_and_unready_addresses_are_reported() {
        let tentative = InterfaceAddress { state: AddressState::Tentative, ..address("fe80::1", 64) };
        let interface = Interface { addresses: vec![tentative], ..ordinary() };
        let texts: Vec<_> = interface.warnings().iter().map(Warning::to_string).collect();
        assert_eq!(texts, ["no IPv4 address to send from", "fe80::1 is not ready yet"]);
    }
}
