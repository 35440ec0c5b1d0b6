//! An address of an interface in CIDR notation (`10.0.0.1/24`, `fd00::1/64`), and the names of hosts and interfaces.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use crate::{LabError, LabErrorKind};

/// An address with the prefix length of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CidrAddress {
    /// The address.
    pub address: IpAddr,
    /// The length of the prefix in bits: at most 32 for IPv4, at most 128 for IPv6.
    pub prefix_length: u8,
}

impl CidrAddress {
    /// Returns the broadcast address of an IPv4 network. Networks with a prefix longer than /30 have none (RFC 3021).
    pub(crate) fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(address) if self.prefix_length < 31 => {
                let host_bits = u32::MAX.checked_shr(u32::from(self.prefix_length)).unwrap_or(0);
                Some(Ipv4Addr::from_bits(address.to_bits() | host_bits))
            }
            _ => None,
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, LabError> {
        text.parse().map_err(|error: AddressError| {
            LabError::new("parse an address", LabErrorKind::Invalid(error.to_string()))
        })
    }

    pub(crate) fn parse_all(texts: &[&str]) -> Result<Vec<Self>, LabError> {
        texts.iter().map(|text| Self::parse(text)).collect()
    }
}

/// The error for a text that is not an address with a prefix length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an address with a prefix length such as 10.0.0.1/24 or fd00::1/64")]
pub struct AddressError(String);

impl FromStr for CidrAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let invalid = || AddressError(text.to_owned());
        let (address, prefix_length) = text.split_once('/').ok_or_else(invalid)?;
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let prefix_length: u8 = prefix_length.parse().map_err(|_| invalid())?;
        let max_length = if address.is_ipv4() { 32 } else { 128 };
        if prefix_length > max_length {
            return Err(invalid());
        }
        Ok(Self { address, prefix_length })
    }
}

impl fmt::Display for CidrAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_length)
    }
}

/// Returns whether this is a valid host name: short enough for the kernel, and only with letters, digits, `-`, `_`
/// and `.`.
pub(crate) fn is_host_name(name: &str) -> bool {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    (1..=63).contains(&name.len()) && name.chars().all(is_allowed)
}

/// Returns whether the kernel accepts this as the name of an interface.
pub(crate) fn is_interface_name(name: &str) -> bool {
    let is_forbidden = |byte: u8| matches!(byte, b'/' | b':' | 0) || byte.is_ascii_whitespace();
    (1..=15).contains(&name.len()) && name != "." && name != ".." && !name.bytes().any(is_forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse_and_print() {
        for text in ["10.0.0.1/24", "fd00::1/64", "0.0.0.0/0", "::1/128"] {
            assert_eq!(text.parse::<CidrAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn invalid_addresses_are_rejected() {
        for text in ["", "10.0.0.1", "10.0.0.1/33", "fd00::1/129", "10.0.0/24", "10.0.0.1/x", "/24"] {
            assert!(text.parse::<CidrAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn broadcast_is_the_last_address_of_the_network() {
        let broadcast = |text: &str| text.parse::<CidrAddress>().unwrap().broadcast();
        assert_eq!(broadcast("10.0.0.1/24"), Some(Ipv4Addr::new(10, 0, 0, 255)));
        assert_eq!(broadcast("10.0.0.1/0"), Some(Ipv4Addr::BROADCAST));
        assert_eq!(broadcast("10.0.0.1/31"), None);
        assert_eq!(broadcast("fd00::1/64"), None);
    }

    #[test]
    fn host_names_are_checked() {
        assert!(["a", "eastny", "r-1.lab_2", &"x".repeat(63)].into_iter().all(is_host_name));
        assert!(!["", "a b", "a\0b", "a/b", "\u{e4}", &"x".repeat(64)].into_iter().any(is_host_name));
    }

    #[test]
    fn interface_names_are_checked() {
        assert!(["eth0", "wlan0.5", "a-b_c@d", "exactly15bytes_"].into_iter().all(is_interface_name));
        let invalid = ["", ".", "..", "a/b", "a b", "a:1", "a\0b", "sixteen_letters_"];
        assert!(!invalid.into_iter().any(is_interface_name));
    }
}
