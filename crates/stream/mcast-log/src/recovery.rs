//! What a writer does with the log that it finds.

use std::path::PathBuf;
use std::sync::Arc;

use mcast_stream_proto::history::Position;
use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::wire::{Incarnation, StreamId};

use crate::LogTime;
use crate::catalog::Catalog;
use crate::error::{FileOperation, LogError};
use crate::files::{Files, write_all, write_file};
use crate::format::{SegmentHeader, SegmentIndex, SegmentName};
use crate::retention::{HeldLog, Retention, prune};
use crate::scan::{Scanner, Survey};

/// How much is copied at once.
const CHUNK: usize = 1 << 18;

/// What was found in a log when it was opened to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The position that the next message gets if the stream is continued.
    pub next: Position,
    /// The file whose end was cut off, because it was not a complete record.
    pub torn: Option<PathBuf>,
    /// How many bytes were cut off: of appends that were not synced when the machine or the process stopped.
    pub cut_bytes: u64,
    /// Whether what was cut off is only the beginning of one record, as a process leaves it that is killed while it writes:
    /// then nothing is missing that was stored.
    pub is_unfinished: bool,
    /// How many bytes before intact records are damaged. They are still there, and readers report what is missing.
    pub damaged_bytes: u64,
    /// How many messages are missing at the end, which the log had when it was closed.
    pub missing: u64,
    /// A segment without records, which is removed when the next one is there.
    pub(crate) empty: Option<SegmentName>,
    /// The position after the last record.
    pub(crate) end: Position,
}

impl Recovery {
    /// Returns the position after the last record, with the header of the newest segment.
    fn end_behind(&self, header: &SegmentHeader) -> Position {
        match self.empty {
            Some(_) if self.next == header.first => header.follows,
            _ => self.next,
        }
    }
}

/// A log of which nothing was changed yet.
#[derive(Debug)]
pub(crate) struct ExaminedLog {
    pub(crate) catalog: Catalog,
    pub(crate) recovery: Recovery,
    /// The publisher that wrote the newest segment.
    pub(crate) publisher: Option<Incarnation>,
    /// The newest segment, if it is not closed and has records.
    unclosed: Option<Unclosed>,
}

#[derive(Debug)]
struct Unclosed {
    name: SegmentName,
    scanner: Scanner,
    index: SegmentIndex,
}

/// Finds the end of the log.
pub(crate) fn examine(catalog: Catalog, stream: StreamId, keys: &Keys) -> Result<ExaminedLog, LogError> {
    let files = Arc::clone(&catalog.files);
    let Some(name) = catalog.segments.last().copied() else {
        return Ok(ExaminedLog { catalog, recovery: Recovery::default(), publisher: None, unclosed: None });
    };
    let Some(mut scanner) = Scanner::open(&*files, &name)? else {
        return Err(LogError::Empty(files.path(&name.segment_file())));
    };
    let header = scanner.header().clone();
    let path = catalog.path_of(&header);
    if header.stream != stream {
        let path = files.path("");
        return Err(LogError::OtherStream { path, found: header.stream, expected: stream });
    }
    check_secret(&catalog, keys)?;
    let publisher = Some(header.publisher);
    let mut recovery = Recovery { next: header.first, ..Recovery::default() };
    let length = scanner.file_length().map_err(LogError::io(FileOperation::Read, path.clone()))?;
    if let Some(index) = catalog.index(&header, length) {
        // The index was written after the segment had been synced.
        recovery.next.number = index.end;
        recovery.empty = (index.records == 0).then_some(name);
        recovery.end = recovery.end_behind(&header);
        return Ok(ExaminedLog { catalog, recovery, publisher, unclosed: None });
    }
    let Survey { index, damaged, behind, is_unfinished } = scanner.survey(Some(keys), &path)?;
    // The numbers of messages that were cut off after it had been closed are not used again.
    let closed_before = catalog.closed_before(&header).unwrap_or(index.end);
    recovery.next.number = index.end.max(closed_before);
    recovery.end = recovery.next;
    recovery.missing = closed_before.ahead_of(index.end);
    recovery.damaged_bytes = damaged;
    recovery.cut_bytes = behind;
    recovery.is_unfinished = is_unfinished;
    recovery.torn = (behind > 0).then_some(path);
    if index.records == 0 {
        recovery.empty = Some(name);
        recovery.end = recovery.end_behind(&header);
        return Ok(ExaminedLog { catalog, recovery, publisher, unclosed: None });
    }
    Ok(ExaminedLog { catalog, recovery, publisher, unclosed: Some(Unclosed { name, scanner, index }) })
}

impl ExaminedLog {
    /// Makes sure that everything that was found is on the disk, and removes what is neither retained nor needed. Returns also
    /// what is needed and was due.
    pub(crate) fn secure(
        self,
        retention: &Retention,
        needed: Position,
    ) -> Result<(Recovery, Option<HeldLog>), LogError> {
        let Self { catalog: Catalog { files, .. }, recovery, unclosed, .. } = self;
        remove_unfinished(&*files)?;
        // The disk may be full. What cannot be removed stays.
        let held = prune(&files, retention, needed, LogTime::now()).ok().and_then(|pruned| pruned.held);
        if let Some(Unclosed { name, scanner, index }) = unclosed {
            rewrite(&*files, scanner, &name, index.length)?;
            if recovery.missing == 0 {
                // Without it, the next writer does all this again.
                let _ = write_file(&*files, &name.index_file(), &index.bytes(), false);
            }
        }
        Ok((recovery, held))
    }
}

/// Checks that the keys open the newest record that is sealed. A wrong secret would make what is there unreadable.
fn check_secret(catalog: &Catalog, keys: &Keys) -> Result<(), LogError> {
    for name in catalog.segments.iter().rev() {
        // One whose header is damaged is reported by readers.
        let Ok(Some(mut scanner)) = Scanner::open(&*catalog.files, name) else { continue };
        let path = catalog.path_of(scanner.header());
        let epoch = scanner.header().epoch;
        match scanner.opens_first(keys, &path) {
            // Older segments may be sealed with secrets that have been removed.
            Ok(None) | Err(LogError::NoKey { .. }) => {}
            Ok(Some(true)) => return Ok(()),
            Ok(Some(false)) => return Err(LogError::OtherSecret { path, epoch }),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes a segment again, up to `length`, and replaces it. What can be read may be in memory only: a sync that
/// failed before may have left it there, and the next sync of the same file would succeed without writing it.
fn rewrite(files: &dyn Files, scanner: Scanner, name: &SegmentName, length: u64) -> Result<(), LogError> {
    let target = name.segment_file();
    let unfinished = format!("{target}{}", SegmentName::UNFINISHED);
    let fail = |operation| LogError::io(operation, files.path(&unfinished));
    let copy = files.create(&unfinished).map_err(fail(FileOperation::Create))?;
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < length {
        let most = usize::try_from(length - at).unwrap_or(CHUNK).min(CHUNK);
        let count = scanner.read_at(at, &mut buffer[..most]);
        match count.map_err(LogError::io(FileOperation::Read, files.path(&target)))? {
            0 => return Err(fail(FileOperation::Read)(std::io::ErrorKind::UnexpectedEof.into())),
            count => {
                write_all(&*copy, &buffer[..count]).map_err(fail(FileOperation::Write))?;
                at += count as u64;
            }
        }
    }
    copy.sync().map_err(fail(FileOperation::Sync))?;
    // Some file systems of Windows do not replace a file that is open.
    drop((copy, scanner));
    files.rename(&unfinished, &target).map_err(fail(FileOperation::Rename))?;
    files.sync_directory().map_err(LogError::io(FileOperation::Sync, files.path("")))
}

/// Removes what a writer left unfinished, and indexes without segments.
fn remove_unfinished(files: &dyn Files) -> Result<(), LogError> {
    let names = files.list().map_err(LogError::io(FileOperation::List, files.path("")))?;
    let is_left = |name: &&String| {
        let finished = name.strip_suffix(SegmentName::UNFINISHED);
        finished
            .is_some_and(|name| SegmentName::read(name).is_some() || SegmentName::read_index(name).is_some())
            || SegmentName::read_index(name).is_some_and(|index| !names.contains(&index.segment_file()))
    };
    for name in names.iter().filter(is_left) {
        files.remove(name).map_err(LogError::io(FileOperation::Remove, files.path(name)))?;
    }
    Ok(())
}
