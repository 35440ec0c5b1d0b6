//! Parity: symbols from which lost datagrams of data, and manifests, are recovered; and manifests, by which a signature
//! covers them.

use super::identity::{KeyEpoch, Sequence};
use super::view::{DatagramWriter, WireError, WriteError, array, u16_at, u64_at};

/// The body of a parity datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parity<'a> {
    /// The first datagram of the block.
    pub base: Sequence,
    /// The number of datagrams in the block, 1 to [`LONGEST_BLOCK`](Self::LONGEST_BLOCK).
    pub count: u8,
    /// The index of the symbol, less than [`SYMBOLS`](Self::SYMBOLS).
    pub index: u8,
    /// The key epoch of the datagrams in the block.
    pub epoch: KeyEpoch,
    /// The symbol.
    pub symbol: &'a [u8],
}

impl<'a> Parity<'a> {
    /// The largest number of datagrams in a block.
    pub const LONGEST_BLOCK: u8 = 64;
    /// The number of parity symbols that a block has at most.
    pub const SYMBOLS: u8 = 192;
    /// The length of the body before the symbol.
    pub const HEAD: usize = 12;
    /// The length of the shortest symbol: that of datagrams without extensions and bodies.
    const SHORTEST: usize = 9;

    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError::Body`] when the body is too short or inconsistent.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let [count, index] = array(body, 8).ok_or(WireError::Body)?;
        let parity = Self {
            base: Sequence(u64_at(body, 0).ok_or(WireError::Body)?),
            count,
            index,
            epoch: KeyEpoch(u16_at(body, 10).ok_or(WireError::Body)?),
            symbol: body.get(Self::HEAD..).ok_or(WireError::Body)?,
        };
        let possible = (1..1 << 62).contains(&parity.base.0)
            && (1..=Self::LONGEST_BLOCK).contains(&count)
            && index < Self::SYMBOLS
            && parity.symbol.len() >= Self::SHORTEST;
        possible.then_some(parity).ok_or(WireError::Body)
    }

    /// Returns one past the last datagram of the block.
    #[must_use]
    pub fn end(&self) -> Sequence {
        self.base + u64::from(self.count)
    }

    /// Writes the body.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(&self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        writer.put(&self.base.0.to_be_bytes())?;
        writer.put(&[self.count, self.index])?;
        writer.put(&self.epoch.0.to_be_bytes())?;
        writer.put(self.symbol)
    }
}

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
