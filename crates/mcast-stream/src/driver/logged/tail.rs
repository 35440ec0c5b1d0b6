//! The last messages of a log, which the next publisher sends again.

use std::collections::VecDeque;
use std::path::Path;

use mcast_log::{LogItem, LogReader, LogRecord};

use super::stage::Waiting;
use crate::StreamError;
use crate::history::{HistoryContent, Position, RequestedStart};
use crate::seal::Keys;
use crate::wire::{Incarnation, MessageNumber};

/// How many messages to begin with.
const FIRST_TRY: u64 = 1_024;

/// Returns what the log has before `next` of the publishers since an incarnation: from the latest on, as much as has this
/// many bytes of messages.
pub(super) fn read(
    directory: &Path,
    keys: Keys,
    since: Incarnation,
    next: MessageNumber,
    bytes: usize,
) -> Result<VecDeque<Waiting>, StreamError> {
    let mut reader = LogReader::open(directory, keys)?;
    let starts: Vec<_> = reader
        .starts()?
        .into_iter()
        .filter(|start| start.incarnation >= since && start.number < next)
        .collect();
    let Some(oldest) = starts.first().copied() else { return Ok(VecDeque::new()) };
    let mut count = FIRST_TRY;
    loop {
        let from = MessageNumber(next.0.saturating_sub(count));
        let segment = starts.iter().rfind(|start| start.number <= from);
        let start = segment.map_or(oldest, |start| Position { number: from, ..*start });
        let mut tail = read_from(&mut reader, start, next)?;
        let mut size: usize = tail.iter().map(Waiting::size).sum();
        if size >= bytes || start == oldest {
            while size > bytes
                && let Some(first) = tail.pop_front()
            {
                size -= first.size();
            }
            return Ok(tail);
        }
        count = count.saturating_mul(4);
    }
}

fn read_from(
    reader: &mut LogReader,
    start: Position,
    next: MessageNumber,
) -> Result<VecDeque<Waiting>, StreamError> {
    let mut tail = VecDeque::new();
    reader.seek(RequestedStart::At(start))?;
    while let Some(item) = reader.next()? {
        match item {
            LogItem::Record(LogRecord { record, .. }) if record.first.number >= next => break,
            LogItem::Record(LogRecord { record, .. }) => match record.content {
                HistoryContent::Message { key, bytes } => {
                    let (number, bytes) = (record.first.number, bytes.into());
                    tail.push_back(Waiting::Message { number, key, bytes });
                }
                HistoryContent::Gap { end, .. } => {
                    tail.push_back(Waiting::Gap { first: record.first.number, end: end.min(next) });
                }
                HistoryContent::OpenGap { .. } | HistoryContent::End => {}
            },
            LogItem::Damage(damage) if damage.is_loss() => {
                tail.push_back(Waiting::Gap { first: damage.first.number, end: damage.end.min(next) });
            }
            LogItem::Damage(_) => {}
        }
    }
    Ok(tail)
}
