//! Rate limits for replies.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Maximum number of sources tracked at once.
const MAX_SOURCES: usize = 4_096;

/// A rate and a burst size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    /// Replies per second in the long run.
    pub per_second: f64,
    /// Maximum number of replies at once, after a pause.
    pub burst: f64,
}

/// Limits replies per source and in total. Source addresses can be forged, so the replies sent to an address
/// must not flood its owner.
#[derive(Debug)]
pub struct Limiter {
    each: Quota,
    all: Quota,
    total: Bucket,
    sources: HashMap<IpAddr, Bucket>,
    /// When full buckets are next removed.
    sweep_at: Duration,
    refused: u64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled: Duration,
}

impl Limiter {
    /// Creates a limiter with a quota for each source and one for all sources together.
    #[must_use]
    pub fn new(each: Quota, all: Quota) -> Self {
        Self {
            each,
            all,
            total: Bucket::full(all),
            sources: HashMap::new(),
            sweep_at: Duration::ZERO,
            refused: 0,
        }
    }

    /// Returns whether this source may be sent a reply now; if so, that reply is counted.
    pub fn allows(&mut self, source: IpAddr, now: Duration) -> bool {
        let allowed = self.has_room_for(source, now) && self.take(source, now);
        self.refused += u64::from(!allowed);
        allowed
    }

    /// Returns the number of refused replies.
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

    /// Returns whether the source can be tracked. When the table is full, sources whose bucket is full again
    /// are removed. That scan runs at most once per refill time, so that a flood of forged sources costs
    /// constant time per datagram.
    fn has_room_for(&mut self, source: IpAddr, now: Duration) -> bool {
        if self.sources.len() < MAX_SOURCES || self.sources.contains_key(&source) {
            return true;
        }
        if now < self.sweep_at {
            return false;
        }
        let each = self.each;
        self.sources.retain(|_, bucket| {
            bucket.fill(each, now);
            bucket.tokens < each.burst
        });
        let refill = Duration::try_from_secs_f64(1.0 / each.per_second).unwrap_or(Duration::MAX);
        self.sweep_at = now.saturating_add(refill);
        self.sources.len() < MAX_SOURCES
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
    fn sources_have_a_quota_each_and_share_a_total() {
        let mut limiter = Limiter::new(EACH, ALL);
        let mut allowed = |number| (0..20).filter(|_| limiter.allows(source(number), Duration::ZERO)).count();
        assert_eq!((allowed(1), allowed(2), allowed(3)), (5, 3, 0));
        let later = Duration::from_millis(100);
        assert!(limiter.allows(source(1), later));
        assert!(!limiter.allows(source(1), later));
        assert_eq!(limiter.refused(), 53);
    }

    #[test]
    fn memory_is_bounded_under_forged_sources() {
        let mut limiter = Limiter::new(EACH, Quota { per_second: 1e9, burst: 1e9 });
        (0..10_000).for_each(|number| {
            let _ = limiter.allows(source(number), Duration::ZERO);
        });
        assert_eq!(limiter.sources.len(), MAX_SOURCES);
        assert!(limiter.allows(source(99_999), Duration::from_secs(1)));
    }

    #[test]
    fn flood_of_forged_sources_costs_constant_time_each() {
        let mut limiter = Limiter::new(EACH, Quota { per_second: 1e9, burst: 1e9 });
        let start = std::time::Instant::now();
        (0..200_000).for_each(|number| {
            let _ = limiter.allows(source(number), Duration::ZERO);
        });
        // Scanning all known sources for each datagram takes more than ten times as long.
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }

    proptest! {
        #[test]
        fn no_source_exceeds_its_quota(
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
