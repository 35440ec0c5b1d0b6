//! A word of warning where multicast cannot work on an interface, or surprises.

use std::fmt;
use std::net::IpAddr;

use mcast_group::{Family, InterfaceIndex};

use super::{AddressState, Interface};

/// Why multicast on an interface cannot work, or may surprise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// It is down: nothing is sent or received.
    Down,
    /// It is up without a carrier: no cable, no radio, or the other end is down.
    NoCarrier,
    /// The system does not mark it as able to multicast.
    NotMulticast,
    /// It is a port of this bridge or bond: join on that instead.
    PortOf(InterfaceIndex),
    /// It is loopback: nothing leaves this machine, and only those who name it join on it.
    Loopback,
    /// It is a point-to-point link or tunnel: many carry no multicast.
    PointToPoint,
    /// It has no address of this family. It can be joined on by index (IPv6: only where IPv6 is
    /// on); sending needs one.
    NoAddress(Family),
    /// This address is not ready: the system is still looking for a duplicate.
    Tentative(IpAddr),
    /// This address is another host's too, and is not used.
    Duplicate(IpAddr),
}

impl Interface {
    /// What there is to say against multicast on it, the worst first; nothing on an ordinary
    /// interface that is up and has both families' addresses.
    ///
    /// Of one that is down only that is said. It looks at the interface alone, not at filters,
    /// firewalls or switches.
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
            // What it lacks in addresses, its bridge or bond has.
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
            Self::NotMulticast => f.write_str("not marked as able to multicast"),
            Self::PortOf(master) => write!(f, "a port of interface {master}: join on that"),
            Self::Loopback => f.write_str("loopback: stays on this machine"),
            Self::PointToPoint => f.write_str("a point-to-point link: may not carry multicast"),
            Self::NoAddress(family) => write!(f, "no {family} address to send from"),
            Self::Tentative(address) => write!(f, "{address} is not ready yet"),
            Self::Duplicate(address) => write!(f, "{address} is another host's too"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::InterfaceAddress;
    use super::super::examples::{address, interface, loopback};
    use super::*;

    fn ordinary() -> Interface {
        Interface { addresses: vec![address("10.0.0.1", 24), address("fe80::1", 64)], ..interface(2, "eth0") }
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
    fn loopback_is_not_blamed_for_its_missing_flag() {
        assert_eq!(loopback().warnings(), [Warning::Loopback]);
    }

    #[test]
    fn a_port_is_not_blamed_for_its_missing_addresses() {
        let bridge = InterfaceIndex::new(9).unwrap();
        let port = Interface { port_of: Some(bridge), ..interface(2, "eth0") };
        assert_eq!(port.warnings(), [Warning::PortOf(bridge)]);
    }

    #[test]
    fn missing_and_unready_addresses_are_told() {
        let tentative = InterfaceAddress { state: AddressState::Tentative, ..address("fe80::1", 64) };
        let interface = Interface { addresses: vec![tentative], ..ordinary() };
        let told: Vec<_> = interface.warnings().iter().map(Warning::to_string).collect();
        assert_eq!(told, ["no IPv4 address to send from", "fe80::1 is not ready yet"]);
    }
}
