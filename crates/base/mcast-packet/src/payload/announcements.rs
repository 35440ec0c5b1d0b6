//! What routers announce of themselves: messages of VRRP, HSRP and OSPF.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use crate::InternetChecksum;
use crate::ip::protocol;
use crate::list::{array_at, u8_at, u16_at, u32_at};

/// An advertisement of the master of a virtual router (RFC 3768, RFC 9568).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VrrpAdvertisement {
    /// The version: 2 or 3.
    pub version: u8,
    /// The virtual router (VRID).
    pub router: u8,
    /// The priority: 0 from a master that resigns.
    pub priority: u8,
    /// The time between two advertisements.
    pub interval: Duration,
    /// The type of authentication, which only version 2 has.
    pub authentication: Option<u8>,
}

/// What the checksum of an advertisement covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VrrpChecksum {
    /// The message.
    Message,
    /// The message and the addresses of the packet.
    PseudoHeader,
    /// It is wrong in either form.
    Wrong,
}

impl VrrpAdvertisement {
    /// Parses the payload of a packet; `None` if it is not an advertisement.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let version = match u8_at(bytes, 0)? {
            0x21 => 2,
            0x31 => 3,
            _ => return None,
        };
        let timing = u16_at(bytes, 4)?;
        u16_at(bytes, 6)?;
        let [authentication, seconds] = timing.to_be_bytes();
        Some(Self {
            version,
            router: u8_at(bytes, 1)?,
            priority: u8_at(bytes, 2)?,
            interval: match version {
                2 => Duration::from_secs(u64::from(seconds)),
                _ => Duration::from_millis(u64::from(timing & 0x0fff) * 10),
            },
            authentication: (version == 2).then_some(authentication),
        })
    }
}

impl VrrpAdvertisement {
    /// Returns the addresses of the virtual router in an advertisement from this address.
    pub fn addresses(bytes: &[u8], from: IpAddr) -> impl Iterator<Item = IpAddr> + '_ {
        let count = usize::from(u8_at(bytes, 3).unwrap_or_default());
        (0..count).map_while(move |number| match from {
            IpAddr::V4(_) => Some(IpAddr::from(array_at::<4>(bytes, 8 + number * 4)?)),
            IpAddr::V6(_) => Some(IpAddr::from(array_at::<16>(bytes, 8 + number * 16)?)),
        })
    }
}

/// A message of HSRP (RFC 2281, and version 2): a router of a group, which has a virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HsrpMessage {
    /// The version: 1 or 2.
    pub version: u8,
    /// Whether the router resigns.
    pub resigns: bool,
    /// The state of the router.
    pub state: HsrpState,
    /// The group.
    pub group: u16,
    /// The priority: the highest wins.
    pub priority: u32,
    /// The time between two messages.
    pub interval: Duration,
    /// The time without a message after which the router counts as gone.
    pub hold_time: Duration,
    /// The virtual address.
    pub address: IpAddr,
}

/// The state of a router in HSRP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HsrpState {
    /// It forwards.
    Active,
    /// It forwards if the active router fails.
    Standby,
    /// Another one.
    Other(&'static str),
}

impl HsrpMessage {
    /// Parses the payload of a datagram; `None` if this is not a message about a group.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        match (u8_at(bytes, 0)?, u8_at(bytes, 1)?) {
            (0, operation @ ..=2) => Some(Self {
                version: 1,
                resigns: operation == 2,
                state: match u8_at(bytes, 2)? {
                    0 => HsrpState::Other("initial"),
                    1 => HsrpState::Other("learn"),
                    2 => HsrpState::Other("listen"),
                    4 => HsrpState::Other("speak"),
                    8 => HsrpState::Standby,
                    16 => HsrpState::Active,
                    _ => HsrpState::Other("unknown state"),
                },
                group: u8_at(bytes, 6)?.into(),
                priority: u8_at(bytes, 5)?.into(),
                interval: Duration::from_secs(u8_at(bytes, 3)?.into()),
                hold_time: Duration::from_secs(u8_at(bytes, 4)?.into()),
                address: IpAddr::from(array_at::<4>(bytes, 16)?),
            }),
            (1, 40..) => Some(Self {
                version: 2,
                resigns: u8_at(bytes, 3)? == 2,
                state: match u8_at(bytes, 4)? {
                    0 => HsrpState::Other("disabled"),
                    1 => HsrpState::Other("initial"),
                    2 => HsrpState::Other("learn"),
                    3 => HsrpState::Other("listen"),
                    4 => HsrpState::Other("speak"),
                    5 => HsrpState::Standby,
                    6 => HsrpState::Active,
                    _ => HsrpState::Other("unknown state"),
                },
                group: u16_at(bytes, 6)?,
                priority: u32_at(bytes, 14)?,
                interval: Duration::from_millis(u32_at(bytes, 18)?.into()),
                hold_time: Duration::from_millis(u32_at(bytes, 22)?.into()),
                address: match u8_at(bytes, 5)? {
                    6 => Ipv6Addr::from(array_at::<16>(bytes, 26)?).into(),
                    _ => Ipv4Addr::from(array_at::<4>(bytes, 26)?).into(),
                },
            }),
            _ => None,
        }
    }
}

impl fmt::Display for HsrpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Standby => "standby",
            Self::Other(name) => name,
        })
    }
}

impl VrrpChecksum {
    /// Returns what the checksum of an advertisement between these addresses covers. Implementations differ in version 3 over IPv4.
    #[must_use]
    pub fn of(source: IpAddr, destination: IpAddr, bytes: &[u8]) -> Self {
        let is_zero = |sum: InternetChecksum| sum.bytes(bytes).finish() == 0;
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let addresses = InternetChecksum::pseudo_header(source, destination, protocol::VRRP, length);
        match addresses {
            _ if is_zero(InternetChecksum::new()) => Self::Message,
            Some(addresses) if is_zero(addresses) => Self::PseudoHeader,
            _ => Self::Wrong,
        }
    }
}

/// A hello of OSPF (RFC 2328 appendix A.3.2, RFC 5340 appendix A.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OspfHello {
    /// The id of the router.
    pub router: Ipv4Addr,
    /// The area.
    pub area: Ipv4Addr,
    /// The instance on the link, which only version 3 has.
    pub instance: Option<u8>,
    /// The time between two hellos.
    pub interval: Duration,
    /// The time without a hello after which a router counts as down.
    pub dead_interval: Duration,
    /// The designated router; 0.0.0.0 if none is known, or on a link between two routers.
    pub designated_router: Ipv4Addr,
    /// The mask of the network, which only version 2 has.
    pub mask: Option<Ipv4Addr>,
    /// The type of authentication, which only version 2 has.
    pub authentication: Option<u16>,
}

impl OspfHello {
    /// Parses the payload of a packet; `None` if it is not a hello.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        const HELLO: u8 = 1;
        let version = u8_at(bytes, 0).filter(|version| matches!(version, 2 | 3))?;
        u8_at(bytes, 1).filter(|kind| *kind == HELLO)?;
        let seconds = |time: u32| Duration::from_secs(u64::from(time));
        let word = |at| u32_at(bytes, at).map(Ipv4Addr::from);
        let (interval, dead_interval, designated_router) = match version {
            2 => (u16_at(bytes, 28)?, u32_at(bytes, 32)?, word(36)?),
            _ => (u16_at(bytes, 24)?, u32::from(u16_at(bytes, 26)?), word(28)?),
        };
        let is_second = version == 2;
        Some(Self {
            router: word(4)?,
            area: word(8)?,
            instance: u8_at(bytes, 14).filter(|_| !is_second),
            interval: seconds(u32::from(interval)),
            dead_interval: seconds(dead_interval),
            designated_router,
            mask: word(24).filter(|_| is_second),
            authentication: u16_at(bytes, 14).filter(|_| is_second),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    /// Router 51, priority 100, every second, one address, as keepalived sends it.
    const SECOND: [u8; 20] = [0x21, 51, 100, 1, 1, 1, 0, 0, 10, 9, 0, 9, b'1', b'1', b'1', b'1', 0, 0, 0, 0];

    fn with_checksum(bytes: &[u8], sum: InternetChecksum) -> [u8; 20] {
        let mut message = SECOND;
        message.copy_from_slice(bytes);
        message[6..8].copy_from_slice(&sum.bytes(bytes).finish().to_be_bytes());
        message
    }

    #[test]
    fn advertisement_is_parsed_by_its_version() {
        let second = VrrpAdvertisement::parse(&SECOND).unwrap();
        assert_eq!((second.router, second.priority, second.authentication), (51, 100, Some(1)));
        assert_eq!(second.interval, Duration::from_secs(1));
        let third = VrrpAdvertisement::parse(&[0x31, 51, 100, 1, 0, 25, 0, 0]).unwrap();
        assert_eq!((third.interval, third.authentication), (Duration::from_millis(250), None));
        for bytes in [&SECOND[..7], &[0x41; 8], &[]] {
            assert_eq!(VrrpAdvertisement::parse(bytes), None);
        }
    }

    #[test]
    fn checksum_is_accepted_in_both_forms_only() {
        let [from, to] = ["10.9.0.1", "224.0.0.18"].map(|text| text.parse::<IpAddr>().unwrap());
        let of = |bytes: &[u8]| VrrpChecksum::of(from, to, bytes);
        let addresses = InternetChecksum::pseudo_header(from, to, protocol::VRRP, 20).unwrap();
        assert_eq!(of(&with_checksum(&SECOND, InternetChecksum::new())), VrrpChecksum::Message);
        assert_eq!(of(&with_checksum(&SECOND, addresses)), VrrpChecksum::PseudoHeader);
        assert_eq!(of(&SECOND), VrrpChecksum::Wrong);
    }

    #[test]
    fn addresses_of_a_virtual_router_have_the_family_of_its_sender() {
        let addresses = |bytes: &[u8], from: &str| {
            let from = from.parse().unwrap();
            VrrpAdvertisement::addresses(bytes, from).map(|address| address.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(addresses(&SECOND, "10.9.0.1"), ["10.9.0.9"]);
        let third = [&[0x31, 51, 100, 2, 0, 25, 0, 0, 0xfe, 0x80][..], &[0; 13], &[9], &[0; 3]].concat();
        assert_eq!(addresses(&third, "fe80::1"), ["fe80::9"]);
    }

    #[test]
    fn message_of_hsrp_is_parsed_by_its_version() {
        let mut first = [0; 20];
        first[..7].copy_from_slice(&[0, 0, 16, 3, 10, 110, 5]);
        first[16..].copy_from_slice(&[10, 0, 0, 254]);
        let message = HsrpMessage::parse(&first).unwrap();
        assert_eq!((message.version, message.state, message.group), (1, HsrpState::Active, 5));
        assert_eq!((message.priority, message.hold_time), (110, Duration::from_secs(10)));
        assert_eq!((message.address, message.resigns), (IpAddr::from([10, 0, 0, 254]), false));
        first[1] = 3;
        assert_eq!(HsrpMessage::parse(&first), None);
        let mut second = [0; 42];
        second[..8].copy_from_slice(&[1, 40, 2, 2, 5, 6, 1, 0]);
        second[14..26].copy_from_slice(&[0, 0, 0, 100, 0, 0, 0x0b, 0xb8, 0, 0, 0x27, 0x10]);
        second[26..].copy_from_slice(&[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        let message = HsrpMessage::parse(&second).unwrap();
        assert_eq!((message.version, message.state, message.group), (2, HsrpState::Standby, 256));
        assert_eq!((message.interval, message.hold_time), (Duration::from_secs(3), Duration::from_secs(10)));
        assert_eq!((message.address.to_string(), message.resigns), ("fe80::1".into(), true));
        assert_eq!(HsrpMessage::parse(&second[..41]), None);
    }

    #[test]
    fn hello_is_parsed_by_its_version() {
        let mut bytes = [0; 44];
        bytes[..2].copy_from_slice(&[2, 1]);
        bytes[14..16].copy_from_slice(&[0, 2]);
        bytes[24..40].copy_from_slice(&[255, 255, 255, 0, 0, 10, 0, 1, 0, 0, 0, 40, 10, 9, 0, 1]);
        let second = OspfHello::parse(&bytes).unwrap();
        assert_eq!(
            (second.interval, second.dead_interval),
            (Duration::from_secs(10), Duration::from_secs(40))
        );
        assert_eq!(second.designated_router, Ipv4Addr::new(10, 9, 0, 1));
        assert_eq!((second.mask, second.authentication), (Some(Ipv4Addr::new(255, 255, 255, 0)), Some(2)));
        bytes[0] = 3;
        bytes[24..28].copy_from_slice(&[0, 5, 0, 20]);
        let third = OspfHello::parse(&bytes).unwrap();
        assert_eq!((third.interval, third.dead_interval), (Duration::from_secs(5), Duration::from_secs(20)));
        assert_eq!((third.instance, third.mask, third.authentication), (Some(0), None, None));
        bytes[1] = 4;
        assert_eq!(OspfHello::parse(&bytes), None);
    }
}
