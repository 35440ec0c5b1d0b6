//! The rules and their pairs of legs, also when they are replaced, and what the relay does for them at present.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use crate::counts::Limits;
use crate::counts::RuleCounts;
use crate::event::RelayOutput;
use crate::paths::Reachability;
use crate::paths::{PairKey, PathKey, PathSide};
use crate::peers::RelayId;
use crate::relay::{LegId, LegState, MAX_LEGS, Relay, TooManyLegs};
use crate::rule::{Leg, Rule, RuleTarget};

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
        until: Duration,
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
    pub fn replace_rules(&mut self, now: Duration, rules: Vec<Rule>) -> Result<(), TooManyLegs> {
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

/// Another relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its identifier.
    pub relay: RelayId,
    /// Its priority.
    pub priority: u8,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The legs on which it is received.
    pub legs: Vec<LegId>,
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
    pub fn peers(&self, now: Duration) -> Vec<PeerStatus> {
        self.peers.statuses(now)
    }

    /// Returns whether two legs are on the same segment.
    #[must_use]
    pub fn is_same_segment(&self, one: LegId, other: LegId) -> bool {
        self.share_segment(one, other)
    }
}
