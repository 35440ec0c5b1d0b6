//! Where a sender sends: a group, a port, and optionally an outgoing interface.

use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;

use crate::text::{parse_target, split_sources, write_target};
use crate::{Group, InterfaceIndex, InterfaceSelector, NotMulticast, ParseError};

/// A group and a UDP port. Text form: `239.1.2.3:5000`, `[ff15::1]:5000`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupAddr {
    /// The group.
    pub group: Group,
    /// The UDP port.
    pub port: u16,
}

impl GroupAddr {
    /// Creates an address from a group and a port.
    #[must_use]
    pub const fn new(group: Group, port: u16) -> Self {
        Self { group, port }
    }
}

impl From<GroupAddr> for SocketAddr {
    fn from(address: GroupAddr) -> Self {
        Self::new(address.group.addr(), address.port)
    }
}

/// Converts the address and port and discards the scope of an IPv6 address. Convert to [`Destination`] or
/// [`Membership`](crate::Membership) to keep it as the interface.
impl TryFrom<SocketAddr> for GroupAddr {
    type Error = NotMulticast;

    fn try_from(address: SocketAddr) -> Result<Self, NotMulticast> {
        Group::new(address.ip()).map(|group| Self::new(group, address.port()))
    }
}

impl FromStr for GroupAddr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let destination: Destination = text.parse()?;
        match destination.interface {
            None => Ok(destination.address),
            Some(_) => Err(ParseError::new(text, "contains an interface, which is not allowed here")
                .with_remedy("GROUP:PORT")),
        }
    }
}

impl fmt::Display for GroupAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for GroupAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A group, a port, and the outgoing interface. Text form: `GROUP[%INTERFACE]:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// The group and port.
    pub address: GroupAddr,
    /// The outgoing interface. `None` selects the sender's default.
    pub interface: Option<InterfaceSelector>,
}

impl From<GroupAddr> for Destination {
    fn from(address: GroupAddr) -> Self {
        Self { address, interface: None }
    }
}

/// Converts the address and port, and the scope of an IPv6 address into the interface.
impl TryFrom<SocketAddr> for Destination {
    type Error = NotMulticast;

    fn try_from(address: SocketAddr) -> Result<Self, NotMulticast> {
        let scope = match address {
            SocketAddr::V6(v6) => InterfaceIndex::new(v6.scope_id()),
            SocketAddr::V4(_) => None,
        };
        Ok(Self { address: address.try_into()?, interface: scope.map(InterfaceSelector::Index) })
    }
}

impl FromStr for Destination {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if let (Some(_), _) = split_sources(text) {
            let error = ParseError::new(text, "contains sources, which apply only to receiving");
            return Err(error.with_remedy("GROUP[%INTERFACE]:PORT"));
        }
        let (group, interface, port) = parse_target(text).map_err(|error| error.within(text))?;
        Ok(Self { address: GroupAddr::new(group, port), interface })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_target(f, self.address.group.addr(), self.interface.as_ref(), self.address.port)
    }
}
