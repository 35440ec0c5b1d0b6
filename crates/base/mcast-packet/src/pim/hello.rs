//! The options of a Hello message (RFC 7761 section 4.9.2).

use core::net::IpAddr;

use super::address::put_unicast;
use crate::EmitError;
use crate::bytes::{Writer, u16_at, u32_at};
use crate::list::{Element, List};

/// An option of a Hello message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HelloOption<'a> {
    /// How long, in seconds, neighbors keep the router: 0 removes it at once, 65535 means forever.
    HoldTime(u16),
    /// The delay of prunes, during which other routers can override them.
    LanPruneDelay {
        /// Whether the router can disable join suppression (the T bit).
        tracking: bool,
        /// The expected propagation delay of the network in milliseconds, up to 32767.
        propagation_delay: u16,
        /// The maximum time before a router overrides a prune, in milliseconds.
        override_interval: u16,
    },
    /// The priority in the election of the designated router. The highest priority wins, then the highest
    /// address.
    DrPriority(u32),
    /// A random number chosen when the router starts. A different number means that it has lost its state.
    GenerationId(u32),
    /// The router's secondary addresses on this interface.
    AddressList(List<'a, IpAddr>),
    /// The router supports bidirectional trees (RFC 5015).
    BidirectionalCapable,
    /// An option that is not decoded, or whose length does not match its type.
    Other {
        /// The option type (IANA, PIM-Hello Options).
        kind: u16,
        /// The option value.
        value: &'a [u8],
    },
}

const HOLD_TIME: u16 = 1;
const LAN_PRUNE_DELAY: u16 = 2;
const DR_PRIORITY: u16 = 19;
const GENERATION_ID: u16 = 20;
const BIDIRECTIONAL_CAPABLE: u16 = 22;
const ADDRESS_LIST: u16 = 24;

/// The T bit, above the 15 bits of the delay.
const TRACKING: u16 = 0x8000;

impl<'a> HelloOption<'a> {
    fn decode(kind: u16, value: &'a [u8]) -> Self {
        Self::decode_known(kind, value).unwrap_or(Self::Other { kind, value })
    }

    /// Decodes a known option. Returns `None` for an unknown type or an unexpected length.
    fn decode_known(kind: u16, value: &'a [u8]) -> Option<Self> {
        Some(match (kind, value.len()) {
            (HOLD_TIME, 2) => Self::HoldTime(u16_at(value, 0)?),
            (LAN_PRUNE_DELAY, 4) => {
                let delay = u16_at(value, 0)?;
                Self::LanPruneDelay {
                    tracking: delay & TRACKING != 0,
                    propagation_delay: delay & !TRACKING,
                    override_interval: u16_at(value, 2)?,
                }
            }
            (DR_PRIORITY, 4) => Self::DrPriority(u32_at(value, 0)?),
            (GENERATION_ID, 4) => Self::GenerationId(u32_at(value, 0)?),
            (BIDIRECTIONAL_CAPABLE, 0) => Self::BidirectionalCapable,
            (ADDRESS_LIST, _) => Self::AddressList(List::take_all(value)?),
            _ => return None,
        })
    }

    const fn kind(&self) -> u16 {
        match self {
            Self::HoldTime(_) => HOLD_TIME,
            Self::LanPruneDelay { .. } => LAN_PRUNE_DELAY,
            Self::DrPriority(_) => DR_PRIORITY,
            Self::GenerationId(_) => GENERATION_ID,
            Self::AddressList(_) => ADDRESS_LIST,
            Self::BidirectionalCapable => BIDIRECTIONAL_CAPABLE,
            Self::Other { kind, .. } => *kind,
        }
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), EmitError> {
        writer.put_u16(self.kind())?;
        let length_offset = writer.position();
        writer.put_u16(0)?;
        let start = writer.position();
        self.put_value(writer)?;
        let length = u16::try_from(writer.position() - start).map_err(|_| EmitError::TooMany)?;
        writer.patch_u16(length_offset, length)
    }

    fn put_value(&self, writer: &mut Writer<'_>) -> Result<(), EmitError> {
        match *self {
            Self::HoldTime(seconds) => writer.put_u16(seconds),
            Self::LanPruneDelay { tracking, propagation_delay, override_interval } => {
                let tracking = if tracking { TRACKING } else { 0 };
                writer.put_u16(tracking | propagation_delay & !TRACKING)?;
                writer.put_u16(override_interval)
            }
            Self::DrPriority(value) | Self::GenerationId(value) => writer.put_u32(value),
            Self::AddressList(addresses) => {
                addresses.iter().try_for_each(|address| put_unicast(writer, address))
            }
            Self::BidirectionalCapable => Ok(()),
            Self::Other { value, .. } => writer.put(value),
        }
    }
}

impl<'a> Element<'a> for HelloOption<'a> {
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let kind = u16_at(bytes, 0)?;
        let length = usize::from(u16_at(bytes, 2)?);
        let (value, rest) = bytes.get(4..)?.split_at_checked(length)?;
        Some((Self::decode(kind, value), rest))
    }
}
