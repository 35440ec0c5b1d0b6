//! What routers announce of themselves: messages of VRRP and OSPF.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use crate::InternetChecksum;
use crate::ip::protocol;
use crate::list::{u8_at, u16_at, u32_at};

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
