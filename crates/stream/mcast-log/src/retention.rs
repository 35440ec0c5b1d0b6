//! What is removed from a log.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::LogTime;
use crate::catalog::{Catalog, latest, length};
use crate::error::{FileOperation, LogError};
use crate::files::Files;
use crate::format::SegmentName;

/// How much of a log is retained. Whole segments are removed, the oldest ones first, and never the newest one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Segments are removed while all of them together are larger.
    pub bytes: Option<u64>,
    /// Segments are removed when all their records are older.
    pub age: Option<Duration>,
}

/// Removes the segments that are not retained, also while a writer appends; returns their names.
///
/// # Errors
/// If the directory or a segment cannot be read, or a file cannot be removed.
pub fn prune(
    files: &Arc<dyn Files>,
    retention: &Retention,
    now: LogTime,
) -> Result<Vec<SegmentName>, LogError> {
    if *retention == Retention::default() {
        return Ok(Vec::new());
    }
    let catalog = Catalog::read(Arc::clone(files))?;
    let mut lengths = Vec::with_capacity(catalog.segments.len());
    for name in &catalog.segments {
        lengths.push(length(&**files, name)?);
    }
    let mut total: u64 = lengths.iter().sum();
    let oldest =
        retention.age.map(|age| now.0.saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)));
    let mut removed = Vec::new();
    let closed = catalog.segments.split_last().map_or(&[][..], |(_, closed)| closed);
    for (name, length) in closed.iter().zip(lengths) {
        let is_too_much = retention.bytes.is_some_and(|bytes| total > bytes);
        let is_too_old = match oldest {
            Some(oldest) if !is_too_much => latest(&catalog, name)?.is_none_or(|latest| latest.0 < oldest),
            _ => false,
        };
        if !is_too_much && !is_too_old {
            break;
        }
        remove(&**files, &name.segment_file())?;
        remove(&**files, &name.index_file())?;
        // One at a time: after a crash there must not be an older one without the ones after it.
        files.sync_directory().map_err(LogError::io(FileOperation::Sync, files.path("")))?;
        total = total.saturating_sub(length);
        removed.push(*name);
    }
    Ok(removed)
}

fn remove(files: &dyn Files, name: &str) -> Result<(), LogError> {
    match files.remove(name) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(LogError::io(FileOperation::Remove, files.path(name))(error)),
    }
}
