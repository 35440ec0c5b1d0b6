//! The relay: all decisions, without sockets and clocks.

mod election;
mod forward;
mod membership;
mod rules;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mcast_group::{Group, SourceFilter};
use mcast_pace::ClockTime;

use crate::arrival::Trails;
use crate::demand::{Demand, MAX_GROUPS, MAX_GROUPS_OF_HOST};
use crate::event::{RelayEvent, RelayOutput, RuleCounts};
use crate::guard::Guard;
use crate::mdns::ClaimedNames;
use crate::names::RelayNames;
use crate::paths::{PathId, PathSide, Paths};
use crate::peers::{Authenticator, Peers, PortBlock, RelayId};
use crate::rule::{Leg, LegId, Rule};
use election::Announcer;
use rules::{Neighbour, Pair, RuleState};
pub use rules::{PairState, PairStatus, Subnet};

/// What a relay is made of.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// The rules.
    pub rules: Vec<Rule>,
    /// Of several relays with the same rule, the one with the highest priority forwards.
    pub priority: u8,
    /// The ports that copies are sent from.
    pub ports: PortBlock,
    /// The maximum number of paths.
    pub max_paths: usize,
    /// The time after which an unused path is closed.
    pub path_idle: Duration,
    /// Authenticate the announcements: each is sent with every one of them, and accepted with any. Without one, anybody on
    /// a segment can make the relay stand by.
    pub authenticators: Vec<Arc<dyn Authenticator>>,
    /// A random number, another one for each start.
    pub seed: u64,
}

impl RelayConfig {
    /// Creates a configuration with the defaults: priority 100, 1,024 paths that are closed after 2 minutes.
    #[must_use]
    pub fn new(rules: Vec<Rule>, seed: u64) -> Self {
        let (ports, path_idle) = (PortBlock::default(), Duration::from_secs(120));
        Self { rules, priority: 100, ports, max_paths: 1_024, path_idle, authenticators: Vec::new(), seed }
    }
}

/// A relay cannot be made with these rules: they name too many legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rules name more than {} interfaces, which is the maximum", MAX_LEGS)]
pub struct TooManyLegs;

/// The greatest number stands for unicast targets.
const MAX_LEGS: usize = 255;

/// Decides what is sent where. Its driver passes what arrives, and does what [`Self::poll_output`] returns.
///
/// ```
/// use mcast_pace::ClockTime;
/// use mcast_relay::{LegId, Relay, RelayConfig, RelayOutput};
///
/// let rules = mcast_relay::parse_rules("mdns between eth0 and eth1")?;
/// let mut relay = Relay::new(RelayConfig::new(rules, 7))?;
/// relay.handle_leg_up(ClockTime::START, LegId(0), &["10.0.0.1".parse()?]);
/// relay.handle_leg_up(ClockTime::START, LegId(1), &["10.0.1.1".parse()?]);
/// assert!(matches!(relay.poll_output(), Some(RelayOutput::Join { leg: LegId(0), .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Relay {
    id: RelayId,
    priority: u8,
    ports: PortBlock,
    legs: Vec<LegState>,
    rules: Vec<RuleState>,
    pairs: Vec<Pair>,
    /// The rules of which traffic arrives on each leg.
    rules_on: Vec<Vec<usize>>,
    guard: Guard,
    peers: Peers,
    announcer: Announcer,
    /// Legs on the same segment, and until when that is known.
    same_segment: BTreeMap<(LegId, LegId), ClockTime>,
    paths: Paths,
    demand: Demand,
    /// What gateways of AMT have joined, by the address at which they requested it.
    amt_members: BTreeMap<SocketAddr, BTreeMap<Group, SourceFilter>>,
    joined: BTreeMap<(LegId, Group), SourceFilter>,
    /// Groups about which [`RelayEvent::OtherSources`] has been reported.
    other_sources: BTreeSet<(LegId, Group)>,
    names: ClaimedNames,
    trails: Trails,
    /// The rules whose limits have been asked about the present datagram, each with the answer.
    admitted: Vec<(usize, bool)>,
    /// Routers and chains that have been reported, and when.
    reported: BTreeMap<Neighbour, ClockTime>,
    outputs: VecDeque<RelayOutput>,
}

#[derive(Debug)]
struct LegState {
    leg: Leg,
    /// `None` while it is down.
    addresses: Option<Vec<IpAddr>>,
    subnets: Vec<Subnet>,
}

impl Relay {
    /// Creates a relay. All legs are down.
    ///
    /// # Errors
    /// Returns [`TooManyLegs`] if the rules name more than 255.
    pub fn new(config: RelayConfig) -> Result<Self, TooManyLegs> {
        let announcer = Announcer::new(config.seed, config.authenticators);
        let mut relay = Self {
            id: announcer.id(),
            trails: Trails::new(announcer.id().0),
            priority: config.priority,
            ports: config.ports,
            legs: Vec::new(),
            rules: Vec::new(),
            pairs: Vec::new(),
            rules_on: Vec::new(),
            guard: Guard::new(),
            peers: Peers::default(),
            announcer,
            same_segment: BTreeMap::new(),
            paths: Paths::new(config.ports, config.max_paths, config.path_idle),
            demand: Demand::new(MAX_GROUPS, MAX_GROUPS_OF_HOST),
            amt_members: BTreeMap::new(),
            joined: BTreeMap::new(),
            other_sources: BTreeSet::new(),
            names: ClaimedNames::new(),
            admitted: Vec::new(),
            reported: BTreeMap::new(),
            outputs: VecDeque::new(),
        };
        relay.replace_rules(ClockTime::START, config.rules)?;
        Ok(relay)
    }

    /// Returns its identifier.
    #[must_use]
    pub const fn id(&self) -> RelayId {
        self.id
    }

    /// Returns the legs, each with its number. Numbers do not change when rules are replaced.
    pub fn legs(&self) -> impl Iterator<Item = (LegId, &Leg)> {
        self.legs.iter().zip(0..).map(|(state, number)| (LegId(number), &state.leg))
    }

    /// Returns the rules, each with its counters.
    pub fn rules(&self) -> impl Iterator<Item = (&Rule, &RuleCounts)> {
        self.rules.iter().map(|state| (&state.rule, &state.counts))
    }

    /// Returns what the numbers of legs and rules stand for.
    #[must_use]
    pub fn names(&self) -> RelayNames {
        RelayNames::new(
            self.legs().map(|(_, leg)| leg.to_string()).collect(),
            self.rules().map(|(rule, _)| rule.to_string()).collect(),
        )
    }

    /// Returns the next thing to do. The driver calls this after each other call until it returns `None`.
    pub fn poll_output(&mut self) -> Option<RelayOutput> {
        self.outputs.pop_front()
    }

    /// Handles that an interface is up, with these addresses of its own, or that they have changed.
    pub fn handle_leg_up(&mut self, now: ClockTime, leg: LegId, addresses: &[IpAddr]) {
        let Some(state) = self.legs.get_mut(usize::from(leg.0)) else { return };
        if state.addresses.replace(addresses.to_vec()).is_none() {
            self.demand.start(now, leg);
        }
        self.announcer.schedule_soon(now);
        self.elect(now);
        self.update_joins(now);
    }

    /// Handles that an interface is down or gone.
    pub fn handle_leg_down(&mut self, now: ClockTime, leg: LegId) {
        let Some(state) = self.legs.get_mut(usize::from(leg.0)) else { return };
        if state.addresses.take().is_none() {
            return;
        }
        self.demand.stop(leg);
        self.other_sources.retain(|(known, _)| *known != leg);
        self.same_segment.retain(|(one, other), _| *one != leg && *other != leg);
        self.close_paths(|key| key.from == leg || key.to == PathSide::Leg(leg));
        self.announcer.schedule_soon(now);
        self.elect(now);
        self.update_joins(now);
    }

    /// Does what is due at this time.
    pub fn handle_timeout(&mut self, now: ClockTime) {
        self.notice_pause(now);
        self.poll_guard(now);
        while let Some(path) = self.paths.close_idle(now) {
            self.outputs.push_back(RelayOutput::ClosePath(path));
        }
        for relay in self.peers.expire(now) {
            self.report(RelayEvent::PeerDisappeared { relay });
        }
        self.same_segment.retain(|_, until| *until > now);
        if !self.demand.expire(now).is_empty() {
            self.update_joins(now);
        }
        for leg in self.demand.silent(now) {
            self.report_silence(leg);
        }
        self.elect(now);
        if self.announcer.is_due(now) {
            self.announce(now, false);
        }
    }

    /// Returns when to call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<ClockTime> {
        [
            self.guard.deadline(),
            self.paths.deadline(),
            self.peers.deadline(),
            self.same_segment.values().copied().min(),
            self.demand.deadline(),
            self.listening_until(),
        ]
        .into_iter()
        .flatten()
        .chain([self.announcer.deadline()])
        .min()
    }

    /// Stops: says goodbye, so that another relay takes over at once, leaves all groups and closes all paths.
    pub fn stop(&mut self, now: ClockTime) {
        self.announce(now, true);
        for (leg, group) in std::mem::take(&mut self.joined).into_keys() {
            self.outputs.push_back(RelayOutput::Join { leg, group, sources: SourceFilter::NONE });
        }
        self.close_paths(|_| true);
        self.rules.clear();
        self.pairs.clear();
        self.rules_on.clear();
    }

    fn report(&mut self, event: RelayEvent) {
        self.outputs.push_back(RelayOutput::Event(event));
    }

    fn addresses(&self, leg: LegId) -> Option<&[IpAddr]> {
        self.legs.get(usize::from(leg.0))?.addresses.as_deref()
    }

    /// Returns whether the leg is a tunnel to another site.
    fn is_tunnel(&self, leg: LegId) -> bool {
        self.legs.get(usize::from(leg.0)).is_some_and(|state| state.leg.tunnel().is_some())
    }

    fn is_up(&self, leg: LegId) -> bool {
        self.addresses(leg).is_some()
    }

    /// Returns whether the relay has sent a datagram from this address.
    fn is_own(&self, source: SocketAddr) -> bool {
        let mut addresses = self.legs.iter().filter_map(|leg| leg.addresses.as_ref()).flatten();
        self.ports.contains(source.port()) && addresses.any(|address| *address == source.ip())
    }

    fn share_segment(&self, one: LegId, other: LegId) -> bool {
        one == other || self.same_segment.contains_key(&(one.min(other), one.max(other)))
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("id", &self.id).field("pairs", &self.pairs).finish_non_exhaustive()
    }
}
