//! The messages that are in the log and not sent yet, back to back in a few blocks of memory that are used again.

use std::collections::VecDeque;

use crate::publisher::OutgoingMessage;
use crate::wire::{MessageKey, MessageNumber};

/// What a waiting message takes in addition to its bytes.
const OVERHEAD: usize = 64;
/// The size of a block, unless a message is longer.
const BLOCK: usize = 64 << 10;
/// Free blocks that are retained.
const MOST_FREE: usize = 64;

/// Consecutive messages, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The number of the first one.
    first: MessageNumber,
    heads: VecDeque<Head>,
    /// Their bytes. Each message is in one block.
    blocks: VecDeque<Vec<u8>>,
    /// Where the first message begins in the first block.
    offset: usize,
    /// The bytes of memory that the messages take.
    size: usize,
    free: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    key: Option<MessageKey>,
    length: usize,
}

impl Waiting {
    /// Adds messages, the first of which has this number: the one after the last that waits.
    pub(super) fn extend(&mut self, first: MessageNumber, messages: &[OutgoingMessage<'_>]) {
        debug_assert!(self.is_empty() || first == self.end(), "a message is missing");
        if self.is_empty() {
            self.first = first;
        }
        for OutgoingMessage { bytes, key } in messages {
            if self.blocks.back().is_none_or(|block| block.capacity() - block.len() < bytes.len()) {
                let block = self.free.pop().filter(|block| bytes.len() <= block.capacity());
                self.blocks.push_back(block.unwrap_or_else(|| Vec::with_capacity(BLOCK.max(bytes.len()))));
            }
            if let Some(block) = self.blocks.back_mut() {
                block.extend_from_slice(bytes);
            }
            self.heads.push_back(Head { key: *key, length: bytes.len() });
            self.size += bytes.len() + OVERHEAD;
        }
    }

    /// Returns the messages with numbers less than `end`, in order.
    pub(super) fn before(&self, end: MessageNumber) -> impl Iterator<Item = OutgoingMessage<'_>> {
        let count = usize::try_from(end.ahead_of(self.first)).unwrap_or(usize::MAX);
        let (mut blocks, mut offset) = (self.blocks.iter(), self.offset);
        let mut block = blocks.next();
        self.heads.iter().take(count).map_while(move |Head { key, length }| {
            if block?.len() - offset < *length {
                (block, offset) = (blocks.next(), 0);
            }
            let bytes = block?.get(offset..offset + length)?;
            offset += length;
            Some(OutgoingMessage { bytes, key: *key })
        })
    }

    /// Removes the messages with numbers less than `end`.
    pub(super) fn remove_before(&mut self, end: MessageNumber) {
        while self.first < end
            && let Some(Head { length, .. }) = self.heads.pop_front()
        {
            if self.blocks.front().is_some_and(|block| block.len() - self.offset < length) {
                self.free_first();
            }
            self.offset += length;
            self.size = self.size.saturating_sub(length + OVERHEAD);
            self.first = MessageNumber(self.first.0.saturating_add(1));
        }
        if self.is_empty() {
            while !self.blocks.is_empty() {
                self.free_first();
            }
        }
    }

    fn free_first(&mut self) {
        self.offset = 0;
        let Some(mut block) = self.blocks.pop_front() else { return };
        if block.capacity() == BLOCK && self.free.len() < MOST_FREE {
            block.clear();
            self.free.push(block);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) const fn first(&self) -> MessageNumber {
        self.first
    }

    /// Returns the number after the last message.
    fn end(&self) -> MessageNumber {
        MessageNumber(self.first.0.saturating_add(self.heads.len() as u64))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.heads.len()
    }

    /// Returns the bytes of memory that the messages take.
    pub(super) const fn size(&self) -> usize {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_leave_in_order_and_unchanged(
            steps in prop::collection::vec((prop::collection::vec(0_usize..90_000, 0..5), 0_u64..8), 1..40),
        ) {
            let (mut waiting, mut expected) = (Waiting::default(), VecDeque::new());
            let (mut next, mut first) = (0, 0);
            for (lengths, removed) in steps {
                let added: Vec<(Option<MessageKey>, Vec<u8>)> = lengths
                    .iter()
                    .zip(next..)
                    .map(|(length, number)| ((number % 2 == 0).then_some(MessageKey(number)), vec![number as u8; *length]))
                    .collect();
                let messages: Vec<_> = added.iter().map(|(key, bytes)| OutgoingMessage { bytes, key: *key }).collect();
                waiting.extend(MessageNumber(next), &messages);
                next += added.len() as u64;
                expected.extend(added);
                let end = (first + removed).min(next);
                let some: Vec<_> = waiting.before(MessageNumber(end)).map(|message| (message.key, message.bytes.to_vec())).collect();
                let removed: Vec<_> = expected.drain(..(end - first) as usize).collect();
                prop_assert_eq!(some, removed);
                waiting.remove_before(MessageNumber(end));
                first = end;
                prop_assert_eq!(waiting.len(), expected.len());
                let size: usize = expected.iter().map(|(_, bytes)| bytes.len() + OVERHEAD).sum();
                prop_assert_eq!(waiting.size(), size);
                prop_assert!(waiting.is_empty() || waiting.first() == MessageNumber(first));
            }
            let rest: Vec<_> = waiting.before(MessageNumber(u64::MAX)).map(|message| (message.key, message.bytes.to_vec())).collect();
            prop_assert_eq!(rest, Vec::from(expected));
        }
    }
}
