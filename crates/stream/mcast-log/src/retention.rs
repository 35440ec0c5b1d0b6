//! Which segments of a log are removed, and which stay although they are due, because the publisher still needs them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mcast_stream_proto::history::Position;
use mcast_stream_proto::wire::{Incarnation, MessageNumber};

use crate::LogTime;
use crate::catalog::{Catalog, latest, length};
use crate::error::{FileOperation, LogError};
use crate::files::Files;
use crate::format::SegmentName;

/// The first needed message of a log of which nothing is needed: after every message.
pub const NOTHING_NEEDED: Position = Position::new(Incarnation(u32::MAX), MessageNumber::MAX);

/// How much of a log is retained. Whole segments are removed, the oldest ones first, and never the newest one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Segments are removed while all of them together are larger.
    pub bytes: Option<u64>,
    /// Segments are removed when all their records are older.
    pub age: Option<Duration>,
}

/// What a removal has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Pruned {
    /// The segments that were removed, the oldest first.
    pub removed: Vec<SegmentName>,
    /// What is due to be removed, and still needed.
    pub held: Option<HeldLog>,
}

/// A log that has more than it is to retain, because the publisher still needs its oldest segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldLog {
    /// Where the segment after the oldest one begins. The oldest one is removed once no message before this is needed.
    pub end: Position,
    /// The length of all segments in bytes.
    pub bytes: u64,
    /// Whether they are larger than [`Retention::bytes`]. Otherwise the oldest one is older than [`Retention::age`].
    pub is_too_large: bool,
}

/// Removes the segments that are neither retained nor needed, also while a writer appends. Everything from the message `needed`
/// on stays, also if it is not to be retained.
///
/// # Errors
/// If the directory or a segment cannot be read, or a file cannot be removed.
pub fn prune(
    files: &Arc<dyn Files>,
    retention: &Retention,
    needed: Position,
    now: LogTime,
) -> Result<Pruned, LogError> {
    let mut pruned = Pruned::default();
    if *retention == Retention::default() {
        return Ok(pruned);
    }
    let catalog = Catalog::read(Arc::clone(files))?;
    let mut lengths = Vec::with_capacity(catalog.segments.len());
    for name in &catalog.segments {
        lengths.push(length(&**files, name)?);
    }
    let mut total: u64 = lengths.iter().sum();
    let oldest =
        retention.age.map(|age| now.0.saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)));
    for (pair, length) in catalog.segments.windows(2).zip(lengths) {
        let [name, next] = pair else { break };
        let is_too_large = retention.bytes.is_some_and(|bytes| total > bytes);
        let is_too_old = match oldest {
            Some(oldest) if !is_too_large => latest(&catalog, name)?.is_none_or(|latest| latest.0 < oldest),
            _ => false,
        };
        if !is_too_large && !is_too_old {
            break;
        }
        let end = next.first;
        if end > needed {
            pruned.held = Some(HeldLog { end, bytes: total, is_too_large });
            break;
        }
        remove(&**files, &name.segment_file())?;
        remove(&**files, &name.index_file())?;
        // One at a time: after a crash there must not be an older one without the ones after it.
        files.sync_directory().map_err(LogError::io(FileOperation::Sync, files.path("")))?;
        total = total.saturating_sub(length);
        pruned.removed.push(*name);
    }
    Ok(pruned)
}

fn remove(files: &dyn Files, name: &str) -> Result<(), LogError> {
    match files.remove(name) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(LogError::io(FileOperation::Remove, files.path(name))(error)),
    }
}
