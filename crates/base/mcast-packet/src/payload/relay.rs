//! The beginning of what relays of mcast announce to each other: who and where they are.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::list::{array_at, u8_at, u64_at};

/// An announcement of a relay of mcast, without its rules, which only relays read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayGreeting<'a> {
    /// The identifier of the relay, another one after each start.
    pub relay: u64,
    /// Whether it leaves.
    pub is_goodbye: bool,
    /// Whether the announcement carries the tag of a key.
    pub is_authenticated: bool,
    /// Its priority in the election of what forwards.
    pub priority: u8,
    /// The number of its leg that sent the announcement.
    pub leg: u8,
    addresses: &'a [u8],
    count: u8,
}

impl<'a> RelayGreeting<'a> {
    /// The first bytes.
    pub const MAGIC: [u8; 4] = *b"MCRL";
    /// The version, which follows them.
    pub const VERSION: u8 = 1;
    /// The flag of a goodbye.
    pub const GOODBYE: u8 = 1;
    /// The flag of an announcement with a tag.
    pub const AUTHENTICATED: u8 = 2;

    /// Parses the payload of a datagram.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        if !bytes.starts_with(&Self::MAGIC) || u8_at(bytes, 4)? != Self::VERSION {
            return None;
        }
        let flags = u8_at(bytes, 5)?;
        Some(Self {
            relay: u64_at(bytes, 8)?,
            is_goodbye: flags & Self::GOODBYE != 0,
            is_authenticated: flags & Self::AUTHENTICATED != 0,
            priority: u8_at(bytes, 6)?,
            leg: u8_at(bytes, 7)?,
            addresses: bytes.get(33..)?,
            count: u8_at(bytes, 30)?,
        })
    }

    /// Returns the addresses of the relay, as far as they can be read.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        let mut rest = self.addresses;
        (0..self.count).map_while(move |_| {
            let (family, after) = rest.split_first()?;
            let (address, length) = match family {
                4 => (IpAddr::from(Ipv4Addr::from(array_at::<4>(after, 0)?)), 4),
                6 => (IpAddr::from(Ipv6Addr::from(array_at::<16>(after, 0)?)), 16),
                _ => return None,
            };
            rest = after.get(length..)?;
            Some(address)
        })
    }
}
