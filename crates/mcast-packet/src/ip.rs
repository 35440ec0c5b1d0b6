//! IPv4 and IPv6, in one value.

use core::net::IpAddr;

use etherparse::{LaxIpPayloadSlice, LaxIpSlice, LaxIpv4Slice, LaxIpv6Slice, LenSource};

use crate::bytes::{u8_at, u16_at};
use crate::checksum::{ChecksumStatus, InternetChecksum};
use crate::extension::Extensions;

/// Protocol numbers above IP (IANA, Protocol Numbers).
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
    /// PIM.
    pub const PIM: u8 = 103;

    /// The name, where it is one that multicast meets.
    pub(crate) const fn name(number: u8) -> Option<&'static str> {
        Some(match number {
            ICMP => "ICMP",
            IGMP => "IGMP",
            TCP => "TCP",
            UDP => "UDP",
            ICMPV6 => "ICMPv6",
            PIM => "PIM",
            _ => return None,
        })
    }
}

/// An IPv4 or IPv6 header with its options or extension headers, and the payload behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip<'a> {
    /// Who sent it.
    pub source: IpAddr,
    /// Whom it is for.
    pub destination: IpAddr,
    /// TTL in IPv4, hop limit in IPv6.
    pub hop_limit: u8,
    /// The differentiated services code point, 0 to 63 (RFC 2474).
    pub dscp: u8,
    /// The congestion bits, 0 to 3 (RFC 3168).
    pub ecn: u8,
    /// The protocol of the payload, behind all extension headers: [`protocol`].
    pub protocol: u8,
    /// Which piece of a datagram this is, when it is not all of one.
    pub fragment: Option<Fragment>,
    /// The value of the router alert option (RFC 2113, RFC 2711), which IGMP and MLD must carry.
    pub router_alert: Option<u16>,
    /// The checksum of the IPv4 header; IPv6 has none.
    pub header_checksum: ChecksumStatus,
    /// The header with its options or extension headers.
    pub header: &'a [u8],
    /// What the packet carries.
    pub payload: &'a [u8],
    /// Whether the header announces more bytes than were captured.
    pub truncated: bool,
}

/// Which piece of a datagram a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// What all fragments of a datagram have in common.
    pub identification: u32,
    /// Where in the datagram's payload this piece belongs, in bytes.
    pub offset: usize,
    /// Whether more pieces follow.
    pub more: bool,
}

impl<'a> Ip<'a> {
    /// Decodes as much as is there. The second value says what is wrong with an extension header,
    /// in which case the payload starts with that header.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<(Self, Option<&'static str>), &'static str> {
        let (slice, stop) = LaxIpSlice::from_slice(bytes).map_err(|_| header_fault(bytes))?;
        let fault = stop.map(|_| "has a malformed extension header");
        Ok(match &slice {
            LaxIpSlice::Ipv4(slice) => {
                (Self::from_v4(bytes, slice), fault.or_else(|| v4_length_fault(slice)))
            }
            LaxIpSlice::Ipv6(slice) => (Self::from_v6(bytes, slice), fault),
        })
    }

    /// Header and payload together in bytes; what a frame has behind that is padding.
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

    /// What both families have in common. `stated` is the length of the packet by its header.
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
        Some(4) => "has a wrong header length",
        Some(6) => "is shorter than its header",
        Some(_) => "is of version neither 4 nor 6",
    }
}

/// Zero is no fault: Linux has it in packets above 64 KiB that the device is to cut.
fn v4_length_fault(slice: &LaxIpv4Slice<'_>) -> Option<&'static str> {
    let header = slice.header();
    let total = usize::from(header.total_len());
    (total != 0 && total < header.slice().len()).then_some("says that it is shorter than its own header")
}

fn v4_header_checksum(header: &[u8]) -> ChecksumStatus {
    let (Some(before), Some(found), Some(after)) = (header.get(..10), u16_at(header, 10), header.get(12..))
    else {
        return ChecksumStatus::NotComputable;
    };
    ChecksumStatus::compare(found, InternetChecksum::new().bytes(before).bytes(after))
}

/// RFC 2113: option 148, four bytes.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn router_alert_is_found_behind_other_options() {
        assert_eq!(v4_router_alert(&[148, 4, 0, 0]), Some(0));
        assert_eq!(v4_router_alert(&[1, 7, 3, 0, 148, 4, 0, 9]), Some(9));
        assert_eq!(v4_router_alert(&[7, 3, 0, 0]), None);
        assert_eq!(v4_router_alert(&[7, 0, 148, 4]), None);
    }
}
