//! A token bucket.

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
