//! Waiting for subscribers before anything is published.

use mcast_stream::{ClockTime, Nanos};

/// The shortest time, in which bridges that began at the same time hear each other. Incarnations are counted in such
/// times, so that they do not get ahead of the time of day.
const LEAST: Nanos = Nanos::from_millis(250);
/// After this time, a bridge reports that it waits for more subscribers.
const LONG: Nanos = Nanos::from_secs(5);
/// How often to look for subscribers.
const INTERVAL: Nanos = Nanos::from_millis(10);

/// A bridge that has begun and publishes nothing yet. A publisher does not wait for subscribers that it does not know,
/// so that those of the former bridge join first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    since: ClockTime,
    /// How many subscribers to wait for.
    required: u64,
    /// How many subscribers to wait for until the time is over.
    expected: u64,
    limit: Nanos,
    is_reported: bool,
}

impl Claim {
    pub(super) const fn new(since: ClockTime, required: u64, expected: u64, limit: Nanos) -> Self {
        Self { since, required, expected, limit, is_reported: false }
    }

    pub(super) fn is_over(&self, now: ClockTime, subscribers: u64) -> bool {
        let is_expected = subscribers >= self.expected || now >= self.since + self.limit;
        now >= self.since + LEAST && subscribers >= self.required && is_expected
    }

    /// Returns how many subscribers it waits for, once, when that takes long.
    pub(super) fn report(&mut self, now: ClockTime, subscribers: u64) -> Option<u64> {
        if self.is_reported || subscribers >= self.required || now < self.since + LONG {
            return None;
        }
        self.is_reported = true;
        Some(self.required)
    }

    pub(super) fn deadline(&self, now: ClockTime) -> ClockTime {
        (now + INTERVAL).max(self.since + LEAST)
    }
}
