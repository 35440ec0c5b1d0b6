//! The header of a segment, its index, which can always be made again, and the names of its files.

use mcast_stream_proto::history::Position;
use mcast_stream_proto::wire::{Incarnation, KeyEpoch, MessageNumber, StreamId};

use super::{u16_at, u32_at, u64_at};
use crate::LogTime;

const MAGIC: &[u8; 8] = b"MCASTLOG";
const VERSION: u16 = 2;
const CHECKSUM_AT: usize = 76;
/// The length of a header without the name.
const FIXED: usize = 80;
/// The length of the longest name of a stream, in bytes.
pub const MAX_NAME: usize = 255;

/// The beginning of a segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The stream.
    pub stream: StreamId,
    /// The name of the stream; empty if it has none.
    pub name: String,
    /// The publisher that wrote it. If it continued a stream, the incarnation of the records is less than its own.
    pub publisher: Incarnation,
    /// The epoch of the secret that seals the records; [`KeyEpoch::CLEAR`] if they are not sealed.
    pub epoch: KeyEpoch,
    /// The number of the segment in the log.
    pub segment: u64,
    /// The position of the first record in the stream. All records of the segment have its incarnation.
    pub first: Position,
    /// The position after the record before the segment. It is that of the first record, unless another incarnation begins.
    pub follows: Position,
    /// Drawn at random for each segment: it marks the records, and no two sealed segments share a key.
    pub salt: u64,
    /// When the segment was begun.
    pub begun: LogTime,
}

/// Why bytes are not the header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// They do not begin like a segment.
    #[error("it is not a segment of a log")]
    Magic,
    /// They are of another version.
    #[error("its format is version {0}, and this program reads version {VERSION}")]
    Version(u16),
    /// The file has the name of another segment.
    #[error("its name is that of another segment")]
    Renamed,
    /// They are cut off, or their checksum is wrong.
    #[error("its header is damaged")]
    Damaged,
}

impl SegmentHeader {
    pub(crate) const fn name(&self) -> SegmentName {
        SegmentName { segment: self.segment, first: self.first }
    }

    /// The length of the longest header.
    pub const LONGEST: usize = FIXED + MAX_NAME;

    /// Returns its bytes. A name that is too long is cut off.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let name = &self.name.as_bytes()[..self.name_length()];
        let mut bytes = Vec::with_capacity(FIXED + name.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&self.epoch.0.to_be_bytes());
        bytes.extend_from_slice(&self.publisher.0.to_be_bytes());
        for number in [self.stream.0, self.segment, self.first.number.0, self.follows.number.0] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.first.incarnation.0.to_be_bytes());
        bytes.extend_from_slice(&self.follows.incarnation.0.to_be_bytes());
        bytes.extend_from_slice(&self.salt.to_be_bytes());
        bytes.extend_from_slice(&self.begun.0.to_be_bytes());
        bytes.extend_from_slice(&(name.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&[0; 2]);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes), name);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        bytes.extend_from_slice(name);
        bytes
    }

    /// Reads the header at the beginning of these bytes.
    ///
    /// # Errors
    /// If there is none.
    pub fn read(bytes: &[u8]) -> Result<Self, HeaderError> {
        if !bytes.starts_with(MAGIC) {
            return Err(HeaderError::Magic);
        }
        let Some(fixed) = bytes.get(..FIXED) else {
            // Headers of other versions may be shorter.
            let version = bytes.get(8..10).map_or(VERSION, |bytes| u16_at(bytes, 0));
            return Err(if version == VERSION {
                HeaderError::Damaged
            } else {
                HeaderError::Version(version)
            });
        };
        let length = usize::from(u16_at(fixed, 72));
        let name = bytes.get(FIXED..FIXED + length).filter(|_| length <= MAX_NAME);
        // Of this version, so that a damaged version field is not taken for another version.
        let numbers = [&fixed[..8], &VERSION.to_be_bytes(), &fixed[10..CHECKSUM_AT]].concat();
        let checksum = |name| crc32c::crc32c_append(crc32c::crc32c(&numbers), name);
        let intact = name.filter(|name| checksum(name) == u32_at(fixed, CHECKSUM_AT));
        let name = match (u16_at(fixed, 8), intact) {
            (VERSION, Some(name)) => str::from_utf8(name).map_err(|_| HeaderError::Damaged)?,
            (VERSION, None) | (_, Some(_)) => return Err(HeaderError::Damaged),
            (version, None) => return Err(HeaderError::Version(version)),
        };
        Ok(Self {
            stream: StreamId(u64_at(fixed, 16)),
            name: name.to_owned(),
            publisher: Incarnation(u32_at(fixed, 12)),
            epoch: KeyEpoch(u16_at(fixed, 10)),
            segment: u64_at(fixed, 24),
            first: Position::new(Incarnation(u32_at(fixed, 48)), MessageNumber(u64_at(fixed, 32))),
            follows: Position::new(Incarnation(u32_at(fixed, 52)), MessageNumber(u64_at(fixed, 40))),
            salt: u64_at(fixed, 56),
            begun: LogTime(u64_at(fixed, 64)),
        })
    }

    /// Returns its length in bytes, which is where the first record begins.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
    pub fn len(&self) -> usize {
        FIXED + self.name_length()
    }

    /// Returns how many bytes of the name are written: whole characters only.
    fn name_length(&self) -> usize {
        let longest = MAX_NAME.min(self.name.len());
        (0..=longest).rev().find(|end| self.name.is_char_boundary(*end)).unwrap_or(0)
    }
}

/// The name of a segment file, which has the number of the segment and the position of its first record, so that a
/// directory listing is the table of contents. Names are ordered as the segments are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// The number of the segment.
    pub segment: u64,
    /// The position of its first record.
    pub first: Position,
}

impl SegmentName {
    const SEGMENT: &str = ".log";
    const INDEX: &str = ".index";
    /// The ending of files that are being written.
    pub(crate) const UNFINISHED: &str = ".new";

    /// Reads the name of a segment file; `None` if it is another file.
    #[must_use]
    pub fn read(file: &str) -> Option<Self> {
        Self::read_stem(file.strip_suffix(Self::SEGMENT)?)
    }

    /// Reads the name of an index file; `None` if it is another file.
    pub(crate) fn read_index(file: &str) -> Option<Self> {
        Self::read_stem(file.strip_suffix(Self::INDEX)?)
    }

    /// Returns the name of the segment file.
    #[must_use]
    pub fn segment_file(&self) -> String {
        self.stem() + Self::SEGMENT
    }

    /// Returns the name of the index file.
    #[must_use]
    pub fn index_file(&self) -> String {
        self.stem() + Self::INDEX
    }

    fn stem(&self) -> String {
        let Position { incarnation, number } = self.first;
        format!("{:020}-{:010}-{:020}", self.segment, incarnation.0, number.0)
    }

    fn read_stem(stem: &str) -> Option<Self> {
        let mut words = stem.split('-');
        let segment = words.next()?.parse().ok()?;
        let incarnation = Incarnation(words.next()?.parse().ok()?);
        let number = MessageNumber(words.next()?.parse().ok()?);
        let name = Self { segment, first: Position { incarnation, number } };
        // One spelling only: no sign, no missing zeros, nothing behind it.
        (name.stem() == stem).then_some(name)
    }
}

const MAGIC_AND_VERSION: &[u8; 16] = b"MCASTIDX\0\x01\0\0\0\0\0\0";
const INDEX_FIXED: usize = 64;
const INDEX_CHECKSUM_AT: usize = 60;
const ENTRY: usize = 24;
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
        let mut bytes = Vec::with_capacity(INDEX_FIXED + ENTRY * self.entries.len());
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
        bytes[INDEX_CHECKSUM_AT..INDEX_FIXED].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// Reads an index; `None` if it is damaged or none. Then it is made again from the segment.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_at_checked(INDEX_FIXED)?;
        let count = u32_at(fixed, 56) as usize;
        let is_whole =
            rest.len() == count.checked_mul(ENTRY)? && checksum(bytes) == u32_at(fixed, INDEX_CHECKSUM_AT);
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
        INDEX_FIXED as u64 + (segment / INDEX_INTERVAL + 1).saturating_mul(ENTRY as u64)
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
    let (before, after) = (bytes.get(..INDEX_CHECKSUM_AT), bytes.get(INDEX_FIXED..));
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
