//! A token bucket.

use core::time::Duration;

const SECOND: u128 = 1_000_000_000;

/// A budget that refills at a constant rate, in whatever unit the caller counts: bytes, datagrams, replies.
/// It computes with integers, so that no rounding error accumulates.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    /// Tokens per second.
    rate: u64,
    capacity: u64,
    level: u64,
    /// The fraction of a token gained so far, in tokens per second times nanoseconds.
    fraction: u64,
    filled: Duration,
}

impl TokenBucket {
    /// Creates a full bucket.
    #[must_use]
    pub const fn new(rate: u64, capacity: u64, now: Duration) -> Self {
        Self { rate, capacity, level: capacity, fraction: 0, filled: now }
    }

    /// Adds the tokens for the time since the last call.
    pub fn refill(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.filled).as_nanos();
        self.filled = self.filled.max(now);
        let gained = elapsed.saturating_mul(self.rate.into()).saturating_add(self.fraction.into());
        let tokens = u64::try_from(gained / SECOND).unwrap_or(u64::MAX);
        self.level = self.level.saturating_add(tokens).min(self.capacity);
        // Below one billion, so that it fits.
        self.fraction = (gained % SECOND) as u64;
    }

    /// Takes this many tokens if they are available, and returns whether they were.
    pub const fn take(&mut self, tokens: u64) -> bool {
        let is_available = self.level >= tokens;
        if is_available {
            self.level -= tokens;
        }
        is_available
    }

    /// Returns the number of tokens available.
    #[must_use]
    pub const fn level(&self) -> u64 {
        self.level
    }

    /// Returns whether the bucket is full.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.level >= self.capacity
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tokens_taken_are_bounded_by_rate_and_capacity(
            rate in 1_u64..1 << 33, capacity in 1_u64..1 << 20,
            steps in prop::collection::vec((0_u64..10_000_000, 1_u64..5_000), 1..200),
        ) {
            let mut bucket = TokenBucket::new(rate, capacity, Duration::ZERO);
            let (mut now, mut taken) = (Duration::ZERO, 0_u128);
            for (pause, tokens) in steps {
                now += Duration::from_nanos(pause);
                bucket.refill(now);
                while bucket.take(tokens) {
                    taken += u128::from(tokens);
                }
                let allowed = u128::from(capacity) + u128::from(rate) * now.as_nanos() / SECOND;
                prop_assert!(taken <= allowed && bucket.level() < tokens);
            }
        }

        #[test]
        fn refilling_often_gains_as_much_as_refilling_once(
            rate in 1_u64..1 << 20, pauses in prop::collection::vec(0_u64..10_000_000, 1..100),
        ) {
            let mut often = TokenBucket::new(rate, u64::MAX, Duration::ZERO);
            often.take(u64::MAX);
            let mut once = often;
            let mut now = Duration::ZERO;
            for pause in pauses {
                now += Duration::from_nanos(pause);
                often.refill(now);
            }
            once.refill(now);
            prop_assert_eq!(often.level(), once.level());
        }
    }
}
