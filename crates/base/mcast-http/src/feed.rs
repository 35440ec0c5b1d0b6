//! What several clients receive: the latest chunks of a stream, each kept once.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// What a chunk costs beside its bytes.
const OVERHEAD: usize = 128;

/// Bytes that are sent to clients of a [`Feed`]: a datagram or a part of it, or an event.
#[derive(Clone, Debug)]
pub struct FeedChunk {
    bytes: Arc<[u8]>,
    range: Range<usize>,
    /// The number of the last item that it contains or stands for.
    pub number: u64,
}

impl FeedChunk {
    /// Creates a chunk of a part of these bytes, all of which are kept.
    #[must_use]
    pub fn part(bytes: Arc<[u8]>, range: Range<usize>) -> Self {
        Self { bytes, range, number: 0 }
    }

    /// Creates a chunk of all of these bytes.
    #[must_use]
    pub fn whole(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        let range = 0..bytes.len();
        Self::part(bytes, range)
    }

    /// Returns its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(self.range.clone()).unwrap_or_default()
    }

    fn cost(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

/// Where a client of a [`Feed`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedCursor {
    /// The position of the next chunk.
    pub position: u64,
    /// The number of the last datagram that was sent to the client, or reported as missed.
    pub number: u64,
}

/// The latest chunks of a stream.
#[derive(Debug)]
pub struct Feed {
    chunks: VecDeque<FeedChunk>,
    /// The position of the oldest one.
    first: u64,
    /// The number of the last datagram before it.
    gone: u64,
    /// The number of the last datagram.
    last: u64,
    cost: usize,
}

impl Feed {
    /// Creates a feed that starts after the datagram with this number.
    #[must_use]
    pub const fn after(number: u64) -> Self {
        Self { chunks: VecDeque::new(), first: 0, gone: number, last: number, cost: 0 }
    }

    /// Adds a chunk, which stands for datagrams up to this number, and forgets the oldest ones above the capacity. An
    /// empty chunk is not kept.
    pub fn push(&mut self, chunk: FeedChunk, number: u64, capacity: usize) {
        self.last = number;
        if chunk.bytes().is_empty() {
            return;
        }
        self.cost += chunk.cost();
        self.chunks.push_back(FeedChunk { number, ..chunk });
        self.trim(capacity);
    }

    /// Forgets the oldest chunks above the capacity, except for the latest chunk.
    pub fn trim(&mut self, capacity: usize) {
        while self.cost > capacity && self.chunks.len() > 1 {
            self.forget_oldest();
        }
    }

    /// Forgets the chunks before this position.
    pub fn forget_before(&mut self, position: u64) {
        while self.first < position && !self.chunks.is_empty() {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.chunks.pop_front() {
            self.cost -= oldest.cost();
            self.gone = oldest.number;
            self.first += 1;
        }
    }

    /// Returns the number of the last datagram.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Returns the position after the latest chunk.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + self.chunks.len() as u64
    }

    /// Returns a cursor after the latest chunk.
    #[must_use]
    pub fn live(&self) -> FeedCursor {
        FeedCursor { position: self.end(), number: self.last }
    }

    /// Returns a cursor after the datagram with this number, or as close after it as chunks are kept.
    #[must_use]
    pub fn after_number(&self, number: u64) -> FeedCursor {
        let before = self.chunks.partition_point(|chunk| chunk.number <= number);
        FeedCursor { position: self.first + before as u64, number }
    }

    /// Moves a cursor that has fallen behind to the oldest chunk. Returns how many datagrams it misses.
    pub fn catch_up(&self, cursor: &mut FeedCursor) -> u64 {
        let missed = self.gone.saturating_sub(cursor.number);
        if cursor.position < self.first || missed > 0 {
            *cursor = FeedCursor {
                position: cursor.position.max(self.first),
                number: cursor.number.max(self.gone),
            };
        }
        missed
    }

    /// Returns the chunks at a cursor and after it.
    pub fn from(&self, cursor: FeedCursor) -> impl Iterator<Item = &FeedChunk> {
        let start = usize::try_from(cursor.position.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.chunks.range(start.min(self.chunks.len())..)
    }

    /// Returns the bytes that it keeps, with what each chunk costs beside its own.
    #[must_use]
    pub const fn cost(&self) -> usize {
        self.cost
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_reader_gets_every_number_once_or_is_told_that_it_missed_it(
            steps in prop::collection::vec((0_usize..2_000, 0_usize..4), 1..200), capacity in 500_usize..5_000
        ) {
            let mut feed = Feed::after(10);
            let (mut cursor, mut read, mut missed) = (feed.live(), 0, 0);
            for (number, (length, reads)) in (11..).zip(&steps) {
                feed.push(FeedChunk::whole(vec![0; *length + 1]), number, capacity);
                prop_assert!(feed.cost() <= capacity.max(*length + 1 + OVERHEAD));
                for _ in 0..*reads {
                    missed += feed.catch_up(&mut cursor);
                    let Some(chunk) = feed.from(cursor).next() else { break };
                    prop_assert_eq!(chunk.number, cursor.number + 1);
                    cursor = FeedCursor { position: cursor.position + 1, number: chunk.number };
                    read += 1;
                }
            }
            missed += feed.catch_up(&mut cursor);
            let rest = feed.from(cursor).count() as u64;
            prop_assert_eq!(read + missed + rest, steps.len() as u64);
            prop_assert_eq!(feed.catch_up(&mut cursor), 0);
        }

        #[test]
        fn a_reader_resumes_after_any_number(kept in 1_u64..40, asked in 0_u64..60) {
            let mut feed = Feed::after(10);
            // Twenty chunks at most.
            (11..11 + kept).for_each(|number| feed.push(FeedChunk::whole([0]), number, 20 * (1 + OVERHEAD)));
            let mut cursor = feed.after_number(asked);
            let missed = feed.catch_up(&mut cursor);
            let first = feed.from(cursor).next().map(|chunk| chunk.number);
            prop_assert_eq!(first, (asked < feed.last()).then_some(asked + missed + 1));
        }
    }
}
