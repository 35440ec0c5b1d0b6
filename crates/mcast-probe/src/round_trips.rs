//! Ping-pong: one ping at a time, and how long until its pong.

use std::time::Duration;

use crate::Histogram;

/// The books of a ping-pong. There is always at most one ping on its way.
#[derive(Clone, Debug, Default)]
pub struct RoundTrips {
    sent: u64,
    lost: u64,
    duplicated: u64,
    late: u64,
    waiting: Option<Duration>,
    times: Histogram,
}

impl RoundTrips {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { sent: 0, lost: 0, duplicated: 0, late: 0, waiting: None, times: Histogram::new() }
    }

    /// The number of the next ping.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.sent
    }

    /// The next ping goes now. One that is still waited for is lost.
    pub fn ping(&mut self, now: Duration) {
        self.give_up();
        self.sent += 1;
        self.waiting = Some(now);
    }

    /// A pong came now. Says whether it is the one that is waited for.
    pub fn pong(&mut self, sequence: u64, now: Duration) -> bool {
        if sequence.checked_add(1) != Some(self.sent) {
            self.late += u64::from(sequence < self.sent);
            return false;
        }
        match self.waiting.take() {
            Some(since) => {
                let time = now.saturating_sub(since).as_nanos();
                self.times.record(u64::try_from(time).unwrap_or(u64::MAX));
                true
            }
            None => {
                self.duplicated += 1;
                false
            }
        }
    }

    /// The pong that is waited for will not come any more.
    pub fn give_up(&mut self) {
        self.lost += u64::from(self.waiting.take().is_some());
    }

    /// How many pings were sent.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// How many had no pong in time.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// How many pongs came once more.
    #[must_use]
    pub const fn duplicated(&self) -> u64 {
        self.duplicated
    }

    /// How many pongs came when the next ping was already on its way.
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }

    /// The times of the round trips.
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
    fn a_pong_ends_the_round_trip_of_its_ping_only() {
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
    fn a_pong_that_comes_too_late_is_lost_and_late() {
        let mut trips = RoundTrips::new();
        trips.ping(micros(0));
        trips.ping(micros(1_000));
        assert!(!trips.pong(0, micros(1_001)));
        assert!(trips.pong(1, micros(1_005)));
        trips.give_up();
        assert_eq!((trips.sent(), trips.lost(), trips.late(), trips.times().count()), (2, 1, 1, 1));
    }
}
