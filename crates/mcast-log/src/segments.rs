//! What segments a log has.

use std::path::PathBuf;
use std::sync::Arc;

use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::wire::MessageNumber;

use crate::LogTime;
use crate::catalog::{Catalog, length};
use crate::error::LogError;
use crate::files::Files;
use crate::format::{SegmentHeader, SegmentName};
use crate::scan::Scanner;

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
