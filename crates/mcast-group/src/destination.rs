//! Where a sender sends: a group and a port, and perhaps the interface to leave by.

use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;

use crate::text::{parse_target, split_sources, write_target};
use crate::{Group, InterfaceSelector, ParseError};

/// A group and a UDP port. Text form: `239.1.2.3:5000`, `[ff15::1]:5000`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupAddr {
    /// The group.
    pub group: Group,
    /// The UDP port.
    pub port: u16,
}

impl GroupAddr {
    /// This group and port.
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

impl FromStr for GroupAddr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let destination: Destination = text.parse()?;
        match destination.interface {
            None => Ok(destination.address),
            Some(_) => {
                Err(ParseError::new(text, "names an interface where none belongs").write("GROUP:PORT"))
            }
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

/// A group, a port, and the interface to leave by. Text form: `GROUP[%INTERFACE]:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// The group and port.
    pub address: GroupAddr,
    /// The interface to leave by; `None` leaves it to the sender's own default.
    pub interface: Option<InterfaceSelector>,
}

impl From<GroupAddr> for Destination {
    fn from(address: GroupAddr) -> Self {
        Self { address, interface: None }
    }
}

impl FromStr for Destination {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if let (Some(_), _) = split_sources(text) {
            let error = ParseError::new(text, "names sources, which only a receiver chooses");
            return Err(error.write("GROUP[%INTERFACE]:PORT"));
        }
        let (group, interface, port) = parse_target(text).map_err(|error| error.within(text))?;
        Ok(Self { address: GroupAddr::new(group, port), interface })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_target(f, self.address.group, self.interface.as_ref(), self.address.port)
    }
}
