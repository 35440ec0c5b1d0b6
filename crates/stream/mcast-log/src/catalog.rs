//! The segments of a directory.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use mcast_stream_proto::history::Position;
use mcast_stream_proto::wire::MessageNumber;

use crate::LogTime;
use crate::error::{FileOperation, LogError};
use crate::files::Files;
use crate::format::{HeaderError, SegmentHeader, SegmentIndex, SegmentName};
use crate::scan::{Scanner, read_prefix};

/// The longest index that is read if the length of its segment is not known, in bytes.
pub(crate) const LONGEST_INDEX: u64 = 1 << 22;

/// The segments, in order, as of the last listing.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) segments: Vec<SegmentName>,
}

impl Catalog {
    pub(crate) fn read(files: Arc<dyn Files>) -> Result<Self, LogError> {
        let mut catalog = Self { files, segments: Vec::new() };
        catalog.refresh()?;
        // A log of another version is not read, continued or pruned as if it were damaged.
        match catalog.segments.last().map(|name| Scanner::open(&*catalog.files, name)) {
            Some(Err(error @ LogError::Header { cause: HeaderError::Version(_), .. })) => Err(error),
            _ => Ok(catalog),
        }
    }

    /// Lists the directory again.
    pub(crate) fn refresh(&mut self) -> Result<(), LogError> {
        loop {
            let known = self.segments.last().map_or(0, |name| name.segment);
            let names = self.files.list().map_err(LogError::io(FileOperation::List, self.files.path("")))?;
            self.segments = names.iter().filter_map(|name| SegmentName::read(name)).collect();
            self.segments.sort_unstable();
            // A listing may lack a segment that was created while the directory was read, and have the next one.
            // The next listing has all that were created before a segment of this one.
            let mut pairs = self.segments.iter().zip(self.segments.iter().skip(1));
            if pairs.all(|(name, next)| next.segment <= name.segment.max(known).saturating_add(1)) {
                return Ok(());
            }
        }
    }

    /// Returns the first segment after the one with this number.
    pub(crate) fn after(&self, segment: u64) -> Option<&SegmentName> {
        self.segments.get(self.segments.partition_point(|name| name.segment <= segment))
    }

    /// Returns the last segment that begins at this position or before it, or the oldest one.
    pub(crate) fn at(&self, position: Position) -> Option<&SegmentName> {
        let after = self.segments.partition_point(|name| name.first <= position);
        self.segments.get(after.saturating_sub(1))
    }

    /// Returns the position of a message of the latest incarnation.
    pub(crate) fn latest(&self, number: MessageNumber) -> Option<Position> {
        self.segments.last().map(|name| Position { number, ..name.first })
    }

    /// Returns the index of a segment, if there is a valid one, that is, if the segment is closed.
    pub(crate) fn index(&self, header: &SegmentHeader, length: u64) -> Option<SegmentIndex> {
        self.read_index(header, SegmentIndex::longest(length)).filter(|index| index.length == length)
    }

    /// Returns the number that followed a segment when it was closed, also if it has been cut off or damaged since.
    /// `None` if it was not closed.
    pub(crate) fn closed_before(&self, header: &SegmentHeader) -> Option<MessageNumber> {
        self.read_index(header, LONGEST_INDEX).map(|index| index.end)
    }

    fn read_index(&self, header: &SegmentHeader, longest: u64) -> Option<SegmentIndex> {
        let file = self.files.open(&header.name().index_file()).ok()?;
        if file.length().ok()? > longest {
            return None;
        }
        let index = SegmentIndex::read(&read_prefix(&*file, usize::try_from(longest).ok()?).ok()?)?;
        (index.salt == header.salt).then_some(index)
    }

    pub(crate) fn path_of(&self, header: &SegmentHeader) -> PathBuf {
        self.files.path(&header.name().segment_file())
    }
}

/// Returns the latest time of a segment; `None` if it has no records, or no longer exists.
pub(crate) fn latest(catalog: &Catalog, name: &SegmentName) -> Result<Option<LogTime>, LogError> {
    let Some(mut scanner) = Scanner::open(&*catalog.files, name)? else { return Ok(None) };
    let path = catalog.files.path(&name.segment_file());
    let length = scanner.file_length().map_err(LogError::io(FileOperation::Read, path.clone()))?;
    let index = match catalog.index(scanner.header(), length) {
        Some(index) => index,
        None => scanner.survey(None, &path)?.index,
    };
    Ok((index.records > 0).then_some(index.latest))
}

/// Returns the length of a segment; 0 if it no longer exists.
pub(crate) fn length(files: &dyn Files, name: &SegmentName) -> Result<u64, LogError> {
    let file = name.segment_file();
    match files.open(&file).and_then(|file| file.length()) {
        Ok(length) => Ok(length),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(LogError::io(FileOperation::Open, files.path(&file))(error)),
    }
}
