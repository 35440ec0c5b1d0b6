//! Manifests, by which a signature covers data.

use super::super::header::{WireError, u16_at};
use super::super::identity::Sequence;
use super::super::view::{DatagramWriter, WriteError};

/// The first 16 bytes of the SHA-256 hash of a datagram, with the flags cleared that may differ between two copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; Self::LENGTH]);

impl Digest {
    /// The length in bytes.
    pub const LENGTH: usize = 16;
}

/// The body of a manifest: the digests of the datagrams immediately before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest<'a> {
    digests: &'a [[u8; Digest::LENGTH]],
}

impl<'a> Manifest<'a> {
    /// The largest number of datagrams that a manifest covers.
    pub const MOST: usize = 64;
    /// The bytes before the digests.
    pub const HEAD: usize = 4;

    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError::Body`] when it covers no datagrams or too many, or is too short.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let count = usize::from(u16_at(body, 0).ok_or(WireError::Body)?);
        let digests = body.get(Self::HEAD..).unwrap_or_default();
        let digests = digests.get(..count * Digest::LENGTH).ok_or(WireError::Body)?;
        match (1..=Self::MOST).contains(&count) {
            true => Ok(Self { digests: digests.as_chunks().0 }),
            false => Err(WireError::Body),
        }
    }

    /// Returns the datagrams that a manifest with this sequence covers, and the digest of each.
    pub fn covered(self, manifest: Sequence) -> impl Iterator<Item = (Sequence, Digest)> {
        let first = manifest.0.saturating_sub(self.digests.len() as u64);
        let skipped = self.digests.len() as u64 - (manifest.0 - first);
        let digests = self.digests.iter().skip(skipped as usize);
        digests.enumerate().map(move |(at, digest)| (Sequence(first + at as u64), Digest(*digest)))
    }

    /// Writes a body.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(digests: &[Digest], writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        writer.put(&(digests.len() as u16).to_be_bytes())?;
        writer.put(&[0; 2])?;
        digests.iter().try_for_each(|digest| writer.put(&digest.0))
    }
}
