//! Queueing delay on the way from the publisher, from the clocks in heartbeats.

use crate::{ClockTime, Nanos};
/// The minimum transit time is taken over two periods of this length, so that clocks may drift.
const PERIOD: Nanos = Nanos::from_secs(5);
/// No queue delays a datagram for longer. A longer delay is a clock that was stepped.
const MAX_QUEUEING: Nanos = Nanos::SECOND;

/// Transit times measured with two clocks, of which only differences are meaningful.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Transit {
    /// The minimum of the previous period and of this one.
    least: Option<(i128, i128)>,
    began: ClockTime,
    queueing: Nanos,
}

impl Transit {
    /// Notes a heartbeat that was sent at `sent` by the publisher's clock.
    pub(super) fn note(&mut self, now: ClockTime, sent: u64) {
        let time = i128::from(now.0) - i128::from(sent);
        let (before, current) = self.least.unwrap_or((time, time));
        let (before, current) = match now.since(self.began) >= PERIOD {
            true => {
                self.began = now;
                (current, time)
            }
            false => (before, current.min(time)),
        };
        self.least = Some((before, current));
        let waited = time - before.min(current);
        self.queueing = Nanos(u64::try_from(waited).unwrap_or(0)).min(MAX_QUEUEING);
    }

    /// The queueing delay of the last heartbeat.
    pub(super) const fn queueing(&self) -> Nanos {
        self.queueing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queueing_is_the_transit_time_above_the_minimum() {
        let mut transit = Transit::default();
        for (now, sent, queueing) in
            [(1_000, 900_000, 0), (2_000, 901_000, 0), (3_500, 902_000, 500), (4_000, 903_000, 0)]
        {
            transit.note(ClockTime(now), sent);
            assert_eq!(transit.queueing(), Nanos(queueing));
        }
    }

    #[test]
    fn a_clock_step_is_forgotten_after_two_periods() {
        let mut transit = Transit::default();
        transit.note(ClockTime(0), 0);
        for second in 1..20_u64 {
            transit.note(ClockTime(second * 1_000_000_000 + 30_000_000_000), second * 1_000_000_000);
            assert!(transit.queueing() <= MAX_QUEUEING);
        }
        assert_eq!(transit.queueing(), Nanos::ZERO);
    }
}
