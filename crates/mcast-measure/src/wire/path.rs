//! PathTest probes and their replies.

use alloc::vec::Vec;

use super::bytes::{Reader, Writer};
use super::header::{Header, Kind};

/// The minimum length of a path probe: that of the reply. The reply is short regardless of the probe's
/// length, so that only the forward direction is tested.
pub const PATH_PROBE_LENGTH: usize = 32 + 24;

const HAS_HOP_LIMIT: u8 = 1;

/// A probe that asks its receivers to report how it arrived. The header's stream is the number of the test
/// case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathProbe {
    /// The hop limit that it was sent with.
    pub hop_limit: u8,
}

impl PathProbe {
    /// Encodes the probe with `length` bytes, or the minimum length if that is more.
    #[must_use]
    pub fn encode(&self, header: Header, length: usize) -> Vec<u8> {
        let mut writer = Writer(Vec::with_capacity(length));
        writer.bytes(&header.with_kind(Kind::PathProbe).encode()).u8(self.hop_limit);
        writer.padded(length.max(PATH_PROBE_LENGTH))
    }

    /// Decodes what follows the header.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let hop_limit = Reader(body).u8()?;
        // A probe shorter than its reply is ignored.
        (body.len() >= PATH_PROBE_LENGTH - Header::LENGTH).then_some(Self { hop_limit })
    }
}

/// The reply to a path probe: how it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathReply {
    /// The responder's random id, because several may share an address.
    pub responder: u64,
    /// The index of the interface on which the probe arrived, at the responder.
    pub interface: u32,
    /// The length of the payload that arrived.
    pub length: u32,
    /// The hop limit that the probe was sent with, as stated in it.
    pub hop_limit: u8,
    /// The hop limit on arrival, if the responder's system reports it.
    pub arrival_hop_limit: Option<u8>,
}

impl PathReply {
    /// Encodes the reply to a probe with this header.
    #[must_use]
    pub fn encode(&self, header: Header) -> Vec<u8> {
        let mut writer = Writer(Vec::with_capacity(PATH_PROBE_LENGTH));
        writer
            .bytes(&header.with_kind(Kind::PathReply).encode())
            .u64(self.responder)
            .u32(self.interface)
            .u32(self.length)
            .u8(if self.arrival_hop_limit.is_some() { HAS_HOP_LIMIT } else { 0 })
            .u8(self.hop_limit)
            .u8(self.arrival_hop_limit.unwrap_or(0));
        writer.padded(PATH_PROBE_LENGTH)
    }

    /// Decodes what follows the header.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let (responder, interface, length) = (reader.u64()?, reader.u32()?, reader.u32()?);
        let (flags, hop_limit, left) = (reader.u8()?, reader.u8()?, reader.u8()?);
        let arrival_hop_limit = (flags & HAS_HOP_LIMIT != 0).then_some(left);
        Some(Self { responder, interface, length, hop_limit, arrival_hop_limit })
    }

    /// Returns the number of routers on the path, if both hop limits are known.
    #[must_use]
    pub fn hops(&self) -> Option<u8> {
        self.arrival_hop_limit.and_then(|left| self.hop_limit.checked_sub(left))
    }
}
