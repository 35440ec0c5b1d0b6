//! A datagram as a view over its bytes.

use super::extension::{ExtensionKind, Extensions};
use super::header::{Header, Kind};
use super::identity::{KeyEpoch, ReceiverId};

/// Why bytes are no datagram of this protocol, or none that can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// It is somebody else's.
    #[error("it is no datagram of this protocol")]
    Foreign,
    /// It ends too early.
    #[error("the datagram ends too early")]
    Short,
    /// It is of another major version.
    #[error("version {}.{} is not understood here, {} is", .0 >> 4, .0 & 15, super::MAJOR)]
    Version(u8),
    /// It is of a kind that a later minor version may have: to be passed over.
    #[error("kind {0} is not known here")]
    UnknownKind(u8),
    /// The header is shorter than any, or longer than the datagram.
    #[error("the header cannot be {0} words long")]
    HeaderLength(u8),
    /// The reserved flag is set.
    #[error("the reserved flag is set")]
    ReservedFlag,
    /// The extensions do not fill their room.
    #[error("an extension does not end where the next begins")]
    Extension,
    /// An extension that must be understood is not known.
    #[error("extension {0:#04x} must be understood, and is not known here")]
    CriticalExtension(u8),
    /// The body is not what its kind says.
    #[error("the body is not what its kind says")]
    Body,
}

/// A datagram, its parts told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it begins with.
    pub header: Header,
    /// What follows the header.
    pub extensions: Extensions<'a>,
    /// Header and extensions as they are: what is authenticated but not hidden.
    pub head: &'a [u8],
    /// The body; of a sealed datagram, hidden and followed by the tag.
    pub body: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Tells the parts of a datagram apart. A sealed body is left as it is.
    ///
    /// # Errors
    /// What is no datagram of this protocol, and why.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (header, end) = Header::read(bytes)?;
        let (head, body) = bytes.split_at_checked(end).ok_or(WireError::Short)?;
        let extensions = Extensions::read(head.get(super::HEADER_LENGTH..).unwrap_or_default())?;
        if header.epoch != KeyEpoch::CLEAR && body.len() < super::TAG_LENGTH {
            return Err(WireError::Short);
        }
        if header.kind == Kind::Data && header.sequence == 0 {
            return Err(WireError::Body);
        }
        Ok(Self { header, extensions, head, body })
    }

    /// The salt of the sender's life, with which it seals; 0 where there is none.
    #[must_use]
    #[inline]
    pub fn salt(&self) -> u64 {
        if self.extensions.is_empty() { 0 } else { self.extensions.u64(ExtensionKind::SALT).unwrap_or(0) }
    }

    /// The receiver that sent it, if one did.
    #[must_use]
    pub fn receiver(&self) -> Option<ReceiverId> {
        self.extensions.u64(ExtensionKind::RECEIVER).map(ReceiverId)
    }
}
