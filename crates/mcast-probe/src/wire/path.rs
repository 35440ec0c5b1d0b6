//! A probe of the path between two machines, and the answer to it.

use super::bytes::{Reader, Writer};
use super::header::{Header, Kind};

/// The least length of a probe of the path: that of the answer, which is short however long the
/// probe was, so that only the way there is tested.
pub const PATH_PROBE_LENGTH: usize = 32 + 24;

const HAS_HOP_LIMIT: u8 = 1;

/// Asks whoever hears it to say how it arrived. The header's stream is the number of the case that
/// is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathProbe {
    /// The hop limit that it was sent with.
    pub hop_limit: u8,
}

impl PathProbe {
    /// As a message of this length, or of the least length if that is more.
    #[must_use]
    pub fn encode(&self, header: Header, length: usize) -> Vec<u8> {
        let mut writer = Writer(Vec::with_capacity(length));
        writer.bytes(&header.as_kind(Kind::PathProbe).encode()).u8(self.hop_limit);
        writer.padded(length.max(PATH_PROBE_LENGTH))
    }

    /// From what follows the header.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let hop_limit = Reader(body).u8()?;
        // What is shorter than an answer gets none.
        (body.len() >= PATH_PROBE_LENGTH - Header::LENGTH).then_some(Self { hop_limit })
    }
}

/// How a probe arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathAnswer {
    /// Who answers: a random number, as several may share an address.
    pub responder: u64,
    /// The number of the interface that it came in by, as its machine counts.
    pub interface: u32,
    /// The length of the payload that arrived.
    pub length: u32,
    /// The hop limit that the probe was sent with, as it said.
    pub hop_limit: u8,
    /// The hop limit that was left, where the system tells.
    pub hop_limit_left: Option<u8>,
}

impl PathAnswer {
    /// As the answer to a probe with this header.
    #[must_use]
    pub fn encode(&self, header: Header) -> Vec<u8> {
        let mut writer = Writer(Vec::with_capacity(PATH_PROBE_LENGTH));
        writer
            .bytes(&header.as_kind(Kind::PathAnswer).encode())
            .u64(self.responder)
            .u32(self.interface)
            .u32(self.length)
            .u8(if self.hop_limit_left.is_some() { HAS_HOP_LIMIT } else { 0 })
            .u8(self.hop_limit)
            .u8(self.hop_limit_left.unwrap_or(0));
        writer.padded(PATH_PROBE_LENGTH)
    }

    /// From what follows the header.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let (responder, interface, length) = (reader.u64()?, reader.u32()?, reader.u32()?);
        let (flags, hop_limit, left) = (reader.u8()?, reader.u8()?, reader.u8()?);
        let hop_limit_left = (flags & HAS_HOP_LIMIT != 0).then_some(left);
        Some(Self { responder, interface, length, hop_limit, hop_limit_left })
    }

    /// How many routers the probe passed, where both ends tell.
    #[must_use]
    pub fn hops(&self) -> Option<u8> {
        self.hop_limit_left.and_then(|left| self.hop_limit.checked_sub(left))
    }
}
