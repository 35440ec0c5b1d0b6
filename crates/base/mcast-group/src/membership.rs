//! What a receiver joins and where a sender sends, as values with one text form.

use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;

use crate::text::{check_families, parse_sources, parse_target, split_sources, write_target};
use crate::{Group, InterfaceIndex, InterfaceSelector, NotMulticast, ParseError, SourceFilter};

/// What a receiver joins: a group and port, the interfaces to join on, and the sources to admit.
///
/// Text form: `[SOURCE[,SOURCE…]@]GROUP[%INTERFACE]:PORT`, with a leading `!` to exclude the sources instead:
/// `239.255.2.3:5000`, `[ff15::1%eth1]:5000`, `10.0.0.7@232.1.2.3%eth1:5000`, `!10.0.0.9@239.255.2.3:5000`.
/// `FromStr` parses the output of `Display` to the same value, except for a filter that admits no source,
/// which has no valid text form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Membership {
    /// The group and port.
    pub address: GroupAddr,
    /// The interface to join on. `None` selects the receiver's default.
    pub interface: Option<InterfaceSelector>,
    /// The sources to admit.
    pub sources: SourceFilter,
}

impl Membership {
    /// Creates an any-source membership on the receiver's default interfaces.
    #[must_use]
    pub const fn new(address: GroupAddr) -> Self {
        Self { address, interface: None, sources: SourceFilter::ANY }
    }

    /// Sets the interface.
    #[must_use]
    pub fn on(self, interface: InterfaceSelector) -> Self {
        Self { interface: Some(interface), ..self }
    }

    /// Sets the source filter.
    #[must_use]
    pub fn from_sources(self, sources: SourceFilter) -> Self {
        Self { sources, ..self }
    }
}

impl From<GroupAddr> for Membership {
    fn from(address: GroupAddr) -> Self {
        Self::new(address)
    }
}

impl From<Destination> for Membership {
    fn from(destination: Destination) -> Self {
        Self { interface: destination.interface, ..Self::new(destination.address) }
    }
}

/// Converts to an any-source membership, on the interface given by the scope of an IPv6 address.
///
/// ```
/// use std::net::SocketAddr;
/// use mcast_group::Membership;
///
/// let address: SocketAddr = "[ff02::1%3]:7000".parse()?;
/// assert_eq!(Membership::try_from(address)?.to_string(), "[ff02::1%3]:7000");
/// assert!(Membership::try_from(SocketAddr::from(([10, 0, 0, 1], 7000))).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl TryFrom<SocketAddr> for Membership {
    type Error = NotMulticast;

    fn try_from(address: SocketAddr) -> Result<Self, NotMulticast> {
        Destination::try_from(address).map(Self::from)
    }
}

impl FromStr for Membership {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).map_err(|error| error.within(text))
    }
}

fn parse(text: &str) -> Result<Membership, ParseError> {
    let (sources, target) = split_sources(text);
    let sources = sources.map_or(Ok(SourceFilter::ANY), parse_sources)?;
    let (group, interface, port) = parse_target(target)?;
    check_families(&sources, group)?;
    Ok(Membership { address: GroupAddr::new(group, port), interface, sources })
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.sources.is_any() {
            if matches!(self.sources, SourceFilter::Exclude(_)) {
                f.write_str("!")?;
            }
            for (position, source) in self.sources.sources().enumerate() {
                if position > 0 {
                    f.write_str(",")?;
                }
                write!(f, "{source}")?;
            }
            f.write_str("@")?;
        }
        write_target(f, self.address.group.addr(), self.interface.as_ref(), self.address.port)
    }
}

/// A group and a UDP port. Text form: `239.255.2.3:5000`, `[ff15::1]:5000`.
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

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn text_form_contains_sources_group_interface_and_port() {
        let membership: Membership = "!10.0.0.9,10.0.0.8@239.1.2.3%eth1:5000".parse().unwrap();
        let excluded = ["10.0.0.8", "10.0.0.9"].map(|source| source.parse().unwrap());
        assert_eq!(membership.sources, SourceFilter::Exclude(excluded.into()));
        assert_eq!(membership.interface, Some(InterfaceSelector::Name("eth1".to_string())));
        assert_eq!(membership.address.to_string(), "239.1.2.3:5000");
        assert_eq!(membership.to_string(), "!10.0.0.8,10.0.0.9@239.1.2.3%eth1:5000");
    }

    #[test]
    fn forms_for_the_command_line_are_rejected() {
        for text in
            ["mdns", "239.1.2.0/28:5000", "239.1.2.3+2:5000", "239.1.2.3:5000-5001", "[ff15::1]+2:5000"]
        {
            assert!(text.parse::<Membership>().is_err(), "{text}");
        }
    }

    #[test]
    fn filter_that_admits_no_source_has_no_valid_text_form() {
        let address = "239.1.2.3:5000".parse().unwrap();
        let text = Membership::new(address).from_sources(SourceFilter::NONE).to_string();
        let error = text.parse::<Membership>().unwrap_err();
        assert_eq!(error.problem(), "has no source before the @");
        assert_eq!(error.remedy(), Some("write SOURCE@GROUP:PORT, or GROUP:PORT to admit every source"));
    }
}
