//! The records that a bridge remembers: those that are not stored, and of the stored ones the latest, because an engine
//! may lose them.

use std::collections::VecDeque;

use mcast_stream::ClockTime;

use crate::record::{Position, StreamRecord};

/// A record, and since when the bridge has had it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) record: StreamRecord,
    pub(super) since: ClockTime,
}

/// Records in order of their positions.
#[derive(Debug)]
pub(super) struct Backlog {
    entries: VecDeque<Entry>,
    /// The number of entries at the front that the engine has stored.
    stored: usize,
    /// The bytes of all entries, and of the stored ones.
    bytes: usize,
    stored_bytes: usize,
    /// The greatest position that was ever added.
    last: Option<Position>,
    capacity: usize,
}

impl Backlog {
    pub(super) const fn new(capacity: usize) -> Self {
        let entries = VecDeque::new();
        Self { entries, stored: 0, bytes: 0, stored_bytes: 0, last: None, capacity }
    }

    /// Adds a record at the end; returns whether its position is behind all others.
    pub(super) fn push(&mut self, entry: Entry) -> bool {
        if self.last.is_some_and(|last| entry.record.position <= last) {
            return false;
        }
        self.last = Some(entry.record.position);
        self.bytes += entry.record.size();
        self.entries.push_back(entry);
        self.evict();
        true
    }

    /// Inserts a record before the entry with this index, which is not stored.
    pub(super) fn insert(&mut self, index: usize, entry: Entry) {
        self.bytes += entry.record.size();
        self.entries.insert(index, entry);
    }

    /// Replaces the record with this index by one of the same size.
    pub(super) fn replace(&mut self, index: usize, record: StreamRecord) {
        if let Some(entry) = self.entries.get_mut(index) {
            entry.record = record;
        }
    }

    /// Notes that the engine has stored what is before and at this position, and nothing after it.
    pub(super) fn set_stored(&mut self, tail: Option<Position>) {
        let stored = self.after(tail);
        let size = |entry: &Entry| entry.record.size();
        if stored >= self.stored {
            self.stored_bytes += self.entries.range(self.stored..stored).map(size).sum::<usize>();
        } else {
            self.stored_bytes -= self.entries.range(stored..self.stored).map(size).sum::<usize>();
        }
        self.stored = stored;
        self.evict();
    }

    /// Returns the index of the first entry after this position.
    pub(super) fn after(&self, tail: Option<Position>) -> usize {
        self.entries.partition_point(|entry| Some(entry.record.position) <= tail)
    }

    /// Returns the number of entries from this index on.
    pub(super) fn count_from(&self, index: usize) -> usize {
        self.entries.len().saturating_sub(index)
    }

    pub(super) fn get(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    /// Returns the entries that are not stored.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Entry> {
        self.entries.range(self.stored..)
    }

    /// Returns the greatest position that was ever added.
    pub(super) const fn last(&self) -> Option<Position> {
        self.last
    }

    pub(super) fn pending_count(&self) -> usize {
        self.entries.len() - self.stored
    }

    pub(super) const fn pending_bytes(&self) -> usize {
        self.bytes - self.stored_bytes
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether no more may be added.
    pub(super) const fn is_full(&self) -> bool {
        self.pending_bytes() >= self.capacity
    }

    /// Forgets the oldest stored records until the others fit.
    fn evict(&mut self) {
        while self.bytes > self.capacity && self.stored > 0 {
            let Some(entry) = self.entries.pop_front() else { return };
            self.stored -= 1;
            self.bytes -= entry.record.size();
            self.stored_bytes -= entry.record.size();
        }
    }
}
