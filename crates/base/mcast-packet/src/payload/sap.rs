//! SAP, the Session Announcement Protocol (RFC 2974).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::EscapedText;
use crate::list::{array_at, u8_at, u16_at};

/// An announcement or a deletion of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sap<'a> {
    /// Whether the session is withdrawn.
    pub is_deletion: bool,
    /// Whether the payload is encrypted.
    pub is_encrypted: bool,
    /// Whether the payload is compressed with zlib.
    pub is_compressed: bool,
    /// The hash of the message, which identifies a version of the session together with the origin.
    pub hash: u16,
    /// The address of the host that first announced the session.
    pub origin: IpAddr,
    /// The media type of the payload, if it is stated; otherwise it is `application/sdp`.
    pub payload_type: Option<&'a [u8]>,
    /// The payload, without its type: a session description, or in a deletion perhaps only its `o=` line.
    pub payload: &'a [u8],
}

impl<'a> Sap<'a> {
    /// The port of SAP.
    pub const PORT: u16 = 9875;

    /// Parses the payload of a datagram. Returns `None` if it is not of version 1, or ends within the header.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let flags = u8_at(bytes, 0).filter(|flags| flags >> 5 == 1)?;
        let (origin, after) = if flags & 0x10 == 0 {
            (IpAddr::from(Ipv4Addr::from(array_at(bytes, 4)?)), 8)
        } else {
            (IpAddr::from(Ipv6Addr::from(array_at::<16>(bytes, 4)?)), 20)
        };
        let authentication = usize::from(u8_at(bytes, 1)?) * 4;
        let (is_encrypted, is_compressed) = (flags & 0x02 != 0, flags & 0x01 != 0);
        let content = bytes.get(after + authentication..)?;
        let (payload_type, payload) = match content {
            // Ciphertext, or compressed together with its type.
            _ if is_encrypted || is_compressed => (None, content),
            _ if content.starts_with(b"v=") || content.starts_with(b"o=") => (None, content),
            _ => match content.iter().position(|byte| *byte == 0) {
                Some(end) => (content.get(..end), content.get(end + 1..)?),
                None => (None, content),
            },
        };
        let (is_deletion, hash) = (flags & 0x04 != 0, u16_at(bytes, 2)?);
        Some(Self { is_deletion, is_encrypted, is_compressed, hash, origin, payload_type, payload })
    }

    /// Returns the values of the lines of the session description that begin with this, such as `s=` or `a=rtpmap:`.
    pub fn lines(&self, start: &'a str) -> impl Iterator<Item = &'a [u8]> {
        // Neither ciphertext nor compressed text has lines.
        let text = if self.is_encrypted || self.is_compressed { &[] } else { self.payload };
        let lines = text.split(|byte| matches!(byte, b'\n' | b'\r' | 0));
        lines.filter_map(move |line| line.strip_prefix(start.as_bytes()).map(<[u8]>::trim_ascii))
    }

    pub(super) fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_deletion { "deletion" } else { "announcement" };
        write!(f, " {kind}, hash {:#06x}, from {}", self.hash, self.origin)?;
        if self.is_encrypted || self.is_compressed {
            return f.write_str(", compressed or encrypted");
        }
        match self.lines("s=").next() {
            Some(name) => write!(f, ", session {}", EscapedText { bytes: name, max_length: 64 }),
            None => Ok(()),
        }
    }
}
