//! The differences between IGMP and MLD: address width, numbers and field offsets.

use core::fmt;
use core::hash::Hash;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::parse;
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
        let tenths = if floating { parse::decode_8(code) } else { u16::from(code) };
        Some(Duration::from_millis(u64::from(tenths) * 100))
    }

    fn response_time_fields(time: Duration, floating: bool) -> (u8, Option<u16>) {
        let tenths = time.as_millis() / 100;
        let code = if floating { parse::encode_8(tenths) } else { tenths.min(0xff) as u8 };
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
        let milliseconds = if floating { parse::decode_16(code) } else { u32::from(code) };
        Some(Duration::from_millis(u64::from(milliseconds)))
    }

    fn response_time_fields(time: Duration, floating: bool) -> (u8, Option<u16>) {
        let milliseconds = time.as_millis();
        let code = if floating { parse::encode_16(milliseconds) } else { milliseconds.min(0xffff) as u16 };
        (0, Some(code))
    }
}
