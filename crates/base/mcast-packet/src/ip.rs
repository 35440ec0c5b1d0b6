//! IPv4 and IPv6, as one type, and IPv6 extension headers.

use core::net::IpAddr;

use etherparse::{LaxIpPayloadSlice, LaxIpSlice, LaxIpv4Slice, LaxIpv6Slice, LenSource};

use crate::checksum::{ChecksumStatus, InternetChecksum};
use crate::list::{array_at, u8_at, u16_at};

/// Protocol numbers in the IP header (IANA, Protocol Numbers).
pub mod protocol {
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// ICMP for IPv6, which MLD is part of.
    pub const ICMPV6: u8 = 58;
    /// IPv4 in IP (RFC 2003, RFC 2473).
    pub const IPV4: u8 = 4;
    /// IPv6 in IP (RFC 4213, RFC 2473).
    pub const IPV6: u8 = 41;
    /// GRE (RFC 2784).
    pub const GRE: u8 = 47;
    /// ESP (RFC 4303).
    pub const ESP: u8 = 50;
    /// EIGRP.
    pub const EIGRP: u8 = 88;
    /// OSPF.
    pub const OSPF: u8 = 89;
    /// Ethernet in IP (RFC 3378).
    pub const ETHER_IP: u8 = 97;
    /// PIM.
    pub const PIM: u8 = 103;
    /// VRRP.
    pub const VRRP: u8 = 112;
    /// PGM.
    pub const PGM: u8 = 113;
    /// L2TP version 3 (RFC 3931).
    pub const L2TP: u8 = 115;
    /// MPLS in IP (RFC 4023).
    pub const MPLS: u8 = 137;
    /// Ethernet behind a header of segment routing (RFC 8986).
    pub const ETHERNET: u8 = 143;

    /// Returns the name of a protocol that is common in multicast captures, such as `UDP`.
    #[must_use]
    pub const fn name(number: u8) -> Option<&'static str> {
        Some(match number {
            ICMP => "ICMP",
            IGMP => "IGMP",
            TCP => "TCP",
            UDP => "UDP",
            ICMPV6 => "ICMPv6",
            IPV4 => "IPv4 in IP",
            IPV6 => "IPv6 in IP",
            GRE => "GRE",
            ESP => "ESP",
            ETHER_IP => "EtherIP",
            L2TP => "L2TP",
            MPLS => "MPLS in IP",
            ETHERNET => "Ethernet in IP",
            PGM => "PGM",
            EIGRP => "EIGRP",
            OSPF => "OSPF",
            PIM => "PIM",
            VRRP => "VRRP",
            _ => return None,
        })
    }
}

/// An IPv4 or IPv6 header with its options or extension headers, and the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip<'a> {
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// TTL in IPv4, hop limit in IPv6.
    pub hop_limit: u8,
    /// The differentiated services code point, 0 to 63 (RFC 2474).
    pub dscp: u8,
    /// The ECN field, 0 to 3 (RFC 3168).
    pub ecn: u8,
    /// The protocol of the payload, after all extension headers: see [`protocol`].
    pub protocol: u8,
    /// The position in the datagram, if the packet is a fragment.
    pub fragment: Option<Fragment>,
    /// The value of the router alert option (RFC 2113, RFC 2711), which IGMP and MLD must carry.
    pub router_alert: Option<u16>,
    /// The checksum of the IPv4 header; IPv6 has none.
    pub header_checksum: ChecksumStatus,
    /// The header with its options or extension headers.
    pub header: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
    /// Whether the header states a greater length than was captured.
    pub truncated: bool,
}

/// The position of a fragment in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// The identification, which all fragments of a datagram share.
    pub identification: u32,
    /// The offset of the fragment in the datagram's payload, in bytes.
    pub offset: usize,
    /// Whether more fragments follow.
    pub more: bool,
}

impl<'a> Ip<'a> {
    /// Decodes as much as was captured. The second value describes what is wrong with the lengths or with an
    /// extension header; in the latter case the payload starts with that header.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<(Self, Option<&'static str>), &'static str> {
        let (slice, stop_error) = LaxIpSlice::from_slice(bytes).map_err(|_| header_fault(bytes))?;
        let fault = stop_error.map(|_| "has a malformed extension header");
        Ok(match &slice {
            LaxIpSlice::Ipv4(slice) => {
                (Self::from_v4(bytes, slice), fault.or_else(|| v4_length_fault(slice)))
            }
            LaxIpSlice::Ipv6(slice) => (Self::from_v6(bytes, slice), fault),
        })
    }

    /// Returns the length of header and payload in bytes. Any further bytes of a frame are padding.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.header.len() + self.payload.len()
    }

    fn from_v4(bytes: &'a [u8], slice: &LaxIpv4Slice<'a>) -> Self {
        let header = slice.header();
        let fragment = header.is_fragmenting_payload().then(|| Fragment {
            identification: u32::from(header.identification()),
            offset: usize::from(header.fragments_offset().value()) * 8,
            more: header.more_fragments(),
        });
        Self {
            source: header.source_addr().into(),
            destination: header.destination_addr().into(),
            hop_limit: header.ttl(),
            dscp: header.dcp().value(),
            ecn: header.ecn().value(),
            fragment,
            router_alert: v4_router_alert(header.options()),
            header_checksum: v4_header_checksum(header.slice()),
            ..Self::from_payload(bytes, usize::from(header.total_len()), slice.payload())
        }
    }

    fn from_v6(bytes: &'a [u8], slice: &LaxIpv6Slice<'a>) -> Self {
        let header = slice.header();
        let mut ip = Self {
            source: header.source_addr().into(),
            destination: header.destination_addr().into(),
            hop_limit: header.hop_limit(),
            dscp: header.dscp().value(),
            ecn: header.ecn().value(),
            ..Self::from_payload(bytes, 40 + usize::from(header.payload_length()), slice.payload())
        };
        let extensions = ip.header.get(40..).unwrap_or_default();
        let Extensions { router_alert, fragment } = Extensions::decode(header.next_header().0, extensions);
        (ip.router_alert, ip.fragment) = (router_alert, fragment);
        ip
    }

    /// Sets the fields that do not depend on the family. `stated` is the length of the packet in its header.
    fn from_payload(bytes: &'a [u8], stated: usize, payload: &LaxIpPayloadSlice<'a>) -> Self {
        let end = if payload.len_source == LenSource::Slice { bytes.len() } else { stated };
        let header_length = end.saturating_sub(payload.payload.len());
        Self {
            source: IpAddr::from([0; 4]),
            destination: IpAddr::from([0; 4]),
            hop_limit: 0,
            dscp: 0,
            ecn: 0,
            protocol: payload.ip_number.0,
            fragment: None,
            router_alert: None,
            header_checksum: ChecksumStatus::Absent,
            header: bytes.get(..header_length).unwrap_or(bytes),
            payload: payload.payload,
            truncated: payload.incomplete,
        }
    }
}

fn header_fault(bytes: &[u8]) -> &'static str {
    match u8_at(bytes, 0).map(|first| first >> 4) {
        None => "is empty",
        Some(4) if bytes.len() < 20 => "is shorter than its header",
        Some(4) => "has an invalid header length",
        Some(6) => "is shorter than its header",
        Some(_) => "has a version other than 4 and 6",
    }
}

/// Returns what is wrong with the total length. Zero is valid: Linux uses it in packets larger than 64 KiB
/// that the device will segment.
fn v4_length_fault(slice: &LaxIpv4Slice<'_>) -> Option<&'static str> {
    let header = slice.header();
    let total = usize::from(header.total_len());
    (total != 0 && total < header.slice().len()).then_some("states a length shorter than its header")
}

fn v4_header_checksum(header: &[u8]) -> ChecksumStatus {
    let (Some(before), Some(found), Some(after)) = (header.get(..10), u16_at(header, 10), header.get(12..))
    else {
        return ChecksumStatus::NotComputable;
    };
    ChecksumStatus::compare(found, InternetChecksum::new().bytes(before).bytes(after))
}

/// Returns the value of the router alert option (RFC 2113): option 148, four bytes.
fn v4_router_alert(options: &[u8]) -> Option<u16> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const ROUTER_ALERT: u8 = 148;
    let mut rest = options;
    loop {
        match *rest {
            [] | [END, ..] | [_] => return None,
            [NO_OPERATION, ..] => rest = rest.get(1..)?,
            [ROUTER_ALERT, 4, ..] => return u16_at(rest, 2),
            [_, length, ..] if length < 2 => return None,
            [_, length, ..] => rest = rest.get(usize::from(length)..)?,
        }
    }
}

// IPv6 extension headers (RFC 8200 section 4).
//
// etherparse 0.21 determines where they end. This module iterates over them itself, because the iterator of
// etherparse reads out of bounds if the last header of the chain is truncated.

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
pub(crate) const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// The contents of the extension headers that matter for multicast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(crate) router_alert: Option<u16>,
    pub(crate) fragment: Option<Fragment>,
}

impl Extensions {
    /// Decodes the headers up to the first truncated one. `first` is the type of the first header.
    pub(crate) fn decode(first: u8, bytes: &[u8]) -> Self {
        let mut extensions = Self::default();
        let (mut kind, mut rest) = (first, bytes);
        while let Some((header, remaining)) = split(kind, rest) {
            match kind {
                HOP_BY_HOP => extensions.router_alert = router_alert(header.get(2..).unwrap_or_default()),
                FRAGMENT => extensions.fragment = fragment(header),
                _ => {}
            }
            (kind, rest) = (u8_at(header, 0).unwrap_or_default(), remaining);
        }
        extensions
    }
}

/// Splits the header at the start of the bytes from the rest.
fn split(kind: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let field = usize::from(u8_at(bytes, 1)?);
    let length = match kind {
        HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => (field + 1) * 8,
        FRAGMENT => 8,
        AUTHENTICATION => (field + 2) * 4,
        _ => return None,
    };
    bytes.split_at_checked(length)
}

/// Decodes a fragment header. Returns `None` for an atomic fragment, which is a whole datagram (RFC 6946).
fn fragment(header: &[u8]) -> Option<Fragment> {
    let field = u16_at(header, 2)?;
    let fragment = Fragment {
        identification: u32::from_be_bytes(array_at(header, 4)?),
        offset: usize::from(field & 0xfff8),
        more: field & 1 == 1,
    };
    (fragment.offset > 0 || fragment.more).then_some(fragment)
}

/// Returns the value of the router alert option (RFC 2711): option 5 with a 2-byte value.
fn router_alert(options: &[u8]) -> Option<u16> {
    const PAD_ONE: u8 = 0;
    const ROUTER_ALERT: u8 = 5;
    let mut rest = options;
    loop {
        match *rest {
            [] | [_] => return None,
            [PAD_ONE, ..] => rest = rest.get(1..)?,
            [ROUTER_ALERT, 2, ..] => return u16_at(rest, 2),
            [_, length, ..] => rest = rest.get(usize::from(length) + 2..)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_router_alert_is_found_after_other_options() {
        assert_eq!(v4_router_alert(&[148, 4, 0, 0]), Some(0));
        assert_eq!(v4_router_alert(&[1, 7, 3, 0, 148, 4, 0, 9]), Some(9));
        assert_eq!(v4_router_alert(&[7, 3, 0, 0]), None);
        assert_eq!(v4_router_alert(&[7, 0, 148, 4]), None);
    }

    #[test]
    fn ipv6_router_alert_is_found_after_other_options() {
        assert_eq!(router_alert(&[0, 5, 2, 0, 0, 1]), Some(0));
        assert_eq!(router_alert(&[1, 0, 5, 2, 0, 7]), Some(7));
        assert_eq!(router_alert(&[1, 200]), None);
    }

    #[test]
    fn fragment_header_is_found_after_options() {
        let bytes = [FRAGMENT, 0, 5, 2, 0, 0, 1, 0, 17, 0, 0x05, 0xc9, 0, 0, 0, 7];
        let extensions = Extensions::decode(HOP_BY_HOP, &bytes);
        assert_eq!(extensions.router_alert, Some(0));
        assert_eq!(extensions.fragment, Some(Fragment { identification: 7, offset: 1480, more: true }));
    }

    #[test]
    fn authentication_header_length_is_in_4_byte_words() {
        let mut bytes = [0; 24];
        bytes[..2].copy_from_slice(&[FRAGMENT, 2]);
        bytes[16..].copy_from_slice(&[17, 0, 0, 1, 0, 0, 0, 9]);
        let fragment = Extensions::decode(AUTHENTICATION, &bytes).fragment;
        assert_eq!(fragment, Some(Fragment { identification: 9, offset: 0, more: true }));
    }

    #[test]
    fn atomic_fragment_is_a_whole_datagram() {
        let bytes = [17, 0, 0, 0, 0, 0, 0, 7];
        assert_eq!(Extensions::decode(FRAGMENT, &bytes), Extensions::default());
    }
}
