//! RTP (RFC 3550 section 5.1): sound and pictures.

use core::fmt;

use super::MpegTs;
use crate::EmitError;
use crate::bytes::{Writer, u8_at, u16_at, u32_at};

/// An RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtp<'a> {
    /// Whether something of the format's own ends here: often a picture.
    pub marker: bool,
    /// What is inside, 0 to 127 (RFC 3551 section 6); from 96 on it is agreed on elsewhere.
    pub payload_type: u8,
    /// The packet's number, one more than that of the packet before.
    pub sequence: u16,
    /// When the first byte was sampled, in a clock of the format's own.
    pub timestamp: u32,
    /// Who sent it: a number made up for this stream.
    pub ssrc: u32,
    /// How many senders were mixed together.
    pub contributors: u8,
    /// The number of the header extension's kind, if there is one (RFC 8285 has 0xbede).
    pub extension: Option<u16>,
    /// What is inside, without padding.
    pub payload: &'a [u8],
}

impl<'a> Rtp<'a> {
    /// The length of a header without contributors and extension.
    pub const HEADER_LENGTH: usize = 12;

    /// The payload type of an MPEG transport stream.
    pub const MPEG_TS: u8 = 33;

    /// The packet in the payload of a datagram. `None` when it is not version 2, when header or padding
    /// are longer than the datagram, or when it is RTCP, which may share the port (RFC 5761).
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        const PADDING: u8 = 0x20;
        const EXTENSION: u8 = 0x10;
        let (first, second) = (u8_at(bytes, 0)?, u8_at(bytes, 1)?);
        if first >> 6 != 2 || is_rtcp(second) {
            return None;
        }
        let contributors = first & 0x0f;
        let mut rest = bytes.get(Self::HEADER_LENGTH + usize::from(contributors) * 4..)?;
        let extension = if first & EXTENSION != 0 {
            let (kind, words) = (u16_at(rest, 0)?, u16_at(rest, 2)?);
            rest = rest.get(4 + usize::from(words) * 4..)?;
            Some(kind)
        } else {
            None
        };
        Some(Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: u16_at(bytes, 2)?,
            timestamp: u32_at(bytes, 4)?,
            ssrc: u32_at(bytes, 8)?,
            contributors,
            extension,
            payload: if first & PADDING != 0 { without_padding(rest)? } else { rest },
        })
    }

    /// Writes a packet without contributors, extension or padding to the start of the buffer, and says
    /// how long it is.
    ///
    /// # Errors
    /// [`EmitError::BufferTooShort`]; [`EmitError::NoSuchMessage`] for a payload type above 127, or one
    /// that would be taken for RTCP, for contributors, and for an extension.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, EmitError> {
        const VERSION: u8 = 0x80;
        let second = self.payload_type | if self.marker { 0x80 } else { 0 };
        if self.payload_type > 127 || is_rtcp(second) || self.contributors > 0 || self.extension.is_some() {
            return Err(EmitError::NoSuchMessage);
        }
        let mut writer = Writer::new(buffer);
        writer.put(&[VERSION, second])?;
        writer.put_u16(self.sequence)?;
        writer.put_u32(self.timestamp)?;
        writer.put_u32(self.ssrc)?;
        writer.put(self.payload)?;
        Ok(writer.position())
    }

    /// The transport stream inside, if the payload type says so and it is one.
    #[must_use]
    pub fn mpeg_ts(&self) -> Option<MpegTs<'a>> {
        MpegTs::parse(self.payload).filter(|_| self.payload_type == Self::MPEG_TS)
    }

    /// Whether this can hardly be anything else. One byte in 256 looks like the start of RTP, so more
    /// has to fit: no contributors or padding, a known payload type or one that is agreed on, a
    /// sender's number that is not zero, something inside, and an even port, as RFC 3550 section 11
    /// asks for.
    pub(super) fn is_likely(&self, port: u16) -> bool {
        let known = matches!(self.payload_type, 0 | 3..=18 | 25 | 26 | 28 | 31 | 32 | 34 | 96..=127);
        let plain = self.contributors == 0 && self.ssrc != 0 && !self.payload.is_empty();
        self.mpeg_ts().is_some() || (known && plain && port.is_multiple_of(2) && port >= 1024)
    }
}

/// The second byte of RTCP is its type, 192 to 223; RTP with a marker bit would use the same numbers for
/// the payload types 64 to 95, which RFC 5761 section 4 therefore forbids.
const fn is_rtcp(second: u8) -> bool {
    matches!(second, 192..=223)
}

/// The last byte counts the bytes of padding, itself included.
fn without_padding(bytes: &[u8]) -> Option<&[u8]> {
    let padding = usize::from(*bytes.last()?);
    if padding == 0 {
        return None;
    }
    bytes.get(..bytes.len().checked_sub(padding)?)
}

impl fmt::Display for Rtp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { payload_type, sequence, timestamp, ssrc, .. } = self;
        write!(f, "RTP type {payload_type}, number {sequence}, time {timestamp}, from {ssrc:#010x}")?;
        if self.marker {
            f.write_str(", marker")?;
        }
        match self.mpeg_ts() {
            Some(stream) => write!(f, " / {stream}"),
            None => Ok(()),
        }
    }
}
