//! Responses of the engine, what its last record shows, and which numbers datagrams of a plain group get.

use std::time::Duration;

use mcast_stream::ClockTime;
use mcast_stream::wire::MessageNumber;

use super::{
    BridgeEvent, BridgeMachine, BridgeRefusal, Connection, FIRST_POLL, InFlight, RefusedTail, Waiting,
};
use crate::engine::{BridgeBeacon, LastRecord, PendingGap, Response};
use crate::limits::UnstorableRecord;
use crate::record::{Content, DatagramMetadata, GapCause, Position, StreamRecord, UnixMillis};

impl BridgeMachine {
    /// Handles the response to the oldest request without one.
    ///
    /// # Errors
    /// If the engine's last record belongs to another stream, or another bridge keeps datagrams of a plain group there, so
    /// that nothing may be appended.
    pub fn handle_response(&mut self, now: ClockTime, response: Response) -> Result<(), BridgeRefusal> {
        let Some((sent, request)) = self.in_flight.pop_front() else { return Ok(()) };
        self.recovery.note_response(now, self.is_healing);
        match (request, response) {
            (InFlight::Append { records, tail }, Response::Appended) => {
                self.statistics.appended += records as u64;
                self.report_appended(tail);
                self.record_tail(Some(tail));
            }
            (InFlight::Append { .. }, Response::Refused { tail }) => {
                self.statistics.refused += 1;
                self.is_refused = true;
                self.observe(tail)?;
            }
            (InFlight::Append { .. }, Response::Unstorable(record)) => {
                if !self.backlog.is_pending(record.position) {
                    self.handle_connected();
                    return Ok(());
                }
                self.is_refused = true;
                self.refuse(record);
            }
            (InFlight::Retention, Response::Retention(retention)) => self.handle_retention(now, retention),
            (InFlight::LastRecord(hole), Response::LastRecord { tail, others }) => {
                self.others = others;
                // A batch behind this request expects the last record that was known.
                self.is_refused = tail.map(|tail| tail.position) != self.stored();
                self.observe(tail)?;
                self.begin(now)?;
                if let Some(waiting) = &mut self.hole {
                    waiting.is_announced |= hole.is_some_and(|hole| hole.start == waiting.hole.start);
                    waiting.record_others(&self.others);
                }
            }
            // Not a response to this request: the engine is asked for its last record again.
            _ => {
                self.handle_connected();
                return Ok(());
            }
        }
        self.record_response(now, sent);
        match self.unstorable.filter(|record| self.is_next(record.position)) {
            Some(record) => Err(BridgeRefusal::Unstorable(record)),
            None => Ok(()),
        }
    }

    /// Notes that the engine can never take a record.
    fn refuse(&mut self, record: UnstorableRecord) {
        if self.config.stops_at_unstorable || !self.backlog.refuse(record.position, record.why.cause()) {
            self.unstorable = Some(record);
        } else {
            self.statistics.unstorable += 1;
            self.events.push_back(BridgeEvent::Unstorable(record));
        }
    }

    /// Whether everything before this record is stored, and nothing is under way.
    fn is_next(&self, position: Position) -> bool {
        let next = self.backlog.pending().next();
        self.in_flight.is_empty() && next.is_some_and(|entry| entry.record.position == position)
    }

    /// Notes that the engine responded to a request that was sent at this time.
    fn record_response(&mut self, now: ClockTime, sent: ClockTime) {
        // While an engine stands still, other bridges cannot append either: they get their time again.
        let stood_still = now.since(sent) > self.config.hole_wait / 4;
        let (since, mut assumed) = match self.connection {
            Connection::Ready { since, assumed } if !stood_still => (since, assumed),
            Connection::Ready { assumed, .. } => (now, assumed),
            _ => (now, None),
        };
        if self.in_flight.is_empty() {
            self.is_refused = false;
            assumed = self.tail;
        }
        self.connection = Connection::Ready { since, assumed };
    }

    /// Notes the engine's last record, which another bridge may have written.
    fn observe(&mut self, tail: Option<LastRecord>) -> Result<(), BridgeRefusal> {
        let expected = self.config.stream;
        if let Some(found) = tail.and_then(|tail| tail.stream).filter(|found| *found != expected) {
            return Err(RefusedTail { expected, found }.into());
        }
        let newer =
            tail.map(|tail| tail.position.incarnation).filter(|there| Some(*there) > self.incarnation);
        if let Some(newer) = newer.filter(|_| self.config.group.is_some() && self.has_begun()) {
            return Err(BridgeRefusal::TakenOver(newer));
        }
        let (before, after) =
            (self.backlog.after(self.stored()), self.backlog.after(tail.map(|tail| tail.position)));
        let new = after.saturating_sub(before);
        for index in before..after {
            self.count_stored(index, tail);
        }
        if new > 0 {
            self.poll_interval = FIRST_POLL;
        }
        self.record_tail(tail);
        Ok(())
    }

    /// Counts a record that the engine's last record is after: another bridge has stored it, or nobody has.
    fn count_stored(&mut self, index: usize, tail: Option<LastRecord>) {
        let Some(StreamRecord { position, content, .. }) = self.backlog.get(index).map(|entry| &entry.record)
        else {
            return;
        };
        let (incarnation, is_message) = (position.incarnation, matches!(content, Content::Message { .. }));
        let newer = tail.map(|tail| tail.position.incarnation).filter(|newer| *newer > incarnation);
        match newer.filter(|_| is_message && self.incarnation == Some(incarnation)) {
            Some(newer) => self.record_superseded(incarnation, newer),
            None => self.statistics.already_stored += 1,
        }
    }

    fn record_tail(&mut self, tail: Option<LastRecord>) {
        let (before, now) = (self.stored(), tail.map(|tail| tail.position));
        if let Some(before) = before.filter(|_| now < before) {
            self.note_loss(before, now);
        }
        self.tail = tail;
        // Another bridge may have recorded a gap in its place.
        self.unstorable = self.unstorable.filter(|record| Some(record.position) > now);
        if now >= self.highest {
            self.highest = now;
            if let Some(now) = now.filter(|_| std::mem::take(&mut self.is_healing)) {
                self.events.push_back(BridgeEvent::EngineHealed { now });
            }
        }
        self.backlog.set_stored(now);
        self.report_waiting();
    }

    /// Reports the gaps among the records that were appended.
    fn report_appended(&mut self, tail: LastRecord) {
        let end = self.backlog.after(Some(tail.position));
        for index in self.backlog.after(self.stored())..end {
            let Some(entry) = self.backlog.get(index) else { return };
            let StreamRecord { position, content, .. } = &entry.record;
            let incarnation = position.incarnation;
            let (first, end, cause) = match *content {
                Content::Gap { first, cause } => (first, Some(position.number + 1), cause),
                Content::OpenGap { cause } => (position.number, None, cause),
                _ => continue,
            };
            self.statistics.gaps += 1;
            self.statistics.missing += end.map_or(0, |end| end.ahead_of(first));
            self.events.push_back(BridgeEvent::Gap { incarnation, first, end, cause });
        }
    }
}

impl Waiting {
    /// Notes the ends that other bridges have announced. They remain valid, even if a request that was delayed on an old
    /// connection hides them later.
    fn record_others(&mut self, others: &[Option<PendingGap>]) {
        let PendingGap { start, .. } = self.hole;
        let same = others.iter().flatten().filter(|other| other.start == start && other.end > start.number);
        self.least_end = same.map(|other| other.end).fold(self.least_end, MessageNumber::min);
    }
}

/// How long to wait until a bridge is gone whose presence is noted. One that was killed is noted for
/// [`BridgeBeacon::KEPT_FOR`].
const TIMEOUT: Duration = Duration::from_millis(BridgeBeacon::KEPT_FOR.as_millis() as u64 + 2_000);

/// The numbers of the datagrams, and whether this bridge may store them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbering {
    next: MessageNumber,
    /// Whether no other bridge was noted when it began to store. A bridge that comes later waits for this one.
    is_alone: bool,
    /// Since when another bridge is noted.
    excluded: Option<ClockTime>,
}

impl BridgeMachine {
    /// Whether datagrams of a plain group may be passed: the engine's last record is known, and therefore the
    /// incarnation that they are stored under.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.incarnation.is_some()
    }

    /// Handles a datagram of a plain group. `time` is in milliseconds since 1970.
    pub fn handle_datagram(
        &mut self,
        now: ClockTime,
        time: UnixMillis,
        metadata: DatagramMetadata,
        bytes: &[u8],
    ) {
        self.statistics.messages += 1;
        self.statistics.message_bytes += bytes.len() as u64;
        let number = self.numbering.next;
        self.numbering.next = number + 1;
        let content = Content::Datagram { metadata: Box::new(metadata), bytes: bytes.into() };
        self.push(now, time, number, content);
    }

    /// Notes that the system dropped this number of datagrams. `time` is in milliseconds since 1970.
    pub fn handle_drops(&mut self, now: ClockTime, time: UnixMillis, count: u64) {
        let first = self.numbering.next;
        let Some(before) = count.checked_sub(1) else { return };
        self.numbering.next = first + count;
        self.push(now, time, first + before, Content::Gap { first, cause: GapCause::ReceiveBufferFull });
    }

    /// Whether it may store: of a plain group, only one bridge at a time may.
    pub(super) const fn may_append(&self) -> bool {
        self.config.group.is_none() || self.numbering.is_alone
    }

    /// Begins an incarnation of a plain group when the engine's last record and the other bridges are known.
    pub(super) fn begin(&mut self, now: ClockTime) -> Result<(), BridgeRefusal> {
        let Some(least) = self.config.group else { return Ok(()) };
        if self.incarnation.is_none() {
            let stored = self.stored().map_or(least, |stored| stored.incarnation);
            // A clock that was set back, or a bridge that is started again at once, must not repeat one.
            let next =
                mcast_stream::wire::Incarnation(stored.0.saturating_add(u32::from(self.stored().is_some())));
            self.incarnation = Some(least.max(next));
        }
        if self.numbering.is_alone {
            return Ok(());
        }
        if self.others.is_empty() {
            self.numbering.is_alone = true;
            return Ok(());
        }
        let since = *self.numbering.excluded.get_or_insert_with(|| {
            self.events.push_back(BridgeEvent::OtherBridge);
            now
        });
        if now.since(since) > TIMEOUT { Err(BridgeRefusal::OtherBridge) } else { Ok(()) }
    }
}
