//! Limits of replies, so that forged requests cannot cause a flood, and of reports, so that nobody can fill a log.

use alloc::collections::BTreeMap;
use core::net::IpAddr;
use core::time::Duration;

use crate::{ClockTime, TokenBucket};

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
    sweep_at: ClockTime,
    refused: u64,
}

impl Limiter {
    /// Creates a limiter with a quota for each source and one for all sources together.
    #[must_use]
    pub fn new(each: Quota, all: Quota) -> Self {
        Self { each, total: all.bucket(0), sources: BTreeMap::new(), sweep_at: ClockTime::START, refused: 0 }
    }

    /// Returns whether this source may be sent a reply now; if so, that reply is counted.
    pub fn allows(&mut self, now: ClockTime, source: IpAddr) -> bool {
        let allowed = self.has_room_for(now, source) && self.take(now, source);
        self.refused += u64::from(!allowed);
        allowed
    }

    /// Returns the number of refused replies.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    fn take(&mut self, now: ClockTime, source: IpAddr) -> bool {
        let own = self.sources.entry(source).or_insert_with(|| self.each.bucket(now.0));
        own.refill(now.0);
        self.total.refill(now.0);
        self.total.level() > 0 && own.take(1) && self.total.take(1)
    }

    /// Returns whether the source can be tracked. When the table is full, sources whose bucket is full again
    /// are removed. That scan runs at most once per refill time, so that a flood of forged sources costs
    /// constant time per datagram.
    fn has_room_for(&mut self, now: ClockTime, source: IpAddr) -> bool {
        if self.sources.len() < MAX_SOURCES || self.sources.contains_key(&source) {
            return true;
        }
        if now < self.sweep_at {
            return false;
        }
        self.sources.retain(|_, bucket| {
            bucket.refill(now.0);
            !bucket.is_full()
        });
        let refill = Duration::from_secs(1) / u32::try_from(self.each.per_second).unwrap_or(u32::MAX).max(1);
        self.sweep_at = now + refill;
        self.sources.len() < MAX_SOURCES
    }
}

impl Quota {
    const fn bucket(self, now: u64) -> TokenBucket {
        TokenBucket::new(self.per_second, self.burst, now)
    }
}

/// Maximum number of kinds that are tracked at once. Reports of more are withheld.
const MAX_KINDS: usize = 4_096;
/// Maximum number of sources per kind that are remembered at once.
const MAX_SOURCES_PER_KIND: usize = 256;

/// How many reports of a kind are passed on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportQuota {
    /// The time in which these numbers count.
    pub window: Duration,
    /// Reports about one source.
    pub each: u32,
    /// Reports about all sources together.
    pub all: u32,
}

impl ReportQuota {
    /// What a person can read: 10 reports in 10 s, 3 of them about one source.
    pub const LOG: Self = Self { window: Duration::from_secs(10), each: 3, all: 10 };
}

/// Limits reports of events that others can cause as often as they like, such as lines of a log: a flood of one kind is
/// passed on as one report per window, which is the latest, with the number of the others.
///
/// The first reports of a kind are passed on at once. The others are withheld until the window is over, when
/// [`poll_report`](Self::poll_report) returns the latest of them. While that continues, a source that had its share gets no
/// more, so that others can be seen beside it.
///
/// ```
/// use core::time::Duration;
/// use mcast_pace::{ClockTime, ReportLimiter, ReportQuota, WithheldReport};
///
/// let mut limiter = ReportLimiter::new(ReportQuota::LOG);
/// let start = ClockTime::START;
/// let passed = (1..=50).filter_map(|number| limiter.handle_report(start, "refused", None, number));
/// assert_eq!(passed.count(), 10);
/// let over = start + Duration::from_secs(10);
/// assert_eq!(limiter.poll_timeout(), Some(over));
/// let latest = limiter.poll_report(over);
/// assert_eq!(latest, Some(WithheldReport { kind: "refused", latest: 50, more: 39 }));
/// ```
#[derive(Clone, Debug)]
pub struct ReportLimiter<K, T> {
    quota: ReportQuota,
    kinds: BTreeMap<K, Kind<T>>,
    withheld: u64,
}

/// The latest report of a kind that was withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WithheldReport<K, T> {
    /// The kind.
    pub kind: K,
    /// The report.
    pub latest: T,
    /// The number of others of this kind that were withheld before it, and are not reported.
    pub more: u64,
}

#[derive(Clone, Debug)]
struct Kind<T> {
    until: ClockTime,
    /// Passed on in this window.
    passed: u32,
    /// Passed on in this window and those before it without a pause, by source.
    sources: BTreeMap<Option<IpAddr>, u32>,
    /// The latest one that was withheld, and when.
    latest: Option<(ClockTime, T)>,
    more: u64,
}

impl<K: Ord + Clone, T> ReportLimiter<K, T> {
    /// Creates a limiter with this quota for each kind.
    #[must_use]
    pub const fn new(quota: ReportQuota) -> Self {
        Self { quota, kinds: BTreeMap::new(), withheld: 0 }
    }

    /// Handles a report about a source, or about none. Returns it if it may be passed on at once; otherwise it is withheld,
    /// in place of the one before.
    pub fn handle_report(&mut self, now: ClockTime, kind: K, source: Option<IpAddr>, report: T) -> Option<T> {
        let quota = self.quota;
        if !self.kinds.contains_key(&kind) && !self.has_room(now) {
            self.withheld += 1;
            return None;
        }
        let known = self.kinds.entry(kind).or_insert_with(|| Kind::new(now, quota));
        if known.latest.is_none() && known.until <= now {
            *known = Kind::new(now, quota);
        }
        if known.passes(source, quota) {
            return Some(report);
        }
        known.more += u64::from(known.latest.replace((now, report)).is_some());
        self.withheld += 1;
        None
    }

    /// Returns the latest report of a kind whose window is over, if some were withheld. Call it until it returns `None`: those
    /// of several kinds come in the order in which they were made.
    pub fn poll_report(&mut self, now: ClockTime) -> Option<WithheldReport<K, T>> {
        let due = self.kinds.iter_mut().filter(|(_, known)| known.until <= now);
        let withheld = due.filter_map(|(kind, known)| Some((known.latest.as_ref()?.0, kind, known)));
        let (_, kind, known) = withheld.min_by_key(|(time, ..)| *time)?;
        let (_, latest) = known.latest.take()?;
        let report = WithheldReport { kind: kind.clone(), latest, more: core::mem::take(&mut known.more) };
        known.until = now + self.quota.window;
        // The report counts, as it is one of this window.
        known.passed = 1;
        Some(report)
    }

    /// Returns when [`poll_report`](Self::poll_report) has to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<ClockTime> {
        self.kinds.values().filter(|known| known.latest.is_some()).map(|known| known.until).min()
    }

    /// Returns the number of reports that were not passed on at once.
    #[must_use]
    pub const fn withheld(&self) -> u64 {
        self.withheld
    }

    /// Returns whether a new kind can be tracked. Kinds whose window passed without a flood are forgotten.
    fn has_room(&mut self, now: ClockTime) -> bool {
        if self.kinds.len() >= MAX_KINDS {
            self.kinds.retain(|_, known| known.latest.is_some() || known.until > now);
        }
        self.kinds.len() < MAX_KINDS
    }
}

impl<T> Kind<T> {
    fn new(now: ClockTime, quota: ReportQuota) -> Self {
        let until = now + quota.window;
        Self { until, passed: 0, sources: BTreeMap::new(), latest: None, more: 0 }
    }

    /// Returns whether a report about this source may be passed on; if so, it is counted.
    fn passes(&mut self, source: Option<IpAddr>, quota: ReportQuota) -> bool {
        let share = if source.is_some() { quota.each } else { quota.all };
        if self.sources.len() >= MAX_SOURCES_PER_KIND && !self.sources.contains_key(&source) {
            self.sources.clear();
        }
        let own = self.sources.entry(source).or_default();
        let passes = self.passed < quota.all && *own < share;
        if passes {
            self.passed += 1;
            *own += 1;
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

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
        let mut allowed =
            |number| (0..20).filter(|_| limiter.allows(ClockTime::START, source(number))).count();
        assert_eq!((allowed(1), allowed(2), allowed(3)), (5, 3, 0));
        let later = ClockTime::START + Duration::from_millis(100);
        assert!(limiter.allows(later, source(1)));
        assert!(!limiter.allows(later, source(1)));
        assert_eq!(limiter.refused(), 53);
    }

    #[test]
    fn memory_is_bounded_under_forged_sources() {
        let mut limiter = Limiter::new(EACH, Quota { per_second: 1 << 30, burst: 1 << 30 });
        (0..10_000).for_each(|number| {
            let _ = limiter.allows(ClockTime::START, source(number));
        });
        assert_eq!(limiter.sources.len(), MAX_SOURCES);
        assert!(limiter.allows(at(1), source(99_999)));
    }

    #[test]
    fn flood_of_forged_sources_costs_constant_time_each() {
        let mut limiter = Limiter::new(EACH, Quota { per_second: 1 << 30, burst: 1 << 30 });
        let start = std::time::Instant::now();
        (0..200_000).for_each(|number| {
            let _ = limiter.allows(ClockTime::START, source(number));
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
            let (mut now, mut given) = (ClockTime::START, [0; 3]);
            for (number, pause) in asks {
                now = now + Duration::from_millis(pause);
                given[number as usize] += u64::from(limiter.allows(now, source(number)));
            }
            let quota = |quota: Quota| u128::from(quota.burst) + u128::from(quota.per_second) * u128::from(now.0) / 1_000_000_000;
            prop_assert!(given.iter().all(|given| u128::from(*given) <= quota(EACH)));
            prop_assert!(u128::from(given.iter().sum::<u64>()) <= quota(ALL));
        }
    }

    fn at(seconds: u64) -> ClockTime {
        ClockTime::START + Duration::from_secs(seconds)
    }

    fn reported(number: u32) -> Option<IpAddr> {
        Some(Ipv4Addr::from(number).into())
    }

    #[test]
    fn one_source_hides_nobody_and_its_flood_is_one_report_per_window() {
        let mut limiter = ReportLimiter::new(ReportQuota::LOG);
        let mut passed = Vec::new();
        for second in 0..60 {
            for number in 0..100 {
                passed.extend(limiter.handle_report(at(second), "refused", reported(1), (second, number)));
            }
            if second == 35 {
                assert_eq!(limiter.handle_report(at(second), "refused", reported(2), (0, 0)), Some((0, 0)));
            }
            passed.extend(limiter.poll_report(at(second)).map(|report| report.latest));
        }
        // Three at once, and then one at the end of each window.
        assert_eq!(passed[..3], [(0, 0), (0, 1), (0, 2)]);
        assert_eq!(passed[3..], [10, 20, 30, 40, 50].map(|second| (second, 99)));
        // Its flood ends: what it does next is news again.
        assert!(limiter.poll_report(at(60)).is_some() && limiter.poll_report(at(70)).is_none());
        assert_eq!(limiter.handle_report(at(75), "refused", reported(1), (75, 0)), Some((75, 0)));
    }

    #[test]
    fn many_sources_share_what_a_person_can_read() {
        let mut limiter = ReportLimiter::new(ReportQuota::LOG);
        let mut pass = |second, numbers: core::ops::Range<u32>| {
            numbers
                .filter_map(|number| limiter.handle_report(at(second), "refused", reported(number), number))
                .count()
        };
        assert_eq!(pass(0, 0..100), 10);
        let latest = limiter.poll_report(at(10)).unwrap();
        assert_eq!((latest.latest, latest.more), (99, 89));
        // The latest was one of this window.
        let passed = (100..200)
            .filter_map(|number| limiter.handle_report(at(11), "refused", reported(number), number));
        assert_eq!(passed.count(), 9);
    }

    #[test]
    fn kinds_do_not_hide_each_other() {
        let mut limiter = ReportLimiter::new(ReportQuota::LOG);
        for number in 0..100 {
            limiter.handle_report(at(0), "a", None, number);
        }
        assert_eq!(limiter.handle_report(at(0), "b", None, 7), Some(7));
        assert_eq!(limiter.withheld(), 90);
    }

    #[test]
    fn the_latest_of_several_kinds_come_in_their_order() {
        let mut limiter = ReportLimiter::new(ReportQuota::LOG);
        for number in 0..40 {
            limiter.handle_report(at(number / 8), if number % 2 == 0 { "up" } else { "down" }, None, number);
        }
        limiter.handle_report(at(9), "up", None, 40);
        let latest: Vec<_> =
            std::iter::from_fn(|| limiter.poll_report(at(10))).map(|report| report.latest).collect();
        assert_eq!(latest, [39, 40]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut limiter = ReportLimiter::new(ReportQuota::LOG);
        for number in 0..2 * MAX_KINDS as u32 {
            limiter.handle_report(at(0), number, None, ());
            limiter.handle_report(at(0), 0, reported(number), ());
        }
        assert_eq!(limiter.kinds.len(), MAX_KINDS);
        assert!(limiter.kinds.values().all(|known| known.sources.len() <= MAX_SOURCES_PER_KIND));
        assert_eq!(limiter.handle_report(at(10), 30_000, None, ()), Some(()));
    }

    proptest! {
        #[test]
        fn every_report_is_passed_on_or_counted_and_windows_are_kept(
            reports in proptest::collection::vec((0_u8..3, 0_u32..4, 0_u64..3_000), 1..400),
        ) {
            let mut limiter = ReportLimiter::new(ReportQuota::LOG);
            let (mut now, mut passed, mut more) = (ClockTime::START, Vec::new(), 0);
            for (kind, number, pause) in &reports {
                now = now + Duration::from_millis(*pause);
                while let Some(report) = limiter.poll_report(now) {
                    passed.push((now, report.kind));
                    more += report.more;
                }
                passed.extend(limiter.handle_report(now, *kind, reported(*number), (now, *kind)));
            }
            while let Some(report) = limiter.poll_report(ClockTime::NEVER) {
                passed.push((ClockTime::NEVER, report.kind));
                more += report.more;
            }
            prop_assert_eq!(passed.len() as u64 + more, reports.len() as u64);
            for (start, kind) in &passed {
                let end = *start + ReportQuota::LOG.window;
                let within = passed.iter().filter(|(time, other)| other == kind && time >= start && *time < end);
                // Two windows may meet in it.
                prop_assert!(within.count() <= 20);
            }
        }
    }
}
