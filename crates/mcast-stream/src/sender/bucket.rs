//! Leave to send so much in so long.

/// Bytes that may go, more of them as time passes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// Bytes a second.
    rate: u64,
    most: u64,
    level: u64,
    /// Bytes that have gone although they were not there.
    debt: u64,
    /// What is not yet a byte: bytes times nanoseconds a second.
    rest: u64,
    at: u64,
}

pub(crate) const SECOND: u64 = 1_000_000_000;

impl Bucket {
    /// A full bucket that holds so many bytes.
    pub(crate) const fn new(rate: u64, most: u64, now: u64) -> Self {
        Self { rate, most, level: most, debt: 0, rest: 0, at: now }
    }

    pub(crate) const fn set_rate(&mut self, rate: u64) {
        self.rate = rate;
    }

    /// Fills up for the time that has passed.
    pub(crate) fn pass(&mut self, now: u64) {
        // Beyond a second nothing more fits any bucket here.
        let elapsed = now.saturating_sub(self.at).min(SECOND);
        self.at = self.at.max(now);
        let gained = u128::from(elapsed) * u128::from(self.rate) + u128::from(self.rest);
        self.rest = (gained % u128::from(SECOND)) as u64;
        self.add((gained / u128::from(SECOND)) as u64);
    }

    pub(crate) fn add(&mut self, bytes: u64) {
        let repaid = bytes.min(self.debt);
        self.debt -= repaid;
        self.level = self.level.saturating_add(bytes - repaid).min(self.most);
    }

    /// How many bytes are there.
    pub(crate) const fn level(&self) -> u64 {
        self.level
    }

    /// Whether so many bytes are there.
    pub(crate) const fn has(&self, bytes: u64) -> bool {
        self.level >= bytes
    }

    /// Takes so many bytes, whether they are there or not: what is missing must come in before anything else goes.
    pub(crate) const fn spend(&mut self, bytes: u64) {
        let owed = bytes.saturating_sub(self.level);
        self.level = self.level.saturating_sub(bytes);
        self.debt = self.debt.saturating_add(owed);
    }

    pub(crate) const fn set_most(&mut self, most: u64) {
        self.most = most;
        if self.level > most {
            self.level = most;
        }
    }

    /// Takes so many bytes, if they are there.
    pub(crate) const fn take(&mut self, bytes: u64) -> bool {
        let has = self.has(bytes);
        if has {
            self.level -= bytes;
        }
        has
    }

    /// When so many bytes will be there.
    pub(crate) fn when(&self, bytes: u64) -> u64 {
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
        fn no_more_goes_than_rate_and_size_allow(rate in 1_u64..1 << 33, most in 1_u64..1 << 20, steps in prop::collection::vec((0_u64..10_000_000, 1_u64..5_000), 1..200)) {
            let mut bucket = Bucket::new(rate, most, 0);
            let (mut now, mut sent) = (0, 0_u128);
            for (pause, bytes) in steps {
                now += pause;
                bucket.pass(now);
                while bucket.take(bytes) {
                    sent += u128::from(bytes);
                }
                let allowed = u128::from(most) + u128::from(rate) * u128::from(now) / 1_000_000_000;
                prop_assert!(sent <= allowed);
                if bytes <= most {
                    let when = bucket.when(bytes);
                    let mut later = bucket;
                    later.pass(when);
                    prop_assert!(when > SECOND || later.take(bytes), "at {} it has not {}", when, bytes);
                }
            }
        }
    }
}
