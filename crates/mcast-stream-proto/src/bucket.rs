//! A token bucket that counts bytes.

/// A budget of bytes that refills at a constant rate.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Bytes per second.
    rate: u64,
    most: u64,
    level: u64,
    /// Bytes spent beyond the level.
    debt: u64,
    /// The fraction of a byte gained so far: bytes per second times nanoseconds.
    rest: u64,
    at: u64,
}

pub(crate) const SECOND: u64 = 1_000_000_000;

impl Bucket {
    /// Creates a full bucket with a capacity of `most` bytes.
    #[must_use]
    pub const fn new(rate: u64, most: u64, now: u64) -> Self {
        Self { rate, most, level: most, debt: 0, rest: 0, at: now }
    }

    /// Sets the rate in bytes per second.
    pub const fn set_rate(&mut self, rate: u64) {
        self.rate = rate;
    }

    /// Adds the bytes for the time since the last call.
    pub fn refill(&mut self, now: u64) {
        // Every bucket here is full after one second.
        let elapsed = now.saturating_sub(self.at).min(SECOND);
        self.at = self.at.max(now);
        let gained = u128::from(elapsed) * u128::from(self.rate) + u128::from(self.rest);
        self.rest = (gained % u128::from(SECOND)) as u64;
        self.add((gained / u128::from(SECOND)) as u64);
    }

    /// Adds bytes: those beyond the capacity are lost.
    pub fn add(&mut self, bytes: u64) {
        let repaid = bytes.min(self.debt);
        self.debt -= repaid;
        self.level = self.level.saturating_add(bytes - repaid).min(self.most);
    }

    /// Returns the number of bytes available.
    #[must_use]
    pub const fn level(&self) -> u64 {
        self.level
    }

    /// Returns whether this many bytes are available.
    #[must_use]
    pub const fn has(&self, bytes: u64) -> bool {
        self.level >= bytes
    }

    /// Takes this many bytes in any case. Bytes that are not available become a debt, which is repaid first.
    pub const fn spend(&mut self, bytes: u64) {
        let owed = bytes.saturating_sub(self.level);
        self.level = self.level.saturating_sub(bytes);
        self.debt = self.debt.saturating_add(owed);
    }

    /// Sets the capacity in bytes.
    pub const fn set_most(&mut self, most: u64) {
        self.most = most;
        if self.level > most {
            self.level = most;
        }
    }

    /// Takes this many bytes if they are available; returns whether they were.
    pub const fn take(&mut self, bytes: u64) -> bool {
        let has = self.has(bytes);
        if has {
            self.level -= bytes;
        }
        has
    }

    /// Returns the time at which this many bytes will be available.
    #[must_use]
    pub fn when(&self, bytes: u64) -> u64 {
        let missing =
            u128::from(bytes.saturating_sub(self.level).saturating_add(self.debt)) * u128::from(SECOND);
        let nanoseconds =
            missing.saturating_sub(u128::from(self.rest)).div_ceil(u128::from(self.rate.max(1)));
        self.at.saturating_add(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_taken_are_bounded_by_rate_and_capacity(rate in 1_u64..1 << 33, most in 1_u64..1 << 20, steps in prop::collection::vec((0_u64..10_000_000, 1_u64..5_000), 1..200)) {
            let mut bucket = Bucket::new(rate, most, 0);
            let (mut now, mut sent) = (0, 0_u128);
            for (pause, bytes) in steps {
                now += pause;
                bucket.refill(now);
                while bucket.take(bytes) {
                    sent += u128::from(bytes);
                }
                let allowed = u128::from(most) + u128::from(rate) * u128::from(now) / 1_000_000_000;
                prop_assert!(sent <= allowed);
                if bytes <= most {
                    let when = bucket.when(bytes);
                    let mut later = bucket;
                    later.refill(when);
                    prop_assert!(when > SECOND || later.take(bytes), "at {}, {} bytes are not available", when, bytes);
                }
            }
        }
    }
}
