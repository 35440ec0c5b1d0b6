//! Selects the next datagram to send, as far as flow control permits, and computes the next deadline.

use core::time::Duration;

use super::PublisherMachine;
use super::members::{Members, Role};
use super::ring::Ring;
use crate::ClockTime;
use crate::outbox::{Control, Target};
use crate::wire::{HEADER_LENGTH, Heartbeat, Sequence};

/// Datagrams returned in one [`Transmit::Data`]: enough for several calls with segmentation offload.
const MAX_AT_ONCE: u64 = 132;
/// Data after a longer pause than this counts as a new beginning.
const MAX_PAUSE: Duration = Duration::from_millis(250);
/// A datagram, or several, to be sent.
#[derive(Debug)]
pub enum Transmit {
    /// New data, to the group on each path: consecutive datagrams, whose bytes [`PublisherMachine::datagram`] returns.
    Data {
        /// The sequence of the first.
        first: Sequence,
        /// The number of datagrams.
        count: u64,
    },
    /// A repair: a datagram of data again.
    Repair {
        /// Its sequence.
        sequence: Sequence,
        /// Its destination.
        to: Target,
    },
    /// A control datagram. Return it to [`PublisherMachine::reuse`] after sending it.
    Control(Control),
}

impl PublisherMachine {
    /// Returns what to send now. Call it until it returns `None`; what it returned counts as sent.
    pub fn poll_transmit(&mut self, now: ClockTime) -> Option<Transmit> {
        if self.is_halted() {
            return None;
        }
        self.run_timers(now);
        self.assert_invariants();
        if let Some(control) = self.outbox.pop() {
            return Some(Transmit::Control(control));
        }
        if let Some(repair) = self.next_repair(now) {
            return Some(repair);
        }
        if self.heartbeats.at() <= now {
            self.heartbeat(now);
            return self.outbox.pop().map(Transmit::Control);
        }
        if let Some(parity) = self.next_parity(now) {
            return Some(parity);
        }
        self.next_data(now)
    }

    /// Returns the bytes of a datagram of data.
    #[inline]
    #[must_use]
    pub fn datagram(&self, sequence: Sequence) -> &[u8] {
        self.ring.get(sequence)
    }

    /// Writes the path (0 to 3) into the flags of datagrams that are about to be sent.
    pub fn mark_path(&mut self, first: Sequence, count: u64, path: u8, is_repair: bool) {
        for sequence in Sequence::each(first..first + count.min(self.ring.len())) {
            if self.ring.contains(sequence) {
                self.ring.mark(sequence, path, is_repair);
            }
        }
    }

    /// Takes back a datagram that was sent, to reuse its buffer.
    pub fn reuse(&mut self, control: Control) {
        self.outbox.reuse(control);
    }

    /// Returns the time by which to call [`poll_transmit`](Self::poll_transmit) again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<ClockTime> {
        if self.is_halted() {
            return None;
        }
        if !self.outbox.is_empty() {
            return Some(ClockTime(0));
        }
        let mut deadline =
            self.heartbeats.at().min(self.check_at).min(self.flow.next_flight_time(&self.ring));
        deadline = deadline.min(self.confirmations.deadline()).min(self.ending.deadline());
        if let Some(open) = self.open.filter(|_| self.long_message.is_none()) {
            deadline = deadline.min(open.since() + self.config.linger);
        }
        deadline =
            deadline.min(self.manifest_due()).min(self.repairs.next_time()).min(self.parity_deadline());
        if self.ring.sent < self.ring.next && self.may_send_more() && !self.parity.is_waiting() {
            let length = self.ring.get(self.ring.sent).len() as u64;
            deadline = deadline.min(self.pacer.when(length));
        }
        deadline.unless_never()
    }

    fn next_data(&mut self, now: ClockTime) -> Option<Transmit> {
        let first = self.ring.sent;
        if first == self.ring.next || self.parity.is_waiting() {
            return None;
        }
        let limit = self.data_limit(now);
        let end = self.ring.next.min(first + MAX_AT_ONCE.min(self.parity.room())).min(limit.max(first));
        if end == first {
            self.block(now);
            return None;
        }
        self.flow.unblock();
        let mut bytes = 0;
        let mut sequence = first;
        while sequence < end {
            let length = self.ring.get(sequence).len() as u64;
            debug_assert!(length > 0, "datagram {sequence} has left the buffer before it was sent");
            if !self.pacer.take_data(length) {
                break;
            }
            bytes += length;
            sequence += 1;
        }
        let count = sequence - first;
        if count == 0 {
            return None;
        }
        debug_assert!(sequence <= end && end <= self.ring.next, "data that is not complete would be sent");
        debug_assert!(count <= MAX_AT_ONCE, "more data at once than one call takes");
        self.ring.sent = sequence;
        self.record_signed(first, count);
        let signed = self.signed();
        self.parity.record_sent(now, first, count, &self.ring, signed);
        if now.since(self.data_sent_at) > MAX_PAUSE {
            self.data_resumed_at = now;
        }
        self.data_sent_at = now;
        self.statistics.datagrams += count;
        self.statistics.datagram_bytes += bytes;
        self.repairs.record_data(bytes);
        self.heartbeats.record_data(now, self.round_trip, self.heartbeat_spacing());
        Some(Transmit::Data { first, count })
    }

    /// Returns whether flow control admits more data.
    fn may_send_more(&self) -> bool {
        !self.flow.is_blocked()
    }

    /// Schedules a heartbeat soon: subscribers answer it with their status.
    pub(super) fn request_statuses(&mut self) {
        self.heartbeats.schedule_soon(self.round_trip, self.heartbeat_spacing());
    }

    /// Returns the shortest time between two heartbeats that the rate admits.
    pub(super) fn heartbeat_spacing(&self) -> Duration {
        self.pacer.spacing((HEADER_LENGTH + Heartbeat::LENGTH + self.signature_length()) as u64)
    }
}

/// Datagrams in the first flight, and in the last one before the limit is removed.
const FIRST_FLIGHT: u64 = 256;
const LAST_FLIGHT: u64 = 16_384;
/// The longest wait for the answers to a flight. The next flight does not grow if they are late.
const LONGEST_FLIGHT: Duration = Duration::from_millis(50);

/// The limit on data in flight while the capacity of the links is unknown. It doubles when all subscribers know of a
/// whole flight.
#[derive(Clone, Copy, Debug)]
struct Flight {
    size: u64,
    end: Sequence,
    since: ClockTime,
}

/// The state of flow control.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowState {
    flight: Option<Flight>,
    /// Since when it has stopped the publisher.
    blocked: Option<ClockTime>,
    /// How many datagrams the publisher needs room for.
    room_needed: u64,
}

impl FlowState {
    pub(super) const fn new() -> Self {
        Self { flight: None, blocked: None, room_needed: 1 }
    }

    /// Returns the first datagram that must not be sent yet.
    pub(super) fn limit(&mut self, now: ClockTime, ring: &Ring, members: &mut Members) -> Sequence {
        if self.flight.is_some_and(|flight| ring.sent >= flight.end) {
            self.extend_flight(now, ring, members);
        }
        let flight = self.flight.map_or(Sequence::MAX, |flight| flight.end);
        members.limit().min(flight)
    }

    /// Limits the data in flight when the first subscriber has joined, because its link is unknown.
    pub(super) fn begin_flights(&mut self, now: ClockTime, ring: &Ring, members: &Members) {
        let awaited = members.iter().filter(|(_, member)| member.role == Role::Awaited);
        if awaited.count() == 1 {
            self.begin_flight(now, ring);
        }
    }

    /// Limits the data in flight, because what the links carry is unknown.
    pub(super) fn begin_flight(&mut self, now: ClockTime, ring: &Ring) {
        self.flight = Some(Flight { size: FIRST_FLIGHT, end: ring.sent + FIRST_FLIGHT, since: now });
    }

    /// Begins the next flight when all subscribers know of this one, twice as large if it was used up.
    pub(super) fn extend_flight(&mut self, now: ClockTime, ring: &Ring, members: &mut Members) {
        let Some(flight) = self.flight else { return };
        let is_over = members.least_known() >= flight.end.min(ring.next);
        if !is_over && now < flight.since + LONGEST_FLIGHT {
            return;
        }
        let is_used = is_over && ring.sent >= flight.end;
        let size = if is_used { 2 * flight.size } else { flight.size };
        let next = Flight { size, end: ring.sent + size, since: now };
        debug_assert!(next.end >= flight.end.min(ring.next), "a flight is shorter than the one before");
        self.flight = Some(next).filter(|flight| flight.size <= LAST_FLIGHT && members.rate().is_none());
    }

    /// Returns when the next flight may begin without answers.
    pub(super) fn next_flight_time(&self, ring: &Ring) -> ClockTime {
        let waits = ring.sent < ring.next;
        let blocking = self.flight.filter(|flight| waits && ring.sent >= flight.end);
        blocking.map_or(ClockTime::NEVER, |flight| flight.since + LONGEST_FLIGHT)
    }

    /// Returns whether the capacity of the links is unknown, so that flights limit the data.
    pub(super) const fn is_starting(&self) -> bool {
        self.flight.is_some()
    }

    /// Returns since when flow control has stopped the publisher.
    pub(super) const fn blocked_since(&self) -> Option<ClockTime> {
        self.blocked
    }

    pub(super) const fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Notes that flow control stops the publisher; returns whether it did not before.
    pub(super) const fn block(&mut self, now: ClockTime) -> bool {
        let is_new = self.blocked.is_none();
        if is_new {
            self.blocked = Some(now);
        }
        is_new
    }

    pub(super) const fn unblock(&mut self) {
        self.blocked = None;
    }

    /// Notes that the publisher did not run for some time.
    pub(super) fn extend_deadlines(&mut self, now: ClockTime, pause: Duration) {
        self.blocked = self.blocked.map(|since| (since + pause).min(now));
    }

    /// Notes how many datagrams there must be room for.
    pub(super) const fn need_room(&mut self, count: u64) {
        self.room_needed = count;
    }

    pub(super) const fn room_needed(&self) -> u64 {
        self.room_needed
    }
}
