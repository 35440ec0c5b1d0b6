//! What segments a log has.

use std::path::PathBuf;
use std::sync::Arc;

use mcast_stream_proto::history::Position;
use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::wire::MessageNumber;

use crate::catalog::{Catalog, LONGEST_INDEX, length};
use crate::error::{FileOperation, LogError};
use crate::files::Files;
use crate::format::{LogTime, SegmentHeader, SegmentIndex, SegmentName};
use crate::publisher::LastPublisher;
use crate::reader::Damage;
use crate::scan::{Scanner, read_prefix};

/// A segment of a log.
#[derive(Clone, Debug)]
pub struct SegmentSummary {
    /// The file.
    pub path: PathBuf,
    /// The name, which has the position of the first record.
    pub name: SegmentName,
    /// The length of the file in bytes.
    pub bytes: u64,
    /// The number of records.
    pub records: u64,
    /// One past the number of the last message.
    pub end: MessageNumber,
    /// The latest time of its records; `None` if it has none.
    pub latest: Option<LogTime>,
    /// Whether it is closed and has a valid index. Otherwise it was read completely.
    pub is_closed: bool,
    /// The header; `None` if it is damaged. Then the numbers above are zero.
    pub header: Option<SegmentHeader>,
}

/// Lists the segments of a log, oldest first.
///
/// # Errors
/// If the directory or a segment cannot be read.
pub fn segments(files: Arc<dyn Files>, keys: &Keys) -> Result<Vec<SegmentSummary>, LogError> {
    let catalog = Catalog::read(files)?;
    let summaries = catalog.segments.iter().map(|name| summarize(&catalog, name, keys));
    summaries.filter_map(Result::transpose).collect()
}

/// Returns what is missing at the end of a log, behind `end`, up to which it was read: segments that were removed although
/// they were not the oldest ones. Their indexes and the file of the lineages are evidence of them. How many messages are
/// missing is not always known; then none is counted.
///
/// # Errors
/// If the directory or a file cannot be read.
pub fn missing_at_end(files: &Arc<dyn Files>, end: Position) -> Result<Option<Damage>, LogError> {
    // A publisher begins its segment before it records itself.
    let last = LastPublisher::read(&**files)?;
    let names = files.list().map_err(LogError::io(FileOperation::List, files.path("")))?;
    let newest = names.iter().filter_map(|name| SegmentName::read(name)).max();
    let removed = names.iter().filter_map(|name| SegmentName::read_index(name)).max();
    let removed = removed.filter(|name| newest.is_none_or(|newest| name.segment > newest.segment));
    let mut known_end = end;
    if let Some(name) = removed {
        let number = name.first.number.max(index_end(&**files, &name).unwrap_or_default());
        known_end = known_end.max(Position { number, ..name.first });
    }
    let mut is_missing = removed.is_some();
    if let Some(last) = last {
        // One whose header is damaged proves nothing.
        let newest = newest.map_or(Ok(None), |newest| Scanner::open(&**files, &newest));
        is_missing |= newest
            .is_ok_and(|newest| newest.is_none_or(|newest| newest.header().publisher < last.incarnation));
        known_end = known_end.max(last.stored().unwrap_or(known_end));
    }
    let path = files.path(&removed.map_or_else(String::new, |name| name.segment_file()));
    // What is missing of earlier incarnations is unknown.
    let first = match known_end.incarnation == end.incarnation {
        true => end,
        false => Position { number: MessageNumber(0), ..known_end },
    };
    let end_number = known_end.number;
    let damage =
        Damage { path, offset: 0, bytes: 0, first, end: end_number, sealed: None, is_removed: false };
    Ok((is_missing || known_end > end).then_some(damage))
}

/// Returns the number after the segment of an index.
fn index_end(files: &dyn Files, name: &SegmentName) -> Option<MessageNumber> {
    let file = files.open(&name.index_file()).ok()?;
    let length = usize::try_from(file.length().ok()?.min(LONGEST_INDEX)).ok()?;
    SegmentIndex::read(&read_prefix(&*file, length).ok()?).map(|index| index.end)
}

/// Returns the summary of a segment; `None` if it no longer exists.
fn summarize(catalog: &Catalog, name: &SegmentName, keys: &Keys) -> Result<Option<SegmentSummary>, LogError> {
    let path = catalog.files.path(&name.segment_file());
    let bytes = length(&*catalog.files, name)?;
    let damaged = SegmentSummary {
        path: path.clone(),
        name: *name,
        bytes,
        records: 0,
        end: name.first.number,
        latest: None,
        is_closed: false,
        header: None,
    };
    let mut scanner = match Scanner::open(&*catalog.files, name) {
        Ok(Some(scanner)) => scanner,
        Ok(None) => return Ok(None),
        Err(LogError::Header { .. }) => return Ok(Some(damaged)),
        Err(error) => return Err(error),
    };
    let header = scanner.header().clone();
    let index = catalog.index(&header, bytes);
    let is_closed = index.is_some();
    let index = match index {
        Some(index) => index,
        None => scanner.survey(keys.has(header.epoch).then_some(keys), &path)?.index,
    };
    Ok(Some(SegmentSummary {
        records: index.records,
        end: index.end,
        latest: (index.records > 0).then_some(index.latest),
        is_closed,
        header: Some(header),
        ..damaged
    }))
}
