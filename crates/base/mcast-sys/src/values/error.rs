//! What failed, of which class an error is, and what is worth a warning.

use std::error::Error;
use std::net::IpAddr;
use std::{fmt, io};

use mcast_group::{Family, InterfaceIndex, ParseError};

use super::{AddressState, Interface};

mcast_group::named! {
    /// The operation that failed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[non_exhaustive]
    pub enum Operation {
        /// Listing or watching interfaces.
        Interfaces = "read the interfaces",
        /// Finding an interface by name, index or address.
        Find = "find the interface",
        /// Looking up a group's interface in the routing table.
        Route = "find the route",
        /// Opening or binding a socket, or setting its options.
        Open = "open a socket",
        /// Joining a group.
        Join = "join",
        /// Leaving a group, or changing its source list.
        Leave = "leave",
        /// Sending.
        Send = "send",
        /// Receiving.
        Receive = "receive",
        /// Taking frames off an interface, past the kernel's network stack.
        TakeFrames = "take datagrams off the interface",
        /// Reading the memberships of this machine.
        Inspect = "read the memberships of this machine",
    }
}

mcast_group::named! {
    /// The reason for a failure, as far as a program can act on it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[non_exhaustive]
    pub enum ErrorKind {
        /// No interface has this name, index or address.
        NoSuchInterface = "no such interface",
        /// No interface is up and can multicast.
        NoUsableInterface = "no interface is up and can multicast",
        /// The interface is down.
        InterfaceDown = "the interface is down",
        /// The routing table has no route to the group, and no interface was given.
        NoRoute = "no route to the group, and no interface was given",
        /// A route or a routing rule of this machine rejects what is sent to the address (Linux: a route of type
        /// `prohibit` or `unreachable`).
        RouteRejects = "a route or a routing rule of this machine rejects it",
        /// The interface has no address of the group's family to send from.
        NoAddress = "the interface has no address of the group's family",
        /// IPv6 (or IPv4) is disabled on this machine or interface, or not configured there.
        FamilyUnavailable = "this address family cannot be used here",
        /// A source-specific group was joined without a source, which RFC 4604 requires hosts to
        /// refuse.
        SourceNeeded = "the group is source-specific and no source was given",
        /// The membership is already joined, or the membership to leave is not joined.
        NotJoined = "not joined",
        /// The values contradict each other, such as an IPv6 source for an IPv4 group.
        Mismatch = "the values contradict each other",
        /// Another socket uses the port or address without sharing it.
        AddressInUse = "the address is in use",
        /// The address to send from or bind to does not belong to this machine.
        AddressNotAvailable = "the address does not belong to this machine",
        /// A limit of the system was reached: memberships, sources, memory or descriptors.
        LimitReached = "a limit of the system was reached",
        /// The datagram exceeds the maximum of UDP, or of the path with don't-fragment set.
        TooLarge = "the datagram is too large",
        /// The queue of the interface is full; the datagram was not sent.
        QueueFull = "the queue of the interface is full",
        /// The process lacks a privilege.
        Permission = "permission denied",
        /// This system, or this version of it, does not support the operation.
        Unsupported = "not supported on this system",
        /// Another thread ended the wait.
        Woken = "a waker ended the wait",
        /// Any other reason; see the system's error.
        Other = "the system refused",
    }
}

/// The party that can act on a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// The operation ran, and the answer is no.
    No,
    /// The request is wrong.
    Usage,
    /// A permission is missing.
    Permission,
    /// Something in the environment is missing: an interface, a kernel feature, a file.
    Environment,
    /// The reader of the output has gone, which is not a failure.
    BrokenPipe,
}

/// An error that knows its class and its remedy. Every crate implements it for its errors, so that a program that
/// reports them needs no table of kinds.
pub trait ClassifiedError: Error {
    /// Returns the class of the failure; `None` if the cause ([`Error::source`]) determines it.
    fn class(&self) -> Option<FailureClass>;

    /// Returns what to do about the error in one sentence, if something general helps.
    fn remedy(&self) -> Option<String> {
        None
    }

    /// Returns the error that this one only passes on, and that [`Error::source`] skips for this reason.
    fn transparent(&self) -> Option<&(dyn Error + 'static)> {
        None
    }
}

impl ErrorKind {
    /// Returns the class of failures of this kind.
    #[must_use]
    pub const fn class(&self) -> FailureClass {
        match self {
            Self::SourceNeeded | Self::Mismatch | Self::TooLarge => FailureClass::Usage,
            Self::Permission => FailureClass::Permission,
            _ => FailureClass::Environment,
        }
    }
}

impl ClassifiedError for io::Error {
    fn class(&self) -> Option<FailureClass> {
        Some(match self.kind() {
            io::ErrorKind::BrokenPipe => FailureClass::BrokenPipe,
            io::ErrorKind::PermissionDenied => FailureClass::Permission,
            _ => FailureClass::Environment,
        })
    }

    fn remedy(&self) -> Option<String> {
        crate::process::is_out_of_descriptors(self).then(|| {
            "raise the limit on open files: `ulimit -n 65536` in the shell, or `LimitNOFILE=65536` in the service's unit".into()
        })
    }
}

impl ClassifiedError for ParseError {
    fn class(&self) -> Option<FailureClass> {
        Some(FailureClass::Usage)
    }
}

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
