//! Rate limits for replies.

use alloc::collections::BTreeMap;
use core::net::IpAddr;
use core::time::Duration;

use crate::{Nanos, TokenBucket};

/// Maximum number of sources tracked at once.
const MAX_SOURCES: usize = 4_096;

/// A rate and a burst size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Replies per second in the long run.
    pub per_second: u64,
    /// Maximum number of replies at once, after a pause.
    pub burst: u64,
}

/// Limits replies per source and in total. Source addresses can be forged, so the replies sent to an address
/// must not flood its owner.
#[derive(Debug)]
pub struct Limiter {
    each: Quota,
    total: TokenBucket,
    sources: BTreeMap<IpAddr, TokenBucket>,
    /// When full buckets are next removed.
    sweep_at: Duration,
    refused: u64,
}

impl Limiter {
    /// Creates a limiter with a quota for each source and one for all sources together.
    #[must_use]
    pub fn new(each: Quota, all: Quota) -> Self {
        Self { each, total: all.bucket(0), sources: BTreeMap::new(), sweep_at: Duration::ZERO, refused: 0 }
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
        let (each, now) = (self.each, Nanos::from(now).0);
        let own = self.sources.entry(source).or_insert_with(|| each.bucket(now));
        own.refill(now);
        self.total.refill(now);
        self.total.level() > 0 && own.take(1) && self.total.take(1)
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
        self.sources.retain(|_, bucket| {
            bucket.refill(Nanos::from(now).0);
            !bucket.is_full()
        });
        let refill = Duration::from_secs(1) / u32::try_from(self.each.per_second).unwrap_or(u32::MAX).max(1);
        self.sweep_at = now.saturating_add(refill);
        self.sources.len() < MAX_SOURCES
    }
}

impl Quota {
    const fn bucket(self, now: u64) -> TokenBucket {
        TokenBucket::new(self.per_second, self.burst, now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EACH: Quota = Quota { per_second: 10, burst: 5 };
    const ALL: Quota = Quota { per_second: 20, burst: 8 };

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
        let mut limiter = Limiter::new(EACH, Quota { per_second: 1 << 30, burst: 1 << 30 });
        (0..10_000).for_each(|number| {
            let _ = limiter.allows(source(number), Duration::ZERO);
        });
        assert_eq!(limiter.sources.len(), MAX_SOURCES);
        assert!(limiter.allows(source(99_999), Duration::from_secs(1)));
    }

    #[test]
    fn flood_of_forged_sources_costs_constant_time_each() {
        let mut limiter = Limiter::new(EACH, Quota { per_second: 1 << 30, burst: 1 << 30 });
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
            let (mut now, mut given) = (Duration::ZERO, [0; 3]);
            for (number, pause) in asks {
                now += Duration::from_millis(pause);
                given[number as usize] += u64::from(limiter.allows(source(number), now));
            }
            let quota = |quota: Quota| u128::from(quota.burst) + u128::from(quota.per_second) * now.as_millis() / 1_000;
            prop_assert!(given.iter().all(|given| u128::from(*given) <= quota(EACH)));
            prop_assert!(u128::from(given.iter().sum::<u64>()) <= quota(ALL));
        }
    }
}
