//! Records, and how they are sealed.

use std::fmt;

use mcast_stream_proto::history::{GapCause, HistoryContent, HistoryRecord, Position};
use mcast_stream_proto::seal::{Cipher, Keys, Purpose, Sealed};
use mcast_stream_proto::wire::{Incarnation, MessageKey, MessageNumber, TAG_LENGTH};

use super::{array, u32_at, u64_at};
use crate::LogTime;
use crate::format::SegmentHeader;

/// The length of the head of a record.
pub const RECORD_HEAD: usize = 32;
/// The length of the longest body, without the tag of a seal: 64 MiB.
pub const MAX_BODY: usize = 1 << 26;
pub(crate) const MAX_SEALED_BODY: usize = MAX_BODY + TAG_LENGTH;

/// The bytes of a head that a seal authenticates: length, number, time, kind, cause.
const AUTHENTICATED: core::ops::Range<usize> = 4..CHECKSUM_AT;
const CHECKSUM_AT: usize = 28;

/// What a record is. The kinds have the numbers that they have in the protocol of history servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind {
    /// A message.
    Message,
    /// A message with a key of 8 bytes before it.
    KeyedMessage,
    /// The messages from the record's number to before the one in the body are missing.
    Gap,
    /// An unknown number of messages is missing.
    OpenGap,
    /// The stream was closed.
    End,
}

impl RecordKind {
    const ALL: [Self; 5] = [Self::Message, Self::KeyedMessage, Self::Gap, Self::OpenGap, Self::End];

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Returns whether a body, without the tag, can have this length.
    fn allows(self, body: usize) -> bool {
        match self {
            Self::Message => body <= MAX_BODY,
            Self::KeyedMessage => (MessageKey::LENGTH..=MAX_BODY).contains(&body),
            Self::Gap => body == 8,
            Self::OpenGap | Self::End => body == 0,
        }
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordError {
    /// There are too few bytes: at least this many are needed.
    Short(usize),
    /// They are damaged, or something else.
    Damaged,
}

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHead {
    /// The length of the body, with the tag of a seal.
    pub(crate) body: usize,
    /// The number of its message, or of the first missing one.
    pub(crate) number: MessageNumber,
    /// When it was appended.
    pub(crate) time: LogTime,
    /// What it is.
    pub(crate) kind: RecordKind,
    /// The number of the cause of a gap, or 0.
    pub(crate) cause: u8,
}

impl RecordHead {
    /// Reads the record at the beginning of these bytes, and checks it. It is at this offset of a segment with this salt.
    pub(crate) fn read(bytes: &[u8], salt: u64, offset: u64, is_sealed: bool) -> Result<Self, RecordError> {
        let head = Self::unchecked(bytes, salt, is_sealed)?;
        let record = bytes.get(..head.len()).ok_or(RecordError::Short(head.len()))?;
        if checksum(record, salt, offset) != u32_at(bytes, CHECKSUM_AT) {
            return Err(RecordError::Damaged);
        }
        Ok(head)
    }

    /// Reads the head of a record of which the body may be missing, and with it what its checksum says.
    fn unchecked(bytes: &[u8], salt: u64, is_sealed: bool) -> Result<Self, RecordError> {
        let head = bytes.get(..RECORD_HEAD).ok_or(RecordError::Short(RECORD_HEAD))?;
        let body = u32_at(head, 4) as usize;
        let kind = RecordKind::from_number(head[24]).ok_or(RecordError::Damaged)?;
        let text = if is_sealed { body.checked_sub(TAG_LENGTH) } else { Some(body) };
        if head[..4] != mark(salt) || !text.is_some_and(|text| kind.allows(text)) {
            return Err(RecordError::Damaged);
        }
        let (number, time) = (MessageNumber(u64_at(head, 8)), LogTime(u64_at(head, 16)));
        Ok(Self { body, number, time, kind, cause: head[25] })
    }

    /// Returns whether these bytes, `length` with those that follow, are the beginning of a longer record with this number.
    pub(crate) fn is_beginning(
        bytes: &[u8],
        salt: u64,
        length: u64,
        is_sealed: bool,
        number: MessageNumber,
    ) -> bool {
        match Self::unchecked(bytes, salt, is_sealed) {
            Ok(head) => head.number == number && head.len() as u64 > length,
            // Less than a head.
            Err(RecordError::Short(_)) => {
                let begin =
                    [&mark(salt)[..], bytes.get(4..8).unwrap_or_default(), &number.0.to_be_bytes()].concat();
                let common = bytes.len().min(begin.len());
                bytes[..common] == begin[..common]
            }
            Err(RecordError::Damaged) => false,
        }
    }

    /// Returns the length of the record.
    pub(crate) fn len(&self) -> usize {
        RECORD_HEAD + self.body
    }

    /// Returns whether it is a message, with or without a key.
    pub(crate) const fn is_message(&self) -> bool {
        matches!(self.kind, RecordKind::Message | RecordKind::KeyedMessage)
    }

    /// Returns whether it can be in a segment of this incarnation that is followed by one that begins at this position.
    pub(crate) fn is_before(&self, incarnation: Incarnation, end: Position) -> bool {
        let position = Position::new(incarnation, self.number);
        match self.kind {
            RecordKind::Message | RecordKind::KeyedMessage | RecordKind::Gap => position < end,
            RecordKind::OpenGap | RecordKind::End => position <= end,
        }
    }

    /// Returns what is in a record with this head and this body, which is opened and has no tag. `None` if the body
    /// contradicts the head.
    pub(crate) fn content<'a>(
        &self,
        incarnation: Incarnation,
        body: &'a [u8],
    ) -> Option<HistoryRecord<&'a [u8]>> {
        let content = match self.kind {
            RecordKind::Message => HistoryContent::Message { key: None, bytes: body },
            RecordKind::KeyedMessage => {
                let (key, bytes) = body.split_at_checked(MessageKey::LENGTH)?;
                HistoryContent::Message { key: Some(MessageKey(u64_at(key, 0))), bytes }
            }
            RecordKind::Gap => {
                let end = MessageNumber(u64::from_be_bytes(array(body, 0)));
                let cause = GapCause::from_number(self.cause);
                HistoryContent::Gap { end: (end > self.number).then_some(end)?, cause }
            }
            RecordKind::OpenGap => HistoryContent::OpenGap { cause: GapCause::from_number(self.cause) },
            RecordKind::End => HistoryContent::End,
        };
        Some(HistoryRecord { first: Position { incarnation, number: self.number }, content })
    }
}

/// Appends a record to `out`, which will be written so that the record begins at this offset of the segment. Returns
/// `false` if it is too long, or the cipher refuses to seal it; then `out` is as before.
pub(crate) fn write_record(
    out: &mut Vec<u8>,
    number: MessageNumber,
    time: LogTime,
    content: &HistoryContent<&[u8]>,
    salt: u64,
    offset: u64,
    seal: Option<&mut SegmentSeal>,
) -> bool {
    let at = out.len();
    let (kind, cause, parts) = match content {
        HistoryContent::Message { key: None, bytes } => (0, 0, ([0; 8], 0, *bytes)),
        HistoryContent::Message { key: Some(key), bytes } => (1, 0, (key.0.to_be_bytes(), 8, *bytes)),
        HistoryContent::Gap { end, cause } => (2, cause.number(), (end.0.to_be_bytes(), 8, &[][..])),
        HistoryContent::OpenGap { cause } => (3, cause.number(), ([0; 8], 0, &[][..])),
        HistoryContent::End => (4, 0, ([0; 8], 0, &[][..])),
    };
    let (prefix, prefix_length, bytes) = parts;
    let text = prefix_length + bytes.len();
    if text > MAX_BODY {
        return false;
    }
    let body = text + if seal.is_some() { TAG_LENGTH } else { 0 };
    out.extend_from_slice(&mark(salt));
    out.extend_from_slice(&(body as u32).to_be_bytes());
    out.extend_from_slice(&number.0.to_be_bytes());
    out.extend_from_slice(&time.0.to_be_bytes());
    out.extend_from_slice(&[kind, cause, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&prefix[..prefix_length]);
    out.extend_from_slice(bytes);
    if let Some(seal) = seal {
        let (head, text) = out[at..].split_at_mut(RECORD_HEAD);
        let Some(tag) = seal.seal(offset, &head[AUTHENTICATED], text) else {
            out.truncate(at);
            return false;
        };
        out.extend_from_slice(&tag);
    }
    let checksum = checksum(&out[at..], salt, offset);
    out[at + CHECKSUM_AT..at + RECORD_HEAD].copy_from_slice(&checksum.to_be_bytes());
    true
}

/// Returns the part of a head that a seal authenticates.
pub(crate) fn authenticated(record: &[u8]) -> &[u8] {
    record.get(AUTHENTICATED).unwrap_or_default()
}

/// Returns the first bytes of each record of a segment.
pub(crate) fn mark(salt: u64) -> [u8; 4] {
    array(&salt.to_be_bytes(), 0)
}

/// Returns the checksum of a record: of salt and offset, so that bytes of another segment, or of another place, or a
/// message that looks like a record, are none; of the head before the checksum; and of the body.
fn checksum(record: &[u8], salt: u64, offset: u64) -> u32 {
    let start = crc32c::crc32c_append(crc32c::crc32c(&salt.to_be_bytes()), &offset.to_be_bytes());
    let (head, body) = record.split_at(RECORD_HEAD.min(record.len()));
    crc32c::crc32c_append(crc32c::crc32c_append(start, &head[..CHECKSUM_AT]), body)
}

/// Seals and opens the records of one segment. Its keys are derived from the stream's secret and the salt of the
/// segment, and a nonce from the record's offset. A segment has one writer, which writes each offset once: after a
/// failed write, or a restart, the next record is in a new segment, with another salt. So no nonce is used twice.
pub(crate) struct SegmentSeal {
    keys: Keys,
    purpose: Purpose,
    cipher: Box<dyn Cipher>,
}

impl SegmentSeal {
    /// Returns the seal of a segment; `None` if its secret is not among the keys.
    pub(crate) fn new(keys: &Keys, header: &SegmentHeader) -> Option<Self> {
        let SegmentHeader { stream, publisher, epoch, salt, .. } = *header;
        let purpose = Purpose { stream, incarnation: publisher, epoch, sealed: Sealed::Log(salt), block: 0 };
        Some(Self { keys: keys.clone(), purpose, cipher: keys.cipher(&purpose)? })
    }

    pub(crate) fn seal(&mut self, offset: u64, head: &[u8], text: &mut [u8]) -> Option<[u8; TAG_LENGTH]> {
        self.cipher_at(offset)?.seal(offset, head, text)
    }

    pub(crate) fn open(&mut self, offset: u64, head: &[u8], text_and_tag: &mut [u8]) -> bool {
        self.cipher_at(offset).is_some_and(|cipher| cipher.open(offset, head, text_and_tag))
    }

    /// Returns the cipher of the block that this offset is in.
    fn cipher_at(&mut self, offset: u64) -> Option<&dyn Cipher> {
        let block = offset / Purpose::BLOCK;
        if block != self.purpose.block {
            let purpose = Purpose { block, ..self.purpose };
            self.cipher = self.keys.cipher(&purpose)?;
            self.purpose = purpose;
        }
        Some(&*self.cipher)
    }
}

impl fmt::Debug for SegmentSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentSeal").field("purpose", &self.purpose).finish_non_exhaustive()
    }
}
