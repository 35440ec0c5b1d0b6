//! The frames of a history server: requests, and answers with records.
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
/// The length of a frame before its records.
const HEAD: usize = 16;
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
    /// The most records to send.
    pub count: u32,
    /// Where to start.
    pub start: RequestedStart,
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
        let (kind, incarnation, value) = match self.start {
            RequestedStart::Oldest => (0, 0, 0),
            RequestedStart::At(Position { incarnation, number }) => (1, incarnation.0, number.0),
            RequestedStart::Latest(number) => (2, 0, number.0),
            RequestedStart::Time(time) => (3, 0, time),
        };
        let mut bytes = [0; HISTORY_REQUEST];
        bytes[..8].copy_from_slice(&self.stream.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.count.to_be_bytes());
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
            _ => return Err(WireError::Body),
        };
        Ok(Self { stream, count, start })
    }
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerStatus {
    /// As many records as requested were sent, or the client's turn is over. There may be more.
    More,
    /// There are no more records at present.
    Edge,
    /// The records cannot be read at present.
    Unavailable,
    /// The server does not have this stream.
    OtherStream,
}

/// A frame of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFrame<'a> {
    /// Records, which [`RecordReader`] reads.
    Records,
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
            kind in 0..4,
            incarnation: u32,
            value: u64,
        ) {
            let number = MessageNumber(value);
            let start = match kind {
                0 => RequestedStart::Oldest,
                1 => RequestedStart::At(Position::new(Incarnation(incarnation), number)),
                2 => RequestedStart::Latest(number),
                _ => RequestedStart::Time(value),
            };
            let request = HistoryRequest { stream: StreamId(stream), count, start };
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
        fn any_bytes_are_read_or_refused(kind in 0..5_u8, bytes: Vec<u8>) {
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
        let request = HistoryRequest { stream, count: 100, start };
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
    }
}
