//! Ping-pong: round-trip times with one ping in flight at a time.

use std::time::Duration;

use crate::Histogram;

/// The statistics of a ping-pong. At most one ping is in flight.
#[derive(Clone, Debug, Default)]
pub struct RoundTrips {
    sent: u64,
    lost: u64,
    duplicated: u64,
    late: u64,
    in_flight: Option<Duration>,
    times: Histogram,
}

impl RoundTrips {
    /// Creates empty statistics.
    #[must_use]
    pub const fn new() -> Self {
        Self { sent: 0, lost: 0, duplicated: 0, late: 0, in_flight: None, times: Histogram::new() }
    }

    /// Returns the number of the next ping.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.sent
    }

    /// Counts the next ping as sent now. A ping still in flight counts as lost.
    pub fn ping(&mut self, now: Duration) {
        self.give_up();
        self.sent += 1;
        self.in_flight = Some(now);
    }

    /// Records a pong. Returns whether it answers the ping in flight.
    pub fn pong(&mut self, sequence: u64, now: Duration) -> bool {
        if sequence.checked_add(1) != Some(self.sent) {
            self.late += u64::from(sequence < self.sent);
            return false;
        }
        match self.in_flight.take() {
            Some(since) => {
                self.times.record_duration(now.saturating_sub(since));
                true
            }
            None => {
                self.duplicated += 1;
                false
            }
        }
    }

    /// Counts the ping in flight, if any, as lost.
    pub fn give_up(&mut self) {
        self.lost += u64::from(self.in_flight.take().is_some());
    }

    /// Returns the number of pings sent.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns the number of pings without a pong in time.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns the number of duplicate pongs.
    #[must_use]
    pub const fn duplicated(&self) -> u64 {
        self.duplicated
    }

    /// Returns the number of pongs that arrived after the next ping was sent.
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }

    /// Returns the round-trip times.
    #[must_use]
    pub const fn times(&self) -> &Histogram {
        &self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(number: u64) -> Duration {
        Duration::from_micros(number)
    }

    #[test]
    fn pong_completes_only_its_own_ping() {
        let mut trips = RoundTrips::new();
        trips.ping(micros(10));
        assert!(!trips.pong(1, micros(11)));
        assert!(!trips.pong(u64::MAX, micros(11)));
        assert!(trips.pong(0, micros(17)));
        assert!(!trips.pong(0, micros(18)));
        assert_eq!(trips.times().min(), Some(micros(7)));
        assert_eq!((trips.sent(), trips.lost(), trips.duplicated(), trips.late()), (1, 0, 1, 0));
    }

    #[test]
    fn late_pong_counts_as_lost_and_late() {
        let mut trips = RoundTrips::new();
        trips.ping(micros(0));
        trips.ping(micros(1_000));
        assert!(!trips.pong(0, micros(1_001)));
        assert!(trips.pong(1, micros(1_005)));
        trips.give_up();
        assert_eq!((trips.sent(), trips.lost(), trips.late(), trips.times().count()), (2, 1, 1, 1));
    }
}
