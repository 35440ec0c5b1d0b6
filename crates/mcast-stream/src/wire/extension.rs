//! What may stand between header and body.
//!
//! An extension is a kind, its length in words (of itself, so at least 1), a small value of 16
//! bits, and a value of whole words. Who meets one of a kind it doesn't know passes over it,
//! unless the kind's uppermost bit says that the datagram means nothing without.

use super::bytes::{u16_at, u32_at, u64_at};
use super::packet::WireError;

/// What an extension is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExtensionKind(pub u8);

impl ExtensionKind {
    /// The datagram means nothing to who doesn't know the extension.
    pub const CRITICAL: u8 = 0x80;
    /// The length of the whole message, in bytes (32 bits): on the first piece of one.
    pub const TOTAL_LENGTH: Self = Self(Self::CRITICAL | 1);
    /// When it was sent, in nanoseconds since 1970 (64 bits).
    pub const SENT_AT: Self = Self(2);
    /// The block of repair symbols: reserved.
    pub const FEC_BLOCK: Self = Self(3);
    /// Each message in here begins with its key of 8 bytes.
    pub const KEYED: Self = Self(Self::CRITICAL | 4);
    /// After so many microseconds the message is of no use (32 bits): reserved.
    pub const DEADLINE: Self = Self(5);
    /// Where a snapshot is to be had: reserved.
    pub const SNAPSHOT: Self = Self(6);
    /// A proof against a signed manifest: reserved.
    pub const PROOF: Self = Self(7);
    /// An identifier for tracing (64 bits): reserved.
    pub const TRACE: Self = Self(8);
    /// The receiver that sends this (64 bits).
    pub const RECEIVER: Self = Self(Self::CRITICAL | 9);

    /// What no other life of the stream seals with (64 bits): on all that a sealed stream's sender sends.
    pub const SALT: Self = Self(Self::CRITICAL | 10);

    const fn is_critical(self) -> bool {
        self.0 & Self::CRITICAL != 0
    }

    const fn is_known(self) -> bool {
        matches!(self, Self::TOTAL_LENGTH | Self::KEYED | Self::RECEIVER | Self::SALT)
    }
}

/// One extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// What it is.
    pub kind: ExtensionKind,
    /// Its small value.
    pub small: u16,
    /// Its value, whole words.
    pub value: &'a [u8],
}

/// The extensions of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions<'a> {
    bytes: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// Checks that they fill the bytes, and that those that must be understood are.
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

    /// The first of this kind.
    #[must_use]
    pub fn find(mut self, kind: ExtensionKind) -> Option<Extension<'a>> {
        self.by_ref().find(|extension| extension.kind == kind)
    }

    /// The value of 32 bits of the first of this kind.
    #[must_use]
    pub fn u32(self, kind: ExtensionKind) -> Option<u32> {
        u32_at(self.find(kind)?.value, 0)
    }

    /// The value of 64 bits of the first of this kind.
    #[must_use]
    pub fn u64(self, kind: ExtensionKind) -> Option<u64> {
        u64_at(self.find(kind)?.value, 0)
    }

    /// Whether there is none.
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

/// The extension at the start of the bytes, and what follows it.
fn split(bytes: &[u8]) -> Option<(Extension<'_>, &[u8])> {
    let length = usize::from(*bytes.get(1)?) * 4;
    let value = bytes.get(4..length)?;
    let extension = Extension { kind: ExtensionKind(bytes[0]), small: u16_at(bytes, 2)?, value };
    Some((extension, bytes.get(length..)?))
}
