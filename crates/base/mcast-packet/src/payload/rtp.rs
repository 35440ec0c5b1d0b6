//! RTP (RFC 3550 section 5.1): audio and video.

use core::fmt;

use super::MpegTs;
use crate::EmitError;
use crate::list::{Writer, u8_at, u16_at, u32_at};

/// An RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtp<'a> {
    /// The marker bit. Its meaning depends on the payload type; it often marks the end of a video frame.
    pub marker: bool,
    /// The payload type, 0 to 127 (RFC 3551 section 6). Types from 96 are assigned dynamically.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The sampling time of the first byte, in units that depend on the payload type.
    pub timestamp: u32,
    /// The synchronization source, a random number that identifies the stream.
    pub ssrc: u32,
    /// The number of contributing sources.
    pub csrc_count: u8,
    /// The profile-defined identifier of the header extension, if there is one (RFC 8285 uses 0xbede).
    pub extension: Option<u16>,
    /// The payload without padding.
    pub payload: &'a [u8],
}

impl<'a> Rtp<'a> {
    /// The length of a header without contributing sources and extension.
    pub const HEADER_LENGTH: usize = 12;

    /// The payload type of an MPEG transport stream.
    pub const MPEG_TS: u8 = 33;

    /// Parses the payload of a datagram. Returns `None` if the version is not 2, if header or padding exceed
    /// the datagram, or if it is RTCP, which can share the port (RFC 5761).
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        const PADDING: u8 = 0x20;
        const EXTENSION: u8 = 0x10;
        let (first, second) = (u8_at(bytes, 0)?, u8_at(bytes, 1)?);
        if first >> 6 != 2 || is_rtcp(second) {
            return None;
        }
        let csrc_count = first & 0x0f;
        let mut rest = bytes.get(Self::HEADER_LENGTH + usize::from(csrc_count) * 4..)?;
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
            csrc_count,
            extension,
            payload: if first & PADDING != 0 { without_padding(rest)? } else { rest },
        })
    }

    /// Writes a packet to the start of the buffer and returns its length. Contributing sources, extensions
    /// and padding are not supported.
    ///
    /// # Errors
    /// Returns [`EmitError::BufferTooShort`] if the packet does not fit, and [`EmitError::NoSuchMessage`] for
    /// a payload type above 127, one that would be parsed as RTCP, contributing sources, or an extension.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, EmitError> {
        const VERSION: u8 = 0x80;
        let second = self.payload_type | if self.marker { 0x80 } else { 0 };
        if self.payload_type > 127 || is_rtcp(second) || self.csrc_count > 0 || self.extension.is_some() {
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

    /// Returns the transport stream in the payload, if payload type and content match.
    #[must_use]
    pub fn mpeg_ts(&self) -> Option<MpegTs<'a>> {
        MpegTs::parse(self.payload).filter(|_| self.payload_type == Self::MPEG_TS)
    }

    /// Returns whether the packet is almost certainly RTP. The version bits alone are weak evidence, so the
    /// packet must also contain a transport stream, or have no contributing sources, an assigned or dynamic
    /// payload type, a nonzero SSRC, a payload, and an even port (RFC 3550 section 11) that is not
    /// privileged.
    pub(super) fn is_likely(&self, port: u16) -> bool {
        self.mpeg_ts().is_some() || (self.is_plausible() && port.is_multiple_of(2) && port >= 1024)
    }

    /// Returns whether all fields are plausible, whatever the port: no contributing sources, an assigned or dynamic payload type,
    /// a nonzero SSRC, and a payload. Only a series of packets with the same SSRC and increasing numbers is conclusive.
    #[must_use]
    pub const fn is_plausible(&self) -> bool {
        let is_known_type = matches!(self.payload_type, 0 | 3..=18 | 25 | 26 | 28 | 31 | 32 | 34 | 96..=127);
        is_known_type && self.csrc_count == 0 && self.ssrc != 0 && !self.payload.is_empty()
    }
}

/// Returns whether the second byte is that of RTCP, whose types are 192 to 223. RTP with a marker bit would
/// use these values for the payload types 64 to 95, which RFC 5761 section 4 therefore forbids.
const fn is_rtcp(second: u8) -> bool {
    matches!(second, 192..=223)
}

/// Removes the padding. Its last byte is its length, including itself.
fn without_padding(bytes: &[u8]) -> Option<&[u8]> {
    let padding = usize::from(*bytes.last()?);
    if padding == 0 {
        return None;
    }
    bytes.get(..bytes.len().checked_sub(padding)?)
}

/// Returns the encoding that RFC 3551 section 6 assigns to a payload type.
const fn encoding(payload_type: u8) -> Option<&'static str> {
    Some(match payload_type {
        0 => "PCMU",
        3 => "GSM",
        4 => "G723",
        5 | 6 | 16 | 17 => "DVI4",
        7 => "LPC",
        8 => "PCMA",
        9 => "G722",
        10 | 11 => "L16",
        12 => "QCELP",
        13 => "CN",
        14 => "MPA",
        15 => "G728",
        18 => "G729",
        25 => "CelB",
        26 => "JPEG",
        28 => "nv",
        31 => "H261",
        32 => "MPV",
        33 => "MP2T",
        34 => "H263",
        _ => return None,
    })
}

impl fmt::Display for Rtp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { payload_type, sequence, timestamp, ssrc, .. } = self;
        write!(f, "RTP PT {payload_type}")?;
        if let Some(name) = encoding(*payload_type) {
            write!(f, " ({name})")?;
        }
        write!(f, ", seq {sequence}, timestamp {timestamp}, SSRC {ssrc:#010x}")?;
        if self.marker {
            f.write_str(", marker")?;
        }
        match self.mpeg_ts() {
            Some(stream) => write!(f, " / {stream}"),
            None => Ok(()),
        }
    }
}
