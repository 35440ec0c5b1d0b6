//! What a prober asks, and the replies: how a probe arrived, and what a listener found out about itself.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::header::{MessageType, Reader, SessionHeader, Writer};
use super::report::nanoseconds;

/// The minimum length of a probe: that of the reply, which is never longer than its probe.
pub const PROBE_LENGTH: usize = 32 + 30;

const BY_UNICAST: u8 = 1;
const HAS_HOP_LIMIT: u8 = 2;
const SHORT_REPLY: u8 = 4;

/// A combination of payload size and hop limit to probe with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeCase {
    /// Payload size in bytes.
    pub size: usize,
    /// The hop limit (IPv4: TTL).
    pub hop_limit: u8,
}

/// A probe that asks its receivers to reply how it arrived. The header's stream is 0 for `mcast ping`; a path
/// test numbers its cases from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeRequest {
    /// The hop limit that it was sent with.
    pub hop_limit: u8,
    /// Whether it was sent by unicast.
    pub by_unicast: bool,
    /// Whether the reply must be short, so that only the way to the responder is tested. Otherwise, the
    /// reply is as long as the probe.
    pub short_reply: bool,
}

impl ProbeRequest {
    /// Encodes the probe with `length` bytes, or the minimum length if that is more.
    #[must_use]
    pub fn encode(&self, header: SessionHeader, length: usize) -> Vec<u8> {
        let mut writer = Writer(Vec::with_capacity(length));
        let flags = flag(self.by_unicast, BY_UNICAST) | flag(self.short_reply, SHORT_REPLY);
        writer.bytes(&header.with_kind(MessageType::Probe).encode()).u8(flags).u8(self.hop_limit);
        writer.padded(length.max(PROBE_LENGTH))
    }

    /// Decodes what follows the header.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let (flags, hop_limit) = (reader.u8()?, reader.u8()?);
        // A probe shorter than its reply is ignored.
        (body.len() >= PROBE_LENGTH - SessionHeader::LENGTH).then_some(Self {
            hop_limit,
            by_unicast: flags & BY_UNICAST != 0,
            short_reply: flags & SHORT_REPLY != 0,
        })
    }
}

/// The reply to a probe: how the probe arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeReply {
    /// The responder's random id, because several may share an address.
    pub responder: u64,
    /// The index of the interface on which the probe arrived, at the responder; 0 if it is unknown.
    pub interface: u32,
    /// The length of the payload that arrived.
    pub length: u32,
    /// The hop limit that the probe was sent with, as stated in it.
    pub hop_limit: u8,
    /// The hop limit on arrival, if the responder's system reports it.
    pub arrival_hop_limit: Option<u8>,
    /// Whether the probe was sent by unicast.
    pub by_unicast: bool,
    /// The port on which the responder replies to unicast probes; 0 for none.
    pub unicast_port: u16,
    /// Time from the responder's join to the arrival of the probe.
    pub joined: Duration,
}

impl ProbeReply {
    /// Encodes the reply to a probe with this header, with at least `length` bytes.
    #[must_use]
    pub fn encode(&self, header: SessionHeader, length: usize) -> Vec<u8> {
        let mut writer = Writer(Vec::with_capacity(length.max(PROBE_LENGTH)));
        let flags = flag(self.by_unicast, BY_UNICAST) | flag(self.arrival_hop_limit.is_some(), HAS_HOP_LIMIT);
        writer
            .bytes(&header.with_kind(MessageType::Reply).encode())
            .u8(flags)
            .u8(self.hop_limit)
            .u8(self.arrival_hop_limit.unwrap_or(0))
            .u8(0)
            .u16(self.unicast_port)
            .u64(self.responder)
            .u64(nanoseconds(self.joined))
            .u32(self.interface)
            .u32(self.length);
        writer.padded(length.max(PROBE_LENGTH))
    }

    /// Decodes what follows the header.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let (flags, hop_limit, left, _reserved) = (reader.u8()?, reader.u8()?, reader.u8()?, reader.u8()?);
        Some(Self {
            unicast_port: reader.u16()?,
            responder: reader.u64()?,
            joined: Duration::from_nanos(reader.u64()?),
            interface: reader.u32()?,
            length: reader.u32()?,
            hop_limit,
            arrival_hop_limit: (flags & HAS_HOP_LIMIT != 0).then_some(left),
            by_unicast: flags & BY_UNICAST != 0,
        })
    }

    /// Returns the number of routers on the path, if both hop limits are known.
    #[must_use]
    pub fn hops(&self) -> Option<u8> {
        self.arrival_hop_limit.and_then(|left| self.hop_limit.checked_sub(left))
    }
}

const fn flag(is_set: bool, flag: u8) -> u8 {
    if is_set { flag } else { 0 }
}

/// The length of a request. A reply is never longer.
pub const EXAMINATION_LENGTH: usize = 1_200;

/// The length of the fields of a reply, with the header.
const FIELDS: usize = SessionHeader::LENGTH + 8 + 8 + 8 + 1 + 2;
const MAX_TEXT: usize = EXAMINATION_LENGTH - FIELDS;

/// The reply of a listener to a request to examine itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examination {
    /// The listener's random id, as in its replies to probes.
    pub responder: u64,
    /// The number of probes of this session on the listener's wire; `None` if it could not capture.
    pub on_wire: Option<u64>,
    /// The number of probes of this session that reached the listener's socket for the group.
    pub at_socket: u64,
    /// What the listener found: one finding per line. Text that is too long is truncated.
    pub text: String,
}

/// Encodes a request.
#[must_use]
pub fn examination_request(header: SessionHeader) -> Vec<u8> {
    let mut writer = Writer(Vec::with_capacity(EXAMINATION_LENGTH));
    writer.bytes(&header.with_kind(MessageType::Examine).encode());
    writer.padded(EXAMINATION_LENGTH)
}

impl Examination {
    /// Encodes the reply to a request with this header.
    #[must_use]
    pub fn encode(&self, header: SessionHeader) -> Vec<u8> {
        let mut length = self.text.len().min(MAX_TEXT);
        while !self.text.is_char_boundary(length) {
            length -= 1;
        }
        let text = &self.text[..length];
        let mut writer = Writer(Vec::with_capacity(FIELDS + text.len()));
        writer
            .bytes(&header.with_kind(MessageType::Examination).encode())
            .u64(self.responder)
            .u64(self.on_wire.unwrap_or_default())
            .u64(self.at_socket)
            .u8(u8::from(self.on_wire.is_some()))
            .u16(u16::try_from(text.len()).unwrap_or(0))
            .bytes(text.as_bytes());
        writer.0
    }

    /// Decodes what follows the header.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let (responder, on_wire, at_socket) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let has_wire = reader.u8()? & 1 == 1;
        let length = usize::from(reader.u16()?);
        let text = core::str::from_utf8(reader.0.get(..length)?).ok()?;
        Some(Self { responder, on_wire: has_wire.then_some(on_wire), at_socket, text: text.to_string() })
    }
}
