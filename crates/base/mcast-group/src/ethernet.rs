//! The Ethernet address of a group, and the groups that share it.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Group;

/// The Ethernet address of a group: `01:00:5e` and the last 23 bits of an IPv4 group (RFC 1112
/// section 6.4), or `33:33` and the last 32 bits of an IPv6 group (RFC 2464 section 7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EthernetAddress([u8; 6]);

impl EthernetAddress {
    /// Returns the six octets in transmission order.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl From<EthernetAddress> for [u8; 6] {
    fn from(address: EthernetAddress) -> Self {
        address.0
    }
}

impl fmt::Display for EthernetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for EthernetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Group {
    /// Returns the Ethernet address that datagrams to the group are sent to.
    ///
    /// ```
    /// let group: mcast_group::Group = "239.129.1.2".parse()?;
    /// assert_eq!(group.ethernet_address().to_string(), "01:00:5e:01:01:02");
    /// # Ok::<(), mcast_group::ParseError>(())
    /// ```
    #[must_use]
    pub const fn ethernet_address(self) -> EthernetAddress {
        EthernetAddress(match self.addr() {
            IpAddr::V4(address) => {
                let [_, b, c, d] = address.octets();
                [0x01, 0x00, 0x5e, b & 0x7f, c, d]
            }
            IpAddr::V6(address) => {
                let [.., a, b, c, d] = address.octets();
                [0x33, 0x33, a, b, c, d]
            }
        })
    }

    /// Returns the number of groups of the family with this Ethernet address, including the group itself: 32
    /// for IPv4; 2^80 in every IPv6 scope with the same flags.
    #[must_use]
    pub const fn ethernet_sharing(self) -> u128 {
        match self.addr() {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 1 << 80,
        }
    }

    /// Returns the 31 other IPv4 groups with the same Ethernet address, in ascending order. Empty for IPv6,
    /// where there are too many to list.
    pub fn ethernet_aliases(self) -> impl Iterator<Item = Self> {
        let address = match self.addr() {
            IpAddr::V4(address) => Some(address.to_bits()),
            IpAddr::V6(_) => None,
        };
        address.into_iter().flat_map(|bits| {
            // Of the 28 bits that identify a group, the upper five are not part of the Ethernet address.
            let low = bits & 0x007f_ffff;
            (0..32u32)
                .map(move |high| 0xe000_0000 | (high << 23) | low)
                .filter(move |&alias| alias != bits)
                .map(|alias| Self(IpAddr::V4(Ipv4Addr::from_bits(alias))))
        })
    }

    /// Returns the control group that shares the Ethernet address of this group, if there is one.
    ///
    /// For IPv4 that is a group of 224.0.0.0/24. Switches with IGMP snooping flood these to every port (RFC
    /// 4541 section 2.1.2), and therefore this group too. For IPv6 it is all nodes, `ff02::1`, which switches
    /// also flood, or a solicited-node group.
    #[must_use]
    pub fn control_alias(self) -> Option<Self> {
        let alias = match self.addr() {
            IpAddr::V4(address) => control_alias_v4(address).map(IpAddr::V4),
            IpAddr::V6(address) => control_alias_v6(address).map(IpAddr::V6),
        };
        alias.map(Self).filter(|&alias| alias != self)
    }
}

fn control_alias_v4(address: Ipv4Addr) -> Option<Ipv4Addr> {
    match address.octets() {
        [_, 0 | 128, 0, last] => Some(Ipv4Addr::new(224, 0, 0, last)),
        _ => None,
    }
}

fn control_alias_v6(address: Ipv6Addr) -> Option<Ipv6Addr> {
    match address.segments() {
        [.., 0, 1] => Some(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)),
        [.., high @ 0xff00..=0xffff, low] => Some(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    fn group(text: &str) -> Group {
        text.parse().unwrap()
    }

    #[test]
    fn ethernet_addresses_match_the_rfcs() {
        for (text, expected) in [
            ("224.1.1.5", "01:00:5e:01:01:05"),
            ("239.255.255.250", "01:00:5e:7f:ff:fa"),
            ("ff02::1", "33:33:00:00:00:01"),
            ("ff02::1:ffa1:33b4", "33:33:ff:a1:33:b4"),
        ] {
            assert_eq!(group(text).ethernet_address().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn thirty_one_other_groups_share_an_ipv4_ethernet_address() {
        let aliases: Vec<Group> = group("224.1.1.5").ethernet_aliases().collect();
        assert_eq!(aliases.len(), 31);
        assert_eq!(aliases[0], group("224.129.1.5"));
        assert_eq!(aliases[30], group("239.129.1.5"));
        for alias in aliases {
            assert_eq!(alias.ethernet_address(), group("224.1.1.5").ethernet_address());
        }
        assert_eq!(group("ff15::1").ethernet_aliases().count(), 0);
    }

    #[test]
    fn control_aliases_are_found() {
        for (text, expected) in [
            ("239.0.0.251", Some("224.0.0.251")),
            ("225.128.0.1", Some("224.0.0.1")),
            ("224.128.0.5", Some("224.0.0.5")),
            ("224.0.0.5", None),
            ("239.1.0.5", None),
            ("239.0.1.5", None),
            ("ff15::1", Some("ff02::1")),
            ("ff02::1", None),
            ("ff15::ff00:9", Some("ff02::1:ff00:9")),
            ("ff02::1:ff00:9", None),
            ("ff15::2", None),
        ] {
            assert_eq!(group(text).control_alias(), expected.map(group), "{text}");
        }
    }
}
