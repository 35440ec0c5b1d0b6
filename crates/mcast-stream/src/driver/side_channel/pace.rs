//! The rate at which a client is served.

use std::time::{Duration, Instant};

/// Bytes per second to each client.
const RATE: f64 = 64e6;
/// Bytes that were not sent for this time may be sent later.
const BURST: Duration = Duration::from_millis(10);

/// Limits what is sent to a client. Time that passes between two frames counts.
#[derive(Clone, Copy, Debug)]
pub(in crate::driver) struct Pace {
    /// When everything that was sent may have been sent.
    due: Instant,
}

impl Pace {
    pub(in crate::driver) const fn new(now: Instant) -> Self {
        Self { due: now }
    }

    /// Waits until more may be sent than these bytes.
    pub(in crate::driver) fn wait(&mut self, bytes: usize) {
        std::thread::sleep(self.add(Instant::now(), bytes));
    }

    /// Adds bytes that were sent; returns how long to wait.
    fn add(&mut self, now: Instant, bytes: usize) -> Duration {
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        self.due = self.due.max(earliest) + Duration::from_secs_f64(bytes as f64 / RATE);
        self.due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: usize = 64_000;

    #[test]
    fn a_client_gets_64_mb_per_second_and_waiting_counts() {
        let mut now = Instant::now();
        let begun = now;
        let mut pace = Pace::new(now);
        for turn in 0..1_000 {
            // What is sent takes time of its own.
            now += Duration::from_micros(turn % 900);
            now += pace.add(now, MILLISECOND);
        }
        let took = now - begun;
        assert!(took >= Duration::from_millis(999) && took <= Duration::from_millis(1_001), "{took:?}");
    }

    #[test]
    fn an_idle_client_may_not_catch_up_for_longer_than_the_burst() {
        let mut pace = Pace::new(Instant::now());
        let now = Instant::now() + Duration::from_secs(60);
        let without_waiting = (0..1_000).take_while(|_| pace.add(now, MILLISECOND).is_zero()).count();
        assert_eq!(without_waiting, 10);
    }
}
