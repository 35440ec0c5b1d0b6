//! Multicast router discovery (RFC 4286), by which switches with snooping find routers.

use core::time::Duration;

use super::Address;
use super::parse::GmpError;
use crate::EmitError;
use crate::list::{Writer, u8_at, u16_at};

/// A message of multicast router discovery. It is sent as IGMP or ICMPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouterDiscovery {
    /// Announces a multicast router.
    Advertisement {
        /// The advertisement interval in whole seconds: 4 to 180 according to the RFC; up to 255 here.
        interval: Duration,
        /// The query interval used when the router is the querier, in whole seconds; zero if it never is.
        query_interval: Duration,
        /// The robustness variable of the router.
        robustness: u16,
    },
    /// Solicits advertisements.
    Solicitation,
    /// Announces that a router will stop forwarding multicast.
    Termination,
}

impl RouterDiscovery {
    /// The length of an advertisement in bytes.
    const ADVERTISEMENT_LENGTH: usize = 8;
    /// The length of a solicitation or termination in bytes.
    const OTHER_LENGTH: usize = 4;

    /// Returns whether this message type belongs to router discovery.
    pub(super) fn has_kind<A: Address>(kind: u8) -> bool {
        [A::ROUTER_ADVERTISEMENT, A::ROUTER_SOLICITATION, A::ROUTER_TERMINATION].contains(&kind)
    }

    pub(super) const fn length(&self) -> usize {
        match self {
            Self::Advertisement { .. } => Self::ADVERTISEMENT_LENGTH,
            Self::Solicitation | Self::Termination => Self::OTHER_LENGTH,
        }
    }

    /// Returns the destination that the RFC defines.
    pub(super) const fn destination<A: Address>(&self) -> A {
        match self {
            Self::Advertisement { .. } | Self::Termination => A::ALL_SNOOPERS,
            Self::Solicitation => A::ALL_ROUTERS,
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Advertisement { .. } => "multicast router advertisement",
            Self::Solicitation => "multicast router solicitation",
            Self::Termination => "multicast router termination",
        }
    }

    pub(super) fn parse<A: Address>(kind: u8, bytes: &[u8]) -> Result<Self, GmpError> {
        let too_short = GmpError::TooShort(bytes.len());
        if bytes.len() < Self::OTHER_LENGTH {
            return Err(too_short);
        }
        if kind == A::ROUTER_SOLICITATION {
            return Ok(Self::Solicitation);
        }
        if kind == A::ROUTER_TERMINATION {
            return Ok(Self::Termination);
        }
        let seconds = |value: u16| Duration::from_secs(u64::from(value));
        Ok(Self::Advertisement {
            interval: seconds(u16::from(u8_at(bytes, 1).ok_or(too_short)?)),
            query_interval: seconds(u16_at(bytes, 4).ok_or(too_short)?),
            robustness: u16_at(bytes, 6).ok_or(too_short)?,
        })
    }

    pub(super) fn put<A: Address>(&self, writer: &mut Writer<'_>) -> Result<(), EmitError> {
        match *self {
            Self::Advertisement { interval, query_interval, robustness } => {
                let interval = u8::try_from(interval.as_secs()).unwrap_or(u8::MAX);
                let query_interval = u16::try_from(query_interval.as_secs()).unwrap_or(u16::MAX);
                writer.put(&[A::ROUTER_ADVERTISEMENT, interval, 0, 0])?;
                writer.put_u16(query_interval)?;
                writer.put_u16(robustness)
            }
            Self::Solicitation => writer.put(&[A::ROUTER_SOLICITATION, 0, 0, 0]),
            Self::Termination => writer.put(&[A::ROUTER_TERMINATION, 0, 0, 0]),
        }
    }
}

impl core::fmt::Display for RouterDiscovery {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Advertisement { interval, query_interval, robustness } => write!(
                f,
                "interval {} s, query interval {} s, robustness {robustness}",
                interval.as_secs(),
                query_interval.as_secs()
            ),
            Self::Solicitation => f.write_str("solicits advertisements"),
            Self::Termination => f.write_str("stops forwarding multicast"),
        }
    }
}
