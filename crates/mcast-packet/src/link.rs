//! The link layer: Ethernet II with its VLAN tags.

use core::fmt;
use core::net::IpAddr;

use mcast_group::Group;

use crate::bytes::{array_at, u16_at};

/// Protocol numbers in an Ethernet header (IANA, IEEE 802 Numbers).
pub mod ether_type {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP (RFC 826).
    pub const ARP: u16 = 0x0806;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// A VLAN tag (IEEE 802.1Q).
    pub const VLAN: u16 = 0x8100;
    /// An outer, provider's VLAN tag (IEEE 802.1ad).
    pub const PROVIDER_VLAN: u16 = 0x88a8;
    /// The outer tag of older double tagging.
    pub const OLD_DOUBLE_VLAN: u16 = 0x9100;

    /// The first number that stands for a protocol; one below is the length of an IEEE 802.3 frame, as of
    /// the spanning tree's.
    pub const FIRST: u16 = 0x0600;
    /// LLDP (IEEE 802.1AB).
    pub const LLDP: u16 = 0x88cc;
    /// PTP over Ethernet (IEEE 1588 annex F).
    pub const PTP: u16 = 0x88f7;

    /// The name, where it is one that is met among what is sent to groups.
    pub(crate) const fn name(number: u16) -> Option<&'static str> {
        Some(match number {
            LLDP => "LLDP",
            PTP => "PTP",
            ..FIRST => "802.3",
            _ => return None,
        })
    }

    pub(crate) const fn is_vlan(number: u16) -> bool {
        matches!(number, VLAN | PROVIDER_VLAN | OLD_DOUBLE_VLAN)
    }
}

/// What the first byte of captured bytes belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkType {
    /// An Ethernet II header; Linux' loopback interface has one too, with zeros for addresses.
    Ethernet,
    /// An IPv4 or IPv6 header, as on tunnels.
    Ip,
    /// The header that Linux makes up for captures on all interfaces at once (`LINKTYPE_LINUX_SLL`).
    LinuxCooked,
    /// Its second version, which names the interface (`LINKTYPE_LINUX_SLL2`).
    LinuxCooked2,
    /// Four bytes of address family, as BSD and macOS have it on loopback (`LINKTYPE_NULL`).
    Loopback,
}

impl LinkType {
    /// The length of the header of [`Self::Loopback`] in bytes.
    pub(crate) const LOOPBACK_LENGTH: usize = 4;
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Everybody on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The address that frames to this group carry: RFC 1112 section 6.4, RFC 2464 section 7.
    #[must_use]
    pub const fn of_group(group: Group) -> Self {
        Self::of_multicast(group.addr())
    }

    /// The same for an address that is known to be a group's.
    pub(crate) const fn of_multicast(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => {
                let [_, b, c, d] = address.octets();
                Self([0x01, 0x00, 0x5e, b & 0x7f, c, d])
            }
            IpAddr::V6(address) => {
                let [.., a, b, c, d] = address.octets();
                Self([0x33, 0x33, a, b, c, d])
            }
        }
    }

    /// Whether this is a group address: the lowest bit of the first byte. Broadcast is one too.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vlan {
    /// The VLAN's number, 0 to 4095; 0 means that the tag is there for its priority alone.
    pub id: u16,
    /// The priority code point, 0 to 7.
    pub priority: u8,
    /// Whether the frame may be dropped first under congestion.
    pub drop_eligible: bool,
}

impl Vlan {
    pub(crate) const fn from_tag(tag: u16) -> Self {
        Self { id: tag & 0x0fff, priority: (tag >> 13) as u8, drop_eligible: tag & 0x1000 != 0 }
    }
}

/// An Ethernet II header with the VLAN tags behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ethernet {
    /// Where the frame goes.
    pub destination: MacAddress,
    /// Where it comes from.
    pub source: MacAddress,
    /// The protocol of what follows the last tag: [`ether_type`].
    pub ether_type: u16,
    vlans: Vlans,
}

impl Ethernet {
    /// How many VLAN tags are decoded; what follows more of them is left alone.
    pub const VLANS: usize = 3;

    /// The header's length without tags.
    pub const LENGTH: usize = 14;

    /// The VLAN tags, outermost first.
    pub fn vlans(&self) -> impl Iterator<Item = Vlan> + '_ {
        self.vlans.iter()
    }

    /// The length of header and tags in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        Self::LENGTH + self.vlans.length()
    }

    /// `None` when the bytes are too few for the header or for a tag that it announces.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (vlans, ether_type) = Vlans::decode(u16_at(bytes, 12)?, bytes.get(Self::LENGTH..)?)?;
        Some(Self {
            destination: MacAddress(array_at(bytes, 0)?),
            source: MacAddress(array_at(bytes, 6)?),
            ether_type,
            vlans,
        })
    }
}

/// The VLAN tags of a frame, outermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Vlans([Option<Vlan>; Ethernet::VLANS]);

impl Vlans {
    const TAG_LENGTH: usize = 4;

    pub(crate) const fn none() -> Self {
        Self([None; Ethernet::VLANS])
    }

    /// Reads the tags at the start of the bytes, the first of which is announced by `ether_type`, and
    /// gives the protocol that the last one announces. `None` when a tag is cut off.
    pub(crate) fn decode(mut ether_type: u16, bytes: &[u8]) -> Option<(Self, u16)> {
        let mut vlans = Self::default();
        for (number, vlan) in vlans.0.iter_mut().enumerate() {
            if !ether_type::is_vlan(ether_type) {
                break;
            }
            let offset = number * Self::TAG_LENGTH;
            *vlan = Some(Vlan::from_tag(u16_at(bytes, offset)?));
            ether_type = u16_at(bytes, offset + 2)?;
        }
        Some((vlans, ether_type))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Vlan> + '_ {
        self.0.iter().flatten().copied()
    }

    pub(crate) fn length(&self) -> usize {
        self.iter().count() * Self::TAG_LENGTH
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    #[test]
    fn groups_have_the_addresses_of_their_rfcs() {
        let of = |group: &str| MacAddress::of_group(group.parse().unwrap()).to_string();
        assert_eq!(of("224.1.1.5"), "01:00:5e:01:01:05");
        assert_eq!(of("239.129.1.5"), "01:00:5e:01:01:05");
        assert_eq!(of("ff02::1:ff00:1234"), "33:33:ff:00:12:34");
    }

    #[test]
    fn vlan_tags_are_read_from_the_outside_in() {
        let mut frame = Vec::from([0u8; 12]);
        frame.extend([0x88, 0xa8, 0x00, 0x64, 0x81, 0x00, 0xb0, 0x2a, 0x08, 0x00]);
        let ethernet = Ethernet::decode(&frame).unwrap();
        let vlans: Vec<_> = ethernet.vlans().collect();
        assert_eq!(vlans[0], Vlan { id: 100, priority: 0, drop_eligible: false });
        assert_eq!(vlans[1], Vlan { id: 42, priority: 5, drop_eligible: true });
        assert_eq!((ethernet.ether_type, ethernet.length()), (ether_type::IPV4, 22));
    }

    #[test]
    fn a_tag_that_is_cut_off_is_no_header() {
        let mut frame = Vec::from([0u8; 12]);
        frame.extend([0x81, 0x00, 0x00]);
        assert_eq!(Ethernet::decode(&frame), None);
    }
}
