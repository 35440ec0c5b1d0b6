//! Budgets that refill, and pacing: sending datagrams evenly rather than in bursts.

use core::time::Duration;

use crate::{ClockTime, Rate};

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

/// Computes when datagrams are due at an even pace. It does not read a clock; callers pass the time.
///
/// Up to about 5,000 datagrams per second, each has its own time. At higher rates, those within 200
/// µs are due together, so that they can be sent in one call or one segmented buffer. A late sender
/// catches up by at most 10 ms or four datagrams.
#[derive(Clone, Debug)]
pub struct PaceSchedule {
    rate: Rate,
    due: Option<ClockTime>,
}

impl PaceSchedule {
    /// Creates a schedule at this rate, whose first datagram is due at once.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self { rate, due: None }
    }

    /// Returns how many datagrams of these sizes, in bytes, are due. It assumes that they are sent.
    pub fn allow(&mut self, now: ClockTime, sizes: impl IntoIterator<Item = usize>) -> PaceDecision {
        let mut sizes = sizes.into_iter().peekable();
        let missed = sizes.peek().map_or(Duration::ZERO, |size| self.rate.time_for(*size));
        let earliest = now - missed.saturating_mul(MOST_MISSED).max(MOST_LATE);
        let start = self.due.unwrap_or(now);
        if start > now {
            return PaceDecision::After(start - now);
        }
        let (mut due, until) = (start.max(earliest), now + GRAIN);
        let mut count = 0;
        for size in sizes {
            if count > 0 && due >= until {
                break;
            }
            due = due + self.rate.time_for(size);
            count += 1;
        }
        self.due = Some(due);
        PaceDecision::Now(count)
    }
}

const SECOND: u64 = 1_000_000_000;

/// A budget that refills at a constant rate, in whatever unit the caller counts: bytes, datagrams, replies.
/// It computes with integers, so that no rounding error accumulates. Times are nanoseconds since any fixed moment.
///
/// ```
/// use mcast_pace::TokenBucket;
///
/// let mut bucket = TokenBucket::new(1_000, 50, 0);
/// assert!(bucket.take(50) && !bucket.take(1));
/// assert_eq!(bucket.available_at(1), 1_000_000);
/// bucket.refill(1_000_000);
/// assert!(bucket.take(1));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    /// Tokens per second.
    rate: u64,
    capacity: u64,
    level: u64,
    /// Tokens spent beyond the level.
    debt: u64,
    /// The fraction of a token gained so far, in tokens per second times nanoseconds.
    fraction: u64,
    filled: u64,
}

impl TokenBucket {
    /// Creates a full bucket.
    #[must_use]
    pub const fn new(rate: u64, capacity: u64, now: u64) -> Self {
        Self { rate, capacity, level: capacity, debt: 0, fraction: 0, filled: now }
    }

    /// Sets the rate in tokens per second.
    pub const fn set_rate(&mut self, rate: u64) {
        self.rate = rate;
    }

    /// Sets the capacity.
    pub const fn set_capacity(&mut self, capacity: u64) {
        self.capacity = capacity;
        if self.level > capacity {
            self.level = capacity;
        }
    }

    /// Adds the tokens for the time since the last call, of which at most one second counts.
    #[inline]
    pub fn refill(&mut self, now: u64) {
        let elapsed = now.saturating_sub(self.filled).min(SECOND);
        self.filled = self.filled.max(now);
        let gained = u128::from(elapsed) * u128::from(self.rate) + u128::from(self.fraction);
        self.fraction = (gained % u128::from(SECOND)) as u64;
        self.add((gained / u128::from(SECOND)) as u64);
    }

    /// Adds tokens: those beyond the capacity are lost.
    #[inline]
    pub fn add(&mut self, tokens: u64) {
        let repaid = tokens.min(self.debt);
        self.debt -= repaid;
        self.level = self.level.saturating_add(tokens - repaid).min(self.capacity);
    }

    /// Returns the number of tokens available.
    #[must_use]
    pub const fn level(&self) -> u64 {
        self.level
    }

    /// Returns whether this many tokens are available.
    #[must_use]
    #[inline]
    pub const fn has(&self, tokens: u64) -> bool {
        self.level >= tokens
    }

    /// Returns whether the bucket is full.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.level >= self.capacity
    }

    /// Takes this many tokens if they are available, and returns whether they were.
    #[inline]
    pub const fn take(&mut self, tokens: u64) -> bool {
        let is_available = self.has(tokens);
        if is_available {
            self.level -= tokens;
        }
        is_available
    }

    /// Takes this many tokens in any case. Those that are not available become a debt, which is repaid first.
    #[inline]
    pub const fn spend(&mut self, tokens: u64) {
        let owed = tokens.saturating_sub(self.level);
        self.level = self.level.saturating_sub(tokens);
        self.debt = self.debt.saturating_add(owed);
    }

    /// Returns the time at which this many tokens will be available.
    #[must_use]
    #[inline]
    pub fn available_at(&self, tokens: u64) -> u64 {
        let missing =
            u128::from(tokens.saturating_sub(self.level).saturating_add(self.debt)) * u128::from(SECOND);
        let nanoseconds =
            missing.saturating_sub(u128::from(self.fraction)).div_ceil(u128::from(self.rate.max(1)));
        self.filled.saturating_add(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: ClockTime = ClockTime(3_000_000_000);

    #[test]
    fn slow_datagrams_are_sent_one_by_one_and_fast_ones_in_small_groups() {
        let start = START;
        let mut slow = PaceSchedule::new(Rate::Datagrams(2_000.0));
        assert_eq!(slow.allow(start, [10; 8]), PaceDecision::Now(1));
        assert_eq!(slow.allow(start, [10; 8]), PaceDecision::After(Duration::from_micros(500)));

        let mut fast = PaceSchedule::new(Rate::Datagrams(200_000.0));
        assert_eq!(fast.allow(start, [10; 1000]), PaceDecision::Now(40));
        assert_eq!(fast.allow(start, [10; 1000]), PaceDecision::After(Duration::from_micros(200)));
    }

    #[test]
    fn a_slow_pace_catches_up_after_a_short_stop() {
        let start = START;
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
        let start = START;
        let mut pacer = PaceSchedule::new(Rate::Bits(8_000_000.0));
        assert_eq!(pacer.allow(start, [1_000]), PaceDecision::Now(1));
        assert_eq!(pacer.allow(start, [1]), PaceDecision::After(Duration::from_millis(1)));
    }

    #[test]
    fn an_invalid_rate_sends_only_the_first_datagram() {
        for rate in [Rate::Datagrams(0.0), Rate::Datagrams(-1.0), Rate::Bits(f64::NAN)] {
            let start = START;
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
            let start = START;
            let mut pacer = PaceSchedule::new(Rate::Datagrams(rate));
            let (mut now, mut sent) = (start, 0);
            for pause in pauses {
                now = now + Duration::from_micros(pause);
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
            let start = START;
            let mut pacer = PaceSchedule::new(Rate::Datagrams(rate));
            let (mut now, mut sent) = (start, 0);
            while now - start < Duration::from_millis(200) {
                match pacer.allow(now, [100; 256]) {
                    PaceDecision::Now(count) => sent += count,
                    PaceDecision::After(wait) => now = now + wait,
                }
            }
            let expected = (now - start).as_secs_f64() * rate;
            prop_assert!((sent as f64 - expected).abs() <= expected * 0.01 + GRAIN.as_secs_f64() * rate + 1.0, "{sent} of {expected}");
        }
    }

    #[test]
    fn a_debt_is_repaid_first() {
        let mut bucket = TokenBucket::new(10, 10, 0);
        bucket.spend(15);
        assert_eq!(bucket.available_at(1), 6 * SECOND / 10);
        bucket.refill(6 * SECOND / 10);
        assert_eq!(bucket.level(), 1);
    }

    proptest! {
        #[test]
        fn tokens_taken_are_bounded_by_rate_and_capacity(
            rate in 1_u64..1 << 33, capacity in 1_u64..1 << 20,
            steps in prop::collection::vec((0_u64..10_000_000, 1_u64..5_000), 1..200),
        ) {
            let mut bucket = TokenBucket::new(rate, capacity, 0);
            let (mut now, mut taken) = (0, 0_u128);
            for (pause, tokens) in steps {
                now += pause;
                bucket.refill(now);
                while bucket.take(tokens) {
                    taken += u128::from(tokens);
                }
                let allowed = u128::from(capacity) + u128::from(rate) * u128::from(now) / u128::from(SECOND);
                prop_assert!(taken <= allowed && bucket.level() < tokens);
                let when = bucket.available_at(tokens);
                let mut later = bucket;
                later.refill(when);
                prop_assert!(tokens > capacity || when > now + SECOND || later.take(tokens));
            }
        }

        #[test]
        fn refilling_often_gains_as_much_as_refilling_once(
            rate in 1_u64..1 << 20, pauses in prop::collection::vec(0_u64..10_000_000, 1..100),
        ) {
            let mut often = TokenBucket::new(rate, u64::MAX, 0);
            often.take(u64::MAX);
            let mut once = often;
            let mut now = 0;
            for pause in pauses {
                now += pause;
                often.refill(now);
            }
            once.refill(now);
            prop_assert_eq!(often.level(), once.level());
        }
    }
}
