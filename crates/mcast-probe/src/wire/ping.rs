//! A probe of `mcast ping`, and the answer to it.

use std::time::Duration;

use super::bytes::{Reader, Writer};
use super::header::{Header, Kind};
use super::settings::nanoseconds;

/// The least length of a probe: that of an answer, which is never longer than its probe.
pub const PROBE_LENGTH: usize = 32 + 24;

const BY_UNICAST: u8 = 1;
const HAS_HOP_LIMIT: u8 = 2;

/// Asks whoever hears it to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The hop limit that it was sent with.
    pub hop_limit: u8,
    /// Whether it was sent to one host alone.
    pub by_unicast: bool,
}

impl Probe {
    /// As a message of this length, or of the least length if that is more.
    #[must_use]
    pub fn encode(&self, header: Header, length: usize) -> Vec<u8> {
        let mut writer = Writer(Vec::with_capacity(length));
        let flags = if self.by_unicast { BY_UNICAST } else { 0 };
        writer.bytes(&header.as_kind(Kind::Probe).encode()).u8(flags).u8(self.hop_limit);
        writer.padded(length.max(PROBE_LENGTH))
    }

    /// From what follows the header.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let (flags, hop_limit) = (reader.u8()?, reader.u8()?);
        // What is shorter than an answer gets none.
        (body.len() >= PROBE_LENGTH - Header::LENGTH)
            .then_some(Self { hop_limit, by_unicast: flags & BY_UNICAST != 0 })
    }
}

/// The answer to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who answers: a random number, as several may share an address.
    pub responder: u64,
    /// The hop limit that the probe was sent with, as it said.
    pub hop_limit: u8,
    /// The hop limit that was left when it came, where the system tells.
    pub hop_limit_left: Option<u8>,
    /// Whether the probe was sent to this host alone.
    pub by_unicast: bool,
    /// The port at which probes are answered that are sent to this host alone; 0 for none.
    pub unicast_port: u16,
    /// How long ago the responder had joined when the probe came.
    pub joined: Duration,
}

impl Answer {
    /// As the answer to a probe with this header and of this length, as long as that.
    #[must_use]
    pub fn encode(&self, header: Header, length: usize) -> Vec<u8> {
        let mut writer = Writer(Vec::with_capacity(length));
        let flags = if self.by_unicast { BY_UNICAST } else { 0 }
            | if self.hop_limit_left.is_some() { HAS_HOP_LIMIT } else { 0 };
        writer
            .bytes(&header.as_kind(Kind::Answer).encode())
            .u8(flags)
            .u8(self.hop_limit)
            .u8(self.hop_limit_left.unwrap_or(0))
            .u8(0)
            .u16(self.unicast_port)
            .u16(0)
            .u64(self.responder)
            .u64(nanoseconds(self.joined));
        writer.padded(length)
    }

    /// From what follows the header.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let (flags, hop_limit, left, _) = (reader.u8()?, reader.u8()?, reader.u8()?, reader.u8()?);
        let (unicast_port, _) = (reader.u16()?, reader.u16()?);
        Some(Self {
            responder: reader.u64()?,
            hop_limit,
            hop_limit_left: (flags & HAS_HOP_LIMIT != 0).then_some(left),
            by_unicast: flags & BY_UNICAST != 0,
            unicast_port,
            joined: Duration::from_nanos(reader.u64()?),
        })
    }

    /// How many routers the probe passed, where both ends tell.
    #[must_use]
    pub fn hops(&self) -> Option<u8> {
        self.hop_limit_left.and_then(|left| self.hop_limit.checked_sub(left))
    }
}
