//! The next request: a batch of the records that are remembered, or a look at the engine's last record.

use std::collections::VecDeque;

use mcast_stream::ClockTime;
use mcast_stream::wire::MessageNumber;

use super::{
    BridgeEvent, BridgeMachine, Connection, FIRST_POLL, IN_FLIGHT, LONGEST_POLL, REGULAR_POLL, Waiting,
};
use crate::engine::{BridgeBeacon, LastRecord, PendingGap, RecordBatch, Request};
use crate::record::{Content, GapCause, Position, StreamRecord};

/// Messages that are missing between the engine's last record and the next one that the bridge has.
#[derive(Debug)]
struct Missing {
    hole: PendingGap,
    cause: GapCause,
    /// Since when they are known to be missing, if the subscriber reported that.
    since: Option<ClockTime>,
    /// Whether the next record of the bridge is the gap itself.
    is_reported: bool,
}

impl BridgeMachine {
    pub(super) fn next_request(&mut self, now: ClockTime) -> Option<Request> {
        let (since, assumed) = match self.connection {
            Connection::Down => return None,
            Connection::Unknown if self.in_flight.is_empty() => return Some(self.request_tail(now)),
            Connection::Unknown => return None,
            Connection::Ready { since, assumed } => (since, assumed),
        };
        if self.in_flight.len() >= IN_FLIGHT || self.is_refused {
            return None;
        }
        // What the engine has lost is explained before anything is appended again.
        if self.recovery.asks() && self.in_flight.is_empty() {
            self.recovery.asked();
            return Some(Request::Retention);
        }
        if self.recovery.is_unexplained() {
            return None;
        }
        // A bridge that must not append only looks at the end of the stream from time to time, to notice that the active one has
        // stopped.
        if !self.may_append() {
            self.deadline = self.poll_at;
            return (now >= self.poll_at).then(|| self.request_tail(now));
        }
        if now >= self.poll_at && self.hole.is_none() {
            return Some(self.request_tail(now));
        }
        // A full buffer waits for nothing: what is appended again is bounded in any case.
        if let Some(until) = self.recovery.paused_until(now).filter(|_| !self.backlog.is_full()) {
            self.deadline = self.poll_at.min(until);
            return (now >= self.poll_at).then(|| self.request_tail(now));
        }
        let records = self.next_records(now, since, assumed);
        // The bridge may just have come to a hole: it asks the others at once whether they have the messages.
        if now >= self.poll_at {
            return Some(self.request_tail(now));
        }
        if records.is_empty() {
            self.deadline = self.deadline.min(self.poll_at);
            return None;
        }
        let expected = assumed.map(|tail| tail.position);
        Some(Request::Append(RecordBatch {
            stream: self.config.stream,
            expected,
            engines: self.engines,
            records,
        }))
    }

    fn request_tail(&mut self, now: ClockTime) -> Request {
        let hole = self.hole.filter(|waiting| waiting.stored_before.is_some()).map(|waiting| waiting.hole);
        let interval = if hole.is_some() { self.poll_interval } else { REGULAR_POLL };
        self.poll_at = now + interval;
        self.poll_interval = (2 * self.poll_interval).min(LONGEST_POLL);
        Request::LastRecord(BridgeBeacon { bridge: self.config.id, hole })
    }

    /// Returns the records to append behind `assumed` now; none if the bridge waits for more of them or at a hole.
    fn next_records(
        &mut self,
        now: ClockTime,
        ready: ClockTime,
        assumed: Option<LastRecord>,
    ) -> Vec<StreamRecord> {
        let (mut records, mut tail, mut bytes) = (Vec::new(), assumed, 0);
        let mut index = self.backlog.after(assumed.map(|tail| tail.position));
        while records.len() < self.config.batch_records && bytes < self.config.batch_bytes {
            let Some(entry) = self.backlog.get(index) else { break };
            if self.unstorable.is_some_and(|record| record.position <= entry.record.position) {
                break;
            }
            if let Some(missing) = self.missing_before(tail, entry) {
                let is_next = records.is_empty() && self.in_flight.is_empty();
                let due = self.wait_at(now, ready, &missing, is_next);
                if now < due {
                    self.deadline = self.deadline.min(due);
                    // What is before the hole need not wait for it.
                    return records;
                }
                self.record_gap(index, missing);
            } else if records.is_empty() {
                self.hole = None;
                let due = entry.since + self.config.batch_delay;
                if now < due && !self.is_complete(index) {
                    self.deadline = self.deadline.min(due);
                    return records;
                }
            }
            let Some(Entry { record, .. }) = self.backlog.get(index) else { break };
            let stream = Some(self.config.stream);
            tail = Some(LastRecord { position: record.position, stream, closes: record.closes() });
            bytes += record.size();
            records.push(record.clone());
            index += 1;
        }
        if records.is_empty() {
            self.hole = None;
        }
        records
    }

    /// Whether the records from this one on fill a batch, or no more are received.
    fn is_complete(&self, index: usize) -> bool {
        self.is_finishing
            || self.backlog.count_from(index) >= self.config.batch_records
            || self.backlog.pending_bytes() >= self.config.batch_bytes
    }

    /// Returns what is missing between the engine's last record and the next one.
    fn missing_before(&self, tail: Option<LastRecord>, entry: &Entry) -> Option<Missing> {
        let StreamRecord { position, content, .. } = &entry.record;
        let incarnation = position.incarnation;
        let expected = match tail {
            Some(tail) if tail.position.incarnation == incarnation => tail.position.number + 1,
            // Neither an end nor a gap closes the incarnation in the engine, so more of it may have existed.
            Some(LastRecord { position, closes: false, .. }) => {
                let start = Position::new(position.incarnation, position.number + 1);
                let hole = PendingGap { start, end: MessageNumber::MAX };
                return Some(Missing { hole, cause: self.cause_at(start), since: None, is_reported: false });
            }
            _ => MessageNumber(0),
        };
        let start = Position::new(incarnation, expected);
        let first = entry.record.first();
        if first > expected {
            let hole = PendingGap { start, end: first };
            return Some(Missing { hole, cause: self.cause_at(start), since: None, is_reported: false });
        }
        let (cause, end) = match *content {
            // No other bridge can store them either.
            Content::Gap { cause: GapCause::TooLarge | GapCause::Refused, .. } => return None,
            Content::Gap { cause, .. } => (cause, position.number + 1),
            Content::OpenGap { cause } => (cause, MessageNumber::MAX),
            _ => return None,
        };
        // After a part of it was stored by another bridge, which may store the rest, too.
        let since = (first == expected).then_some(entry.since);
        Some(Missing { hole: PendingGap { start, end }, cause, since, is_reported: true })
    }

    /// Returns the cause of a hole that the subscriber did not report.
    fn cause_at(&self, start: Position) -> GapCause {
        match self.highest {
            Some(highest) if start <= highest => GapCause::EngineLost,
            _ => GapCause::JoinedLate,
        }
    }

    /// Waits at a hole; returns until when. `is_next` is whether everything before it is stored.
    fn wait_at(&mut self, now: ClockTime, ready: ClockTime, missing: &Missing, is_next: bool) -> ClockTime {
        let hole = missing.hole;
        let known = self.hole.filter(|waiting| waiting.hole.start == hole.start);
        let since = missing.since.unwrap_or(now);
        let mut waiting = known.unwrap_or(Waiting {
            hole,
            since,
            stored_before: None,
            least_end: MessageNumber::MAX,
            is_announced: false,
            is_reported: false,
        });
        waiting.hole = hole;
        if is_next && waiting.stored_before.is_none() {
            waiting.stored_before = Some(now);
            (self.poll_interval, self.poll_at) = (FIRST_POLL, now);
        }
        self.hole = Some(waiting);
        let is_agreed = self.others.iter().all(|other| other.is_some_and(|other| other.start == hole.start));
        let from = match waiting.stored_before {
            // Nobody has the messages who might append them.
            _ if self.others.is_empty() => waiting.since,
            Some(_) if is_agreed && waiting.is_announced => waiting.since,
            // Before, the other bridges could not append them.
            Some(stored_before) => stored_before,
            // What is before the hole is not stored yet, so nobody could append what is in it.
            None => return ClockTime::NEVER,
        };
        from.max(ready) + self.config.hole_wait
    }

    /// Makes the next record a gap of what is missing, as far as no bridge has named an earlier end.
    fn record_gap(&mut self, index: usize, missing: Missing) {
        let Missing { hole: PendingGap { start, end }, cause, is_reported, .. } = missing;
        // Another bridge has the messages after that.
        let end = end.min(self.hole.map_or(end, |waiting| waiting.least_end));
        let Some(Entry { record, since, .. }) = self.backlog.get(index).cloned() else { return };
        let (number, content) = match end {
            MessageNumber::MAX => (start.number, Content::OpenGap { cause }),
            _ => (MessageNumber(end.0 - 1), Content::Gap { first: start.number, cause }),
        };
        let position = Position::new(start.incarnation, number);
        let gap = StreamRecord { position, content, ..record };
        if is_reported && gap.position == record.position {
            return self.backlog.replace(index, gap);
        }
        if is_reported && matches!(record.content, Content::OpenGap { .. }) {
            // It begins where the known part ends.
            let position = Position::new(start.incarnation, end);
            self.backlog.replace(index, StreamRecord { position, ..record });
        }
        self.backlog.insert(index, Entry::new(gap, since));
    }

    /// Reports, once, the hole that the bridge waits at.
    pub(super) fn report_waiting(&mut self) {
        // No other bridge has datagrams of a plain group.
        let hole = self.hole.as_mut().filter(|_| self.config.group.is_none());
        if let Some(waiting) = hole.filter(|waiting| !waiting.is_reported) {
            waiting.is_reported = true;
            self.events.push_back(BridgeEvent::Waiting(waiting.hole));
        }
    }
}

/// A record, and since when the bridge has had it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) record: StreamRecord,
    pub(super) since: ClockTime,
    /// How often the engine has lost it.
    losses: u8,
}

impl Entry {
    /// Whether it is what a bridge received, not a record about it.
    const fn holds_data(&self) -> bool {
        matches!(self.record.content, Content::Message { .. } | Content::Datagram { .. })
    }

    /// Whether it is a gap of what the engine has lost.
    const fn is_lost(&self) -> bool {
        matches!(self.record.content, Content::Gap { cause: GapCause::EngineLost, .. })
    }

    pub(super) const fn new(record: StreamRecord, since: ClockTime) -> Self {
        Self { record, since, losses: 0 }
    }
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
            for entry in self.entries.range_mut(stored..self.stored) {
                entry.losses = entry.losses.saturating_add(1);
            }
        }
        self.stored = stored;
        self.evict();
    }

    /// Whether there is an entry at this position that is not stored.
    pub(super) fn is_pending(&self, position: Position) -> bool {
        let index = self.entries.partition_point(|entry| entry.record.position < position);
        index >= self.stored && self.entries.get(index).is_some_and(|entry| entry.record.position == position)
    }

    /// Replaces a message that is not stored by a gap of this cause; returns whether it was there.
    pub(super) fn refuse(&mut self, position: Position, cause: GapCause) -> bool {
        let index = self.entries.partition_point(|entry| entry.record.position < position);
        let is_pending = index >= self.stored;
        let is_message = |entry: &&mut Entry| entry.record.position == position && entry.holds_data();
        let Some(entry) = self.entries.get_mut(index).filter(is_message).filter(|_| is_pending) else {
            return false;
        };
        let first = entry.record.first();
        self.bytes -= entry.record.size();
        entry.record.content = Content::Gap { first, cause };
        self.bytes += entry.record.size();
        true
    }

    /// Whether there is a message that the engine has lost, and that must be appended again.
    pub(super) fn has_lost(&self) -> bool {
        self.pending().any(|entry| entry.losses > 0 && entry.holds_data())
    }

    /// Replaces what is not stored, and was lost by the engine this often, by gaps; returns how many messages that are.
    pub(super) fn give_up(&mut self, most_losses: u32) -> u64 {
        if self.pending().all(|entry| u32::from(entry.losses) < most_losses || !entry.holds_data()) {
            return 0;
        }
        let mut given_up = 0;
        let mut before: Option<Position> = None;
        for mut entry in self.entries.split_off(self.stored) {
            let is_given_up = u32::from(entry.losses) >= most_losses && entry.holds_data();
            let position = entry.record.position;
            // A gap that was recorded for what it lost earlier becomes a part of this one.
            if !is_given_up && !entry.is_lost() {
                before = None;
                self.entries.push_back(entry);
                continue;
            }
            self.bytes -= entry.record.size();
            given_up += u64::from(is_given_up);
            let first = entry.record.first();
            let continues =
                before.is_some_and(|before| before.following() == Position::new(position.incarnation, first));
            match self.entries.back_mut().filter(|_| continues) {
                Some(last) => last.record.position = position,
                None => {
                    entry.record.content = Content::Gap { first, cause: GapCause::EngineLost };
                    self.bytes += entry.record.size();
                    self.entries.push_back(entry);
                }
            }
            before = Some(position);
        }
        given_up
    }

    /// Returns the index of the first entry after this position.
    pub(super) fn after(&self, tail: Option<Position>) -> usize {
        self.entries.partition_point(|entry| Some(entry.record.position) <= tail)
    }

    /// Returns the number of entries from this index on.
    fn count_from(&self, index: usize) -> usize {
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
