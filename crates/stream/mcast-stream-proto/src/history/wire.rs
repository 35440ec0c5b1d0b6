//! The frames of a history server: requests, and answers with records or with a snapshot.
//!
//! Frames come from the network. Reading allocates nothing, and what is read is checked.

use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use super::record::{GapCause, HistoryContent, HistoryRecord};
use crate::wire::{Incarnation, MessageKey, MessageNumber, Position, StreamId, WireError};

/// The length of a request, in bytes.
pub const HISTORY_REQUEST: usize = 28;
/// The length of an answer's frame with several records, in bytes. A longer frame has one record.
pub const MAX_HISTORY_FRAME: usize = 64 << 10;

const RECORDS: u8 = 1;
const END: u8 = 2;
const LATER: u8 = 3;
const SNAPSHOT: u8 = 4;
/// The length of a frame before its records.
const HEAD: usize = 16;
/// The length of a frame before its part of a snapshot.
const SNAPSHOT_HEAD: usize = HEAD + 8;
/// The length of the longest frame with a part of a snapshot, in bytes.
pub const MAX_SNAPSHOT_FRAME: usize = SNAPSHOT_HEAD + MAX_SNAPSHOT_PART;
/// The most bytes of a snapshot in a frame: little enough that slow clients receive some in any time limit.
const MAX_SNAPSHOT_PART: usize = 16 << 10;
/// The length of the longest text of a status.
const MAX_TEXT: usize = 1024;

const MESSAGE: u8 = 0;
const KEYED: u8 = 1;
const GAP: u8 = 2;
const OPEN_GAP: u8 = 3;
const CLOSED: u8 = 4;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRequest {
    /// The stream.
    pub stream: StreamId,
    /// What of it.
    pub wanted: Requested,
}

/// What of a stream a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requested {
    /// Records.
    Records {
        /// The most records to send.
        count: u32,
        /// Where to start.
        start: RequestedStart,
    },
    /// A snapshot that covers all messages of the incarnation before this one, or more.
    Snapshot(Position),
}

/// Where a client asks to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestedStart {
    /// With the oldest record.
    Oldest,
    /// With the record that accounts for this position, or the next one.
    At(Position),
    /// With this message of the latest incarnation that the history has.
    Latest(MessageNumber),
    /// With the first record of this time or later, in milliseconds since 1970.
    Time(u64),
}

impl HistoryRequest {
    /// Returns the bytes of the request.
    #[must_use]
    pub fn bytes(&self) -> [u8; HISTORY_REQUEST] {
        let (count, (kind, incarnation, value)) = match self.wanted {
            Requested::Records { count, start } => (
                count,
                match start {
                    RequestedStart::Oldest => (0, 0, 0),
                    RequestedStart::At(Position { incarnation, number }) => (1, incarnation.0, number.0),
                    RequestedStart::Latest(number) => (2, 0, number.0),
                    RequestedStart::Time(time) => (3, 0, time),
                },
            ),
            Requested::Snapshot(Position { incarnation, number }) => (0, (4, incarnation.0, number.0)),
        };
        let mut bytes = [0; HISTORY_REQUEST];
        bytes[..8].copy_from_slice(&self.stream.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&count.to_be_bytes());
        bytes[12] = kind;
        bytes[16..20].copy_from_slice(&u32::to_be_bytes(incarnation));
        bytes[20..].copy_from_slice(&u64::to_be_bytes(value));
        bytes
    }

    /// Reads a request. Of a longer one, of a later version, the known part is read.
    ///
    /// # Errors
    /// [`WireError::Body`] if it is too short, or asks for an unknown kind of start.
    pub fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader { bytes, at: 0 };
        let (stream, count) = (StreamId(reader.u64()?), reader.u32()?);
        let kind = reader.u8()?;
        let [_, _, _] = reader.array()?;
        let (incarnation, value) = (Incarnation(reader.u32()?), reader.u64()?);
        let start = match kind {
            0 => RequestedStart::Oldest,
            1 => RequestedStart::At(Position::new(incarnation, MessageNumber(value))),
            2 => RequestedStart::Latest(MessageNumber(value)),
            3 => RequestedStart::Time(value),
            4 => {
                let position = Position::new(incarnation, MessageNumber(value));
                return Ok(Self { stream, wanted: Requested::Snapshot(position) });
            }
            _ => return Err(WireError::Body),
        };
        Ok(Self { stream, wanted: Requested::Records { count, start } })
    }
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerStatus {
    /// As many records as requested were sent, or the client's turn is over. There may be more.
    More,
    /// There are no more records at present.
    Edge,
    /// The records cannot be read at present, or there is no snapshot.
    Unavailable,
    /// The server does not have this stream.
    OtherStream,
}

/// A frame of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFrame<'a> {
    /// Records, which [`RecordReader`] reads.
    Records,
    /// A part of a snapshot. All parts follow each other.
    Snapshot {
        /// The position after all messages that it covers.
        position: Position,
        /// The length of all parts together.
        size: u64,
        /// The part.
        bytes: &'a [u8],
    },
    /// The end of the answer.
    End {
        /// How it ends.
        status: AnswerStatus,
        /// An explanation, possibly empty.
        text: &'a str,
    },
    /// The server serves others first. The client is to connect again.
    Retry {
        /// After this time, in whole milliseconds.
        wait: Duration,
    },
}

impl<'a> AnswerFrame<'a> {
    /// Reads a frame.
    ///
    /// # Errors
    /// [`WireError::Body`] if it is of an unknown kind or malformed.
    pub fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        match bytes {
            [RECORDS, ..] if bytes.len() >= HEAD => Ok(Self::Records),
            [SNAPSHOT, ..] => {
                let mut reader = Reader { bytes, at: 4 };
                let position = Position::new(Incarnation(reader.u32()?), MessageNumber(reader.u64()?));
                let size = reader.u64()?;
                Ok(Self::Snapshot { position, size, bytes: bytes.get(reader.at..).unwrap_or_default() })
            }
            [END, status, _, _, text @ ..] => {
                let status = match status {
                    0 => AnswerStatus::More,
                    1 => AnswerStatus::Edge,
                    2 => AnswerStatus::Unavailable,
                    3 => AnswerStatus::OtherStream,
                    _ => return Err(WireError::Body),
                };
                let text = text.get(..text.len().min(MAX_TEXT)).unwrap_or_default();
                Ok(Self::End { status, text: core::str::from_utf8(text).map_err(|_| WireError::Body)? })
            }
            [LATER, ..] => {
                let mut reader = Reader { bytes, at: 4 };
                Ok(Self::Retry { wait: Duration::from_millis(u64::from(reader.u32()?)) })
            }
            _ => Err(WireError::Body),
        }
    }

    /// Returns the bytes of the frame that ends an answer. Longer texts are cut.
    #[must_use]
    pub fn end(status: AnswerStatus, text: &str) -> Vec<u8> {
        let mut bytes = alloc::vec![END, status as u8, 0, 0];
        let end = (0..=MAX_TEXT.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        bytes.extend_from_slice(text.get(..end.unwrap_or(0)).unwrap_or_default().as_bytes());
        bytes
    }
}

impl AnswerFrame<'_> {
    /// Returns the bytes of the frame that sends a client away for this time, rounded up to milliseconds.
    #[must_use]
    pub fn later(wait: Duration) -> Vec<u8> {
        let milliseconds = u32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX);
        let mut bytes = alloc::vec![LATER, 0, 0, 0];
        bytes.extend_from_slice(&milliseconds.to_be_bytes());
        bytes
    }

    /// Returns the frames of a snapshot that covers all messages before this position.
    pub fn snapshot(position: Position, snapshot: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        // One without bytes has a frame, too.
        let last = snapshot.len().saturating_sub(1) / MAX_SNAPSHOT_PART;
        (0..=last).map(move |at| {
            let rest = snapshot.get(at * MAX_SNAPSHOT_PART..).unwrap_or_default();
            let part = rest.get(..MAX_SNAPSHOT_PART).unwrap_or(rest);
            let mut bytes = Vec::with_capacity(SNAPSHOT_HEAD + part.len());
            bytes.extend_from_slice(&[SNAPSHOT, 0, 0, 0]);
            bytes.extend_from_slice(&position.incarnation.0.to_be_bytes());
            bytes.extend_from_slice(&position.number.0.to_be_bytes());
            bytes.extend_from_slice(&(snapshot.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
            bytes
        })
    }
}

/// Puts the parts of a snapshot together.
#[derive(Debug)]
pub struct SnapshotParts {
    wanted: Position,
    max_size: u64,
    position: Option<(Position, u64)>,
    bytes: Vec<u8>,
}

/// Why a snapshot is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It does not cover what was requested.
    #[error("it is older than requested")]
    TooOld,
    /// It is larger than configured.
    #[error("it has {0} bytes, which is more than the limit")]
    TooLarge(u64),
    /// Its parts do not belong together, or end too early.
    #[error("its length is not the announced one")]
    Length,
}

impl SnapshotParts {
    /// Returns what a snapshot of at most `max_size` bytes is put together in, which covers all messages before this one.
    #[must_use]
    pub const fn new(wanted: Position, max_size: u64) -> Self {
        Self { wanted, max_size, position: None, bytes: Vec::new() }
    }

    /// Takes the next part. Memory is taken for what has arrived, not for what is announced.
    ///
    /// # Errors
    /// If the snapshot is not what was requested, too large, or malformed.
    pub fn handle_part(&mut self, position: Position, size: u64, bytes: &[u8]) -> Result<(), SnapshotError> {
        if position.incarnation != self.wanted.incarnation || position < self.wanted {
            return Err(SnapshotError::TooOld);
        }
        if size > self.max_size {
            return Err(SnapshotError::TooLarge(size));
        }
        let is_same = *self.position.get_or_insert((position, size)) == (position, size);
        let is_empty = bytes.is_empty() && size > 0;
        if !is_same || is_empty || (self.bytes.len() + bytes.len()) as u64 > size {
            return Err(SnapshotError::Length);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns the snapshot, and the number of the message that follows it, at the end of the answer.
    ///
    /// # Errors
    /// [`SnapshotError::Length`] if a part is missing.
    pub fn finish(self) -> Result<(MessageNumber, Vec<u8>), SnapshotError> {
        match self.position {
            Some((position, size)) if self.bytes.len() as u64 == size => Ok((position.number, self.bytes)),
            _ => Err(SnapshotError::Length),
        }
    }
}

/// Writes records into a frame: those that follow each other, of one incarnation.
#[derive(Debug, Default)]
pub struct FrameWriter {
    bytes: Vec<u8>,
    /// The position of the next record.
    next: Option<Position>,
}

impl FrameWriter {
    /// Returns the frame, if it has records, and begins the next one.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.next.take()?;
        Some(core::mem::take(&mut self.bytes))
    }

    /// Adds a record; returns `false` if it does not fit in the frame, which is then to be [taken](Self::take) first.
    #[must_use]
    pub fn push<B: AsRef<[u8]>>(&mut self, record: &HistoryRecord<B>) -> bool {
        let length = match &record.content {
            HistoryContent::Message { bytes, .. } => 13 + bytes.as_ref().len(),
            _ => 10,
        };
        match self.next {
            Some(next) if next != record.first || self.bytes.len() + length > MAX_HISTORY_FRAME => {
                return false;
            }
            Some(_) => {}
            None => {
                self.bytes.clear();
                self.bytes.extend_from_slice(&[RECORDS, 0, 0, 0]);
                self.bytes.extend_from_slice(&record.first.incarnation.0.to_be_bytes());
                self.bytes.extend_from_slice(&record.first.number.0.to_be_bytes());
            }
        }
        match &record.content {
            HistoryContent::Message { key, bytes } => {
                let bytes = bytes.as_ref();
                self.bytes.push(if key.is_some() { KEYED } else { MESSAGE });
                self.bytes.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
                if let Some(key) = key {
                    self.bytes.extend_from_slice(&key.0.to_be_bytes());
                }
                self.bytes.extend_from_slice(bytes);
            }
            HistoryContent::Gap { end, cause } => {
                self.bytes.extend_from_slice(&[GAP, cause.number()]);
                self.bytes.extend_from_slice(&end.0.to_be_bytes());
            }
            HistoryContent::OpenGap { cause } => {
                self.bytes.extend_from_slice(&[OPEN_GAP, cause.number()]);
            }
            HistoryContent::End => self.bytes.push(CLOSED),
        }
        self.next = Some(record.end());
        true
    }
}

/// Reads the records of a frame, whose bytes its caller keeps.
#[derive(Clone, Copy, Debug)]
pub struct RecordReader {
    at: usize,
    next: Position,
}

impl RecordReader {
    /// Returns a reader of this frame.
    ///
    /// # Errors
    /// [`WireError::Body`] if it is not a frame with records.
    pub fn new(frame: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader { bytes: frame, at: 0 };
        if reader.u8()? != RECORDS {
            return Err(WireError::Body);
        }
        reader.skip(3)?;
        let next = Position::new(Incarnation(reader.u32()?), MessageNumber(reader.u64()?));
        Ok(Self { at: reader.at, next })
    }

    /// Returns the next record, with the range of its bytes in the frame; `None` at the end.
    ///
    /// # Errors
    /// [`WireError::Body`] if it is malformed. Then there is no record behind it.
    pub fn next(&mut self, frame: &[u8]) -> Result<Option<HistoryRecord<Range<usize>>>, WireError> {
        if self.at >= frame.len() {
            return Ok(None);
        }
        let is_first = self.at == HEAD;
        let record = self.read(frame).inspect_err(|_| self.at = frame.len())?;
        if frame.len() > MAX_HISTORY_FRAME && !(is_first && self.at == frame.len()) {
            self.at = frame.len();
            return Err(WireError::Body);
        }
        Ok(Some(record))
    }

    fn read(&mut self, frame: &[u8]) -> Result<HistoryRecord<Range<usize>>, WireError> {
        let mut reader = Reader { bytes: frame, at: self.at };
        let content = match reader.u8()? {
            kind @ (MESSAGE | KEYED) => {
                let length = usize::try_from(reader.u32()?).map_err(|_| WireError::Body)?;
                let key = if kind == KEYED { Some(MessageKey(reader.u64()?)) } else { None };
                let start = reader.at;
                reader.skip(length)?;
                HistoryContent::Message { key, bytes: start..reader.at }
            }
            GAP => {
                let cause = GapCause::from_number(reader.u8()?);
                let end = MessageNumber(reader.u64()?);
                if end <= self.next.number {
                    return Err(WireError::Body);
                }
                HistoryContent::Gap { end, cause }
            }
            OPEN_GAP => HistoryContent::OpenGap { cause: GapCause::from_number(reader.u8()?) },
            CLOSED => HistoryContent::End,
            _ => return Err(WireError::Body),
        };
        let record = HistoryRecord { first: self.next, content };
        (self.at, self.next) = (reader.at, record.end());
        Ok(record)
    }
}

/// A place in bytes that are read.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let bytes = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk).ok_or(WireError::Body)?;
        self.at += N;
        Ok(*bytes)
    }

    fn skip(&mut self, count: usize) -> Result<(), WireError> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len()).ok_or(WireError::Body)?;
        self.at = end;
        Ok(())
    }

    fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contents() -> impl Strategy<Value = HistoryContent<Vec<u8>>> {
        let cause = proptest::sample::select(&GapCause::ALL[..]);
        let bytes = prop_oneof![prop::collection::vec(any::<u8>(), 0..40), Just(vec![7; 70_000])];
        let message = (any::<Option<u64>>(), bytes)
            .prop_map(|(key, bytes)| HistoryContent::Message { key: key.map(MessageKey), bytes });
        prop_oneof![
            8 => message,
            1 => (1..1_000_u64, cause.clone())
                .prop_map(|(end, cause)| HistoryContent::Gap { end: MessageNumber(end), cause }),
            1 => cause.prop_map(|cause| HistoryContent::OpenGap { cause }),
            1 => Just(HistoryContent::End),
        ]
    }

    /// Returns records from this position on, some of which leave a hole before them.
    fn records(
        start: Position,
        contents: Vec<(HistoryContent<Vec<u8>>, bool)>,
    ) -> Vec<HistoryRecord<Vec<u8>>> {
        let mut next = start;
        let record = |(content, is_after_hole): (HistoryContent<Vec<u8>>, bool)| {
            let first = if is_after_hole { next.following() } else { next };
            let content = match content {
                HistoryContent::Gap { end, cause } => {
                    HistoryContent::Gap { end: first.number + end.0, cause }
                }
                other => other,
            };
            let record = HistoryRecord { first, content };
            next = record.end();
            record
        };
        contents.into_iter().map(record).collect()
    }

    fn read_all(frame: &[u8]) -> Result<Vec<HistoryRecord<Vec<u8>>>, WireError> {
        let mut reader = RecordReader::new(frame)?;
        let mut all = Vec::new();
        while let Some(HistoryRecord { first, content }) = reader.next(frame)? {
            let content = match content {
                HistoryContent::Message { key, bytes } => {
                    HistoryContent::Message { key, bytes: frame[bytes].to_vec() }
                }
                HistoryContent::Gap { end, cause } => HistoryContent::Gap { end, cause },
                HistoryContent::OpenGap { cause } => HistoryContent::OpenGap { cause },
                HistoryContent::End => HistoryContent::End,
            };
            all.push(HistoryRecord { first, content });
        }
        Ok(all)
    }

    proptest! {
        #[test]
        fn records_are_read_as_they_were_written(
            incarnation: u32,
            number in 0..u64::MAX / 2,
            contents in prop::collection::vec((contents(), any::<bool>()), 1..40),
        ) {
            let written = records(Position::new(Incarnation(incarnation), MessageNumber(number)), contents);
            let mut writer = FrameWriter::default();
            let mut frames = Vec::new();
            for record in &written {
                if !writer.push(record) {
                    frames.extend(writer.take());
                    prop_assert!(writer.push(record));
                }
            }
            frames.extend(writer.take());
            let mut read = Vec::new();
            for frame in &frames {
                prop_assert_eq!(AnswerFrame::read(frame), Ok(AnswerFrame::Records));
                let records = read_all(frame).unwrap();
                prop_assert!(frame.len() <= MAX_HISTORY_FRAME || records.len() == 1);
                read.extend(records);
            }
            prop_assert_eq!(read, written);
        }

        #[test]
        fn requests_are_read_as_they_were_written(
            stream: u64,
            count: u32,
            kind in 0..5,
            incarnation: u32,
            value: u64,
        ) {
            let number = MessageNumber(value);
            let position = Position::new(Incarnation(incarnation), number);
            let start = match kind {
                0 => RequestedStart::Oldest,
                1 => RequestedStart::At(position),
                2 => RequestedStart::Latest(number),
                _ => RequestedStart::Time(value),
            };
            let wanted = match kind {
                4 => Requested::Snapshot(position),
                _ => Requested::Records { count, start },
            };
            let request = HistoryRequest { stream: StreamId(stream), wanted };
            prop_assert_eq!(HistoryRequest::read(&request.bytes()), Ok(request));
        }

        #[test]
        fn the_end_of_an_answer_is_read_as_it_was_written(status in 0..4_usize, text in ".{0,40}") {
            use AnswerStatus::{Edge, More, OtherStream, Unavailable};
            let status = [More, Edge, Unavailable, OtherStream][status];
            let bytes = AnswerFrame::end(status, &text);
            prop_assert_eq!(AnswerFrame::read(&bytes), Ok(AnswerFrame::End { status, text: &text }));
        }

        #[test]
        fn the_time_to_come_back_is_read_as_it_was_written(milliseconds: u32) {
            let wait = Duration::from_millis(u64::from(milliseconds));
            let bytes = AnswerFrame::later(wait);
            prop_assert_eq!(AnswerFrame::read(&bytes), Ok(AnswerFrame::Retry { wait }));
            AnswerFrame::read(&bytes[..bytes.len() - 1]).unwrap_err();
        }

        #[test]
        fn a_snapshot_is_put_together_as_it_was_taken_apart(
            at: (u32, u64),
            length in prop_oneof![0..3_usize, 16_383..16_386_usize, 0..50_000_usize],
            dropped: proptest::sample::Index,
        ) {
            let position = Position::new(Incarnation(at.0), MessageNumber(at.1));
            let snapshot: Vec<u8> = (0..length).map(|byte| (byte * 7 / 3) as u8).collect();
            let frames: Vec<_> = AnswerFrame::snapshot(position, &snapshot).collect();
            prop_assert!(frames.iter().all(|frame| frame.len() <= MAX_SNAPSHOT_FRAME));
            let together = |wanted, limit, frames: &[Vec<u8>]| {
                let mut parts = SnapshotParts::new(wanted, limit);
                for frame in frames {
                    let Ok(AnswerFrame::Snapshot { position, size, bytes }) = AnswerFrame::read(frame) else {
                        panic!("{frame:?}");
                    };
                    parts.handle_part(position, size, bytes)?;
                }
                parts.finish()
            };
            let size = length as u64;
            prop_assert_eq!(together(position, size, &frames), Ok((position.number, snapshot)));
            prop_assert_eq!(
                together(Position { number: MessageNumber(at.1 / 2), ..position }, size, &frames).map(|all| all.0),
                Ok(position.number)
            );
            if at.1 < u64::MAX {
                prop_assert_eq!(together(position.following(), size, &frames), Err(SnapshotError::TooOld));
            }
            if length > 0 {
                prop_assert_eq!(together(position, size - 1, &frames), Err(SnapshotError::TooLarge(size)));
            }
            let mut fewer = frames.clone();
            fewer.remove(dropped.index(frames.len()));
            prop_assert_eq!(together(position, size, &fewer), Err(SnapshotError::Length));
            let more = [&frames[..], &frames[..1]].concat();
            prop_assert!(length == 0 || together(position, size, &more) == Err(SnapshotError::Length));
        }

        #[test]
        fn any_bytes_are_read_or_refused(kind in 0..6_u8, bytes: Vec<u8>) {
            let frame = [&[kind], &bytes[..]].concat();
            let _ = (HistoryRequest::read(&frame), AnswerFrame::read(&frame));
            if let Ok(records) = read_all(&frame) {
                prop_assert!(records.len() <= frame.len());
                prop_assert!(records.windows(2).all(|pair| pair[0].end() == pair[1].first));
            }
        }
    }

    #[test]
    fn a_long_frame_has_one_record() {
        let message = |bytes| HistoryRecord {
            first: Position::START,
            content: HistoryContent::Message { key: None, bytes: vec![0; bytes] },
        };
        let mut writer = FrameWriter::default();
        assert!(writer.push(&message(100_000)));
        let mut frame = writer.take().unwrap();
        assert_eq!(read_all(&frame).unwrap().len(), 1);
        frame.push(CLOSED);
        read_all(&frame).unwrap_err();
        let many = [&frame[..HEAD], &vec![CLOSED; MAX_HISTORY_FRAME]].concat();
        read_all(&many).unwrap_err();
    }

    #[test]
    fn golden_vectors() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let start = RequestedStart::At(Position::new(Incarnation(0x1122_3344), MessageNumber(7)));
        let stream = StreamId(0x0102_0304_0506_0708);
        let request = HistoryRequest { stream, wanted: Requested::Records { count: 100, start } };
        assert_eq!(
            hex(&request.bytes()),
            "010203040506070800000064 01 000000 1122334400000000000000 07".replace(' ', "")
        );
        let at = |number| Position::new(Incarnation(0x1122_3344), MessageNumber(number));
        let mut writer = FrameWriter::default();
        let records = [
            (7, HistoryContent::Message { key: None, bytes: &b"hi"[..] }),
            (8, HistoryContent::Message { key: Some(MessageKey(9)), bytes: b"" }),
            (9, HistoryContent::Gap { end: MessageNumber(12), cause: GapCause::JoinedLate }),
            (12, HistoryContent::End),
        ];
        for (number, content) in records {
            assert!(writer.push(&HistoryRecord { first: at(number), content }));
        }
        assert_eq!(
            hex(&writer.take().unwrap()),
            "01000000112233440000000000000007 00000000026869 01000000000000000000000009 0207000000000000000c 04"
                .replace(' ', "")
        );
        assert_eq!(hex(&AnswerFrame::end(AnswerStatus::Edge, "")), "02010000");
        let later = AnswerFrame::later(Duration::from_nanos(1_499_999_999));
        assert_eq!(hex(&later), "03000000000005dc");
        let request = HistoryRequest { stream, wanted: Requested::Snapshot(at(7)) };
        assert_eq!(
            hex(&request.bytes()),
            "010203040506070800000000 04 000000 1122334400000000000000 07".replace(' ', "")
        );
        let snapshot: Vec<_> = AnswerFrame::snapshot(at(7), b"hi").collect();
        assert_eq!(snapshot.len(), 1);
        assert_eq!(
            hex(&snapshot[0]),
            "04000000112233440000000000000007 0000000000000002 6869".replace(' ', "")
        );
    }
}
