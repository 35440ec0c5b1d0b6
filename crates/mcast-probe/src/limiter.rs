//! How often anyone is answered.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Sources that are kept account of at once.
const MOST_SOURCES: usize = 4_096;

/// So many answers a second, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    /// Answers a second in the long run.
    pub per_second: f64,
    /// Answers at once, after a pause.
    pub burst: f64,
}

/// Limits answers, to each source and in all: addresses of sources can be forged, and what is
/// sent to them must flood nobody.
#[derive(Debug)]
pub struct Limiter {
    each: Quota,
    all: Quota,
    total: Bucket,
    sources: HashMap<IpAddr, Bucket>,
    refused: u64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled: Duration,
}

impl Limiter {
    /// So much for each source, and so much for all together.
    #[must_use]
    pub fn new(each: Quota, all: Quota) -> Self {
        Self { each, all, total: Bucket::full(all), sources: HashMap::new(), refused: 0 }
    }

    /// Whether this source may be answered now; if so, that counts as an answer.
    pub fn allows(&mut self, source: IpAddr, now: Duration) -> bool {
        let allowed = self.has_room_for(source, now) && self.take(source, now);
        self.refused += u64::from(!allowed);
        allowed
    }

    /// How many answers it has refused.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    fn take(&mut self, source: IpAddr, now: Duration) -> bool {
        let full = Bucket { filled: now, ..Bucket::full(self.each) };
        let own = self.sources.entry(source).or_insert(full);
        own.fill(self.each, now);
        self.total.fill(self.all, now);
        let allowed = own.tokens >= 1.0 && self.total.tokens >= 1.0;
        if allowed {
            own.tokens -= 1.0;
            self.total.tokens -= 1.0;
        }
        allowed
    }

    /// Whether account can be kept of the source. Sources that have not asked for long need none.
    fn has_room_for(&mut self, source: IpAddr, now: Duration) -> bool {
        if self.sources.len() < MOST_SOURCES || self.sources.contains_key(&source) {
            return true;
        }
        let each = self.each;
        self.sources.retain(|_, bucket| {
            bucket.fill(each, now);
            bucket.tokens < each.burst
        });
        self.sources.len() < MOST_SOURCES
    }
}

impl Bucket {
    const fn full(quota: Quota) -> Self {
        Self { tokens: quota.burst, filled: Duration::ZERO }
    }

    fn fill(&mut self, quota: Quota, now: Duration) {
        let passed = now.saturating_sub(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * quota.per_second).min(quota.burst);
        self.filled = self.filled.max(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EACH: Quota = Quota { per_second: 10.0, burst: 5.0 };
    const ALL: Quota = Quota { per_second: 20.0, burst: 8.0 };

    fn source(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(number).into()
    }

    #[test]
    fn each_source_has_its_own_allowance_and_all_share_one() {
        let mut limiter = Limiter::new(EACH, ALL);
        let mut allowed = |number| (0..20).filter(|_| limiter.allows(source(number), Duration::ZERO)).count();
        assert_eq!((allowed(1), allowed(2), allowed(3)), (5, 3, 0));
        let later = Duration::from_millis(100);
        assert!(limiter.allows(source(1), later));
        assert!(!limiter.allows(source(1), later));
        assert_eq!(limiter.refused(), 53);
    }

    #[test]
    fn forged_sources_take_no_more_memory_than_there_is() {
        let mut limiter = Limiter::new(EACH, Quota { per_second: 1e9, burst: 1e9 });
        (0..10_000).for_each(|number| {
            let _ = limiter.allows(source(number), Duration::ZERO);
        });
        assert_eq!(limiter.sources.len(), MOST_SOURCES);
        assert!(limiter.allows(source(99_999), Duration::from_secs(1)));
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_the_allowance(
            asks in proptest::collection::vec((0_u32..3, 0_u64..50), 1..500),
        ) {
            let mut limiter = Limiter::new(EACH, ALL);
            let (mut now, mut given) = (Duration::ZERO, [0.0; 3]);
            for (number, pause) in asks {
                now += Duration::from_millis(pause);
                given[number as usize] += f64::from(u8::from(limiter.allows(source(number), now)));
            }
            let seconds = now.as_secs_f64();
            prop_assert!(given.iter().all(|given| *given <= EACH.burst + EACH.per_second * seconds + 1e-6));
            prop_assert!(given.iter().sum::<f64>() <= ALL.burst + ALL.per_second * seconds + 1e-6);
        }
    }
}
