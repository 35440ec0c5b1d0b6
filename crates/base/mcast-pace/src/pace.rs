//! Pacing: sending datagrams evenly rather than in bursts.

use core::time::Duration;

use crate::Rate;

/// Datagrams that are due within this time are sent together. It is short, so that one segmented
/// buffer or one call is not a burst to the network.
const GRAIN: Duration = Duration::from_micros(200);
/// A sender that is later than this does not catch up, which would be a burst.
const MOST_LATE: Duration = Duration::from_millis(10);
/// At least this many datagrams are caught up with: at a low rate, 10 ms may be less than the
/// interval.
const MOST_MISSED: u32 = 4;

/// The decision of a [`PaceSchedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaceDecision {
    /// This many datagrams, at least one, are due.
    Now(usize),
    /// The next datagram is due after this time.
    After(Duration),
}

/// Computes when datagrams are due at an even pace. It does not read a clock; callers pass the time
/// since any fixed moment.
///
/// Up to about 5,000 datagrams per second, each has its own time. At higher rates, those within 200
/// µs are due together, so that they can be sent in one call or one segmented buffer. A late sender
/// catches up by at most 10 ms or four datagrams.
#[derive(Clone, Debug)]
pub struct PaceSchedule {
    rate: Rate,
    due: Option<Duration>,
}

impl PaceSchedule {
    /// Creates a schedule at this rate, whose first datagram is due at once.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self { rate, due: None }
    }

    /// Returns how many datagrams of these sizes, in bytes, are due. It assumes that they are sent.
    pub fn allow(&mut self, now: Duration, sizes: impl IntoIterator<Item = usize>) -> PaceDecision {
        let mut sizes = sizes.into_iter().peekable();
        let missed = sizes.peek().map_or(Duration::ZERO, |size| self.rate.time_for(*size));
        let earliest = now.saturating_sub(missed.saturating_mul(MOST_MISSED).max(MOST_LATE));
        let start = self.due.unwrap_or(now);
        if start > now {
            return PaceDecision::After(start - now);
        }
        let (mut due, until) = (start.max(earliest), now.saturating_add(GRAIN));
        let mut count = 0;
        for size in sizes {
            if count > 0 && due >= until {
                break;
            }
            due = due.saturating_add(self.rate.time_for(size));
            count += 1;
        }
        self.due = Some(due);
        PaceDecision::Now(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slow_datagrams_are_sent_one_by_one_and_fast_ones_in_small_groups() {
        let start = Duration::from_secs(3);
        let mut slow = PaceSchedule::new(Rate::Datagrams(2_000.0));
        assert_eq!(slow.allow(start, [10; 8]), PaceDecision::Now(1));
        assert_eq!(slow.allow(start, [10; 8]), PaceDecision::After(Duration::from_micros(500)));

        let mut fast = PaceSchedule::new(Rate::Datagrams(200_000.0));
        assert_eq!(fast.allow(start, [10; 1000]), PaceDecision::Now(40));
        assert_eq!(fast.allow(start, [10; 1000]), PaceDecision::After(Duration::from_micros(200)));
    }

    #[test]
    fn a_slow_pace_catches_up_after_a_short_stop() {
        let start = Duration::from_secs(3);
        let mut pacer = PaceSchedule::new(Rate::Datagrams(100.0));
        assert_eq!(pacer.allow(start, [10]), PaceDecision::Now(1));
        let late = start + Duration::from_millis(35);
        assert_eq!(pacer.allow(late, [10; 8]), PaceDecision::Now(3), "those of 10, 20 and 30 ms");
        assert_eq!(pacer.allow(late, [10; 8]), PaceDecision::After(Duration::from_millis(5)));
        let very_late = start + Duration::from_secs(10);
        assert_eq!(pacer.allow(very_late, [10; 64]), PaceDecision::Now(5), "no burst after a long one");
    }

    #[test]
    fn bits_are_counted_by_size() {
        let start = Duration::from_secs(3);
        let mut pacer = PaceSchedule::new(Rate::Bits(8_000_000.0));
        assert_eq!(pacer.allow(start, [1_000]), PaceDecision::Now(1));
        assert_eq!(pacer.allow(start, [1]), PaceDecision::After(Duration::from_millis(1)));
    }

    #[test]
    fn an_invalid_rate_sends_only_the_first_datagram() {
        for rate in [Rate::Datagrams(0.0), Rate::Datagrams(-1.0), Rate::Bits(f64::NAN)] {
            let start = Duration::from_secs(3);
            let mut pacer = PaceSchedule::new(rate);
            assert_eq!(pacer.allow(start, [1, 1]), PaceDecision::Now(1));
            assert!(
                matches!(pacer.allow(start + Duration::from_secs(3600), [1]), PaceDecision::After(_)),
                "{rate:?}"
            );
        }
    }

    proptest! {
        /// However late the sender is, it never sends more than the rate allows, except for the
        /// grain and the catch-up.
        #[test]
        fn no_more_is_sent_than_the_rate_allows(rate in 10.0..1_000_000.0_f64, pauses in prop::collection::vec(0_u64..5_000, 1..200)) {
            let start = Duration::from_secs(3);
            let mut pacer = PaceSchedule::new(Rate::Datagrams(rate));
            let (mut now, mut sent) = (start, 0);
            for pause in pauses {
                now += Duration::from_micros(pause);
                while let PaceDecision::Now(count) = pacer.allow(now, [100; 64]) {
                    sent += count;
                }
            }
            let most = ((now - start) + GRAIN + MOST_LATE).as_secs_f64() * rate + 2.0 + f64::from(MOST_MISSED);
            prop_assert!(sent as f64 <= most, "{sent} of at most {most}");
        }

        /// A sender that is always on time sends at the rate.
        #[test]
        fn a_punctual_sender_keeps_the_rate(rate in 100.0..500_000.0_f64) {
            let start = Duration::from_secs(3);
            let mut pacer = PaceSchedule::new(Rate::Datagrams(rate));
            let (mut now, mut sent) = (start, 0);
            while now - start < Duration::from_millis(200) {
                match pacer.allow(now, [100; 256]) {
                    PaceDecision::Now(count) => sent += count,
                    PaceDecision::After(wait) => now += wait,
                }
            }
            let expected = (now - start).as_secs_f64() * rate;
            prop_assert!((sent as f64 - expected).abs() <= expected * 0.01 + GRAIN.as_secs_f64() * rate + 1.0, "{sent} of {expected}");
        }
    }
}
