//! How a relay is named.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use mcast_packet::payload::AmtMessage;

/// Which relay a gateway uses. Text form: `192.0.2.1`, `[2001:db8::1]:2268`, `relay.example.net`, `anycast`, `driad`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AmtRelayName {
    /// The one at this address, or of those that share it the nearest one.
    Address(SocketAddr),
    /// The one with this name in the DNS.
    Host {
        /// The name.
        name: String,
        /// The port.
        port: u16,
    },
    /// The nearest one in the Internet, by the addresses that all relays share (RFC 7450 section 7.1).
    Anycast,
    /// The one that the operator of the source names in the DNS (RFC 8777).
    Driad,
}

/// A text does not name a relay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a relay of AMT: write an address, a name, driad or anycast")]
pub struct InvalidRelayName(String);

impl AmtRelayName {
    /// The addresses that all relays share.
    pub const ANYCAST: [IpAddr; 2] = [
        IpAddr::V4(std::net::Ipv4Addr::new(192, 52, 193, 1)),
        IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 3, 0, 0, 0, 0, 0, 1)),
    ];
}

impl FromStr for AmtRelayName {
    type Err = InvalidRelayName;

    fn from_str(text: &str) -> Result<Self, InvalidRelayName> {
        let invalid = || InvalidRelayName(text.to_owned());
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return address_of(SocketAddr::new(address, AmtMessage::PORT)).ok_or_else(invalid);
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return address_of(address).ok_or_else(invalid);
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, port.parse().ok().filter(|port| *port > 0).ok_or_else(invalid)?),
            None => (text, AmtMessage::PORT),
        };
        let is_label = |label: &str| {
            let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            !label.is_empty() && label.len() < 64 && !label.starts_with('-') && label.bytes().all(is_valid)
        };
        let labels = name.strip_suffix('.').unwrap_or(name);
        match text {
            "anycast" => Ok(Self::Anycast),
            "driad" => Ok(Self::Driad),
            _ if labels.len() < 254 && labels.split('.').all(is_label) => {
                Ok(Self::Host { name: name.to_owned(), port })
            }
            _ => Err(invalid()),
        }
    }
}

fn address_of(address: SocketAddr) -> Option<AmtRelayName> {
    (super::inner::is_host(address.ip()) && address.port() > 0).then_some(AmtRelayName::Address(address))
}

impl fmt::Display for AmtRelayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) if address.port() == AmtMessage::PORT => address.ip().fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::Host { name, port: AmtMessage::PORT } => f.write_str(name),
            Self::Host { name, port } => write!(f, "{name}:{port}"),
            Self::Anycast => f.write_str("anycast"),
            Self::Driad => f.write_str("driad"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        let names = [
            "192.0.2.1",
            "192.0.2.1:7000",
            "2001:db8::1",
            "[2001:db8::1]:7000",
            "a-b.example.net",
            "relay:7",
        ];
        for text in names.into_iter().chain(["anycast", "driad"]) {
            assert_eq!(text.parse::<AmtRelayName>().unwrap().to_string(), text);
        }
        let long = ["[2001:db8::1]", "192.0.2.1:2268", "relay:2268"];
        let short = long.map(|text| text.parse::<AmtRelayName>().unwrap().to_string());
        assert_eq!(short, ["2001:db8::1", "192.0.2.1", "relay"]);
    }

    #[test]
    fn what_cannot_be_a_relay_is_refused() {
        for text in
            ["", "239.1.2.3", "0.0.0.0", "255.255.255.255", "ff02::1", "a b", "a..b", "x:0", "x:y", "-a"]
        {
            assert!(text.parse::<AmtRelayName>().is_err(), "{text}");
        }
    }
}
