//! Flow control: how far the publisher may send, and since when subscribers have stopped it.

use super::members::{Members, Role};
use super::ring::Ring;
use crate::wire::Sequence;
use crate::{ClockTime, Nanos};

/// Datagrams in the first flight, and in the last one before the limit is removed.
const FIRST_FLIGHT: u64 = 256;
const LAST_FLIGHT: u64 = 16_384;
/// The longest wait for the answers to a flight. The next flight does not grow if they are late.
const LONGEST_FLIGHT: Nanos = Nanos::from_millis(50);

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
    pub(super) fn extend_deadlines(&mut self, now: ClockTime, pause: Nanos) {
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
