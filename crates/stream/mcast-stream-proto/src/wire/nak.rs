//! What replaces lost datagrams: NAKs, and the confirmations of repairs.
//!
//! A list is a base (64 bits), two counts (16 bits each), then spots and ranges of 8 bytes each. A spot is an offset
//! from the base and a bitmap of the 32 datagrams after that; a range is an offset and a length. Scattered losses use
//! spots, which cover up to 33 datagrams each, long losses use ranges.

use core::time::Duration;

use super::header::{WireError, u16_at, u32_at, u64_at};
use super::identity::{AddressToken, MessageNumber, Sequence};
use super::view::{DatagramWriter, WriteError};

const LIST_HEADER: usize = 12;
const ENTRY: usize = 8;
/// The largest number of entries: a NAK fits the minimum MTU of IPv6.
const MOST_ENTRIES: usize = 140;
/// The largest number of datagrams in a range: no window is larger.
const LONGEST_RANGE: u32 = 1 << 24;

/// The shortest average time between NAKs of one subscriber after a burst. The publisher ignores the
/// excess.
pub(crate) const NAK_INTERVAL: Duration = Duration::from_micros(200);
/// The NAKs of all subscribers of a crowd: this many per second, or one per `DATAGRAMS_PER_CROWD_NAK` datagrams received if
/// that is more.
pub(crate) const CROWD_NAK_RATE: u64 = 200;
pub(crate) const DATAGRAMS_PER_CROWD_NAK: u64 = 20;

/// The body of a NAK: the missing datagrams whose request is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Nak<'a> {
    /// The token of the last echo.
    pub token: AddressToken,
    /// The missing datagrams.
    pub missing: Ranges<'a>,
}

impl<'a> Nak<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError::Body`] when the list is malformed.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let token = AddressToken(u64_at(body, 0).ok_or(WireError::Body)?);
        Ok(Self { token, missing: Ranges::read(body.get(8..).unwrap_or_default())? })
    }
}

/// The body of a confirmation: the repairs about to be sent, and the oldest datagram that can be repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ncf<'a> {
    /// The sequence of the oldest datagram in the retransmission buffer: earlier ones cannot be repaired.
    pub oldest_retained: Sequence,
    /// The number of the first message that begins in `oldest_retained` or after it.
    pub oldest_message: MessageNumber,
    /// The datagrams about to be repaired.
    pub coming: Ranges<'a>,
}

impl<'a> Ncf<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError::Body`] when the list is malformed.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let oldest_retained = Sequence(u64_at(body, 0).ok_or(WireError::Body)?);
        let oldest_message = MessageNumber(u64_at(body, 8).ok_or(WireError::Body)?);
        Ok(Self {
            oldest_retained,
            oldest_message,
            coming: Ranges::read(body.get(16..).unwrap_or_default())?,
        })
    }
}

/// An iterator over ranges of datagrams: the first sequence and the number of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranges<'a> {
    base: Sequence,
    /// The current spot: the sequence of its lowest bit, and the bits not yet returned.
    spot: (Sequence, u32),
    spots: &'a [u8],
    ranges: &'a [u8],
}

impl<'a> Ranges<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        let base = Sequence(u64_at(bytes, 0).ok_or(WireError::Body)?);
        let count = |at| u16_at(bytes, at).map(usize::from).ok_or(WireError::Body);
        let (spots, ranges) = (count(8)?, count(10)?);
        if spots + ranges > MOST_ENTRIES || base.0 > u64::MAX - (1 << 34) {
            return Err(WireError::Body);
        }
        let entries = bytes.get(LIST_HEADER..).unwrap_or_default();
        let (spots, rest) = entries.split_at_checked(spots * ENTRY).ok_or(WireError::Body)?;
        let ranges = rest.get(..ranges * ENTRY).ok_or(WireError::Body)?;
        let list = Self { base, spot: (base, 0), spots, ranges };
        let possible = |(_, count): (Sequence, u32)| (1..=LONGEST_RANGE).contains(&count);
        if !list.clone().all(possible) {
            return Err(WireError::Body);
        }
        Ok(list)
    }

    fn next_of_spot(&mut self) -> Option<(Sequence, u32)> {
        let (first, bits) = self.spot;
        if bits == 0 {
            return None;
        }
        let skip = bits.trailing_zeros();
        let length = (bits >> skip).trailing_ones();
        let returned = u32::MAX.checked_shr(32 - length).unwrap_or(0) << skip;
        self.spot.1 = bits & !returned;
        Some((first + u64::from(skip), length))
    }
}

impl Iterator for Ranges<'_> {
    type Item = (Sequence, u32);

    fn next(&mut self) -> Option<(Sequence, u32)> {
        if let Some(range) = self.next_of_spot() {
            return Some(range);
        }
        if let Some((entry, rest)) = self.spots.split_at_checked(ENTRY) {
            self.spots = rest;
            let first = self.base + u64::from(u32_at(entry, 0)?);
            let bits = u32_at(entry, 4)?;
            let behind = bits.trailing_ones();
            self.spot = (first + 1, bits & u32::MAX.checked_shl(behind).unwrap_or(0));
            return Some((first, 1 + behind));
        }
        let (entry, rest) = self.ranges.split_at_checked(ENTRY)?;
        self.ranges = rest;
        Some((self.base + u64::from(u32_at(entry, 0)?), u32_at(entry, 4)?))
    }
}

/// Collects ascending ranges for a NAK or a confirmation, without allocation.
#[derive(Clone, Debug)]
pub struct NakWriter {
    base: Sequence,
    spots: [(u32, u32); MOST_ENTRIES],
    spot_count: usize,
    ranges: [(u32, u32); MOST_ENTRIES],
    range_count: usize,
}

impl Default for NakWriter {
    fn default() -> Self {
        let empty = [(0, 0); MOST_ENTRIES];
        Self { base: Sequence::default(), spots: empty, spot_count: 0, ranges: empty, range_count: 0 }
    }
}

impl NakWriter {
    /// The length of the longest body of a NAK or a confirmation, in bytes.
    pub const LONGEST_BODY: usize = 16 + LIST_HEADER + MOST_ENTRIES * ENTRY;

    /// Creates an empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns whether the list is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.spot_count + self.range_count
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        (self.spot_count, self.range_count) = (0, 0);
    }

    /// Adds a range after all others; returns `false` if the list is full.
    pub fn add(&mut self, first: Sequence, count: u32) -> bool {
        if self.is_empty() {
            self.base = first;
        }
        let offset = first.offset_from(self.base).and_then(|offset| u32::try_from(offset).ok());
        let Some(offset) = offset.filter(|_| (1..=LONGEST_RANGE).contains(&count)) else {
            return false;
        };
        if self.join_spot(offset, count) {
            return true;
        }
        if self.spot_count + self.range_count == MOST_ENTRIES {
            return false;
        }
        if count > 33 {
            self.ranges[self.range_count] = (offset, count);
            self.range_count += 1;
        } else {
            self.spots[self.spot_count] = (offset, ones(count - 1));
            self.spot_count += 1;
        }
        true
    }

    /// Adds the range to the last spot, if the bitmap covers it.
    fn join_spot(&mut self, offset: u32, count: u32) -> bool {
        let Some((first, bits)) = self.spots[..self.spot_count].last_mut() else { return false };
        let Some(shift) = offset.checked_sub(*first + 1).filter(|shift| shift + count <= 32) else {
            return false;
        };
        *bits |= ones(count) << shift;
        true
    }

    /// Writes the body of a NAK.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write_nak(&self, token: AddressToken, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        writer.put(&token.0.to_be_bytes())?;
        self.write(writer)
    }

    /// Writes the body of a confirmation.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write_ncf(
        &self,
        oldest_retained: Sequence,
        oldest_message: MessageNumber,
        writer: &mut DatagramWriter<'_>,
    ) -> Result<(), WriteError> {
        writer.put(&oldest_retained.0.to_be_bytes())?;
        writer.put(&oldest_message.0.to_be_bytes())?;
        self.write(writer)
    }

    fn write(&self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        writer.put(&self.base.0.to_be_bytes())?;
        writer.put(&(self.spot_count as u16).to_be_bytes())?;
        writer.put(&(self.range_count as u16).to_be_bytes())?;
        let entries = self.spots[..self.spot_count].iter().chain(&self.ranges[..self.range_count]);
        for (offset, value) in entries {
            writer.put(&offset.to_be_bytes())?;
            writer.put(&value.to_be_bytes())?;
        }
        Ok(())
    }
}

/// Returns a number whose lowest `count` bits are set.
fn ones(count: u32) -> u32 {
    u32::MAX.checked_shr(32_u32.saturating_sub(count)).unwrap_or(0)
}

#[cfg(test)]
impl NakWriter {
    pub(super) const fn spot_count_for_tests(&self) -> usize {
        self.spot_count
    }
}
