//! Parity, from which lost datagrams are recovered.

use super::super::header::{WireError, array, u16_at, u64_at};
use super::super::identity::{KeyEpoch, Sequence};
use super::super::view::{DatagramWriter, WriteError};

/// The body of a parity datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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

    /// Creates a parity symbol of a block: its first datagram, their number, the index and the bytes of the symbol, and the key
    /// epoch of the datagrams.
    #[must_use]
    pub const fn new(base: Sequence, count: u8, index: u8, epoch: KeyEpoch, symbol: &'a [u8]) -> Self {
        Self { base, count, index, epoch, symbol }
    }

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
