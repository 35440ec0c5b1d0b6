//! The limit on data in flight while nothing is known of the links.

use core::time::Duration;

use super::LinkRates;
use crate::ClockTime;
use crate::publisher::members::{Members, Role};
use crate::publisher::ring::Ring;
use crate::wire::Sequence;

/// Datagrams in the first flight, and in the last one before the limit is removed.
const FIRST_FLIGHT: u64 = 256;
const LAST_FLIGHT: u64 = 16_384;
/// The longest wait for the answers to a flight. The next flight does not grow if they are late.
const LONGEST_FLIGHT: Duration = Duration::from_millis(50);

/// The limit on data in flight while the capacity of the links is unknown. It doubles when all subscribers know of a
/// whole flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    size: u64,
    end: Sequence,
    since: ClockTime,
}

impl LinkRates {
    /// Returns the first datagram that must not be sent yet.
    pub(in crate::publisher) fn limit(
        &mut self,
        now: ClockTime,
        ring: &Ring,
        members: &mut Members,
    ) -> Sequence {
        if self.flight.is_some_and(|flight| ring.sent >= flight.end) {
            self.extend_flight(now, ring, members);
        }
        self.flight.map_or(Sequence::MAX, |flight| flight.end)
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
        self.flight =
            Some(next).filter(|flight| flight.size <= LAST_FLIGHT && self.limits(members).rate.is_none());
    }

    /// Returns when the next flight may begin without answers.
    pub(in crate::publisher) fn next_flight_time(&self, ring: &Ring) -> ClockTime {
        let waits = ring.sent < ring.next;
        let blocking = self.flight.filter(|flight| waits && ring.sent >= flight.end);
        blocking.map_or(ClockTime::NEVER, |flight| flight.since + LONGEST_FLIGHT)
    }
}
