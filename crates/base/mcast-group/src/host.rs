//! Where to send, and what to receive, on a network without multicast: an address of a host, or of all hosts of a
//! subnet.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::str::FromStr;

use alloc::format;

use crate::text::{Endpoint, parse_port, split_sources, write_target};
use crate::{Family, InterfaceIndex, InterfaceSelector, ParseError};

/// A unicast or IPv4 broadcast address, a UDP port, and optionally an interface. Text form: `10.0.0.5:5000`,
/// `[2001:db8::5]:5000`, `[fe80::5%eth0]:5000`, `10.0.0.255%eth0:5000`.
///
/// ```
/// use mcast_group::HostAddr;
///
/// let host: HostAddr = "[fe80::5%eth0]:5000".parse()?;
/// assert_eq!((host.port, host.to_string()), (5000, "[fe80::5%eth0]:5000".into()));
/// assert!("239.255.2.3:5000".parse::<HostAddr>().is_err());
/// assert_eq!(HostAddr::broadcast(5000).to_string(), "255.255.255.255:5000");
/// # Ok::<(), mcast_group::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostAddr {
    address: IpAddr,
    /// The UDP port.
    pub port: u16,
    /// The interface: to send on, or to receive on. `None` leaves the choice to the routing table, or receives on all.
    pub interface: Option<InterfaceSelector>,
}

impl HostAddr {
    /// Creates the address of a host.
    ///
    /// # Errors
    /// Returns [`IsMulticast`] for the address of a group.
    pub const fn new(address: IpAddr, port: u16) -> Result<Self, IsMulticast> {
        if address.is_multicast() {
            return Err(IsMulticast(address));
        }
        Ok(Self { address, port, interface: None })
    }

    /// Returns the limited broadcast address: all hosts on the link (RFC 919 section 7).
    #[must_use]
    pub const fn broadcast(port: u16) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::BROADCAST), port, interface: None }
    }

    /// Sets the interface.
    #[must_use]
    pub fn on(self, interface: InterfaceSelector) -> Self {
        Self { interface: Some(interface), ..self }
    }

    /// Returns the IP address.
    #[must_use]
    pub const fn addr(&self) -> IpAddr {
        self.address
    }

    /// Returns whether this is the limited broadcast address.
    #[must_use]
    pub const fn is_broadcast(&self) -> bool {
        matches!(self.address, IpAddr::V4(address) if address.is_broadcast())
    }

    /// Returns the address family.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.address)
    }
}

/// Converts the address and port, and discards the interface.
impl From<&HostAddr> for SocketAddr {
    fn from(host: &HostAddr) -> Self {
        Self::new(host.address, host.port)
    }
}

/// Converts the address and port, and the scope of an IPv6 address into the interface.
impl TryFrom<SocketAddr> for HostAddr {
    type Error = IsMulticast;

    fn try_from(address: SocketAddr) -> Result<Self, IsMulticast> {
        let scope = match address {
            SocketAddr::V6(v6) => InterfaceIndex::new(v6.scope_id()),
            SocketAddr::V4(_) => None,
        };
        let interface = scope.map(InterfaceSelector::Index);
        Ok(Self { interface, ..Self::new(address.ip(), address.port())? })
    }
}

impl FromStr for HostAddr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).map_err(|error| error.within(text))
    }
}

fn parse(text: &str) -> Result<HostAddr, ParseError> {
    if let (Some(_), _) = split_sources(text) {
        return Err(
            ParseError::new(text, "contains sources, which apply only to groups").with_remedy("ADDRESS:PORT")
        );
    }
    let endpoint = Endpoint::parse(text)?;
    if !endpoint.tail.is_empty() {
        let error = ParseError::new(endpoint.tail, "is between the address and the port");
        return Err(error.with_remedy("[ADDRESS]:PORT"));
    }
    let address: IpAddr = endpoint.host.parse().map_err(|_| {
        ParseError::new(endpoint.host, "is not an IP address").with_remedy("ADDRESS:PORT or [ADDRESS]:PORT")
    })?;
    if endpoint.bracketed && address.is_ipv4() {
        let error = ParseError::new(endpoint.host, "is an IPv4 address in brackets");
        return Err(error.with_remedy("ADDRESS:PORT"));
    }
    if address.to_canonical() != address {
        let error = ParseError::new(endpoint.host, "is an IPv4-mapped IPv6 address");
        return Err(error.with_remedy(format!("{}", address.to_canonical())));
    }
    let no_port = || ParseError::new(text, "has no port").with_remedy("ADDRESS:PORT");
    let port = parse_port(endpoint.port.ok_or_else(no_port)?)?;
    let host = HostAddr::new(address, port)
        .map_err(|_| ParseError::new(endpoint.host, "is a multicast address, not the address of a host"))?;
    Ok(HostAddr { interface: endpoint.interface, ..host })
}

impl fmt::Display for HostAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_target(f, self.address, self.interface.as_ref(), self.port)
    }
}

/// A multicast address where the address of a host is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is a multicast address, not the address of a host")]
pub struct IsMulticast(pub IpAddr);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn text_form_contains_address_interface_and_port() {
        for text in [
            "10.0.0.5:5000",
            "0.0.0.0:5000",
            "255.255.255.255%eth0:5000",
            "[2001:db8::5]:5000",
            "[fe80::5%eth0]:5000",
            "[::]:1",
            "10.0.0.5%\"a:b\":65535",
        ] {
            assert_eq!(text.parse::<HostAddr>().unwrap().to_string(), text);
        }
        let written: HostAddr = "[fe80::5]%3:5000".parse().unwrap();
        assert_eq!(written.to_string(), "[fe80::5%3]:5000");
    }

    #[test]
    fn errors_state_problem_and_remedy() {
        for (text, expected) in [
            ("239.1.2.3:5000", "is a multicast address, not the address of a host"),
            ("[ff15::1]:5000", "is a multicast address"),
            ("10.0.0.5", "has no port: write ADDRESS:PORT"),
            ("10.0.0.5:0", "is port 0"),
            ("10.0.0.5:65536", "is not a valid port"),
            ("[10.0.0.5]:5000", "is an IPv4 address in brackets"),
            ("[::ffff:10.0.0.5]:5000", "write 10.0.0.5"),
            ("10.0.0.7@10.0.0.5:5000", "contains sources"),
            ("[fe80::5]+2:5000", "is between the address and the port"),
            ("10.0.0.0/24:5000", "is not an IP address"),
            ("host:5000", "is not an IP address"),
            ("", "is not an IP address"),
        ] {
            let error = text.parse::<HostAddr>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn socket_address_keeps_its_scope_as_interface() {
        let address: SocketAddr = "[fe80::5%3]:5000".parse().unwrap();
        assert_eq!(HostAddr::try_from(address).unwrap().to_string(), "[fe80::5%3]:5000");
        assert_eq!(
            HostAddr::try_from("239.1.2.3:5000".parse::<SocketAddr>().unwrap()).unwrap_err().to_string(),
            "239.1.2.3 is a multicast address, not the address of a host"
        );
    }
}
