//! The last messages of a log, which the next publisher retains for subscribers that lack them.

use std::collections::VecDeque;
use std::sync::Arc;

use mcast_stream_proto::history::{HistoryContent, Position, RequestedStart};
use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::wire::{KeyEpoch, MessageKey, MessageNumber};

use crate::beginning::Unconfirmed;
use crate::error::LogError;
use crate::files::Files;
use crate::reader::{LogItem, LogReader, LogRecord};

/// How many messages to begin with.
const FIRST_TRY: u64 = 1_024;
/// What a message takes in addition to its bytes.
const OVERHEAD: usize = 16;

/// What is at the end of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailItem {
    /// A message.
    Message {
        /// Its number.
        number: MessageNumber,
        /// Its key.
        key: Option<MessageKey>,
        /// Its bytes.
        bytes: Box<[u8]>,
    },
    /// Messages that are missing.
    Gap {
        /// The first of them.
        first: MessageNumber,
        /// One past the last one.
        end: MessageNumber,
    },
}

impl TailItem {
    /// Returns the number of the first message.
    #[must_use]
    pub const fn first(&self) -> MessageNumber {
        match self {
            Self::Message { number, .. } => *number,
            Self::Gap { first, .. } => *first,
        }
    }

    /// Returns one past the number of the last message.
    #[must_use]
    pub const fn end(&self) -> MessageNumber {
        match self {
            Self::Message { number, .. } => MessageNumber(number.0.saturating_add(1)),
            Self::Gap { end, .. } => *end,
        }
    }

    const fn size(&self) -> usize {
        match self {
            Self::Message { bytes, .. } => bytes.len() + OVERHEAD,
            Self::Gap { .. } => OVERHEAD,
        }
    }
}

/// The end of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogTail {
    /// Messages and gaps, the oldest first. The first one is a message.
    pub items: VecDeque<TailItem>,
    /// About how many bytes they take in a retransmission buffer.
    pub bytes: usize,
    /// Messages among them, or before them, that cannot be opened, because their secret was removed.
    pub unopened: Option<Unopened>,
}

/// Messages that cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unopened {
    /// The first one.
    pub first: MessageNumber,
    /// One past the last one.
    pub end: MessageNumber,
    /// The epoch of the secret that sealed the last ones.
    pub epoch: KeyEpoch,
}

/// What of a log is recalled.
#[derive(Clone, Copy, Debug)]
pub struct Recall {
    /// The position after the last message. Only messages of its incarnation are recalled.
    pub next: Position,
    /// What subscribers may lack.
    pub unconfirmed: Unconfirmed,
    /// How many bytes a publisher retains in any case.
    pub least: usize,
    /// How many bytes former publishers can have accepted that a subscriber lacks.
    pub most: usize,
    /// The first message that was not sent, if that is known: what follows is recalled, however much it is. The former publisher
    /// had it in memory.
    pub unsent: Option<MessageNumber>,
}

impl LogTail {
    /// Reads the end of a log: what subscribers may lack, but no more than the most that they can lack, and in any case what was
    /// not sent, and as much as a publisher retains.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn read(files: Arc<dyn Files>, keys: Keys, recall: Recall) -> Result<Self, LogError> {
        let Recall { next, unconfirmed, least, most, unsent } = recall;
        if unconfirmed == Unconfirmed::Nothing {
            return Ok(Self::default());
        }
        let mut reader = LogReader::open_files(files, keys)?;
        let is_older = |start: &Position| start.incarnation == next.incarnation && *start < next;
        let Some(oldest) = reader.starts()?.into_iter().find(is_older) else { return Ok(Self::default()) };
        let is_enough = |tail: &Self, first: MessageNumber| match unconfirmed {
            _ if unsent.is_some_and(|unsent| unsent < first) => false,
            Unconfirmed::From(confirmed) if first <= confirmed => tail.bytes >= least,
            _ => tail.bytes >= most,
        };
        let mut count = FIRST_TRY;
        loop {
            let from = MessageNumber(next.number.0.saturating_sub(count));
            let start = oldest.max(Position { number: from, ..next });
            let mut tail = Self::read_from(&mut reader, start, next)?;
            if is_enough(&tail, start.number) || start == oldest {
                tail.shorten(&recall);
                return Ok(tail);
            }
            count = count.saturating_mul(4);
        }
    }

    fn read_from(reader: &mut LogReader, start: Position, next: Position) -> Result<Self, LogError> {
        let mut tail = Self::default();
        reader.seek(RequestedStart::At(start))?;
        while let Some(item) = reader.next()? {
            match item {
                LogItem::Record(LogRecord { record, .. }) if record.first >= next => break,
                LogItem::Record(LogRecord { record, .. }) => match record.content {
                    HistoryContent::Message { key, bytes } => {
                        tail.push(TailItem::Message {
                            number: record.first.number,
                            key,
                            bytes: bytes.into(),
                        });
                    }
                    HistoryContent::Gap { end, .. } => {
                        tail.push(TailItem::Gap { first: record.first.number, end: end.min(next.number) });
                    }
                    HistoryContent::OpenGap { .. } | HistoryContent::End => {}
                },
                LogItem::Damage(damage) if damage.is_loss() && damage.first < next => {
                    let (first, end) = (damage.first.number, damage.end.min(next.number));
                    if let Some(epoch) = damage.sealed {
                        let first = tail.unopened.map_or(first, |before| before.first);
                        tail.unopened = Some(Unopened { first, end, epoch });
                    }
                    tail.push(TailItem::Gap { first, end });
                }
                LogItem::Damage(_) => {}
            }
        }
        Ok(tail)
    }

    fn push(&mut self, item: TailItem) {
        self.bytes += item.size();
        self.items.push_back(item);
    }

    /// Drops the oldest items that are not needed, and gaps at the beginning.
    fn shorten(&mut self, recall: &Recall) {
        let Recall { unconfirmed, least, most, unsent, .. } = *recall;
        while let Some(first) = self.items.front() {
            let is_confirmed = match unconfirmed {
                Unconfirmed::From(confirmed) => first.first() < confirmed,
                Unconfirmed::Nothing => true,
                Unconfirmed::Unknown => false,
            };
            let is_gap = matches!(first, TailItem::Gap { .. });
            let is_sent = unsent.is_none_or(|unsent| first.first() < unsent);
            if !is_gap && (!is_sent || self.bytes <= most && !(is_confirmed && self.bytes > least)) {
                break;
            }
            self.bytes -= first.size();
            self.items.pop_front();
        }
    }
}
