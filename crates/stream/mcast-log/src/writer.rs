//! The writer of a log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mcast_stream_proto::history::{HistoryContent, Position};
use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::wire::{Incarnation, MessageNumber, StreamId};

use crate::LogTime;
use crate::catalog::Catalog;
use crate::error::{FileOperation, LogError};
use crate::files::{Directory, Files, Lock, LogFile, write_all, write_file};
use crate::format::SegmentSeal;
use crate::format::{IndexBuilder, MAX_BODY, SegmentHeader, SegmentName, write_record};
use crate::publisher::{LastPublisher, LogStart};
use crate::recovery::{ExaminedLog, Recovery, examine};
use crate::retention::{HeldLog, NOTHING_NEEDED, Retention, prune};

/// The smallest size of segments.
const LEAST_SEGMENT: u64 = 4_096;
/// How many segments a log with a greatest age has, at least, so that it does not grow much older than that.
const SEGMENTS_PER_AGE: u128 = 8;
/// How much memory for a batch is retained for the next one.
const RETAINED_BUFFER: usize = 1 << 22;

/// What is synced to the disk, and when. It decides what a power failure may take; the end of the process takes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Nothing: the system decides. Only closed segments are synced.
    None,
    /// What was appended is due to be synced after this time; see [`Writer::sync_due`].
    Interval(Duration),
    /// Each batch, before [`Writer::append`] returns.
    #[default]
    Each,
}

/// How a log is written.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// When to sync. The default is each batch.
    pub sync: SyncPolicy,
    /// The size of segments in bytes, at least 4 KiB. Segments are the unit of retention. The default is 64 MiB.
    pub segment_bytes: u64,
    /// What is removed, except what is [needed](Writer::set_needed). The default is nothing.
    pub retention: Retention,
    /// The secrets of a sealed stream, of which the latest seals new segments. The default is none: nothing is sealed.
    pub keys: Keys,
    /// What the salts of segments are drawn from. The default is random; tests set it.
    pub seed: Option<u64>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            sync: SyncPolicy::default(),
            segment_bytes: 1 << 26,
            retention: Retention::default(),
            keys: Keys::none(),
            seed: None,
        }
    }
}

/// What an append has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The number of the first message of the batch.
    pub first: MessageNumber,
    /// One past the number of its last message: the number that the next message gets.
    pub next: MessageNumber,
    /// All messages before this number are durable.
    pub durable: MessageNumber,
}

/// Writes the log of a stream. There is one writer at a time; readers, also of other processes, do not disturb it.
///
/// A crash at any moment leaves everything that was reported durable, and perhaps some of what was appended after that.
#[derive(Debug)]
pub struct Writer {
    files: Arc<dyn Files>,
    _lock: Lock,
    stream: StreamId,
    name: String,
    incarnation: Incarnation,
    options: LogOptions,
    salts: Salts,
    state: State,
    /// The number of the last segment that was begun.
    segment: u64,
    next: Position,
    /// The position after the last record of the log.
    end: Position,
    /// Everything before this number is durable.
    durable: MessageNumber,
    /// The number of appends.
    appends: u64,
    /// The time of the first append that is not synced.
    unsynced_since: Option<Instant>,
    /// A segment without records. It is removed when there is another one, because it may be the only one that has the
    /// last incarnation.
    empty: Option<SegmentName>,
    /// Everything from this message on is needed.
    needed: Position,
    held: Option<HeldLog>,
    buffer: Vec<u8>,
}

/// The segment that is written.
#[derive(Debug)]
struct Segment {
    file: Arc<SegmentFile>,
    header: SegmentHeader,
    /// The length of everything that was accepted, and of what was synced, or is being synced.
    length: u64,
    synced: u64,
    first_append: Option<LogTime>,
    index: IndexBuilder,
    seal: Option<SegmentSeal>,
}

/// The file of a segment, which two threads may sync.
#[derive(Debug)]
struct SegmentFile {
    file: Arc<dyn LogFile>,
    has_failed: Mutex<bool>,
}

impl SegmentFile {
    /// Syncs the file, unless that has failed before. The system reports a failure once, and to one of two threads:
    /// therefore one waits for the other.
    fn sync(&self) -> io::Result<()> {
        let mut has_failed = self.has_failed.lock().unwrap_or_else(PoisonError::into_inner);
        if *has_failed {
            return Err(io::Error::other("a sync of this file failed before"));
        }
        let result = self.file.sync();
        *has_failed = result.is_err();
        result
    }
}

#[derive(Debug)]
enum State {
    /// Records are appended to this segment.
    Writing(Segment),
    /// A write to this segment failed. It is not written again, because the disk may have a part of what was refused.
    Broken(Segment),
    /// No segment is being written: the last one was closed, and the next one could not be begun.
    Closed,
    /// A sync failed.
    Failed,
}

/// A sync that has not been done yet. It can be done by another thread while the writer appends.
#[derive(Debug)]
#[must_use = "nothing is synced before `run`"]
pub struct PendingSync {
    file: Arc<SegmentFile>,
    path: PathBuf,
    next: MessageNumber,
    appends: u64,
    started: Instant,
}

/// A sync that was done, or has failed.
#[derive(Debug)]
#[must_use = "the writer has to know it"]
pub struct CompletedSync {
    result: Result<(), LogError>,
    next: MessageNumber,
    appends: u64,
    started: Instant,
}

impl PendingSync {
    /// Syncs, and returns when the disk has everything that was appended before.
    pub fn run(self) -> CompletedSync {
        let result = self.file.sync().map_err(LogError::io(FileOperation::Sync, self.path));
        CompletedSync { result, next: self.next, appends: self.appends, started: self.started }
    }
}

/// A log that is locked and was read, and in which nothing was changed yet.
#[derive(Debug)]
#[must_use = "nothing is written before `begin`"]
pub struct FoundLog {
    lock: Lock,
    stream: StreamId,
    name: String,
    incarnation: Incarnation,
    options: LogOptions,
    found: ExaminedLog,
}

impl FoundLog {
    /// Locks the log of a stream and reads how it ends. [`FoundLog::begin`] opens it to write: until then, it is as it was
    /// left, so that a publisher that cannot start for another reason has changed nothing.
    ///
    /// # Errors
    /// If another writer has the log, if it is that of another stream, or if it cannot be read.
    pub fn examine(
        files: Arc<dyn Files>,
        stream: StreamId,
        name: &str,
        proposed: Incarnation,
        options: LogOptions,
    ) -> Result<Self, LogError> {
        let directory = files.path("");
        let lock = files.lock().map_err(LogError::io(FileOperation::Lock, directory.clone()))?;
        let lock = lock.ok_or(LogError::InUse(directory))?;
        let recorded = LastPublisher::read(&*files)?.map(|last| last.incarnation);
        let mut found = examine(Catalog::read(files)?, stream, &options.keys)?;
        let least = match found.publisher.max(recorded) {
            Some(last) => Incarnation(last.0.checked_add(1).ok_or(LogError::Exhausted)?),
            None => Incarnation(0),
        };
        let incarnation = proposed.max(least);
        if found.publisher.is_none() {
            found.recovery.next.incarnation = incarnation;
            found.recovery.end = found.recovery.next;
        }
        Ok(Self { lock, stream, name: name.to_owned(), incarnation, options, found })
    }

    /// Returns the incarnation that the publisher will have.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Returns the incarnation of the last publisher that began a segment.
    pub(crate) const fn last_publisher(&self) -> Option<Incarnation> {
        self.found.publisher
    }

    /// Returns the position of the first message of a publisher that begins like this.
    pub(crate) const fn first(&self, start: LogStart) -> Position {
        match start {
            LogStart::Continued => self.found.recovery.next,
            _ => Position::new(self.incarnation, MessageNumber(0)),
        }
    }

    /// Returns what was found.
    #[must_use]
    pub const fn recovery(&self) -> &Recovery {
        &self.found.recovery
    }

    /// Returns the number of the oldest message of the last incarnation, or of the next one if there is none.
    pub(crate) fn oldest(&self) -> MessageNumber {
        let next = self.found.recovery.next;
        let mut firsts = self.found.catalog.segments.iter().map(|name| name.first);
        firsts.find(|first| first.incarnation == next.incarnation).unwrap_or(next).number
    }

    /// Returns the files.
    #[must_use]
    pub fn files(&self) -> &Arc<dyn Files> {
        &self.found.catalog.files
    }

    /// Opens the log to write: continues the last incarnation if the stream is [`Continued`](LogStart::Continued), and
    /// otherwise begins that of the publisher, with message 0. When this returns, the incarnation, and everything that was
    /// found, are on the disk. What is neither to be retained nor needed is removed before that: everything from the message
    /// `needed` on stays, until [`Writer::set_needed`] names a later one.
    ///
    /// A publisher calls [`Beginning::begin`](crate::Beginning::begin), which also records it.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub fn begin(self, start: LogStart, needed: Position) -> Result<(Writer, Recovery), LogError> {
        let next = self.first(start);
        let Self { lock, stream, name, incarnation, options, found } = self;
        let files = Arc::clone(&found.catalog.files);
        let segment = found.catalog.segments.last().map_or(0, |name| name.segment);
        let (recovery, held) = found.secure(&options.retention, needed)?;
        let mut writer = Writer {
            files,
            _lock: lock,
            stream,
            name,
            incarnation,
            salts: Salts(options.seed),
            options,
            state: State::Closed,
            segment,
            next,
            end: recovery.end,
            durable: next.number,
            appends: 0,
            unsynced_since: None,
            empty: recovery.empty,
            needed,
            held,
            buffer: Vec::new(),
        };
        writer.begin_segment()?;
        Ok((writer, recovery))
    }
}

impl Writer {
    /// Opens or begins the log of a stream in a directory, which is created if there is none. The last incarnation in it is
    /// continued. The publisher's incarnation
    /// will be the proposed one, or one more than the last one in the log if that is greater. When this returns, the
    /// incarnation, and everything that was found, are on the disk. What is not to be retained is removed before that,
    /// because nothing is [needed](Self::set_needed).
    ///
    /// # Errors
    /// If another writer has the log, if it is that of another stream, or if the disk refuses it.
    pub fn open(
        directory: &Path,
        stream: StreamId,
        name: &str,
        proposed: Incarnation,
        options: LogOptions,
    ) -> Result<(Self, Recovery), LogError> {
        let files = Directory::create(directory);
        let files = files.map_err(LogError::io(FileOperation::Create, directory.to_owned()))?;
        Self::open_files(Arc::new(files), stream, name, proposed, options)
    }

    /// As [`Writer::open`], with these files.
    ///
    /// # Errors
    /// The same.
    pub fn open_files(
        files: Arc<dyn Files>,
        stream: StreamId,
        name: &str,
        proposed: Incarnation,
        options: LogOptions,
    ) -> Result<(Self, Recovery), LogError> {
        FoundLog::examine(files, stream, name, proposed, options)?.begin(LogStart::Continued, NOTHING_NEEDED)
    }

    /// Appends a batch: all of it, or nothing if there is an error. Messages and gaps get the next numbers. With
    /// [`SyncPolicy::Each`], it is durable when this returns.
    ///
    /// # Errors
    /// If the disk refuses it, or a message is too long. If the error [is temporary](LogError::is_temporary), the same
    /// batch can be appended later. After any other error the writer is of no use. A batch that was refused may still be
    /// there, completely or its first records, if the process ends before the next append.
    pub fn append(&mut self, time: LogTime, batch: &[HistoryContent<&[u8]>]) -> Result<Appended, LogError> {
        self.prepare(time)?;
        let first = self.next.number;
        let State::Writing(segment) = &mut self.state else { return Err(LogError::SyncFailed) };
        let before = segment.index.state();
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let written = encode(segment, &mut buffer, first, time, batch).and_then(|next| {
            let path = || self.files.path(&segment.header.name().segment_file());
            write_all(&*segment.file.file, &buffer)
                .map_err(|error| LogError::io(FileOperation::Write, path())(error))?;
            Ok(next)
        });
        let length = buffer.len() as u64;
        if buffer.capacity() <= RETAINED_BUFFER {
            self.buffer = buffer;
        }
        match written {
            Ok(next) => {
                segment.length += length;
                self.next.number = next;
                if length > 0 {
                    segment.first_append.get_or_insert(time);
                    self.end = self.next;
                }
            }
            Err(error) => {
                segment.index.restore(before);
                // If it was encoded, a part of it may be in the file.
                if matches!(error, LogError::Io { .. })
                    && let State::Writing(segment) = std::mem::replace(&mut self.state, State::Closed)
                {
                    self.state = State::Broken(segment);
                }
                return Err(error);
            }
        }
        if length > 0 {
            self.appends += 1;
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        let is_due = match self.options.sync {
            SyncPolicy::None => false,
            SyncPolicy::Each => true,
            SyncPolicy::Interval(_) => self.sync_due().is_some_and(|due| due <= Instant::now()),
        };
        if is_due {
            self.sync()?;
        }
        Ok(Appended { first, next: self.next.number, durable: self.durable })
    }

    /// Syncs everything that was appended, and returns the number before which everything is durable.
    ///
    /// # Errors
    /// If the sync fails. The writer then refuses everything.
    pub fn sync(&mut self) -> Result<MessageNumber, LogError> {
        match self.begin_sync()? {
            Some(pending) => self.complete_sync(pending.run()),
            None => Ok(self.durable),
        }
    }

    /// Returns what to run so that everything that was appended before becomes durable; `None` if it is already. While it
    /// runs, more can be appended. [`Writer::complete_sync`] takes the result.
    ///
    /// # Errors
    /// If a sync failed before.
    pub fn begin_sync(&mut self) -> Result<Option<PendingSync>, LogError> {
        let segment = match &mut self.state {
            State::Writing(segment) | State::Broken(segment) => segment,
            State::Closed => return Ok(None),
            State::Failed => return Err(LogError::SyncFailed),
        };
        if self.unsynced_since.is_none() {
            return Ok(None);
        }
        segment.synced = segment.length;
        Ok(Some(PendingSync {
            file: Arc::clone(&segment.file),
            path: self.files.path(&segment.header.name().segment_file()),
            next: self.next.number,
            appends: self.appends,
            started: Instant::now(),
        }))
    }

    /// Takes the result of a sync, and returns the number before which everything is durable.
    ///
    /// # Errors
    /// If the sync failed. The writer then refuses everything.
    pub fn complete_sync(&mut self, sync: CompletedSync) -> Result<MessageNumber, LogError> {
        if let Err(error) = sync.result {
            // What the disk has is unknown, and a second sync could succeed without writing anything.
            self.state = State::Failed;
            return Err(error);
        }
        if matches!(self.state, State::Failed) {
            return Err(LogError::SyncFailed);
        }
        self.durable = self.durable.max(sync.next);
        // What was appended meanwhile was not appended before the sync was begun.
        self.unsynced_since = if sync.appends == self.appends { None } else { Some(sync.started) };
        Ok(self.durable)
    }

    /// Returns how many bytes were appended to the segment since the last sync was begun. They are synced at its end at the
    /// latest: what was synced before does not hold up the append that begins the next one.
    #[must_use]
    pub const fn unsynced(&self) -> u64 {
        match &self.state {
            State::Writing(segment) | State::Broken(segment) => segment.length - segment.synced,
            State::Closed | State::Failed => 0,
        }
    }

    /// Returns when the oldest append that is not durable must be synced; `None` if nothing is due by the policy.
    #[must_use]
    pub fn sync_due(&self) -> Option<Instant> {
        match self.options.sync {
            SyncPolicy::None => None,
            SyncPolicy::Each => self.unsynced_since,
            SyncPolicy::Interval(interval) => self.unsynced_since.map(|since| since + interval),
        }
    }

    /// Syncs everything and closes the log, so that the next writer need not check the last segment.
    ///
    /// # Errors
    /// If the sync fails.
    pub fn close(mut self) -> Result<(), LogError> {
        self.close_segment()
    }

    /// Removes what is neither to be retained nor needed; returns how many segments. This also happens whenever a segment is
    /// begun.
    ///
    /// # Errors
    /// If the directory cannot be read or changed.
    pub fn prune(&mut self, now: LogTime) -> Result<usize, LogError> {
        let pruned = prune(&self.files, &self.options.retention, self.needed, now)?;
        self.held = pruned.held;
        Ok(pruned.removed.len())
    }

    /// Sets the first message that is needed, for instance because it was not sent. Neither it nor what follows is removed, also
    /// if it is not to be retained. What was needed before and is not any more is removed now.
    pub fn set_needed(&mut self, needed: MessageNumber, now: LogTime) {
        self.needed = Position { number: needed, ..self.next };
        if self.held.is_some_and(|held| held.end <= self.needed) {
            // What cannot be removed now is removed with the next segment.
            let _ = self.prune(now);
        }
    }

    /// Returns what is not to be retained, and is still there because it is [needed](Self::set_needed). A writer that must not
    /// outgrow its size does not append meanwhile.
    #[must_use]
    pub const fn held(&self) -> Option<HeldLog> {
        self.held
    }

    /// Replaces the secrets of a sealed stream. The next record begins a new segment.
    ///
    /// # Errors
    /// If the segment cannot be closed.
    pub fn set_keys(&mut self, keys: Keys) -> Result<(), LogError> {
        self.options.keys = keys;
        self.close_segment()
    }

    /// Returns the stream.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        self.stream
    }

    /// Returns the incarnation of the publisher, greater than those of all publishers before it. That of its messages is in
    /// their [`position`](Self::position).
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Returns the number that the next message gets.
    #[must_use]
    pub const fn next_number(&self) -> MessageNumber {
        self.next.number
    }

    /// Returns the position that the next message gets.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.next
    }

    /// Returns the number before which everything is durable.
    #[must_use]
    pub const fn durable(&self) -> MessageNumber {
        self.durable
    }

    /// Makes sure that there is a segment to append to.
    fn prepare(&mut self, time: LogTime) -> Result<(), LogError> {
        match &self.state {
            State::Writing(segment) if !self.is_full(segment, time) => return Ok(()),
            State::Failed => return Err(LogError::SyncFailed),
            State::Closed => {}
            State::Writing(_) | State::Broken(_) => self.close_segment()?,
        }
        self.begin_segment()?;
        // What cannot be removed now is removed with the next segment.
        let _ = self.prune(time);
        Ok(())
    }

    fn is_full(&self, segment: &Segment, time: LogTime) -> bool {
        let Some(first) = segment.first_append else { return false };
        let age = self.options.retention.age.map(|age| age.as_nanos() / SEGMENTS_PER_AGE);
        segment.length >= self.options.segment_bytes.max(LEAST_SEGMENT)
            || age.is_some_and(|age| u128::from(time.0.saturating_sub(first.0)) > age)
    }

    /// Syncs the segment and writes its index, so that it is closed. An index that cannot be written is made again when it
    /// is needed.
    fn close_segment(&mut self) -> Result<(), LogError> {
        let (segment, is_broken) = match std::mem::replace(&mut self.state, State::Failed) {
            State::Writing(segment) => (segment, false),
            State::Broken(segment) => (segment, true),
            State::Closed => {
                self.state = State::Closed;
                return Ok(());
            }
            State::Failed => return Err(LogError::SyncFailed),
        };
        let name = segment.header.name();
        // If that fails, readers ignore what is behind the last record that was accepted, because the next segment begins
        // with the number after it.
        let is_whole = !is_broken || segment.file.file.truncate(segment.length).is_ok();
        let path = || self.files.path(&name.segment_file());
        segment.file.sync().map_err(|error| LogError::io(FileOperation::Sync, path())(error))?;
        self.durable = self.next.number;
        self.unsynced_since = None;
        self.state = State::Closed;
        if is_whole {
            let index = segment.index.index(segment.header.salt, segment.length, self.next.number);
            let _ = write_file(&*self.files, &name.index_file(), &index.bytes(), false);
        }
        if segment.index.is_empty() {
            self.empty = Some(name);
        }
        Ok(())
    }

    /// Begins a segment. Its header is on the disk when this returns.
    fn begin_segment(&mut self) -> Result<(), LogError> {
        let segment = self.segment.checked_add(1).ok_or(LogError::Exhausted)?;
        let header = SegmentHeader {
            stream: self.stream,
            name: self.name.clone(),
            publisher: self.incarnation,
            epoch: self.options.keys.latest(),
            segment,
            first: self.next,
            follows: self.end,
            salt: self.salts.draw(segment),
            begun: LogTime::now(),
        };
        let name = header.name();
        let file = write_file(&*self.files, &name.segment_file(), &header.bytes(), true)?;
        // Even if the next step fails, the file has this number.
        self.segment = segment;
        if let Err(cause) = self.files.sync_directory() {
            // As for files: a later sync could succeed without writing anything.
            self.state = State::Failed;
            return Err(LogError::Io { operation: FileOperation::Sync, path: self.files.path(""), cause });
        }
        let seal = SegmentSeal::new(&self.options.keys, &header);
        let length = header.len() as u64;
        let file = Arc::new(SegmentFile { file, has_failed: Mutex::new(false) });
        let index = IndexBuilder::default();
        self.state =
            State::Writing(Segment { file, header, length, synced: length, first_append: None, index, seal });
        if let Some(empty) = self.empty.take() {
            // One that cannot be removed does no harm.
            let _ = self.files.remove(&empty.index_file());
            let _ = self.files.remove(&empty.segment_file());
        }
        Ok(())
    }
}

/// Appends the records of a batch to the buffer; returns the number after them.
fn encode(
    segment: &mut Segment,
    buffer: &mut Vec<u8>,
    first: MessageNumber,
    time: LogTime,
    batch: &[HistoryContent<&[u8]>],
) -> Result<MessageNumber, LogError> {
    let mut number = first;
    for content in batch {
        let next = match content {
            HistoryContent::Message { .. } => {
                MessageNumber(number.0.checked_add(1).ok_or(LogError::Exhausted)?)
            }
            HistoryContent::Gap { end, .. } if *end > number => *end,
            // A gap without messages is none.
            HistoryContent::Gap { .. } => continue,
            HistoryContent::OpenGap { .. } | HistoryContent::End => number,
        };
        let offset = segment.length + buffer.len() as u64;
        let seal = segment.seal.as_mut();
        if !write_record(buffer, number, time, content, segment.header.salt, offset, seal) {
            let length = if let HistoryContent::Message { bytes, .. } = content { bytes.len() } else { 0 };
            return Err(LogError::TooLong(length.max(MAX_BODY)));
        }
        segment.index.note(offset, number, time);
        number = next;
    }
    Ok(number)
}

/// Draws the salts of segments.
#[derive(Debug)]
struct Salts(Option<u64>);

impl Salts {
    fn draw(&self, segment: u64) -> u64 {
        use std::hash::{BuildHasher, RandomState};
        match self.0 {
            Some(seed) => (seed ^ segment.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            // A keyed hash with a random key of the system, as it is for the maps of the standard library.
            None => RandomState::new().hash_one((std::process::id(), LogTime::now().0, segment)),
        }
    }
}
