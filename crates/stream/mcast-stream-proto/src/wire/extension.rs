//! Extensions between header and body.
//!
//! An extension is a kind, its length in words (including itself, so at least 1), a small value of 16 bits, and a value
//! of whole words. An extension of unknown kind is ignored, unless the top bit of the kind marks it as critical: then
//! the datagram is dropped.

use super::header::{WireError, u16_at, u32_at, u64_at};

/// The kind of an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExtensionKind(pub u8);

impl ExtensionKind {
    /// The bit of critical kinds: a datagram with an unknown one must be dropped.
    pub const CRITICAL: u8 = 0x80;
    /// The length of the whole message in bytes (32 bits): on its first fragment.
    pub const TOTAL_LENGTH: Self = Self(Self::CRITICAL | 1);
    /// The time of sending, in nanoseconds since 1970 (64 bits): reserved.
    pub const SENT_AT: Self = Self(2);
    /// The block of repair symbols: reserved.
    pub const FEC_BLOCK: Self = Self(3);
    /// Each message in the datagram begins with its key of 8 bytes.
    pub const KEYED: Self = Self(Self::CRITICAL | 4);
    /// The time in microseconds after which the message is of no use (32 bits): reserved.
    pub const DEADLINE: Self = Self(5);
    /// The address of a snapshot server: reserved.
    pub const SNAPSHOT: Self = Self(6);
    /// The signature of the publisher (64 bytes), with the id of its key as the small value: on manifests, heartbeats,
    /// confirmations, resets and announcements of a signed stream.
    pub const SIGNATURE: Self = Self(7);
    /// An identifier for tracing (64 bits): reserved.
    pub const TRACE: Self = Self(8);
    /// The subscriber that sends the datagram (64 bits).
    pub const SUBSCRIBER: Self = Self(Self::CRITICAL | 9);

    /// The salt of the publisher's incarnation (64 bits): on all datagrams of the publisher of a sealed stream.
    pub const SALT: Self = Self(Self::CRITICAL | 10);
    /// Where the messages come from: on heartbeats of a publisher that reads them from an engine.
    pub const ORIGIN: Self = Self(11);
    /// What the subscriber's application has received and processed: on statuses that the publisher requests with
    /// [`Flags::ACKNOWLEDGE`](super::Flags::ACKNOWLEDGE).
    pub const ACKNOWLEDGEMENT: Self = Self(12);
    /// The name of the subscriber: on statuses. The small value is its length in bytes.
    pub const NAME: Self = Self(13);
    /// Some of the subscribers that repair for others: on heartbeats. The small value is their number.
    pub const REPAIRERS: Self = Self(14);
    /// Where the messages of the former publisher are: on heartbeats of a publisher that continues a stream.
    pub const RECALLED: Self = Self(15);
    /// The publisher serves the history of the stream: on heartbeats. The small value is the TCP port.
    pub const HISTORY: Self = Self(16);

    const fn is_critical(self) -> bool {
        self.0 & Self::CRITICAL != 0
    }

    const fn is_known(self) -> bool {
        matches!(self, Self::TOTAL_LENGTH | Self::KEYED | Self::SUBSCRIBER | Self::SALT)
    }
}

/// One extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// The kind.
    pub kind: ExtensionKind,
    /// The small value.
    pub small: u16,
    /// The value: whole words.
    pub value: &'a [u8],
}

/// The extensions of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions<'a> {
    bytes: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// Checks that extensions fill the bytes exactly, and that all critical ones are known.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (extension, behind) = split(rest).ok_or(WireError::Extension)?;
            if extension.kind.is_critical() && !extension.kind.is_known() {
                return Err(WireError::CriticalExtension(extension.kind.0));
            }
            rest = behind;
        }
        Ok(Self { bytes })
    }

    /// Returns the first extension of this kind.
    #[must_use]
    pub fn find(mut self, kind: ExtensionKind) -> Option<Extension<'a>> {
        self.by_ref().find(|extension| extension.kind == kind)
    }

    /// Returns the 32-bit value of the first extension of this kind.
    #[must_use]
    pub fn u32(self, kind: ExtensionKind) -> Option<u32> {
        u32_at(self.find(kind)?.value, 0)
    }

    /// Returns the 64-bit value of the first extension of this kind.
    #[must_use]
    pub fn u64(self, kind: ExtensionKind) -> Option<u64> {
        u64_at(self.find(kind)?.value, 0)
    }

    /// Returns whether there are no extensions.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Extension<'a>> {
        let (extension, rest) = split(self.bytes)?;
        self.bytes = rest;
        Some(extension)
    }
}

/// Returns the extension at the start of the bytes, and the bytes after it.
fn split(bytes: &[u8]) -> Option<(Extension<'_>, &[u8])> {
    let length = usize::from(*bytes.get(1)?) * 4;
    let value = bytes.get(4..length)?;
    let extension = Extension { kind: ExtensionKind(bytes[0]), small: u16_at(bytes, 2)?, value };
    Some((extension, bytes.get(length..)?))
}
