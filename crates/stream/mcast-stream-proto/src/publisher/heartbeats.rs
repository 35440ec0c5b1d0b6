//! When heartbeats are due.

use core::time::Duration;

use crate::ClockTime;
use crate::times::publisher::{
    BUSY_HEARTBEAT, IDLE_HEARTBEAT, LONGEST_TAIL, MIN_HEARTBEAT, SHORTEST_TAIL, WAITING_HEARTBEAT,
};

/// The largest credit for heartbeats on demand, in bytes.
const MAX_DEMAND_CREDIT: u64 = 4096;

/// The schedule of the heartbeats. `spacing` is the shortest time between two that the rate admits.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeartbeatSchedule {
    at: ClockTime,
    last: ClockTime,
    interval: Duration,
    has_sent_data: bool,
    longest_interval: Duration,
    /// Bytes of heartbeat requests received from unproven addresses.
    demand_credit: u64,
    /// Whether such a request has scheduled the next heartbeat.
    pub(super) is_requested: bool,
}

impl HeartbeatSchedule {
    /// Schedules the first heartbeat at once. Later ones are at most `longest_interval` apart.
    pub(super) fn new(now: ClockTime, longest_interval: Duration) -> Self {
        Self {
            at: now,
            last: now,
            interval: BUSY_HEARTBEAT,
            has_sent_data: false,
            longest_interval: longest_interval.clamp(BUSY_HEARTBEAT, IDLE_HEARTBEAT),
            demand_credit: 0,
            is_requested: false,
        }
    }

    /// Returns when the next heartbeat is due.
    pub(super) const fn at(&self) -> ClockTime {
        self.at
    }

    /// Restarts the interval with a heartbeat at once.
    pub(super) const fn restart(&mut self, now: ClockTime) {
        (self.at, self.interval) = (now, BUSY_HEARTBEAT);
    }

    /// Notes that data was sent: the next heartbeat follows soon after the end of a burst, or at intervals in a long
    /// one.
    #[inline]
    pub(super) fn record_data(&mut self, now: ClockTime, round_trip: Duration, spacing: Duration) {
        self.has_sent_data = true;
        let busy = self.last + BUSY_HEARTBEAT.max(spacing);
        // The delay is bounded, so that a distant subscriber does not delay the repairs of near ones.
        let delay = (round_trip / 2).clamp(SHORTEST_TAIL, LONGEST_TAIL);
        let tail = (now + delay).max(self.last + MIN_HEARTBEAT.max(spacing));
        self.at = tail.min(busy.max(now));
        self.interval = BUSY_HEARTBEAT;
    }

    /// Notes that a repair was sent: a status in answer to the next heartbeat reports whether it arrived.
    #[inline]
    pub(super) fn record_repair(&mut self, now: ClockTime) {
        self.has_sent_data = true;
        self.at = self.at.min(now + BUSY_HEARTBEAT);
        self.interval = BUSY_HEARTBEAT;
    }

    /// Schedules a heartbeat soon, because the publisher waits for the statuses that answer it.
    pub(super) fn schedule_soon(&mut self, round_trip: Duration, spacing: Duration) {
        self.interval = waiting_interval(round_trip).max(spacing);
        self.at = self.at.min(self.last + self.interval);
    }

    /// Schedules a heartbeat for a subscriber that joins. The `paid` bytes of such requests pay the `price` of the
    /// heartbeat, because their source address is unproven: a forged request must not cause more traffic than it is.
    pub(super) fn request(&mut self, now: ClockTime, paid: u64, price: u64) {
        self.demand_credit = (self.demand_credit + paid).min(MAX_DEMAND_CREDIT);
        let at = now.max(self.last + MIN_HEARTBEAT);
        if self.at > at && self.demand_credit >= price {
            self.demand_credit -= price;
            self.at = at;
            self.is_requested = true;
        }
    }

    /// Notes that a heartbeat was sent, and schedules the next one.
    pub(super) fn record_sent(
        &mut self,
        now: ClockTime,
        is_waiting: bool,
        round_trip: Duration,
        spacing: Duration,
    ) {
        let interval = match self.has_sent_data {
            true if is_waiting => waiting_interval(round_trip),
            true => BUSY_HEARTBEAT,
            false => (2 * self.interval).min(self.longest_interval),
        };
        self.interval = interval.max(spacing);
        self.has_sent_data = false;
        self.is_requested = false;
        self.last = now;
        self.at = now + self.interval;
    }
}

fn waiting_interval(round_trip: Duration) -> Duration {
    round_trip.clamp(WAITING_HEARTBEAT, BUSY_HEARTBEAT)
}
