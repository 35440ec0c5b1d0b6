//! The names of the files.

use mcast_stream_proto::history::Position;
use mcast_stream_proto::wire::{Incarnation, MessageNumber};

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
