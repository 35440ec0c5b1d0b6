//! A prober asks listeners what they found out about themselves.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::bytes::{Reader, Writer};
use super::header::{MessageType, SessionHeader};

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
