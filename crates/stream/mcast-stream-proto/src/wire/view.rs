//! A datagram as a view over its bytes.

use super::extension::{ExtensionKind, Extensions};
use super::header::Header;
use super::identity::{IncarnationSalt, KeyEpoch, SubscriberId};

/// The reason why bytes cannot be parsed as a datagram of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// It does not belong to this protocol.
    #[error("not a datagram of this protocol")]
    Foreign,
    /// It is truncated.
    #[error("the datagram is truncated")]
    Short,
    /// It is of another major version.
    #[error("version {}.{} is not supported, only major version {} is", .0 >> 4, .0 & 15, super::MAJOR)]
    Version(u8),
    /// It has an unknown kind, which a later minor version may define: ignore it.
    #[error("kind {0} is unknown")]
    UnknownKind(u8),
    /// The length of the header is out of range, or greater than that of the datagram.
    #[error("a header length of {0} words is invalid")]
    HeaderLength(u8),
    /// The reserved flag is set.
    #[error("the reserved flag is set")]
    ReservedFlag,
    /// The extensions do not fill the header exactly.
    #[error("an extension has an invalid length")]
    Extension,
    /// A critical extension is unknown.
    #[error("the critical extension {0:#04x} is unknown")]
    CriticalExtension(u8),
    /// The body does not fit its kind.
    #[error("the body is malformed")]
    Body,
}

/// The parts of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramView<'a> {
    /// The fixed header.
    pub header: Header,
    /// The extensions after it.
    pub extensions: Extensions<'a>,
    /// Header and extensions as bytes: the part that is authenticated and not encrypted.
    pub head: &'a [u8],
    /// The body; in a sealed datagram it is encrypted and followed by the tag.
    pub body: &'a [u8],
}

impl<'a> DatagramView<'a> {
    /// Splits a datagram into its parts. A sealed body stays encrypted.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are not a datagram of this protocol, or are malformed.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (header, end) = Header::read(bytes)?;
        let (head, body) = bytes.split_at_checked(end).ok_or(WireError::Short)?;
        let extensions = Extensions::read(head.get(super::HEADER_LENGTH..).unwrap_or_default())?;
        if header.epoch != KeyEpoch::CLEAR && body.len() < super::TAG_LENGTH {
            return Err(WireError::Short);
        }
        if header.kind.is_in_sequence() && header.sequence == 0 {
            return Err(WireError::Body);
        }
        Ok(Self { header, extensions, head, body })
    }

    /// Returns the salt of the publisher's incarnation, which its keys depend on.
    #[must_use]
    #[inline]
    pub fn salt(&self) -> IncarnationSalt {
        match self.extensions.is_empty() {
            true => IncarnationSalt::NONE,
            false => self.extensions.u64(ExtensionKind::SALT).map_or(IncarnationSalt::NONE, IncarnationSalt),
        }
    }

    /// Returns the subscriber that sent the datagram, if one did.
    #[must_use]
    pub fn subscriber(&self) -> Option<SubscriberId> {
        self.extensions.u64(ExtensionKind::SUBSCRIBER).map(SubscriberId)
    }
}
