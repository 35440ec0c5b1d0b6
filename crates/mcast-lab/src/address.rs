//! An address on an interface: `10.0.0.1/24`, `fd00::1/64`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use crate::{LabError, LabErrorKind};

/// An address with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// The length of the prefix in bits: at most 32 for IPv4, 128 for IPv6.
    pub prefix_length: u8,
}

impl InterfaceAddress {
    /// The broadcast address of an IPv4 network that has one (up to /30, RFC 3021).
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

/// The text is no address with a prefix length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an address with a prefix length such as 10.0.0.1/24 or fd00::1/64")]
pub struct AddressError(String);

impl FromStr for InterfaceAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.to_owned());
        let (address, prefix_length) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let prefix_length: u8 = prefix_length.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        if prefix_length > longest {
            return Err(wrong());
        }
        Ok(Self { address, prefix_length })
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse_and_print() {
        for text in ["10.0.0.1/24", "fd00::1/64", "0.0.0.0/0", "::1/128"] {
            assert_eq!(text.parse::<InterfaceAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "10.0.0.1", "10.0.0.1/33", "fd00::1/129", "10.0.0/24", "10.0.0.1/x", "/24"] {
            assert!(text.parse::<InterfaceAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn broadcast_is_the_last_address_of_the_network() {
        let broadcast = |text: &str| text.parse::<InterfaceAddress>().unwrap().broadcast();
        assert_eq!(broadcast("10.0.0.1/24"), Some(Ipv4Addr::new(10, 0, 0, 255)));
        assert_eq!(broadcast("10.0.0.1/0"), Some(Ipv4Addr::BROADCAST));
        assert_eq!(broadcast("10.0.0.1/31"), None);
        assert_eq!(broadcast("fd00::1/64"), None);
    }
}
