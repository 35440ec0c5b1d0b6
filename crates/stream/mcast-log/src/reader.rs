//! The reader of a log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{io, mem};

use mcast_stream_proto::history::{GapCause, HistoryContent, HistoryRecord, Position, RequestedStart};
use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::subscriber::Cause;
use mcast_stream_proto::wire::{KeyEpoch, MessageNumber, StreamId};

use crate::LogTime;
use crate::catalog::{Catalog, latest, length};
use crate::error::{FileOperation, LogError};
use crate::files::{Directory, Files};
use crate::format::SegmentSeal;
use crate::format::{HeaderError, IndexEntry, RecordHead, SegmentIndex, SegmentName};
use crate::scan::{Parsed, Scanner};

/// The most bytes of messages that [`LogReader::read`] returns, if there is more than one.
const MOST_BYTES: usize = 1 << 22;

/// Reads a log, also while a writer appends to it in this or another process, and while old segments are removed. Its
/// memory is bounded by the longest record.
///
/// It also reads what is not durable yet.
#[derive(Debug)]
pub struct LogReader {
    catalog: Catalog,
    keys: Keys,
    stream: StreamId,
    name: String,
    cursor: Option<Cursor>,
    /// The number of the last segment that was entered.
    segment: Option<u64>,
    /// The position after everything that was read.
    next: Position,
    /// The position with which [`LogReader::read`] continues.
    resume: Position,
    skip: Skip,
    /// Found while a position was searched, and not returned yet.
    pending: Option<Damage>,
    opened: Vec<u8>,
}

/// What is in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogItem<'a> {
    /// A record.
    Record(LogRecord<&'a [u8]>),
    /// Bytes that are not a record, or messages that are missing.
    Damage(Damage),
}

/// A record and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord<B> {
    /// When it was appended.
    pub time: LogTime,
    /// What it is.
    pub record: HistoryRecord<B>,
}

/// Something that was in the log and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub path: PathBuf,
    /// Where the damaged bytes begin in the file.
    pub offset: u64,
    /// How many bytes are damaged. 0 if messages are missing where no bytes are damaged: a segment was removed.
    pub bytes: u64,
    /// The first missing message.
    pub first: Position,
    /// One past the last missing message, in the same incarnation. If it is the first one, no message is missing.
    pub end: MessageNumber,
    /// The epoch of the secret that sealed these messages, if they are intact and that secret is not among the keys any
    /// more, which have a later one.
    pub sealed: Option<KeyEpoch>,
    /// Whether nothing is damaged: the oldest segments, these messages among them, were removed while the log was read.
    pub is_removed: bool,
}

impl Damage {
    /// Returns whether messages are missing.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        self.end > self.first.number
    }

    /// Returns why messages are missing, as a history reports it.
    #[must_use]
    pub const fn cause(&self) -> GapCause {
        match self.sealed {
            Some(_) => GapCause::Lost(Cause::Unreadable),
            None if self.is_removed => GapCause::Lost(Cause::NotInHistory),
            None => GapCause::EngineLost,
        }
    }
}

/// A segment that is being read.
#[derive(Debug)]
struct Cursor {
    scanner: Scanner,
    seal: Option<SegmentSeal>,
    /// The epoch of the secret that sealed it, if that was removed from the keys.
    sealed: Option<KeyEpoch>,
    path: PathBuf,
    at: u64,
    end: SegmentEnd,
}

impl Cursor {
    fn failed_read(&self, cause: io::Error) -> LogError {
        LogError::io(FileOperation::Read, self.path.clone())(cause)
    }
}

/// Whether a segment ends at the cursor.
///
/// A writer may append between the moment when a reader finds no record and the moment when it sees what follows. Therefore
/// the end is suspected first, and only a second look decides, by what was known before it.
#[derive(Clone, Copy, Debug)]
enum SegmentEnd {
    /// There is a record, or nobody has looked yet.
    Unknown,
    /// There was no record. What followed the segment after that:
    Suspected {
        /// The next segment, if there was one.
        next_segment: Option<SegmentName>,
        /// The number after the segment, if it was the newest one, and closed.
        closed_before: Option<MessageNumber>,
    },
}

/// Records before the requested start.
#[derive(Clone, Copy, Debug)]
enum Skip {
    Before(Position),
    Earlier(LogTime),
}

impl Skip {
    const NOTHING: Self = Self::Before(Position::START);
}

/// What was found.
#[derive(Debug)]
enum Step {
    Record { at: u64, head: RecordHead, first: Position },
    Damage(Damage),
}

impl LogReader {
    /// Opens a log at its oldest record. The keys open sealed segments.
    ///
    /// # Errors
    /// If there is no log, or it cannot be read.
    pub fn open(directory: &Path, keys: Keys) -> Result<Self, LogError> {
        let files = Directory::open(directory);
        Self::open_files(
            Arc::new(files.map_err(LogError::io(FileOperation::Open, directory.to_owned()))?),
            keys,
        )
    }

    /// As [`LogReader::open`], with these files.
    ///
    /// # Errors
    /// The same.
    pub fn open_files(files: Arc<dyn Files>, keys: Keys) -> Result<Self, LogError> {
        let catalog = Catalog::read(files)?;
        let (stream, name) = identify(&catalog)?;
        Ok(Self {
            catalog,
            keys,
            stream,
            name,
            cursor: None,
            segment: None,
            next: Position::START,
            resume: Position::START,
            skip: Skip::NOTHING,
            pending: None,
            opened: Vec::new(),
        })
    }

    /// Returns the stream.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        self.stream
    }

    /// Returns the name of the stream; empty if it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the position after everything that was read.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.next
    }

    /// Continues with the record that accounts for this start, or the next one. Returns its position; `None` if there is none yet,
    /// and then it continues with the first one that will be there.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn seek(&mut self, start: RequestedStart) -> Result<Option<Position>, LogError> {
        self.catalog.refresh()?;
        self.pending = None;
        match start {
            RequestedStart::Oldest => self.start_at(Position::START)?,
            RequestedStart::At(position) => self.start_at(position)?,
            RequestedStart::Latest(number) => {
                self.start_at(self.catalog.latest(number).unwrap_or(Position::START))?;
            }
            RequestedStart::Time(milliseconds) => {
                self.start_at_time(LogTime::from_milliseconds(milliseconds))?;
            }
        }
        loop {
            match self.advance()? {
                None => return Ok(None),
                // What is the oldest one has changed meanwhile.
                Some(Step::Damage(damage)) if damage.is_removed && start == RequestedStart::Oldest => {}
                Some(Step::Damage(damage)) if damage.is_loss() => {
                    let first = damage.first;
                    self.pending = Some(damage);
                    return Ok(Some(first));
                }
                Some(Step::Damage(_)) => {}
                Some(Step::Record { at, first, .. }) => {
                    if let Some(cursor) = &mut self.cursor {
                        cursor.at = at;
                    }
                    (self.next, self.resume) = (first, first);
                    return Ok(Some(first));
                }
            }
        }
    }

    /// Returns the next record; `None` if there is none at present.
    ///
    /// # Errors
    /// If the log cannot be read.
    #[expect(clippy::should_implement_trait, reason = "an item borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<LogItem<'_>>, LogError> {
        if let Some(damage) = self.pending.take() {
            return Ok(Some(LogItem::Damage(damage)));
        }
        let (at, head) = match self.advance()? {
            None => return Ok(None),
            Some(Step::Damage(damage)) => return Ok(Some(LogItem::Damage(damage))),
            Some(Step::Record { at, head, .. }) => (at, head),
        };
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let body = match cursor.seal {
            Some(_) => self.opened.as_slice(),
            None => cursor.scanner.body(at, &head),
        };
        let record = head.content(cursor.scanner.header().first.incarnation, body);
        Ok(record.map(|record| LogItem::Record(LogRecord { time: head.time, record })))
    }

    /// Returns at most `count` records, beginning with the one that accounts for this position, or the next one. Missing
    /// messages are gap records. They may be fewer, but there is one if there are any.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn read(&mut self, from: Position, count: usize) -> Result<Vec<HistoryRecord<Arc<[u8]>>>, LogError> {
        if from != self.resume || from == Position::START {
            self.seek(RequestedStart::At(from))?;
        }
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < count && bytes < MOST_BYTES {
            let record = match self.next() {
                Ok(Some(LogItem::Record(LogRecord { record, .. }))) => owned(&record),
                Ok(Some(LogItem::Damage(damage))) if damage.is_loss() => HistoryRecord {
                    first: damage.first,
                    content: HistoryContent::Gap { end: damage.end, cause: damage.cause() },
                },
                Ok(Some(LogItem::Damage(_))) => continue,
                Ok(None) => break,
                // The next call reports the error.
                Err(_) if !records.is_empty() => break,
                Err(error) => return Err(error),
            };
            if let HistoryContent::Message { bytes: message, .. } = &record.content {
                bytes += message.len();
            }
            // The end is a record of its own, with a position of its own.
            self.resume = match record.content {
                HistoryContent::End | HistoryContent::OpenGap { .. } => record.first.following(),
                _ => record.end(),
            };
            records.push(record);
        }
        Ok(records)
    }

    /// Returns the position at which each segment begins, oldest first.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn starts(&mut self) -> Result<Vec<Position>, LogError> {
        self.catalog.refresh()?;
        Ok(self.catalog.segments.iter().map(|name| name.first).collect())
    }

    fn start_at(&mut self, position: Position) -> Result<(), LogError> {
        self.skip = Skip::Before(position);
        let name = self.catalog.at(position).copied();
        self.start_in(name, |index| index.before_number(position.number).copied())
    }

    fn start_at_time(&mut self, time: LogTime) -> Result<(), LogError> {
        self.skip = Skip::Earlier(time);
        let mut chosen = self.catalog.segments.last().copied();
        let older = self.catalog.segments.split_last().map_or(&[][..], |(_, older)| older);
        for name in older {
            // A segment that cannot be read is left to `advance`, which reports it.
            let latest = latest(&self.catalog, name);
            if latest.map_or(true, |latest| latest.is_some_and(|latest| latest >= time)) {
                chosen = Some(*name);
                break;
            }
        }
        self.start_in(chosen, |index| index.before_time(time).copied())
    }

    /// Starts in this segment, at the record that the index is asked for, if the segment has one.
    fn start_in(
        &mut self,
        name: Option<SegmentName>,
        entry: impl FnOnce(&SegmentIndex) -> Option<IndexEntry>,
    ) -> Result<(), LogError> {
        self.cursor = None;
        self.segment = None;
        let Some(name) = name else { return Ok(()) };
        self.segment = Some(name.segment.saturating_sub(1));
        (self.next, self.resume) = (name.first, name.first);
        let Some(mut cursor) = self.open_segment(&name).ok().flatten() else { return Ok(()) };
        let length = cursor.scanner.file_length();
        let length = length.map_err(LogError::io(FileOperation::Read, cursor.path.clone()))?;
        if let Some(entry) = self.catalog.index(cursor.scanner.header(), length).as_ref().and_then(entry) {
            cursor.at = entry.offset;
            self.next.number = entry.number;
        }
        self.segment = Some(name.segment);
        self.cursor = Some(cursor);
        Ok(())
    }

    /// Finds the next record or damage that is not skipped; `None` if there is none at present.
    fn advance(&mut self) -> Result<Option<Step>, LogError> {
        loop {
            let progress = match self.cursor.take() {
                None => self.enter_next()?,
                Some(mut cursor) => {
                    let progress = self.step(&mut cursor);
                    if !matches!(progress, Ok(Progress::Leave)) {
                        self.cursor = Some(cursor);
                    }
                    progress?
                }
            };
            match progress {
                Progress::Edge => return Ok(None),
                Progress::Leave | Progress::Moved => {}
                Progress::Found(step) => {
                    if let Some(step) = self.filter(step) {
                        return Ok(Some(step));
                    }
                }
            }
        }
    }

    /// Opens the segment after the last one.
    fn enter_next(&mut self) -> Result<Progress, LogError> {
        let Some(name) = self.following()? else { return Ok(Progress::Edge) };
        let is_start = self.segment.is_none();
        if is_start {
            (self.next, self.resume) = (name.first, name.first);
        }
        let before = self.before(&name)?;
        if before > self.next {
            self.catalog.refresh()?;
            if self.following_listed() != Some(name) {
                return Ok(Progress::Moved);
            }
            // If it is the oldest one by now, those before it were removed as retention does it. Otherwise, segments between this one
            // and the last one were removed, or the end of the last one is damaged.
            let is_removed = self.catalog.segments.first() == Some(&name);
            if before.incarnation > self.next.incarnation {
                // How much is missing of the incarnations before it is unknown.
                self.next = Position { number: MessageNumber(0), ..before };
            }
            let lost = self.lose(&self.path(&name), 0, 0, before.number);
            return Ok(Progress::Found(Step::Damage(Damage { is_removed, ..lost })));
        }
        match self.open_segment(&name) {
            Ok(Some(cursor)) => {
                self.enter(&name);
                self.cursor = Some(cursor);
                Ok(Progress::Moved)
            }
            Ok(None) => {
                // It was removed after the directory had been listed.
                self.catalog.refresh()?;
                Ok(Progress::Moved)
            }
            Err(LogError::Header { cause, .. }) if !matches!(cause, HeaderError::Version(_)) => {
                self.enter(&name);
                let path = self.path(&name);
                let length = length(&*self.catalog.files, &name)?;
                let end = match self.following()? {
                    Some(next) => self.end_before(&next)?,
                    None => self.next.number,
                };
                Ok(Progress::Found(Step::Damage(self.lose(&path, 0, length, end))))
            }
            Err(error) => Err(error),
        }
    }

    fn enter(&mut self, name: &SegmentName) {
        self.segment = Some(name.segment);
        if name.first.incarnation != self.next.incarnation {
            self.next = name.first;
        }
    }

    /// Returns up to which position everything is in the segments before this one. If its header is damaged, and it begins an
    /// incarnation, that is unknown, and what was read counts.
    fn before(&self, name: &SegmentName) -> Result<Position, LogError> {
        if name.first.incarnation == self.next.incarnation {
            return Ok(name.first);
        }
        match Scanner::open(&*self.catalog.files, name) {
            Ok(Some(scanner)) => Ok(scanner.header().follows),
            Ok(None) | Err(LogError::Header { .. }) => Ok(self.next),
            Err(error) => Err(error),
        }
    }

    /// Returns where the incarnation that is read ends before this segment.
    fn end_before(&self, name: &SegmentName) -> Result<MessageNumber, LogError> {
        let before = self.before(name)?;
        Ok(if before.incarnation == self.next.incarnation { before } else { self.next }.number)
    }

    /// Reaches the end of the newest segment. If that was closed with more messages, those are missing.
    fn edge(&mut self, path: &Path, at: u64, closed_before: Option<MessageNumber>) -> Progress {
        match closed_before {
            Some(end) if end > self.next.number => Progress::Found(Step::Damage(self.lose(path, at, 0, end))),
            _ => Progress::Edge,
        }
    }

    fn open_segment(&self, name: &SegmentName) -> Result<Option<Cursor>, LogError> {
        let Some(scanner) = Scanner::open(&*self.catalog.files, name)? else { return Ok(None) };
        let (header, path) = (scanner.header(), self.path(name));
        if header.stream != self.stream {
            return Err(LogError::OtherStream { path, found: header.stream, expected: self.stream });
        }
        let epoch = header.epoch;
        let (seal, sealed) = match scanner.seal(&self.keys, &path) {
            // Keys are replaced by later ones. Nothing is skipped that was sealed with one that is still to be added.
            Err(LogError::NoKey { .. }) if epoch < self.keys.latest() => (None, Some(epoch)),
            seal => (seal?, None),
        };
        let at = header.len() as u64;
        Ok(Some(Cursor { scanner, seal, sealed, path, at, end: SegmentEnd::Unknown }))
    }

    /// Looks at what is at the cursor.
    fn step(&mut self, cursor: &mut Cursor) -> Result<Progress, LogError> {
        let parsed = self.parse(cursor)?;
        if let Parsed::Record(head) = parsed {
            cursor.end = SegmentEnd::Unknown;
            return match cursor.sealed {
                Some(epoch) => self.pass_sealed(cursor, epoch, head),
                None => Ok(self.take_record(cursor, &head)),
            };
        }
        let SegmentEnd::Suspected { next_segment, closed_before } =
            mem::replace(&mut cursor.end, SegmentEnd::Unknown)
        else {
            return self.suspect_end(cursor, parsed);
        };
        if parsed == Parsed::End {
            return Ok(match next_segment {
                Some(_) => Progress::Leave,
                None => self.edge(&cursor.path, cursor.at, closed_before),
            });
        }
        if let Some((found, head)) = self.search_behind(cursor, next_segment)? {
            // The record at the cursor may have been completed, and another one appended, before the search came there.
            cursor.scanner.forget();
            if matches!(self.parse(cursor)?, Parsed::Record(_)) {
                return Ok(Progress::Moved);
            }
            let at = mem::replace(&mut cursor.at, found);
            return Ok(Progress::Found(Step::Damage(self.lose(&cursor.path, at, found - at, head.number))));
        }
        let at = cursor.at;
        let Some(next_segment) = next_segment else { return Ok(self.edge(&cursor.path, at, closed_before)) };
        cursor.at = cursor.scanner.file_length().map_err(|cause| cursor.failed_read(cause))?;
        let bytes = cursor.at.saturating_sub(at);
        let end = self.end_before(&next_segment)?;
        let damage = self.lose(&cursor.path, at, bytes, end);
        Ok(Progress::Found(Step::Damage(damage)))
    }

    fn parse(&self, cursor: &mut Cursor) -> Result<Parsed, LogError> {
        let parsed = cursor.scanner.parse(cursor.at).map_err(|cause| cursor.failed_read(cause))?;
        // What a writer appended and did not accept is repeated in the next segment, or nothing does.
        let end = self.following_listed().map(|name| name.first);
        let incarnation = cursor.scanner.header().first.incarnation;
        Ok(match parsed {
            Parsed::Record(head) if end.is_some_and(|end| !head.is_before(incarnation, end)) => Parsed::End,
            other => other,
        })
    }

    /// Notes what follows the segment, in which nothing more was found for the first time.
    fn suspect_end(&mut self, cursor: &mut Cursor, parsed: Parsed) -> Result<Progress, LogError> {
        let next_segment = self.following()?;
        let closed_before = match next_segment {
            Some(_) => None,
            None => self.catalog.closed_before(cursor.scanner.header()),
        };
        let is_complete = next_segment.is_none() && closed_before.is_none_or(|end| end <= self.next.number);
        if parsed == Parsed::End && is_complete {
            return Ok(Progress::Edge);
        }
        cursor.end = SegmentEnd::Suspected { next_segment, closed_before };
        cursor.scanner.forget();
        Ok(Progress::Moved)
    }

    /// Searches the next record behind damaged bytes at the cursor, before the next segment.
    fn search_behind(
        &self,
        cursor: &mut Cursor,
        next_segment: Option<SegmentName>,
    ) -> Result<Option<(u64, RecordHead)>, LogError> {
        let found = cursor
            .scanner
            .search(cursor.at + 1, self.next.number)
            .map_err(|cause| cursor.failed_read(cause))?;
        let Some(found) = found else { return Ok(None) };
        let Parsed::Record(head) = cursor.scanner.parse(found).map_err(|cause| cursor.failed_read(cause))?
        else {
            return Ok(None);
        };
        let incarnation = cursor.scanner.header().first.incarnation;
        let is_before = next_segment.is_none_or(|name| head.is_before(incarnation, name.first));
        Ok(is_before.then_some((found, head)))
    }

    /// Takes the record at the cursor.
    fn take_record(&mut self, cursor: &mut Cursor, head: &RecordHead) -> Progress {
        let at = cursor.at;
        if head.number < self.next.number {
            // It was read before: a writer had not accepted it, and has appended it again.
            cursor.at += head.len() as u64;
            return Progress::Moved;
        }
        if head.number > self.next.number {
            return Progress::Found(Step::Damage(self.lose(&cursor.path, at, 0, head.number)));
        }
        cursor.at += head.len() as u64;
        let incarnation = cursor.scanner.header().first.incarnation;
        let is_open = cursor.scanner.open_body(at, head, cursor.seal.as_mut(), &mut self.opened);
        let body = if cursor.seal.is_some() { &self.opened } else { cursor.scanner.body(at, head) };
        match head.content(incarnation, body).filter(|_| is_open) {
            Some(record) => {
                self.next = record.end();
                Progress::Found(Step::Record { at, head: *head, first: record.first })
            }
            None => {
                // Its checksum is right: it was written so, by someone without the key.
                let end = MessageNumber(head.number.0.saturating_add(u64::from(head.is_message())));
                Progress::Found(Step::Damage(self.lose(&cursor.path, at, head.len() as u64, end)))
            }
        }
    }

    /// Passes the records from the cursor on, up to the end or damage, which cannot be opened.
    fn pass_sealed(
        &mut self,
        cursor: &mut Cursor,
        epoch: KeyEpoch,
        head: RecordHead,
    ) -> Result<Progress, LogError> {
        let (mut at, mut end, mut record) = (cursor.at, self.next.number, Some(head));
        while let Some(head) = record {
            if matches!(self.skip, Skip::Earlier(time) if head.time >= time) {
                // The numbers before it are those of earlier ones.
                self.next.number = self.next.number.max(head.number);
                (self.skip, at) = (Skip::NOTHING, cursor.at);
            }
            end = end.max(MessageNumber(head.number.0.saturating_add(u64::from(head.is_message()))));
            cursor.at += head.len() as u64;
            record = match self.parse(cursor)? {
                Parsed::Record(head) => Some(head),
                Parsed::End | Parsed::Damaged => None,
            };
        }
        if end == self.next.number {
            return Ok(Progress::Moved);
        }
        let lost = self.lose(&cursor.path, at, 0, end);
        Ok(Progress::Found(Step::Damage(Damage { sealed: Some(epoch), ..lost })))
    }

    /// Continues at this number of the incarnation, and returns what was lost before it.
    fn lose(&mut self, path: &Path, offset: u64, bytes: u64, end: MessageNumber) -> Damage {
        let first = self.next;
        let end = end.max(first.number);
        self.next.number = end;
        Damage { path: path.to_owned(), offset, bytes, first, end, sealed: None, is_removed: false }
    }

    /// Returns what is not skipped of this.
    fn filter(&mut self, step: Step) -> Option<Step> {
        match (step, self.skip) {
            (Step::Record { at, head, first }, skip) => {
                let is_skipped = match skip {
                    Skip::Before(position) => first < position && self.next <= position,
                    Skip::Earlier(time) => head.time < time,
                };
                if is_skipped {
                    return None;
                }
                self.skip = Skip::NOTHING;
                Some(Step::Record { at, head, first })
            }
            (Step::Damage(mut damage), Skip::Before(position)) => {
                let end = Position { number: damage.end, ..damage.first };
                if damage.first < position && end <= position {
                    return None;
                }
                if damage.first < position {
                    damage.first.number = position.number;
                }
                Some(Step::Damage(damage))
            }
            // When they were appended is unknown.
            (Step::Damage(_), Skip::Earlier(_)) => None,
        }
    }

    /// Returns the segment after the last one, as of the last listing.
    fn following_listed(&self) -> Option<SegmentName> {
        match self.segment {
            Some(segment) => self.catalog.after(segment).copied(),
            None => self.catalog.segments.first().copied(),
        }
    }

    /// Returns the segment after the last one; lists the directory again if none is known.
    fn following(&mut self) -> Result<Option<SegmentName>, LogError> {
        if self.following_listed().is_none() {
            self.catalog.refresh()?;
        }
        Ok(self.following_listed())
    }

    fn path(&self, name: &SegmentName) -> PathBuf {
        self.catalog.files.path(&name.segment_file())
    }
}

enum Progress {
    /// There is nothing more at present.
    Edge,
    /// The segment is finished.
    Leave,
    /// The cursor is elsewhere, or is to look again.
    Moved,
    /// There is something.
    Found(Step),
}

/// Returns the stream of a log: that of the newest segment with a valid header.
fn identify(catalog: &Catalog) -> Result<(StreamId, String), LogError> {
    let mut failure = LogError::Empty(catalog.files.path(""));
    for name in catalog.segments.iter().rev() {
        match Scanner::open(&*catalog.files, name) {
            Ok(Some(scanner)) => return Ok((scanner.header().stream, scanner.header().name.clone())),
            Ok(None) => {}
            Err(error @ LogError::Header { .. }) => failure = error,
            Err(error) => return Err(error),
        }
    }
    Err(failure)
}

fn owned(record: &HistoryRecord<&[u8]>) -> HistoryRecord<Arc<[u8]>> {
    let content = match record.content {
        HistoryContent::Message { key, bytes } => HistoryContent::Message { key, bytes: Arc::from(bytes) },
        HistoryContent::Gap { end, cause } => HistoryContent::Gap { end, cause },
        HistoryContent::OpenGap { cause } => HistoryContent::OpenGap { cause },
        HistoryContent::End => HistoryContent::End,
    };
    HistoryRecord { first: record.first, content }
}
