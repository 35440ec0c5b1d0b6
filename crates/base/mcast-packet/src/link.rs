//! The link layer: Ethernet II with VLAN tags, and the point-to-point protocol.

use core::fmt;
use core::net::IpAddr;
use core::ops::Range;

use mcast_group::Group;

use crate::list::{array_at, u8_at, u16_at};

/// Protocol numbers in the Ethernet header (IANA, IEEE 802 Numbers).
pub mod ether_type {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP (RFC 826).
    pub const ARP: u16 = 0x0806;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// A VLAN tag (IEEE 802.1Q).
    pub const VLAN: u16 = 0x8100;
    /// A provider (outer) VLAN tag (IEEE 802.1ad).
    pub const PROVIDER_VLAN: u16 = 0x88a8;
    /// The outer tag of double tagging that predates IEEE 802.1ad.
    pub const OLD_DOUBLE_VLAN: u16 = 0x9100;

    /// The first number that identifies a protocol. A smaller number is the length of an IEEE 802.3 frame,
    /// such as those of the spanning tree protocol.
    pub const FIRST: u16 = 0x0600;
    /// LLDP (IEEE 802.1AB).
    pub const LLDP: u16 = 0x88cc;
    /// PTP over Ethernet (IEEE 1588 annex F).
    pub const PTP: u16 = 0x88f7;
    /// Audio and video with a reserved bandwidth (IEEE 1722).
    pub const AVTP: u16 = 0x22f0;
    /// Ethernet in GRE or GENEVE (RFC 1701).
    pub const ETHERNET: u16 = 0x6558;
    /// MPLS (RFC 3032).
    pub const MPLS: u16 = 0x8847;
    /// MPLS with an upstream-assigned label (RFC 5332), once that of multicast.
    pub const MPLS_UPSTREAM: u16 = 0x8848;
    /// Discovery of PPPoE (RFC 2516).
    pub const PPPOE_DISCOVERY: u16 = 0x8863;
    /// A session of PPPoE (RFC 2516).
    pub const PPPOE: u16 = 0x8864;
    /// MACsec (IEEE 802.1AE).
    pub const MACSEC: u16 = 0x88e5;
    /// Ethernet in Ethernet of a provider (IEEE 802.1ah).
    pub const PROVIDER_BACKBONE: u16 = 0x88e7;
    /// TRILL (RFC 6325).
    pub const TRILL: u16 = 0x22f3;

    /// Returns the name of a protocol that is common among frames to groups, or carries others.
    #[must_use]
    pub const fn name(number: u16) -> Option<&'static str> {
        Some(match number {
            LLDP => "LLDP",
            PTP => "PTP",
            AVTP => "AVTP",
            ARP => "ARP",
            ETHERNET => "Ethernet",
            MPLS | MPLS_UPSTREAM => "MPLS",
            PPPOE_DISCOVERY => "PPPoE discovery",
            PPPOE => "PPPoE",
            MACSEC => "MACsec",
            PROVIDER_BACKBONE => "802.1ah",
            TRILL => "TRILL",
            0x22ea => "MSRP",
            0x8808 => "Ethernet flow control",
            0x8809 => "slow protocol",
            0x888e => "EAPOL",
            0x8892 => "PROFINET",
            0x88a4 => "EtherCAT",
            0x88b8 => "GOOSE",
            0x88ba => "sampled values",
            0x88e3 => "MRP",
            0x88f5 => "MVRP",
            0x88f6 => "MMRP",
            0x8902 => "CFM",
            0x9000 => "Ethernet loopback",
            ..FIRST => "802.3",
            _ => return None,
        })
    }

    /// Returns the name of the protocol in a frame that states its length instead of a protocol (IEEE 802.2).
    pub(crate) fn name_802_3(payload: &[u8]) -> &'static str {
        match payload {
            [0x42, 0x42, 0x03, ..] => "STP",
            [0xfe, 0xfe, 0x03, ..] => "IS-IS",
            // SNAP with the numbers of Cisco.
            [0xaa, 0xaa, 0x03, 0, 0, 0x0c, 0x20, 0x00, ..] => "CDP",
            [0xaa, 0xaa, 0x03, 0, 0, 0x0c, 0x20, 0x03, ..] => "VTP",
            [0xaa, 0xaa, 0x03, 0, 0, 0x0c, 0x20, 0x04, ..] => "DTP",
            [0xaa, 0xaa, 0x03, 0, 0, 0x0c, 0x01, 0x0b, ..] => "PVST",
            [0xaa, 0xaa, 0x03, 0, 0, 0x0c, 0x01, 0x11, ..] => "UDLD",
            [0xaa, 0xaa, 0x03, ..] => "SNAP",
            _ => "802.3",
        }
    }

    pub(crate) const fn is_vlan(number: u16) -> bool {
        matches!(number, VLAN | PROVIDER_VLAN | OLD_DOUBLE_VLAN)
    }
}

/// Declares the link types: each with its name, and with the numbers that capture files have for it. Files are written with the
/// first number.
macro_rules! link_types {
    ($($(#[$about:meta])+ $variant:ident: $name:literal = $number:literal $(| $other:literal)*;)+) => {
        /// The type of header that captured bytes start with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum LinkType {
            $($(#[$about])+ $variant,)+
        }

        impl LinkType {
            /// All of them.
            pub const ALL: [Self; [$($number),+].len()] = [$(Self::$variant),+];

            /// Returns its name, such as `linux-cooked`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Returns the number that capture files have for it (<https://www.tcpdump.org/linktypes.html>).
            #[must_use]
            pub const fn number(self) -> u32 {
                match self {
                    $(Self::$variant => $number,)+
                }
            }

            /// Returns the link type that capture files have this number for, if its frames can be decoded.
            #[must_use]
            pub const fn of_number(number: u32) -> Option<Self> {
                match number {
                    $($number $(| $other)* => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

link_types! {
    /// An Ethernet II header. The loopback interface of Linux has one too, with zero addresses.
    Ethernet: "ethernet" = 1;
    /// An IPv4 or IPv6 header, as on tunnels. Before 101 was agreed on, systems had numbers of their own; 228 and 229 state the version.
    Ip: "ip" = 101 | 12 | 14 | 228 | 229;
    /// The header that Linux generates for captures on all interfaces at once (`LINKTYPE_LINUX_SLL`).
    LinuxCooked: "linux-cooked" = 113;
    /// The second version of that header, which contains the interface index (`LINKTYPE_LINUX_SLL2`).
    LinuxCooked2: "linux-cooked-2" = 276;
    /// A 4-byte address family, as on the loopback interfaces of BSD and macOS (`LINKTYPE_NULL`, `LINKTYPE_LOOP`).
    Loopback: "loopback" = 0 | 108;
    /// An IEEE 802.11 header (`LINKTYPE_IEEE802_11`).
    Wireless: "ieee-802.11" = 105;
    /// An IEEE 802.11 header behind the radiotap header of the capture (`LINKTYPE_IEEE802_11_RADIOTAP`).
    Radiotap: "radiotap" = 127;
    /// A header of the point-to-point protocol, or its HDLC-like framing (`LINKTYPE_PPP`, `LINKTYPE_PPP_HDLC`).
    Ppp: "ppp" = 9 | 50;
    /// A packet as the netfilter of Linux logs it (`LINKTYPE_NFLOG`): with `tcpdump -i nflog:5`, what a firewall drops.
    Nflog: "nflog" = 239;
}

impl LinkType {
    /// The length of the header of [`Self::Loopback`] in bytes.
    pub(crate) const LOOPBACK_LENGTH: usize = 4;
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The broadcast address.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Returns the destination address of frames to this group (RFC 1112 section 6.4, RFC 2464 section 7).
    #[must_use]
    pub const fn of_group(group: Group) -> Self {
        Self::of_multicast(group.addr())
    }

    /// Does the same for an address that is known to be multicast.
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

    /// Returns whether this is a group address, given by the lowest bit of the first byte. Broadcast is one
    /// too.
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
    /// The VLAN identifier, 0 to 4095; 0 means that the tag carries only a priority.
    pub id: u16,
    /// The priority code point, 0 to 7.
    pub priority: u8,
    /// Whether the frame may be dropped first under congestion (the DEI bit).
    pub drop_eligible: bool,
    /// The protocol number of the tag, such as [`ether_type::VLAN`] or [`ether_type::PROVIDER_VLAN`].
    pub protocol: u16,
}

impl Vlan {
    pub(crate) const fn from_tag(protocol: u16, tag: u16) -> Self {
        Self { id: tag & 0x0fff, priority: (tag >> 13) as u8, drop_eligible: tag & 0x1000 != 0, protocol }
    }
}

/// An Ethernet II header with the VLAN tags that follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ethernet {
    /// The destination address.
    pub destination: MacAddress,
    /// The source address.
    pub source: MacAddress,
    /// The protocol after the last tag: see [`ether_type`].
    pub ether_type: u16,
    vlans: Vlans,
}

impl Ethernet {
    /// The maximum number of VLAN tags that are decoded. A frame with more is not decoded further.
    pub const VLANS: usize = 3;

    /// The length of the header without tags in bytes.
    pub const LENGTH: usize = 14;

    /// Returns the VLAN tags, outermost first.
    pub fn vlans(&self) -> impl Iterator<Item = Vlan> + '_ {
        self.vlans.iter()
    }

    /// Returns the length of header and tags in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        Self::LENGTH + self.vlans.length()
    }

    /// Decodes a header. Returns `None` if the header or a tag is truncated.
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

    /// Decodes the tags at the start of the bytes, if `ether_type` indicates any, and returns them with the
    /// protocol after the last one. Returns `None` if a tag is truncated.
    pub(crate) fn decode(mut ether_type: u16, bytes: &[u8]) -> Option<(Self, u16)> {
        let mut vlans = Self::default();
        for (number, vlan) in vlans.0.iter_mut().enumerate() {
            if !ether_type::is_vlan(ether_type) {
                break;
            }
            let offset = number * Self::TAG_LENGTH;
            *vlan = Some(Vlan::from_tag(ether_type, u16_at(bytes, offset)?));
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

/// The protocols that carry IP.
const IPV4: u16 = 0x0021;
const IPV6: u16 = 0x0057;

/// What a frame of the point-to-point protocol carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ppp {
    /// An IP packet, at this offset.
    Ip(usize),
    /// A message of a protocol that sets up or supervises the link.
    Control,
}

impl Ppp {
    /// Decodes a header, with or without the address and control bytes of HDLC and with a protocol of one or two bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        const SHORT: &str = "is shorter than its header";
        let offset = if u16_at(bytes, 0) == Some(0xff03) { 2 } else { 0 };
        let first = u8_at(bytes, offset).ok_or(SHORT)?;
        let (protocol, length) = match first & 1 {
            1 => (u16::from(first), offset + 1),
            _ => (u16_at(bytes, offset).ok_or(SHORT)?, offset + 2),
        };
        match protocol {
            IPV4 | IPV6 => Ok(Self::Ip(length)),
            // The control protocols of network layers and of the link (RFC 1661 section 2).
            0x8001..=0xbfff | 0xc001..=0xffff => Ok(Self::Control),
            _ => Err("carries another protocol than IP, or is compressed or encrypted"),
        }
    }
}

/// Returns where the IP packet is in a message of netfilter's log: a family, a version and a group, and then attributes of a length and a
/// type in the byte order of the machine that has captured.
pub(crate) fn nflog_packet(bytes: &[u8]) -> Result<Range<usize>, &'static str> {
    const HEADER: usize = 4;
    /// `NFULA_PAYLOAD` of the kernel's `nfnetlink_log.h`.
    const PAYLOAD: u16 = 9;
    let find = |in_order: fn(u16) -> u16| {
        let mut start = HEADER;
        loop {
            let length = usize::from(in_order(u16_at(bytes, start)?));
            let end = start.checked_add(length).filter(|end| length >= HEADER && *end <= bytes.len())?;
            // The two highest bits are marks.
            if in_order(u16_at(bytes, start + 2)?) & 0x3fff == PAYLOAD {
                return Some(start + HEADER..end);
            }
            start += length.next_multiple_of(4);
        }
    };
    // Read in the wrong order, the first attribute is longer than any message.
    find(u16::swap_bytes).or_else(|| find(|number| number)).ok_or("contains no packet")
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn group_addresses_match_the_rfcs() {
        let of = |group: &str| MacAddress::of_group(group.parse().unwrap()).to_string();
        assert_eq!(of("224.1.1.5"), "01:00:5e:01:01:05");
        assert_eq!(of("239.129.1.5"), "01:00:5e:01:01:05");
        assert_eq!(of("ff02::1:ff00:1234"), "33:33:ff:00:12:34");
    }

    #[test]
    fn vlan_tags_are_decoded_outermost_first() {
        let mut frame = Vec::from([0u8; 12]);
        frame.extend([0x88, 0xa8, 0x00, 0x64, 0x81, 0x00, 0xb0, 0x2a, 0x08, 0x00]);
        let ethernet = Ethernet::decode(&frame).unwrap();
        let vlans: Vec<_> = ethernet.vlans().collect();
        assert_eq!(
            vlans[0],
            Vlan { id: 100, priority: 0, drop_eligible: false, protocol: ether_type::PROVIDER_VLAN }
        );
        assert_eq!(vlans[1], Vlan { id: 42, priority: 5, drop_eligible: true, protocol: ether_type::VLAN });
        assert_eq!((ethernet.ether_type, ethernet.length()), (ether_type::IPV4, 22));
    }

    #[test]
    fn truncated_tag_is_rejected() {
        let mut frame = Vec::from([0u8; 12]);
        frame.extend([0x81, 0x00, 0x00]);
        assert_eq!(Ethernet::decode(&frame), None);
    }

    #[test]
    fn all_forms_of_the_header_are_decoded() {
        assert_eq!(Ppp::decode(&[0xff, 3, 0, 0x21, 0x45]), Ok(Ppp::Ip(4)));
        assert_eq!(Ppp::decode(&[0, 0x57, 0x60]), Ok(Ppp::Ip(2)));
        assert_eq!(Ppp::decode(&[0x21, 0x45]), Ok(Ppp::Ip(1)));
        assert_eq!(Ppp::decode(&[0xff, 3, 0xc0, 0x21, 1]), Ok(Ppp::Control));
        assert!(Ppp::decode(&[0xff, 3, 0, 0xfd]).is_err() && Ppp::decode(&[0]).is_err());
    }
}
