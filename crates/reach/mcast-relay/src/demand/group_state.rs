//! The state of one group on one leg (RFC 3376 section 6.4, RFC 3810 section 7.4).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use mcast_group::SourceFilter;
use mcast_packet::gmp::RecordKind;

use super::ReportVersion;

/// The group membership interval (RFC 3376 section 8.4), with the defaults of the RFC.
const MEMBERSHIP: Duration = Duration::from_secs(260);
/// The last member query time (RFC 3376 section 8.8): the time that the other members have to report.
const LAST_MEMBER: Duration = Duration::from_secs(2);
/// Sources listed for one group. With more, every source counts as requested.
const MAX_SOURCES: usize = 256;

/// Until when each source is requested. Of a group in exclude mode, those whose time has passed are excluded.
type Timers = BTreeMap<IpAddr, Duration>;

#[derive(Debug)]
pub(super) struct GroupState {
    /// Until when the group is in exclude mode; `None` in include mode.
    exclude_until: Option<Duration>,
    timers: Timers,
    /// Until when there may be hosts with IGMPv2 or MLDv1, and with IGMPv1.
    older_until: Duration,
    v1_until: Duration,
}

impl GroupState {
    pub(super) fn new() -> Self {
        let (exclude_until, timers) = (None, Timers::new());
        Self { exclude_until, timers, older_until: Duration::ZERO, v1_until: Duration::ZERO }
    }

    /// Returns whether nobody requests anything.
    pub(super) fn is_empty(&self) -> bool {
        self.exclude_until.is_none() && self.timers.is_empty()
    }

    /// Returns the requested sources.
    pub(super) fn filter(&self, now: Duration) -> SourceFilter {
        let listed = |is_requested: bool| {
            let is_listed = move |(_, until): &(&IpAddr, &Duration)| (**until > now) == is_requested;
            self.timers.iter().filter(is_listed).map(|(source, _)| *source).collect()
        };
        match self.exclude_until {
            Some(until) if until > now => SourceFilter::Exclude(listed(false)),
            _ => SourceFilter::Include(listed(true)),
        }
    }

    /// Handles a record of a report.
    pub(super) fn record(
        &mut self,
        now: Duration,
        version: ReportVersion,
        kind: RecordKind,
        sources: &[IpAddr],
    ) {
        self.expire(now);
        match version {
            // A leave is a message of version 2 as well, and does not prolong the membership.
            ReportVersion::V1 => self.v1_until = now + MEMBERSHIP,
            ReportVersion::V2 if kind == RecordKind::ModeIsExclude => self.older_until = now + MEMBERSHIP,
            ReportVersion::V2 | ReportVersion::V3 => {}
        }
        let has_v1_hosts = self.v1_until > now;
        let has_older_hosts = has_v1_hosts || self.older_until > now;
        let listed: BTreeSet<IpAddr> = sources.iter().copied().collect();
        match kind {
            RecordKind::ModeIsInclude | RecordKind::AllowNewSources => self.request(now, &listed),
            RecordKind::ModeIsExclude => self.exclude(now, &listed, now + MEMBERSHIP),
            // RFC 3376 section 7.3.2: hosts of older versions cannot answer queries for sources.
            RecordKind::ChangeToExclude if has_older_hosts => {
                self.exclude(now, &BTreeSet::new(), now + MEMBERSHIP);
            }
            RecordKind::ChangeToExclude => self.change_to_exclude(now, &listed),
            RecordKind::ChangeToInclude if has_v1_hosts => {}
            RecordKind::ChangeToInclude => self.change_to_include(now, &listed),
            RecordKind::BlockOldSources if has_older_hosts => {}
            RecordKind::BlockOldSources => self.block(now, &listed),
            RecordKind::Unknown(_) => {}
        }
        if self.timers.len() > MAX_SOURCES {
            self.timers.clear();
            self.exclude_until = Some(now + MEMBERSHIP);
        }
    }

    /// Applies timers that have passed. Returns whether the filter has changed, and whether somebody still requests
    /// something.
    pub(super) fn expire(&mut self, now: Duration) -> (bool, bool) {
        let mut changed = self.exclude_until.take_if(|until| *until <= now).is_some();
        if self.exclude_until.is_none() {
            let before = self.timers.len();
            self.timers.retain(|_, until| *until > now);
            changed |= self.timers.len() < before;
        } else {
            for until in self.timers.values_mut().filter(|until| **until <= now && !until.is_zero()) {
                *until = Duration::ZERO;
                changed = true;
            }
        }
        (changed, !self.is_empty())
    }

    /// Returns when to call [`Self::expire`].
    pub(super) fn deadline(&self) -> Option<Duration> {
        let running = self.timers.values().filter(|until| !until.is_zero());
        running.copied().chain(self.exclude_until).min()
    }

    fn request(&mut self, now: Duration, sources: &BTreeSet<IpAddr>) {
        self.timers.extend(sources.iter().map(|source| (*source, now + MEMBERSHIP)));
    }

    /// Changes to exclude mode. Of the listed sources, those that are new keep being requested until `new_until`, in
    /// include mode they are excluded at once.
    fn exclude(&mut self, now: Duration, listed: &BTreeSet<IpAddr>, new_until: Duration) {
        let new_until = if self.exclude_until.is_some() { new_until } else { Duration::ZERO };
        self.timers.retain(|source, _| listed.contains(source));
        for source in listed {
            self.timers.entry(*source).or_insert(new_until);
        }
        self.exclude_until = Some(now + MEMBERSHIP);
    }

    fn change_to_exclude(&mut self, now: Duration, listed: &BTreeSet<IpAddr>) {
        let until = self.exclude_until.unwrap_or_default();
        self.exclude(now, listed, until);
        self.query_sources(now, |source| listed.contains(source));
    }

    fn change_to_include(&mut self, now: Duration, listed: &BTreeSet<IpAddr>) {
        self.query_sources(now, |source| !listed.contains(source));
        self.request(now, listed);
        if let Some(until) = &mut self.exclude_until {
            *until = (*until).min(now + LAST_MEMBER);
        }
    }

    fn block(&mut self, now: Duration, listed: &BTreeSet<IpAddr>) {
        if let Some(until) = self.exclude_until {
            for source in listed {
                self.timers.entry(*source).or_insert(until);
            }
        }
        self.query_sources(now, |source| listed.contains(source));
    }

    /// Gives the members time to report these sources again, as the querier requests them to.
    fn query_sources(&mut self, now: Duration, is_queried: impl Fn(&IpAddr) -> bool) {
        for (source, until) in &mut self.timers {
            if !until.is_zero() && is_queried(source) {
                *until = (*until).min(now + LAST_MEMBER);
            }
        }
    }
}
