//! The index of a segment, which can always be made again from the segment.

use mcast_stream_proto::wire::MessageNumber;

use super::{u32_at, u64_at};
use crate::LogTime;

const MAGIC_AND_VERSION: &[u8; 16] = b"MCASTIDX\0\x01\0\0\0\0\0\0";
const FIXED: usize = 64;
const ENTRY: usize = 24;
const CHECKSUM_AT: usize = 60;
/// The distance of the records that an index has entries for, in bytes.
pub const INDEX_INTERVAL: u64 = 1 << 16;

/// A record that one can begin to read at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Its number.
    pub number: MessageNumber,
    /// The latest time of the records before it in the segment; 0 for the first one.
    pub latest_before: LogTime,
    /// Where it begins in the segment.
    pub offset: u64,
}

/// The index of a segment that is closed: everything in it has been synced to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentIndex {
    /// The salt of the segment.
    pub salt: u64,
    /// The length of the segment in bytes.
    pub length: u64,
    /// The number of records.
    pub records: u64,
    /// One past the number of the last message.
    pub end: MessageNumber,
    /// The latest time of its records.
    pub latest: LogTime,
    /// An entry for the first record, and for each one that begins at least [`INDEX_INTERVAL`] after that of the entry
    /// before.
    pub entries: Vec<IndexEntry>,
}

impl SegmentIndex {
    /// Returns its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED + ENTRY * self.entries.len());
        bytes.extend_from_slice(MAGIC_AND_VERSION);
        for number in [self.salt, self.length, self.records, self.end.0, self.latest.0] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&(self.entries.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for entry in &self.entries {
            for number in [entry.number.0, entry.latest_before.0, entry.offset] {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
        }
        let checksum = checksum(&bytes);
        bytes[CHECKSUM_AT..FIXED].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// Reads an index; `None` if it is damaged or none. Then it is made again from the segment.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_at_checked(FIXED)?;
        let count = u32_at(fixed, 56) as usize;
        let is_whole =
            rest.len() == count.checked_mul(ENTRY)? && checksum(bytes) == u32_at(fixed, CHECKSUM_AT);
        if !fixed.starts_with(MAGIC_AND_VERSION) || !is_whole {
            return None;
        }
        let entries = rest.chunks_exact(ENTRY).map(|entry| IndexEntry {
            number: MessageNumber(u64_at(entry, 0)),
            latest_before: LogTime(u64_at(entry, 8)),
            offset: u64_at(entry, 16),
        });
        Some(Self {
            salt: u64_at(fixed, 16),
            length: u64_at(fixed, 24),
            records: u64_at(fixed, 32),
            end: MessageNumber(u64_at(fixed, 40)),
            latest: LogTime(u64_at(fixed, 48)),
            entries: entries.collect(),
        })
    }

    /// Returns the length of the longest index of a segment of this length: an index that is longer is damaged.
    pub(crate) const fn longest(segment: u64) -> u64 {
        FIXED as u64 + (segment / INDEX_INTERVAL + 1).saturating_mul(ENTRY as u64)
    }

    /// Returns the last entry at or before the record with this number.
    #[must_use]
    pub fn before_number(&self, number: MessageNumber) -> Option<&IndexEntry> {
        let after = self.entries.partition_point(|entry| entry.number <= number);
        self.entries.get(after.checked_sub(1)?)
    }

    /// Returns the last entry at or before the first record of this time or later.
    #[must_use]
    pub fn before_time(&self, time: LogTime) -> Option<&IndexEntry> {
        let after = self.entries.partition_point(|entry| entry.latest_before < time);
        self.entries.get(after.checked_sub(1)?)
    }
}

/// Returns the checksum of everything but itself.
fn checksum(bytes: &[u8]) -> u32 {
    let (before, after) = (bytes.get(..CHECKSUM_AT), bytes.get(FIXED..));
    crc32c::crc32c_append(crc32c::crc32c(before.unwrap_or_default()), after.unwrap_or_default())
}

/// Collects an index while records are written or read.
#[derive(Clone, Debug, Default)]
pub(crate) struct IndexBuilder {
    entries: Vec<IndexEntry>,
    state: IndexState,
}

/// What [`IndexBuilder::restore`] needs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IndexState {
    entries: usize,
    records: u64,
    latest: LogTime,
}

impl IndexBuilder {
    pub(crate) fn note(&mut self, offset: u64, number: MessageNumber, time: LogTime) {
        if self.entries.last().is_none_or(|last| offset >= last.offset.saturating_add(INDEX_INTERVAL)) {
            self.entries.push(IndexEntry { number, latest_before: self.state.latest, offset });
        }
        self.state.records += 1;
        self.state.latest = self.state.latest.max(time);
        self.state.entries = self.entries.len();
    }

    /// Forgets what was noted since `state`.
    pub(crate) fn restore(&mut self, state: IndexState) {
        self.entries.truncate(state.entries);
        self.state = state;
    }

    pub(crate) fn index(&self, salt: u64, length: u64, end: MessageNumber) -> SegmentIndex {
        let IndexState { records, latest, .. } = self.state;
        SegmentIndex { salt, length, records, end, latest, entries: self.entries.clone() }
    }

    pub(crate) const fn state(&self) -> IndexState {
        self.state
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.state.records == 0
    }
}
