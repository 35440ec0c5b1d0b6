//! Which of the records in the log are effective.

use super::amqp::Message;
use super::entry::Entry;
use super::protocol::Chunk;
use crate::engine::Tail;

/// No bridge wrote the message at this offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ForeignMessage(pub(super) u64);

/// Where to begin to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// With the first record that was ever written.
    Beginning,
    /// With the record at this offset or the next one, which is effective.
    Effective(u64),
}

/// The state of reading a log: a record is effective if it follows the last effective one.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    /// The offset that is read next.
    next: u64,
    /// Whether the next record is effective whatever it follows.
    is_anchored: bool,
    /// The last effective record, and its offset.
    tail: Option<(u64, Tail)>,
}

impl Chain {
    pub(super) const fn new(start: Start) -> Self {
        match start {
            Start::Beginning => Self { next: 0, is_anchored: false, tail: None },
            Start::Effective(offset) => Self { next: offset, is_anchored: true, tail: None },
        }
    }

    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn tail(&self) -> Option<Tail> {
        self.tail.map(|(_, tail)| tail)
    }

    /// Returns the offset of the last effective record.
    pub(super) fn known(&self) -> Option<u64> {
        self.tail.map(|(offset, _)| offset)
    }

    /// Adds the effective records of a chunk with their offsets. What was read before is skipped.
    pub(super) fn read(
        &mut self,
        chunk: &Chunk<'_>,
        out: &mut Vec<(u64, Entry)>,
    ) -> Result<(), ForeignMessage> {
        for (offset, entry) in entries(chunk) {
            if offset < self.next {
                continue;
            }
            let entry = entry?;
            self.next = offset.saturating_add(1);
            let follows = entry.after == self.tail().map(|tail| tail.position);
            if follows || std::mem::take(&mut self.is_anchored) {
                self.tail = Some((offset, entry.tail()));
                out.push((offset, entry));
            }
        }
        Ok(())
    }
}

/// Returns the entries of a chunk with their offsets.
pub(super) fn entries<'a>(
    chunk: &'a Chunk<'_>,
) -> impl Iterator<Item = (u64, Result<Entry, ForeignMessage>)> + 'a {
    (chunk.first..).zip(&chunk.messages).map(|(offset, bytes)| {
        let message = bytes
            .ok_or(ForeignMessage(offset))
            .and_then(|bytes| Message::parse(bytes).map_err(|_| ForeignMessage(offset)));
        let entry = message.and_then(|message| Entry::of(&message).ok_or(ForeignMessage(offset)));
        (offset, entry)
    })
}
