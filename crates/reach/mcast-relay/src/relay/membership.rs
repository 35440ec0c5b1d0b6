//! Which groups the relay joins: those that somebody downstream has joined (RFC 4605 section 4).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mcast_group::{AddrRange, Group, GroupRange, SourceFilter};
use mcast_pace::ClockTime;
use mcast_packet::gmp::{Address, GmpMessage};
use mcast_tunnel::TunnelWant;

use crate::demand::RefusedMemberships;
use crate::event::{RelayEvent, RelayOutput};
use crate::paths::PathSide;
use crate::relay::Relay;
use crate::relay::rules::{Pair, PairState};
use crate::rule::{LegId, MAX_ALWAYS, RewriteTarget, Rule, Selection};

impl Relay {
    /// Handles an IGMP or MLD message that has arrived on a leg. The caller has verified its checksum and hop limit.
    ///
    /// Those of this relay and of other relays are ignored: a relay joins what somebody on another leg has joined, so
    /// that two relays would keep each other's memberships alive.
    pub fn handle_membership<A: Address>(
        &mut self,
        now: ClockTime,
        leg: LegId,
        source: IpAddr,
        message: &GmpMessage<'_, A>,
    ) {
        if self.record_membership(now, leg, source, message) {
            self.follow_memberships(now);
        }
    }

    /// Handles a message as [`Self::handle_membership`], but joins nothing yet. Returns whether
    /// [`Self::follow_memberships`] must be called, once after many messages: that takes time for every group.
    pub fn record_membership<A: Address>(
        &mut self,
        now: ClockTime,
        leg: LegId,
        source: IpAddr,
        message: &GmpMessage<'_, A>,
    ) -> bool {
        let mut own = self.legs.iter().filter_map(|leg| leg.addresses.as_ref()).flatten();
        let is_relay = own.any(|address| *address == source) || self.peers.has_address(source);
        if is_relay {
            return false;
        }
        let has_changed = !self.demand.receive(now, leg, source, message).is_empty();
        if let Some(refused) = self.demand.take_refused(now, leg) {
            let RefusedMemberships { host, groups, count } = refused;
            self.report(RelayEvent::TooManyGroups { leg, host, groups, count });
        }
        has_changed
    }

    /// Joins and leaves what has changed since.
    pub fn follow_memberships(&mut self, now: ClockTime) {
        self.update_joins(now);
    }

    /// Replaces the groups that programs in the namespace of a leg have joined. Their reports are not received, as those of
    /// other hosts are. Without this, they count as not joined.
    pub fn set_local_members(&mut self, now: ClockTime, leg: LegId, groups: &BTreeSet<Group>) {
        if self.demand.set_local(leg, groups) {
            self.update_joins(now);
        }
    }

    /// Replaces what the other end of a tunnel wants to receive.
    pub fn set_site_wants(&mut self, now: ClockTime, leg: LegId, wants: Vec<TunnelWant>) {
        if self.demand.set_site(leg, wants) {
            self.update_joins(now);
        }
    }

    /// Returns what this relay wants to receive from a leg: each group that it has joined, on the ports of its rules, and
    /// broadcasts.
    #[must_use]
    pub fn wants(&self, leg: LegId) -> Vec<TunnelWant> {
        let mut wants: BTreeMap<SocketAddr, SourceFilter> = BTreeMap::new();
        let mut want = |destination, sources: &SourceFilter| {
            let wanted = wants.entry(destination).or_insert(SourceFilter::NONE);
            *wanted = wanted.union(sources);
        };
        let of_leg = |pair: &&Pair| pair.key.from == leg && pair.state != PairState::Down;
        for rule in self.pairs.iter().filter(of_leg).filter_map(|pair| self.rules.get(pair.rule)) {
            let traffic = &rule.rule.traffic;
            if let Selection::Broadcast(port) = traffic.selection {
                want((Ipv4Addr::BROADCAST, port).into(), &traffic.sources);
            }
            for range in traffic.ranges() {
                let joined = self.joined.range((leg, range.groups.first)..=(leg, range.groups.last));
                for ((_, group), _) in joined {
                    for port in range.ports.clone() {
                        want((group.addr(), port).into(), &traffic.sources);
                    }
                }
            }
        }
        wants.into_iter().map(|(destination, sources)| TunnelWant { destination, sources }).collect()
    }

    /// Replaces what gateways of AMT have joined at this address.
    pub fn set_amt_members(
        &mut self,
        now: ClockTime,
        listener: SocketAddr,
        groups: BTreeMap<Group, SourceFilter>,
    ) {
        self.amt_members.insert(listener, groups);
        self.update_joins(now);
    }

    /// Returns whether a gateway of AMT has joined the group from this source.
    pub(super) fn is_wanted_by_gateways(
        &self,
        listener: SocketAddr,
        destination: SocketAddr,
        source: IpAddr,
    ) -> bool {
        let members =
            Group::new(destination.ip()).ok().and_then(|group| self.amt_members.get(&listener)?.get(&group));
        members.is_some_and(|sources| sources.admits(source))
    }

    /// Returns whether a host on the leg would receive a datagram to this address.
    pub(super) fn is_wanted(
        &self,
        now: ClockTime,
        index: usize,
        leg: LegId,
        destination: SocketAddr,
        source: IpAddr,
    ) -> bool {
        if self.is_tunnel(leg) {
            return self.demand.site_wants(leg, destination, source);
        }
        let Ok(group) = Group::new(destination.ip()) else { return true };
        let rule = self.pairs.get(index).and_then(|pair| self.rules.get(pair.rule));
        rule.is_some_and(|state| state.rule.is_always())
            || !is_by_membership(group)
            || self.is_requested(now, leg, group)
    }

    /// Joins what is wanted, and leaves the rest.
    pub(super) fn update_joins(&mut self, now: ClockTime) {
        let mut wanted: BTreeMap<(LegId, Group), SourceFilter> = BTreeMap::new();
        for pair in self.pairs.iter().filter(|pair| pair.state != PairState::Down) {
            let Some(rule) = self.rules.get(pair.rule).map(|state| &state.rule) else { continue };
            for (groups, requested) in self.wanted_groups(now, pair, rule) {
                let requested = requested.intersection(&rule.traffic.sources);
                for group in groups.groups().take(MAX_ALWAYS).filter(|_| !requested.is_none()) {
                    let sources = wanted.entry((pair.key.from, group)).or_insert(SourceFilter::NONE);
                    *sources = sources.union(&requested);
                }
            }
        }
        let joined = std::mem::take(&mut self.joined);
        let left = joined.keys().filter(|key| !wanted.contains_key(key));
        let left = left.map(|(leg, group)| (*leg, *group, SourceFilter::NONE));
        let changed = wanted.iter().filter(|(key, sources)| joined.get(key) != Some(sources));
        let changed = changed.map(|((leg, group), sources)| (*leg, *group, sources.clone()));
        for (leg, group, sources) in left.chain(changed) {
            self.outputs.push_back(RelayOutput::Join { leg, group, sources });
        }
        self.joined = wanted;
        self.report_other_sources(now);
    }

    /// Reports a leg on which no host reports memberships, if a rule waits for such reports.
    pub(super) fn report_silence(&mut self, leg: LegId) {
        let waits = |pair: &Pair| {
            let rule = self.rules.get(pair.rule).map(|state| &state.rule);
            pair.key.to_leg() == Some(leg)
                && !self.is_tunnel(leg)
                && rule.is_some_and(|rule| !rule.is_always())
        };
        if self.pairs.iter().any(waits) {
            self.report(RelayEvent::NoReports { leg });
        }
    }

    /// Returns the groups that a pair wants to receive, each with the sources.
    fn wanted_groups(&self, now: ClockTime, pair: &Pair, rule: &Rule) -> Vec<(GroupRange, SourceFilter)> {
        let ranges = rule.traffic.ranges();
        let origins = |range: &AddrRange, group: Group| match &rule.rewrite {
            None => range.groups.contains(group).then(|| group.into()),
            Some(rewrite) => rewrite.origins(range, group),
        };
        // Copies that a leg receives come from the relay, so hosts there do not choose the source.
        let any = |groups: GroupRange| (groups, SourceFilter::ANY);
        if let (PathSide::AmtGateways(listener), false) = (pair.key.to, rule.is_always()) {
            let requested = self.amt_members.get(&listener).into_iter().flatten();
            let of_ranges = |(group, sources): (&Group, &SourceFilter)| {
                let (group, sources) = (*group, sources.clone());
                ranges.iter().filter_map(move |range| Some((origins(range, group)?, sources.clone())))
            };
            return requested.flat_map(of_ranges).collect();
        }
        let is_broadcast =
            rule.rewrite.as_ref().is_some_and(|rewrite| rewrite.target == RewriteTarget::Broadcast);
        let Some(to) = pair.key.to_leg().filter(|_| !rule.is_always() && !is_broadcast) else {
            return ranges.iter().map(|range| any(range.groups)).collect();
        };
        let requested = self.demand.groups(to).filter(|group| self.is_requested(now, to, *group));
        let of_ranges = |group: Group| ranges.iter().filter_map(move |range| origins(range, group).map(any));
        requested.flat_map(of_ranges).collect()
    }

    /// Returns whether a host on the leg has requested the group from the relay: its copies come from its own address.
    fn is_requested(&self, now: ClockTime, leg: LegId, group: Group) -> bool {
        if self.is_tunnel(leg) {
            return self.demand.site_has(leg, group);
        }
        let requested = self.demand.requested(now, leg, group);
        match &requested {
            SourceFilter::Exclude(_) => true,
            SourceFilter::Include(_) => {
                let addresses = self.addresses(leg).unwrap_or_default();
                addresses.iter().any(|address| requested.admits(*address))
            }
        }
    }

    fn report_other_sources(&mut self, now: ClockTime) {
        let mut reported = Vec::new();
        for pair in &self.pairs {
            let (Some(to), Some(state)) = (pair.key.to_leg(), self.rules.get(pair.rule)) else { continue };
            for group in self.demand.groups(to) {
                let is_sent = state.rule.rewrite.is_none()
                    && state.rule.traffic.ranges().iter().any(|range| range.groups.contains(group));
                let has_members = !self.demand.requested(now, to, group).is_none();
                if is_sent && has_members && !self.is_requested(now, to, group) {
                    reported.push((to, group));
                }
            }
        }
        for (leg, group) in reported {
            // Forged reports must not fill the memory.
            if self.other_sources.len() < 1_024 && self.other_sources.insert((leg, group)) {
                self.report(RelayEvent::OtherSources { leg, group });
            }
        }
    }
}

/// Returns whether hosts report memberships of the group.
fn is_by_membership(group: Group) -> bool {
    match group.addr() {
        IpAddr::V4(group) => group.is_forwarded_by_membership(),
        IpAddr::V6(group) => group.is_forwarded_by_membership(),
    }
}
