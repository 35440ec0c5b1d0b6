//! Multicast router discovery (RFC 4286): routers tell switches that snoop where they are.

use core::time::Duration;

use super::Address;
use super::parse::ParseError;
use crate::EmitError;
use crate::bytes::{Writer, u8_at, u16_at};

/// A message of multicast router discovery, which travels as IGMP or in ICMPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouterDiscovery {
    /// A multicast router is here.
    Advertisement {
        /// After how long it will say so again: whole seconds, 4 to 180 by the RFC; up to 255 here.
        interval: Duration,
        /// How often it queries when it is the querier: whole seconds, zero when it is never that.
        query_interval: Duration,
        /// Its robustness variable.
        robustness: u16,
    },
    /// A switch asks for routers.
    Solicitation,
    /// A router is about to stop forwarding multicast.
    Termination,
}

impl RouterDiscovery {
    /// The length of an advertisement in bytes; the others have no more than its first half.
    const ADVERTISEMENT_LENGTH: usize = 8;
    const OTHER_LENGTH: usize = 4;

    /// Whether messages of this type are router discovery.
    pub(super) fn has_kind<A: Address>(kind: u8) -> bool {
        [A::ROUTER_ADVERTISEMENT, A::ROUTER_SOLICITATION, A::ROUTER_TERMINATION].contains(&kind)
    }

    pub(super) const fn length(&self) -> usize {
        match self {
            Self::Advertisement { .. } => Self::ADVERTISEMENT_LENGTH,
            Self::Solicitation | Self::Termination => Self::OTHER_LENGTH,
        }
    }

    /// Where the RFC has the message sent to.
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

    pub(super) fn parse<A: Address>(kind: u8, bytes: &[u8]) -> Result<Self, ParseError> {
        let too_short = ParseError::TooShort(bytes.len());
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
                "again within {} s, queries every {} s, robustness {robustness}",
                interval.as_secs(),
                query_interval.as_secs()
            ),
            Self::Solicitation => f.write_str("which multicast routers are there"),
            Self::Termination => f.write_str("forwards no multicast any more"),
        }
    }
}
