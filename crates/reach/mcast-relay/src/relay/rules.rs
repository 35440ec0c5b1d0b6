//! The rules and their pairs of legs, also when they are replaced, and what the relay does for them at present.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use mcast_group::Family;
use mcast_pace::ClockTime;

use crate::LegArrival;
use crate::event::{Limits, RelayEvent, RelayOutput, RuleCounts};
use crate::paths::{PairKey, PathKey, PathSide, Reachability, can_reply_to};
use crate::peers::{PeerStatus, RelayId};
use crate::relay::{LegState, MAX_LEGS, Relay, TooManyLegs};
use crate::rule::{Leg, LegId, Rule, RuleTarget};

#[derive(Debug)]
pub(super) struct RuleState {
    pub(super) rule: Rule,
    pub(super) limits: Limits,
    pub(super) counts: RuleCounts,
    /// The range of its pairs among all pairs.
    pub(super) pairs: Range<usize>,
}

/// A leg that the traffic of a rule arrives on, and one side that it is sent to.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) rule: usize,
    pub(super) key: PairKey,
    pub(super) state: PairState,
    pub(super) reachability: Reachability,
}

/// What the relay does for a leg that traffic arrives on and a side that it is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairState {
    /// A leg is down, or both are on the same segment.
    Down,
    /// It waits for announcements of other relays.
    Listening {
        /// Until when.
        until: ClockTime,
    },
    /// Another relay forwards.
    Standby(RelayId),
    /// It forwards.
    Forwarding,
}

impl Relay {
    /// Replaces the rules. What both have in common continues without interruption.
    ///
    /// # Errors
    /// Returns [`TooManyLegs`] if more than 255 legs have been named since the start; the old rules then remain.
    pub fn replace_rules(&mut self, now: ClockTime, rules: Vec<Rule>) -> Result<(), TooManyLegs> {
        let is_known = |leg: &Leg, legs: &[LegState]| legs.iter().any(|known| known.leg == *leg);
        let mut added: Vec<Leg> = Vec::new();
        for leg in rules.iter().flat_map(Rule::legs) {
            if !is_known(leg, &self.legs) && !added.contains(leg) {
                added.push(leg.clone());
            }
        }
        if self.legs.len() + added.len() > MAX_LEGS {
            return Err(TooManyLegs);
        }
        self.legs.extend(added.into_iter().map(|leg| LegState { leg, addresses: None, subnets: Vec::new() }));
        let (mut old_rules, old_pairs) = (std::mem::take(&mut self.rules), std::mem::take(&mut self.pairs));
        for (rule, number) in rules.into_iter().zip(0..) {
            let first_pair = self.pairs.len();
            for (from, target) in rule.pairs() {
                let Some(key) = self.pair_key(&rule, &from, &target) else { continue };
                // Two rules that say the same would send each datagram twice.
                if self.pairs.iter().any(|pair| pair.key == key) {
                    continue;
                }
                let old = old_pairs.iter().find(|pair| pair.key == key);
                let state = old.map_or(PairState::Down, |pair| pair.state);
                let reachability = old.map(|pair| pair.reachability).unwrap_or_default();
                self.pairs.push(Pair { rule: number, key, state, reachability });
            }
            let pairs = first_pair..self.pairs.len();
            let old = old_rules.iter().position(|old| old.rule == rule);
            self.rules.push(match old {
                Some(position) => RuleState { pairs, ..old_rules.swap_remove(position) },
                None => {
                    let (limits, counts) = (Limits::new(&rule), RuleCounts::default());
                    RuleState { rule, limits, counts, pairs }
                }
            });
        }
        let rules_on = |leg: u8| {
            let arrives = |pair: &Pair| (pair.key.from == LegId(leg)).then_some(pair.rule);
            let mut rules: Vec<_> = self.pairs.iter().filter_map(arrives).collect();
            rules.dedup();
            rules
        };
        self.admitted.clear();
        self.rules_on = (0..self.legs.len()).map(|leg| rules_on(leg as u8)).collect();
        let keys: Vec<_> = self.pairs.iter().map(|pair| pair.key).collect();
        self.close_paths(|key| !keys.contains(key));
        self.elect(now);
        self.update_joins(now);
        Ok(())
    }

    /// Closes the paths of these pairs, and those by which replies to them come back.
    pub(super) fn close_paths(&mut self, is_closed: impl Fn(&PairKey) -> bool) {
        let is_forward = |key: &PathKey| matches!(key, PathKey::Forward { pair, .. } if is_closed(pair));
        let closed = self.paths.matching(is_forward);
        let is_return =
            |key: &PathKey| matches!(key, PathKey::Return { forward, .. } if closed.contains(forward));
        for path in self.paths.matching(is_return).into_iter().chain(closed.iter().copied()) {
            self.paths.close(path, false);
            self.outputs.push_back(RelayOutput::ClosePath(path));
        }
    }

    fn pair_key(&self, rule: &Rule, from: &Leg, target: &RuleTarget) -> Option<PairKey> {
        let id = |leg: &Leg| self.legs().find(|(_, known)| *known == leg).map(|(id, _)| id);
        let to = match target {
            RuleTarget::Leg(leg) => PathSide::Leg(id(leg)?),
            RuleTarget::Unicast(address) => PathSide::Route(*address),
            // Nothing comes back from there, so it needs neither guard nor election: see `Relay::serve`.
            RuleTarget::Http(_) => return None,
            RuleTarget::AmtGateways(address) => PathSide::AmtGateways(*address),
        };
        Some(PairKey { digest: rule.digest(target), from: id(from)?, to })
    }
}

impl PairKey {
    /// Returns the leg that it sends on; `None` for a unicast target and gateways of AMT.
    pub(super) const fn to_leg(self) -> Option<LegId> {
        match self.to {
            PathSide::Leg(leg) => Some(leg),
            PathSide::Route(_) | PathSide::AmtGateways(_) => None,
        }
    }
}

/// A leg that the traffic of a rule arrives on, one side that it is sent to, and what the relay does for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairStatus {
    /// The number of the rule.
    pub rule: usize,
    /// The leg.
    pub from: LegId,
    /// The side.
    pub to: PathSide,
    /// What the relay does.
    pub state: PairState,
}

impl Relay {
    /// Returns what the relay does for each pair of its rules.
    pub fn pairs(&self) -> impl Iterator<Item = PairStatus> {
        self.pairs.iter().map(|pair| PairStatus {
            rule: pair.rule,
            from: pair.key.from,
            to: pair.key.to,
            state: pair.state,
        })
    }

    /// Returns the relays whose announcements arrive.
    #[must_use]
    pub fn peers(&self, now: ClockTime) -> Vec<PeerStatus> {
        self.peers.statuses(now)
    }
}

/// Time between two events about the same neighbour.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// An address of a leg with the length of its prefix: the hosts of that subnet are on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// The address.
    pub address: IpAddr,
    /// The length of the prefix in bits.
    pub prefix: u8,
}

impl Subnet {
    /// Returns whether the address is in it.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let ((own, width), (other, other_width)) = (bits(self.address), bits(other));
        let shift = 128 - u32::from(self.prefix.min(128));
        width == other_width && (own ^ other).checked_shr(shift).unwrap_or_default() == 0
    }
}

/// Something that is reported at most once per minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Neighbour {
    Router {
        leg: LegId,
        home: LegId,
    },
    Chain {
        relay: RelayId,
        leg: LegId,
    },
    /// Senders of which a rule does not keep the address.
    Replaced {
        rule: usize,
        leg: LegId,
    },
}

impl Relay {
    /// Sets the subnets of a leg. A datagram that arrives on one leg from a host on the link of another one is a copy that
    /// a router has made. Without subnets, that is not noticed.
    pub fn set_subnets(&mut self, leg: LegId, subnets: &[Subnet]) {
        if let Some(state) = self.legs.get_mut(usize::from(leg.0)) {
            state.subnets = subnets.to_vec();
        }
    }

    /// Returns the leg on the link of which the source is, if the datagram is a copy that a router has made.
    pub(super) fn home_of_routed(&self, arrival: &LegArrival<'_>) -> Option<LegId> {
        let source = arrival.source.ip();
        let legs = (0..self.legs.len()).filter_map(|number| u8::try_from(number).ok().map(LegId));
        let home = legs
            .into_iter()
            .find(|leg| !self.share_segment(*leg, arrival.leg) && self.is_on_link(*leg, source))?;
        (!self.is_on_link(arrival.leg, source)).then_some(home)
    }

    /// Returns whether an address is in a network of a leg that is up.
    fn is_on_link(&self, leg: LegId, address: IpAddr) -> bool {
        let state = self.legs.get(usize::from(leg.0)).filter(|state| state.addresses.is_some());
        state.is_some_and(|state| state.subnets.iter().any(|subnet| subnet.contains(address)))
    }

    /// Returns whether copies of a datagram can have its source. It has to be in a network of the leg that it arrived on, and of
    /// that segment alone: then each relay recognizes what arrives with this source elsewhere as a copy, and hosts
    /// elsewhere have a route to it.
    pub(super) fn can_keep_source(&self, arrival: &LegArrival<'_>, family: Family) -> bool {
        let source = arrival.source.ip();
        let is_of_link = match source {
            IpAddr::V4(source) => source.is_link_local(),
            IpAddr::V6(source) => source.is_unicast_link_local(),
        };
        let mut legs = (0..self.legs.len()).filter_map(|number| u8::try_from(number).ok().map(LegId));
        can_reply_to(arrival.source)
            && !is_of_link
            && Family::of(source) == family
            && self.is_on_link(arrival.leg, source)
            && !legs.any(|leg| !self.share_segment(leg, arrival.leg) && self.is_on_link(leg, source))
    }

    /// Returns whether this relay sends copies with the sources of one leg on another one.
    pub(super) fn keeps_sources(&self, from: LegId, to: LegId) -> bool {
        let is_meant = |pair: &Pair| pair.key.from == from && pair.key.to_leg() == Some(to);
        self.pairs.iter().any(|pair| is_meant(pair) && self.rules[pair.rule].rule.keep_source)
    }

    /// Returns whether this relay sends copies with the sources of other legs on this one. Others have to know that before it does
    /// so: also while it listens or stands by.
    pub(super) fn keeps_sources_to(&self, to: LegId) -> bool {
        let is_meant = |pair: &Pair| pair.key.to_leg() == Some(to) && pair.state != PairState::Down;
        self.pairs.iter().any(|pair| is_meant(pair) && self.rules[pair.rule].rule.keep_source)
    }

    /// Returns the relay that sends copies with the sources of other networks on the leg, if this may be one of them.
    pub(super) fn sender_with_kept_source(
        &self,
        now: ClockTime,
        arrival: &LegArrival<'_>,
    ) -> Option<RelayId> {
        let relay = self.peers.keeps_sources_on(now, arrival.leg)?;
        (!self.is_on_link(arrival.leg, arrival.source.ip())).then_some(relay)
    }

    /// Reports that copies of a sender have the address of the relay, although the rule keeps sources.
    pub(super) fn report_replaced(&mut self, now: ClockTime, rule: usize, arrival: &LegArrival<'_>) {
        let leg = arrival.leg;
        if self.is_news(now, Neighbour::Replaced { rule, leg }) {
            self.report(RelayEvent::SourceReplaced { rule, leg, source: arrival.source.ip() });
        }
    }

    /// Reports that a router makes copies beside this relay.
    pub(super) fn report_router(&mut self, now: ClockTime, arrival: &LegArrival<'_>, home: LegId) {
        if self.is_news(now, Neighbour::Router { leg: arrival.leg, home }) {
            let (leg, source, destination) = (arrival.leg, arrival.source.ip(), arrival.destination);
            self.report(RelayEvent::RouterFound { leg, home, source, destination });
        }
    }

    /// Reports that copies of a relay are not forwarded to a leg on which that relay is not.
    pub(super) fn report_chain(&mut self, now: ClockTime, relay: RelayId, rules: &[usize], leg: LegId) {
        let is_reached = |to: LegId| self.is_tunnel(to) || self.peers.is_on(relay, to);
        let pairs = rules.iter().flat_map(|rule| &self.pairs[self.rules[*rule].pairs.clone()]);
        let ends = pairs.filter(|pair| pair.key.from == leg && pair.state == PairState::Forwarding);
        let end = ends.map(|pair| pair.key.to).find(|to| matches!(to, PathSide::Leg(to) if !is_reached(*to)));
        if let Some(to) = end
            && self.is_news(now, Neighbour::Chain { relay, leg })
        {
            self.report(RelayEvent::ChainFound { relay, leg, to });
        }
    }

    fn is_news(&mut self, now: ClockTime, neighbour: Neighbour) -> bool {
        self.reported.retain(|_, reported| now < *reported + REPORT_INTERVAL);
        let is_news = !self.reported.contains_key(&neighbour);
        if is_news {
            self.reported.insert(neighbour, now);
        }
        is_news
    }
}
