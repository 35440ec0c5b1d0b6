//! Which groups the hosts on a leg have joined: the router side of IGMPv3 and MLDv2, as a proxy needs it (RFC 4605).
//!
//! The queries are sent by the querier of the leg, which may be another machine. This only listens.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast_group::{Group, SourceFilter};
use mcast_pace::ClockTime;
use mcast_packet::gmp::{Address, GmpMessage, RecordKind};
use mcast_tunnel::TunnelWant;

use crate::rule::LegId;

/// Groups of one leg. Reports of more are ignored, so that forged reports do not fill the memory.
pub(crate) const MAX_GROUPS: usize = 4_096;
/// Those of them that count for one host at most, so that it does not fill them alone.
pub(crate) const MAX_GROUPS_OF_HOST: usize = MAX_GROUPS / 4;
/// Time between two reports of refused memberships of a leg.
const REFUSAL_INTERVAL: Duration = Duration::from_secs(60);
/// Two query intervals and a response interval (RFC 3376 section 8): every host has been queried twice.
const SILENCE: Duration = Duration::from_secs(260);

/// A report, in the terms of IGMPv3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReportVersion {
    V1,
    V2,
    V3,
}

/// The memberships of the hosts on all legs, or of all gateways of AMT.
#[derive(Debug)]
pub(crate) struct Demand<L = LegId> {
    legs: BTreeMap<L, LegDemand>,
    max_groups: usize,
    max_groups_of_host: usize,
}

/// Memberships that were not recorded, or ended for those of hosts that have fewer, because the host or the leg has too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefusedMemberships {
    /// The host with the most groups, which need not be the last one refused.
    pub(crate) host: IpAddr,
    /// Its groups.
    pub(crate) groups: usize,
    /// The records refused since the last report.
    pub(crate) count: u64,
}

#[derive(Debug)]
struct LegDemand {
    groups: BTreeMap<Group, GroupState>,
    /// The host that each group counts for, of those that report it one that has few, and the number of groups of each host.
    owners: BTreeMap<Group, IpAddr>,
    owned: BTreeMap<IpAddr, usize>,
    /// Records refused since they were reported, and when that was.
    refused: u64,
    refusals_reported: Option<ClockTime>,
    /// Groups that programs of the leg's own namespace have joined, whose reports are not received.
    local: BTreeSet<Group>,
    /// What the other end of a tunnel wants.
    site: BTreeMap<SocketAddr, SourceFilter>,
    /// When to report that no host has reported anything. `None` once one has, or that was reported.
    silent_at: Option<ClockTime>,
}

impl<L: Copy + Ord> Demand<L> {
    /// Creates an empty table with at most this number of groups per leg, and of those that count for one host.
    pub(crate) const fn new(max_groups: usize, max_groups_of_host: usize) -> Self {
        Self { legs: BTreeMap::new(), max_groups, max_groups_of_host }
    }

    /// Starts to listen on a leg.
    pub(crate) fn start(&mut self, now: ClockTime, leg: L) {
        let silent_at = Some(now + SILENCE);
        let demand = LegDemand {
            groups: BTreeMap::new(),
            owners: BTreeMap::new(),
            owned: BTreeMap::new(),
            refused: 0,
            refusals_reported: None,
            local: BTreeSet::new(),
            site: BTreeMap::new(),
            silent_at,
        };
        self.legs.insert(leg, demand);
    }

    /// Forgets a leg.
    pub(crate) fn stop(&mut self, leg: L) {
        self.legs.remove(&leg);
    }

    /// Handles a message of a host. Returns the groups whose memberships may have changed.
    pub(crate) fn receive<A: Address>(
        &mut self,
        now: ClockTime,
        leg: L,
        host: IpAddr,
        message: &GmpMessage<'_, A>,
    ) -> Vec<Group> {
        let Some(leg) = self.legs.get_mut(&leg) else { return Vec::new() };
        let limits = (self.max_groups, self.max_groups_of_host);
        let mut changed = Vec::new();
        let mut record = |version, kind, group: A, sources: Vec<IpAddr>| {
            changed.extend(
                leg.record(now, host, version, (kind, group.into(), &sources), limits).into_iter().flatten(),
            );
        };
        match message {
            GmpMessage::V1Report { group } => {
                record(ReportVersion::V1, RecordKind::ModeIsExclude, *group, Vec::new());
            }
            GmpMessage::Report { group } => {
                record(ReportVersion::V2, RecordKind::ModeIsExclude, *group, Vec::new());
            }
            GmpMessage::Leave { group } => {
                record(ReportVersion::V2, RecordKind::ChangeToInclude, *group, Vec::new());
            }
            GmpMessage::V3Report(records) => {
                for item in records.iter() {
                    let sources = item.sources.iter().map(Into::into).collect();
                    record(ReportVersion::V3, item.kind, item.group, sources);
                }
            }
            GmpMessage::Query(_) | GmpMessage::RouterDiscovery(_) => {}
        }
        changed
    }

    /// Replaces the groups that local programs have joined. Returns whether they have changed.
    pub(crate) fn set_local(&mut self, leg: L, groups: &BTreeSet<Group>) -> bool {
        let Some(leg) = self.legs.get_mut(&leg).filter(|leg| leg.local != *groups) else { return false };
        leg.local.clone_from(groups);
        leg.silent_at = leg.silent_at.filter(|_| groups.is_empty());
        true
    }

    /// Replaces what the other end of a tunnel wants. Returns whether it has changed.
    pub(crate) fn set_site(&mut self, leg: L, wants: Vec<TunnelWant>) -> bool {
        let wants = wants.into_iter().map(|want| (want.destination, want.sources)).collect();
        let Some(leg) = self.legs.get_mut(&leg).filter(|leg| leg.site != wants) else { return false };
        leg.site = wants;
        true
    }

    /// Returns whether the other end of a tunnel wants a datagram.
    pub(crate) fn site_wants(&self, leg: L, destination: SocketAddr, source: IpAddr) -> bool {
        let site = self.legs.get(&leg).map(|leg| &leg.site);
        site.and_then(|site| site.get(&destination)).is_some_and(|sources| sources.admits(source))
    }

    /// Returns whether the other end of a tunnel wants something of this group.
    pub(crate) fn site_has(&self, leg: L, group: Group) -> bool {
        let (first, last) = (SocketAddr::new(group.addr(), 0), SocketAddr::new(group.addr(), u16::MAX));
        self.legs.get(&leg).is_some_and(|leg| leg.site.range(first..=last).next().is_some())
    }

    /// Returns the sources that hosts on the leg have requested of the group.
    pub(crate) fn requested(&self, now: ClockTime, leg: L, group: Group) -> SourceFilter {
        let Some(leg) = self.legs.get(&leg) else { return SourceFilter::NONE };
        match leg.local.contains(&group) {
            true => SourceFilter::ANY,
            false => leg.groups.get(&group).map_or(SourceFilter::NONE, |state| state.filter(now)),
        }
    }

    /// Returns the groups that hosts on the leg have joined.
    pub(crate) fn groups(&self, leg: L) -> impl Iterator<Item = Group> {
        let leg = self.legs.get(&leg);
        let of_site = |leg: &&LegDemand| {
            let groups = leg.site.keys().filter_map(|destination| Group::new(destination.ip()).ok());
            groups.collect::<Vec<_>>()
        };
        let groups: BTreeSet<Group> = leg
            .iter()
            .flat_map(|leg| leg.groups.keys().chain(&leg.local).copied().chain(of_site(leg)))
            .collect();
        groups.into_iter()
    }

    /// Forgets memberships that are no longer reported; returns their groups.
    pub(crate) fn expire(&mut self, now: ClockTime) -> Vec<Group> {
        let mut changed = Vec::new();
        for leg in self.legs.values_mut() {
            let mut ended = Vec::new();
            leg.groups.retain(|group, state| {
                let (is_changed, remains) = state.expire(now);
                changed.extend(is_changed.then_some(*group));
                ended.extend((!remains).then_some(*group));
                remains
            });
            ended.into_iter().for_each(|group| leg.disown(group));
        }
        changed
    }

    /// Returns the memberships of a leg that were refused since the last call that returned some, at most once per minute.
    pub(crate) fn take_refused(&mut self, now: ClockTime, leg: L) -> Option<RefusedMemberships> {
        let leg = self.legs.get_mut(&leg)?;
        let is_due = leg.refusals_reported.is_none_or(|last| now >= last + REFUSAL_INTERVAL);
        if leg.refused == 0 || !is_due {
            return None;
        }
        leg.refusals_reported = Some(now);
        let (host, groups) = leg.owned.iter().max_by_key(|(_, groups)| **groups)?;
        Some(RefusedMemberships { host: *host, groups: *groups, count: std::mem::take(&mut leg.refused) })
    }

    /// Returns the legs on which no host reports, each once.
    pub(crate) fn silent(&mut self, now: ClockTime) -> Vec<L> {
        let silent = |leg: &mut LegDemand| leg.silent_at.take_if(|silent_at| *silent_at <= now).is_some();
        self.legs.iter_mut().filter_map(|(id, leg)| silent(leg).then_some(*id)).collect()
    }

    /// Returns when to call [`Self::expire`] and [`Self::silent`].
    pub(crate) fn deadline(&self) -> Option<ClockTime> {
        let states = self.legs.values().flat_map(|leg| leg.groups.values().filter_map(GroupState::deadline));
        states.chain(self.legs.values().filter_map(|leg| leg.silent_at)).min()
    }
}

impl LegDemand {
    fn record(
        &mut self,
        now: ClockTime,
        host: IpAddr,
        version: ReportVersion,
        (kind, group, sources): (RecordKind, IpAddr, &[IpAddr]),
        (max_groups, max_of_host): (usize, usize),
    ) -> [Option<Group>; 2] {
        let Ok(group) = Group::new(group) else { return [None; 2] };
        self.silent_at = None;
        let joins =
            !sources.is_empty() || matches!(kind, RecordKind::ModeIsExclude | RecordKind::ChangeToExclude);
        if !joins && !self.groups.contains_key(&group) {
            // Nobody is a member, and this leaves.
            return [None; 2];
        }
        let mut displaced = None;
        if !self.groups.contains_key(&group) {
            let of_host = self.owned.get(&host).copied().unwrap_or_default();
            if self.groups.len() >= max_groups {
                displaced = self.displace(of_host);
            }
            if self.groups.len() >= max_groups || of_host >= max_of_host {
                self.refused += 1;
                return [displaced, None];
            }
            self.own(group, host);
        } else if let Some(owner) = self.owners.get(&group).filter(|_| joins)
            && self.owned.get(&host).copied().unwrap_or_default() + 1
                < self.owned.get(owner).copied().unwrap_or_default()
        {
            self.disown(group);
            self.own(group, host);
        }
        let state = self.groups.entry(group).or_insert_with(GroupState::new);
        state.record(now, version, kind, sources);
        if state.is_empty() {
            self.groups.remove(&group);
            self.disown(group);
        }
        [displaced, Some(group)]
    }

    /// Ends a group of the host that has the most, if those are more than one host that has `of_host` would have with another
    /// one: hosts whose addresses are forged take from each other.
    fn displace(&mut self, of_host: usize) -> Option<Group> {
        let (most, _) = self
            .owned
            .iter()
            .max_by_key(|(_, groups)| **groups)
            .filter(|(_, groups)| **groups > of_host + 1)?;
        let (group, _) = self.owners.iter().find(|(_, owner)| *owner == most)?;
        let group = *group;
        self.groups.remove(&group);
        self.disown(group);
        self.refused += 1;
        Some(group)
    }

    fn own(&mut self, group: Group, host: IpAddr) {
        self.owners.insert(group, host);
        *self.owned.entry(host).or_default() += 1;
    }

    /// Forgets which host a group counts for.
    fn disown(&mut self, group: Group) {
        let Some(host) = self.owners.remove(&group) else { return };
        if let Some(groups) = self.owned.get_mut(&host) {
            *groups -= 1;
            if *groups == 0 {
                self.owned.remove(&host);
            }
        }
    }
}

/// The group membership interval (RFC 3376 section 8.4), with the defaults of the RFC.
const MEMBERSHIP: Duration = Duration::from_secs(260);
/// The last member query time (RFC 3376 section 8.8): the time that the other members have to report.
const LAST_MEMBER: Duration = Duration::from_secs(2);
/// Sources listed for one group. With more, every source counts as requested.
const MAX_SOURCES: usize = 256;

/// Until when each source is requested. Of a group in exclude mode, those whose time has passed are excluded.
type Timers = BTreeMap<IpAddr, ClockTime>;

#[derive(Debug)]
struct GroupState {
    /// Until when the group is in exclude mode; `None` in include mode.
    exclude_until: Option<ClockTime>,
    timers: Timers,
    /// Until when there may be hosts with IGMPv2 or MLDv1, and with IGMPv1.
    older_until: ClockTime,
    v1_until: ClockTime,
}

impl GroupState {
    fn new() -> Self {
        let (exclude_until, timers) = (None, Timers::new());
        Self { exclude_until, timers, older_until: ClockTime::START, v1_until: ClockTime::START }
    }

    /// Returns whether nobody requests anything.
    fn is_empty(&self) -> bool {
        self.exclude_until.is_none() && self.timers.is_empty()
    }

    /// Returns the requested sources.
    fn filter(&self, now: ClockTime) -> SourceFilter {
        let listed = |is_requested: bool| {
            let is_listed = move |(_, until): &(&IpAddr, &ClockTime)| (**until > now) == is_requested;
            self.timers.iter().filter(is_listed).map(|(source, _)| *source).collect()
        };
        match self.exclude_until {
            Some(until) if until > now => SourceFilter::Exclude(listed(false)),
            _ => SourceFilter::Include(listed(true)),
        }
    }

    /// Handles a record of a report.
    fn record(&mut self, now: ClockTime, version: ReportVersion, kind: RecordKind, sources: &[IpAddr]) {
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
    fn expire(&mut self, now: ClockTime) -> (bool, bool) {
        let mut changed = self.exclude_until.take_if(|until| *until <= now).is_some();
        if self.exclude_until.is_none() {
            let before = self.timers.len();
            self.timers.retain(|_, until| *until > now);
            changed |= self.timers.len() < before;
        } else {
            for until in
                self.timers.values_mut().filter(|until| **until <= now && **until != ClockTime::START)
            {
                *until = ClockTime::START;
                changed = true;
            }
        }
        (changed, !self.is_empty())
    }

    /// Returns when to call [`Self::expire`].
    fn deadline(&self) -> Option<ClockTime> {
        let running = self.timers.values().filter(|until| **until != ClockTime::START);
        running.copied().chain(self.exclude_until).min()
    }

    fn request(&mut self, now: ClockTime, sources: &BTreeSet<IpAddr>) {
        self.timers.extend(sources.iter().map(|source| (*source, now + MEMBERSHIP)));
    }

    /// Changes to exclude mode. Of the listed sources, those that are new keep being requested until `new_until`, in
    /// include mode they are excluded at once.
    fn exclude(&mut self, now: ClockTime, listed: &BTreeSet<IpAddr>, new_until: ClockTime) {
        let new_until = if self.exclude_until.is_some() { new_until } else { ClockTime::START };
        self.timers.retain(|source, _| listed.contains(source));
        for source in listed {
            self.timers.entry(*source).or_insert(new_until);
        }
        self.exclude_until = Some(now + MEMBERSHIP);
    }

    fn change_to_exclude(&mut self, now: ClockTime, listed: &BTreeSet<IpAddr>) {
        let until = self.exclude_until.unwrap_or_default();
        self.exclude(now, listed, until);
        self.query_sources(now, |source| listed.contains(source));
    }

    fn change_to_include(&mut self, now: ClockTime, listed: &BTreeSet<IpAddr>) {
        self.query_sources(now, |source| !listed.contains(source));
        self.request(now, listed);
        if let Some(until) = &mut self.exclude_until {
            *until = (*until).min(now + LAST_MEMBER);
        }
    }

    fn block(&mut self, now: ClockTime, listed: &BTreeSet<IpAddr>) {
        if let Some(until) = self.exclude_until {
            for source in listed {
                self.timers.entry(*source).or_insert(until);
            }
        }
        self.query_sources(now, |source| listed.contains(source));
    }

    /// Gives the members time to report these sources again, as the querier requests them to.
    fn query_sources(&mut self, now: ClockTime, is_queried: impl Fn(&IpAddr) -> bool) {
        for (source, until) in &mut self.timers {
            if *until != ClockTime::START && is_queried(source) {
                *until = (*until).min(now + LAST_MEMBER);
            }
        }
    }
}
