//! The differences between IGMP and MLD: address width, numbers and field offsets.

use core::fmt;
use core::hash::Hash;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use crate::ip::protocol;
use crate::list::{Element, array_at};

/// Seals [`Address`]: other crates cannot name this trait.
mod private {
    pub trait IpAddress {}
    impl IpAddress for core::net::Ipv4Addr {}
    impl IpAddress for core::net::Ipv6Addr {}
}

/// An address of a family, which selects the protocol: IGMP for IPv4, MLD for IPv6.
pub trait Address:
    private::IpAddress
    + Copy
    + Ord
    + Hash
    + fmt::Display
    + fmt::Debug
    + Into<IpAddr>
    + for<'a> Element<'a>
    + 'static
{
    /// The length of an address in bytes.
    const LENGTH: usize;
    /// The unspecified address.
    const UNSPECIFIED: Self;
    /// All nodes, the destination of general queries.
    const ALL_NODES: Self;
    /// All routers, the destination of IGMPv2 leave and MLDv1 done messages.
    const ALL_ROUTERS: Self;
    /// All IGMPv3-capable or MLDv2-capable routers, the destination of IGMPv3 and MLDv2 reports.
    const ALL_REPORT_ROUTERS: Self;

    /// All-Snoopers, the destination of multicast router advertisements (RFC 4286).
    const ALL_SNOOPERS: Self;

    /// The name of the protocol.
    const NAME: &'static str;
    /// The version whose messages carry source lists: 3 for IGMP, 2 for MLD.
    const SOURCE_VERSION: u8;
    /// The name of the message that ends a membership: "leave" or "done".
    const LEAVE_NAME: &'static str;
    /// The protocol number in the IP header.
    const PROTOCOL: u8;
    /// The DSCP of messages: CS6 (internetwork control) for IGMP (RFC 3376 section 4). The RFCs of MLD define
    /// none.
    const DSCP: u8;
    /// The type of a query.
    const QUERY: u8;
    /// The type of an IGMPv1 report; `None` for MLD, which has no equivalent.
    const V1_REPORT: Option<u8>;
    /// The type of an IGMPv2 or MLDv1 report.
    const REPORT: u8;
    /// The type of an IGMPv2 leave or MLDv1 done.
    const LEAVE: u8;
    /// The type of an IGMPv3 or MLDv2 report.
    const V3_REPORT: u8;
    /// The type of a multicast router advertisement (RFC 4286).
    const ROUTER_ADVERTISEMENT: u8;
    /// The type of a multicast router solicitation (RFC 4286).
    const ROUTER_SOLICITATION: u8;
    /// The type of a multicast router termination (RFC 4286).
    const ROUTER_TERMINATION: u8;
    /// The offset of the group in a query, report or leave.
    const GROUP_OFFSET: usize;
    /// Whether the checksum covers a pseudo-header.
    const PSEUDO_HEADER: bool;

    /// Returns whether a query from this address takes part in the querier election. For IPv4 it must be a
    /// unicast address, for IPv6 a link-local one (RFC 3810 section 5.1.14).
    fn can_be_querier(self) -> bool;

    /// Returns whether switches with snooping forward this group to its members only, so that a leave has an
    /// effect. Not the case for 224.0.0.0/24 (RFC 4541 section 2.1.2), and in IPv6 for all nodes and
    /// interface-local groups.
    fn is_forwarded_by_membership(self) -> bool;

    /// Passes the bytes of the address to `use_bytes`.
    fn with_bytes<R>(self, use_bytes: impl FnOnce(&[u8]) -> R) -> R;

    /// Reads the maximum response time of a query. `floating` selects the floating-point encoding of IGMPv3
    /// and MLDv2.
    fn read_response_time(message: &[u8], floating: bool) -> Option<Duration>;

    /// Encodes the maximum response time into header fields: the byte after the type, and the 16 bits after
    /// the checksum, which IGMP does not have.
    fn response_time_fields(time: Duration, floating: bool) -> (u8, Option<u16>);
}

impl<'a> Element<'a> for Ipv4Addr {
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (octets, rest) = bytes.split_first_chunk::<4>()?;
        Some((Self::from(*octets), rest))
    }
}

impl<'a> Element<'a> for Ipv6Addr {
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (octets, rest) = bytes.split_first_chunk::<16>()?;
        Some((Self::from(*octets), rest))
    }
}

impl Address for Ipv4Addr {
    const LENGTH: usize = 4;
    const UNSPECIFIED: Self = Self::UNSPECIFIED;
    const ALL_NODES: Self = Self::new(224, 0, 0, 1);
    const ALL_ROUTERS: Self = Self::new(224, 0, 0, 2);
    const ALL_REPORT_ROUTERS: Self = Self::new(224, 0, 0, 22);
    const ALL_SNOOPERS: Self = Self::new(224, 0, 0, 106);

    const NAME: &'static str = "IGMP";
    const SOURCE_VERSION: u8 = 3;
    const LEAVE_NAME: &'static str = "leave";
    const PROTOCOL: u8 = protocol::IGMP;
    const DSCP: u8 = 0x30;
    const QUERY: u8 = 0x11;
    const V1_REPORT: Option<u8> = Some(0x12);
    const REPORT: u8 = 0x16;
    const LEAVE: u8 = 0x17;
    const V3_REPORT: u8 = 0x22;
    const ROUTER_ADVERTISEMENT: u8 = 0x30;
    const ROUTER_SOLICITATION: u8 = 0x31;
    const ROUTER_TERMINATION: u8 = 0x32;
    const GROUP_OFFSET: usize = 4;
    const PSEUDO_HEADER: bool = false;

    fn can_be_querier(self) -> bool {
        !self.is_unspecified() && !self.is_multicast() && !self.is_broadcast()
    }

    fn is_forwarded_by_membership(self) -> bool {
        self.is_multicast() && !matches!(self.octets(), [224, 0, 0, _])
    }

    fn with_bytes<R>(self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        use_bytes(&self.octets())
    }

    fn read_response_time(message: &[u8], floating: bool) -> Option<Duration> {
        let code = *message.get(1)?;
        let tenths = if floating { decode_8(code) } else { u16::from(code) };
        Some(Duration::from_millis(u64::from(tenths) * 100))
    }

    fn response_time_fields(time: Duration, floating: bool) -> (u8, Option<u16>) {
        let tenths = time.as_millis() / 100;
        let code = if floating { encode_8(tenths) } else { tenths.min(0xff) as u8 };
        (code, None)
    }
}

impl Address for Ipv6Addr {
    const LENGTH: usize = 16;
    const UNSPECIFIED: Self = Self::UNSPECIFIED;
    const ALL_NODES: Self = Self::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    const ALL_ROUTERS: Self = Self::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    const ALL_REPORT_ROUTERS: Self = Self::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
    const ALL_SNOOPERS: Self = Self::new(0xff02, 0, 0, 0, 0, 0, 0, 0x6a);

    const NAME: &'static str = "MLD";
    const SOURCE_VERSION: u8 = 2;
    const LEAVE_NAME: &'static str = "done";
    const PROTOCOL: u8 = protocol::ICMPV6;
    const DSCP: u8 = 0;
    const QUERY: u8 = 130;
    const V1_REPORT: Option<u8> = None;
    const REPORT: u8 = 131;
    const LEAVE: u8 = 132;
    const V3_REPORT: u8 = 143;
    const ROUTER_ADVERTISEMENT: u8 = 151;
    const ROUTER_SOLICITATION: u8 = 152;
    const ROUTER_TERMINATION: u8 = 153;
    const GROUP_OFFSET: usize = 8;
    const PSEUDO_HEADER: bool = true;

    fn can_be_querier(self) -> bool {
        self.is_unicast_link_local()
    }

    fn is_forwarded_by_membership(self) -> bool {
        let scope = self.octets()[1] & 0x0f;
        self.is_multicast() && self != Self::ALL_NODES && scope > 1
    }

    fn with_bytes<R>(self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        use_bytes(&self.octets())
    }

    fn read_response_time(message: &[u8], floating: bool) -> Option<Duration> {
        let code = u16::from_be_bytes(array_at(message, 4)?);
        let milliseconds = if floating { decode_16(code) } else { u32::from(code) };
        Some(Duration::from_millis(u64::from(milliseconds)))
    }

    fn response_time_fields(time: Duration, floating: bool) -> (u8, Option<u16>) {
        let milliseconds = time.as_millis();
        let code = if floating { encode_16(milliseconds) } else { milliseconds.min(0xffff) as u16 };
        (0, Some(code))
    }
}

// The encoding of times in IGMPv3 and MLDv2: integers below a limit, and above it floating-point numbers
// with a hidden leading one (RFC 3376 sections 4.1.1 and 4.1.7, RFC 3810 sections 5.1.3 and 5.1.9). Times
// that cannot be represented are rounded down.

/// Decodes a format bit, a 3-bit exponent and a 4-bit mantissa.
pub(super) const fn decode_8(code: u8) -> u16 {
    if code < 0x80 {
        return code as u16;
    }
    let mantissa = (code & 0x0f) as u16 | 0x10;
    let exponent = (code >> 4) & 0x07;
    mantissa << (exponent + 3)
}

/// Decodes a format bit, a 3-bit exponent and a 12-bit mantissa.
const fn decode_16(code: u16) -> u32 {
    if code < 0x8000 {
        return code as u32;
    }
    let mantissa = (code & 0x0fff) as u32 | 0x1000;
    let exponent = (code >> 12) & 0x07;
    mantissa << (exponent + 3)
}

pub(super) const fn encode_8(value: u128) -> u8 {
    encode(value, 4) as u8
}

const fn encode_16(value: u128) -> u16 {
    encode(value, 12)
}

const fn encode(value: u128, mantissa_bits: u32) -> u16 {
    let first_float = 1 << (mantissa_bits + 3);
    let largest = ((2 << mantissa_bits) - 1) << 10;
    if value < first_float {
        return value as u16;
    }
    let value = if value < largest { value } else { largest };
    let exponent = value.ilog2() - mantissa_bits - 3;
    let mantissa = (value >> (exponent + 3)) & ((1 << mantissa_bits) - 1);
    (first_float | ((exponent as u128) << mantissa_bits) | mantissa) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_round_trips() {
        for code in 0..=u8::MAX {
            assert_eq!(encode_8(u128::from(decode_8(code))), code);
        }
        for code in 0..=u16::MAX {
            assert_eq!(encode_16(u128::from(decode_16(code))), code);
        }
    }

    #[test]
    fn values_are_rounded_down_and_capped_at_the_largest() {
        assert_eq!(decode_8(encode_8(127)), 127);
        assert_eq!(decode_8(encode_8(135)), 128);
        assert_eq!(decode_8(encode_8(u128::MAX)), 31_744);
        assert_eq!(decode_16(encode_16(32_775)), 32_768);
        assert_eq!(decode_16(encode_16(u128::MAX)), 8_387_584);
    }
}
