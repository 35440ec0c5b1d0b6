//! Which rules of the packet filter are responsible for a loss. Shared by the causes about filters.

use std::net::{IpAddr, SocketAddr};

use mcast::Family;

use crate::fate::depth::LostFlow;
use crate::netfilter::{
    ControlKind, CountedTraffic, Hook, HookCount, IpSetFinding, KnownPacket, Layer, Outcome, RuleEffect,
};
use crate::observation::{Interest, Observation};
use crate::snapshot::{Counter, DroppingRule, explains};
use crate::wire::{Flow, FlowKey};
use crate::{Evidence, EvidenceKind, ExplainedFlow};

/// The hooks that a datagram passes from the wire to a socket of this machine.
pub(super) const INCOMING: [(Layer, Hook); 3] =
    [(Layer::Device, Hook::Ingress), (Layer::Ip, Hook::Prerouting), (Layer::Ip, Hook::Input)];

/// The hooks that a packet passes which this machine forwards.
pub(super) const FORWARDED: [(Layer, Hook); 3] =
    [(Layer::Ip, Hook::Prerouting), (Layer::Ip, Hook::Forward), (Layer::Ip, Hook::Postrouting)];

/// The hooks that a datagram of this machine passes until it is on the wire.
pub(crate) const OUTGOING: [(Layer, Hook); 3] =
    [(Layer::Ip, Hook::Output), (Layer::Ip, Hook::Postrouting), (Layer::Device, Hook::Egress)];

/// Rules of a hook that match lost packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Suspects {
    rules: Vec<Outcome>,
    /// Whether one of them is known to be responsible: by its counter, or because it is the only one or certain to match.
    pub(crate) is_proven: bool,
}

impl Suspects {
    /// Returns rules that are certain to match.
    pub(crate) const fn certain(rules: Vec<Outcome>) -> Self {
        Self { rules, is_proven: true }
    }

    /// Returns the rule to name: the first.
    pub(crate) fn rule(&self) -> Option<&DroppingRule> {
        self.rules.first().map(|outcome| &outcome.rule)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns what the rule to name does.
    pub(super) fn effect(&self) -> Option<RuleEffect> {
        self.rules.first().map(|outcome| outcome.effect)
    }

    /// Returns a clause that names the rules, to put behind a sentence.
    pub(crate) fn clause(&self) -> String {
        match &self.rules[..] {
            [] => "no rule that could be read matches them".to_owned(),
            [only] if self.is_proven => format!("`{}` matches them", only.rule.location()),
            [only] => format!("`{}` may match them", only.rule.location()),
            [first, rest @ ..] => {
                format!("`{}` or one of {} other rules matches them", first.rule.location(), rest.len())
            }
        }
    }

    /// Returns the rules as evidence, with their counters.
    pub(crate) fn evidence(&self, observation: &Observation) -> Vec<Evidence> {
        let evidence = |outcome: &Outcome| {
            let location = outcome.rule.location();
            if let Some((before, after)) = observation.rule_counts(outcome) {
                return Evidence::change(EvidenceKind::Rule, location, before, after);
            }
            let hook = outcome.rule.hook.name();
            let what = match (outcome.opaque.iter().any(|name| name == "fib"), outcome.is_certain) {
                (true, _) => format!("at {hook}, without a counter; tests the route to the source (`fib`)"),
                (false, true) => format!("at {hook}, without a counter; matches"),
                (false, false) => format!("at {hook}, without a counter; may match"),
            };
            Evidence::new(EvidenceKind::Rule, location, what)
        };
        let rules = self.rules.iter().take(4);
        rules.flat_map(|outcome| [evidence(outcome)].into_iter().chain(ip_sets(outcome))).collect()
    }

    /// Returns whether both are of the same rules.
    fn are_like(&self, other: &Self) -> bool {
        self.is_proven == other.is_proven
            && self.rules.len() == other.rules.len()
            && self.rules.iter().zip(&other.rules).all(|(one, other)| one.is_like(other))
    }
}

/// Returns what the sets of `ipset` that a rule tests have for the packet that it matches, as evidence.
pub(super) fn ip_sets(outcome: &Outcome) -> impl Iterator<Item = Evidence> {
    let evidence =
        |found: &IpSetFinding| Evidence::new(EvidenceKind::Rule, outcome.rule.location(), found.to_string());
    outcome.ip_sets.iter().map(evidence)
}

pub(crate) fn arriving(observation: &Observation, flow: &Flow) -> KnownPacket {
    let (lowest, highest) = flow.hop_limits;
    let hop_limit = (lowest == highest).then_some(lowest);
    KnownPacket::datagram(flow.key.source, flow.destination(), hop_limit)
        .arriving_on(flow.key.interface, &observation.link_name(flow.key.interface))
}

/// Returns a packet for an interest from an unknown source.
pub(super) fn arriving_for(observation: &Observation, interest: &Interest<'_>) -> KnownPacket {
    let interface = interest.interface;
    KnownPacket::from_anyone(interest.destination()).arriving_on(interface, &observation.link_name(interface))
}

/// Returns a datagram of this machine.
pub(crate) fn leaving(
    observation: &Observation,
    interface: mcast::InterfaceIndex,
    source: SocketAddr,
    to: SocketAddr,
) -> KnownPacket {
    KnownPacket::datagram(source, to, None).leaving_by(interface, &observation.link_name(interface))
}

/// Returns the source and the destination of counted datagrams.
pub(crate) fn ends(observation: &Observation, count: &HookCount) -> Option<(SocketAddr, SocketAddr)> {
    match count.traffic {
        CountedTraffic::Datagrams(to) => Some((count.peer, to)),
        CountedTraffic::SentFrom(family, port) => {
            let link = observation.link(count.interface)?;
            let address = link.interface.addresses_of(family).next()?;
            Some((SocketAddr::new(address, port), count.peer))
        }
        CountedTraffic::Control(_) => None,
    }
}

/// Returns the rules that change the source of a flow which leaves with an address that is not one of this machine;
/// `None` if there are none.
pub(super) fn masquerading(observation: &Observation, flow: &Flow) -> Option<Suspects> {
    let FlowKey { interface, outgoing, source, .. } = flow.key;
    let is_foreign = !observation.after.is_own(source.ip()) && !source.ip().is_unspecified();
    let is_forwarded = observation.wire.incoming(flow.key.group).any(|other| other.key.source == source);
    if !outgoing || !is_foreign || is_forwarded {
        return None;
    }
    let name = observation.link_name(interface);
    let packet = KnownPacket::from_anyone(flow.destination()).leaving_by(interface, &name);
    let place = (Layer::Ip, Hook::Postrouting);
    let met = met_by(observation, &packet, place, &name, &[RuleEffect::Masquerade]);
    Some(responsible(observation, met, flow.datagrams)).filter(|suspects| !suspects.is_empty())
}

/// Returns the rules with one of the effects that a packet meets, or may meet, at a hook.
pub(crate) fn met_by(
    observation: &Observation,
    packet: &KnownPacket,
    place: (Layer, Hook),
    device: &str,
    effects: &[RuleEffect],
) -> Vec<Outcome> {
    let mut outcomes = trace(observation, packet, place, device, None);
    outcomes.retain(|outcome| effects.contains(&outcome.effect));
    outcomes
}

/// Returns a rule of another table than this one, at the same hook, that is certain to drop what this one lets pass.
pub(super) fn dropping_beside(
    observation: &Observation,
    packet: &KnownPacket,
    rule: &DroppingRule,
    device: &str,
) -> Option<Outcome> {
    let outcomes = trace(observation, packet, (rule.layer, rule.hook), device, Some(rule));
    let mut outcomes = outcomes.into_iter();
    outcomes.find(|outcome| outcome.is_certain && outcome.effect == RuleEffect::Drop)
}

/// Returns the rules and policies that a packet meets at a hook. The frames of bridges may also meet those of the IP layer.
fn trace(
    observation: &Observation,
    packet: &KnownPacket,
    (layer, hook): (Layer, Hook),
    device: &str,
    beside: Option<&DroppingRule>,
) -> Vec<Outcome> {
    let ruleset = &observation.after.ruleset;
    let mut outcomes = ruleset.trace_beside(packet, (layer, hook), device, beside);
    let port = observation.after.link_named(device).filter(|_| layer == Layer::Bridge);
    let bridge = port.and_then(|port| observation.bridge_of(port));
    if let Some((bridge, _)) = bridge.filter(|_| observation.is_bridge_filtered_by_ip(packet.family())) {
        // There, the bridge is the interface in both directions.
        let (index, name) = (bridge.index(), bridge.name());
        let packet = packet.clone().arriving_on(index, name);
        let packet = if hook == Hook::Prerouting { packet } else { packet.leaving_by(index, name) };
        outcomes.extend(ruleset.trace_beside(&packet, (Layer::Ip, hook), name, beside));
    }
    outcomes
}

/// Returns the rules that drop queries that arrive, or reports of this machine.
pub(super) fn dropping_control(
    observation: &Observation,
    interest: &Interest<'_>,
    kind: ControlKind,
) -> Suspects {
    let name = observation.link_name(interest.interface);
    let packet = KnownPacket::control(kind, None, interest.family());
    let (packet, path) = match kind {
        ControlKind::Query => (packet.arriving_on(interest.interface, &name), INCOMING),
        ControlKind::Report => (packet.leaving_by(interest.interface, &name), OUTGOING),
    };
    let outcomes =
        path.into_iter().flat_map(|place| met_by(observation, &packet, place, &name, &[RuleEffect::Drop]));
    responsible(observation, outcomes.collect(), 1)
}

/// Returns a rule that certainly drops a message at one of these places.
pub(super) fn certain_drop(
    observation: &Observation,
    packet: &KnownPacket,
    places: &[(Layer, Hook)],
    interface: &str,
) -> Option<Outcome> {
    let met =
        places.iter().flat_map(|place| met_by(observation, packet, *place, interface, &[RuleEffect::Drop]));
    met.into_iter().find(|outcome| outcome.is_certain)
}

/// Returns a rule that certainly drops the queries which arrive on the interface of a group that hosts report, from whomever
/// they come.
pub(super) fn certain_drop_of_queries(observation: &Observation, interest: &Interest<'_>) -> Option<Outcome> {
    let link = observation.link(interest.interface).filter(|link| !link.interface.loopback)?;
    let packet = KnownPacket::control(ControlKind::Query, None, interest.family())
        .arriving_on(interest.interface, link.name());
    let outcome = || certain_drop(observation, &packet, &INCOMING, link.name());
    is_reported(interest.group.addr()).then(outcome).flatten()
}

/// Returns whether hosts report the group. They do not report 224.0.0.0/24 by default, interface-local groups,
/// and ff02::1 (RFC 9776 section 5).
pub(super) fn is_reported(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group.octets()[..3] != [224, 0, 0],
        IpAddr::V6(group) => {
            group.segments()[0] & 0xf > 1 && group.segments() != [0xff02, 0, 0, 0, 0, 0, 0, 1]
        }
    }
}

/// Selects the rules that explain `lost` packets: those whose counter rose by as much; otherwise those without a
/// counter, of which one that is certain to match comes first and excludes the others.
pub(crate) fn responsible(observation: &Observation, outcomes: Vec<Outcome>, lost: u64) -> Suspects {
    let rise = |outcome: &Outcome| {
        observation.rule_counts(outcome).map(|(before, after)| after.saturating_sub(before))
    };
    // Two rules may share the loss.
    let (counted, uncounted): (Vec<_>, Vec<_>) = outcomes
        .into_iter()
        // Connection tracking applies what was decided for the first datagram of a flow to all that follow.
        .partition(|outcome| {
            let is_nat = matches!(outcome.effect, RuleEffect::Redirect | RuleEffect::Masquerade);
            outcome.rule.packets.is_some() && !is_nat
        });
    let counted: Vec<_> = counted
        .into_iter()
        .filter(|outcome| rise(outcome).is_some_and(|rise| rise * 5 >= lost.max(1)))
        .collect();
    if !counted.is_empty() {
        return Suspects { rules: counted, is_proven: true };
    }
    if let Some(certain) = uncounted.iter().find(|outcome| outcome.is_certain) {
        return Suspects { rules: vec![certain.clone()], is_proven: true };
    }
    let is_proven = uncounted.len() == 1;
    Suspects { rules: uncounted, is_proven }
}

/// Selects the rules that drop `lost` packets for certain: one that is certain to match, or those whose counters rose by as much.
/// Others are suspects that are not proven.
pub(super) fn proven(observation: &Observation, outcomes: Vec<Outcome>, lost: u64) -> Suspects {
    if let Some(certain) = outcomes.iter().find(|outcome| outcome.is_certain) {
        return Suspects { rules: vec![certain.clone()], is_proven: true };
    }
    let suspects = responsible(observation, outcomes, lost);
    let is_counted = suspects.rules.iter().any(|outcome| outcome.rule.packets.is_some());
    Suspects { is_proven: suspects.is_proven && is_counted, ..suspects }
}

/// Datagrams that reached a hook and did not pass it.
#[derive(Clone, Debug)]
pub(super) struct HookLoss<'a> {
    /// The flows that lost datagrams to the same rules.
    pub(super) flows: Vec<&'a Flow>,
    pub(super) hook: Hook,
    pub(super) reached: u64,
    pub(super) passed: u64,
    pub(super) suspects: Suspects,
    /// What the rule to name does; `None` if no rule is known.
    pub(super) effect: Option<RuleEffect>,
}

impl HookLoss<'_> {
    pub(super) fn lost(&self) -> u64 {
        self.reached - self.passed
    }

    /// Returns the sources, as in a sentence.
    pub(super) fn sources(&self) -> String {
        match &self.flows[..] {
            [only] => only.key.source.to_string(),
            [first, rest @ ..] => format!("{} and {} other sources", first.key.source, rest.len()),
            [] => String::new(),
        }
    }

    /// Returns the flows, for a finding that explains their loss.
    pub(super) fn explained(&self, observation: &Observation) -> Vec<ExplainedFlow> {
        let flows = self.flows.iter().map(|flow| explained(observation, flow));
        flows.collect()
    }

    /// Returns the counts of the temporary rules as evidence.
    pub(super) fn evidence(&self) -> Evidence {
        let text = format!("{} datagrams reached it, {} passed it", self.reached, self.passed);
        Evidence::new(EvidenceKind::Counter, format!("hook {}", self.hook.name()), text)
    }
}

/// Returns a flow, for a finding that explains its loss.
pub(super) fn explained(observation: &Observation, flow: &Flow) -> ExplainedFlow {
    ExplainedFlow {
        destination: flow.destination(),
        source: Some(flow.key.source.ip()),
        interface: observation.link_name(flow.key.interface),
    }
}

/// Returns whether a loss at a hook is more than chance explains.
pub(super) fn is_serious(reached: u64, passed: u64) -> bool {
    reached > passed && (passed == 0 || (reached - passed) * 20 >= reached)
}

/// Returns the losses of flows at the hooks of the incoming path that the temporary rules counted, by hook and rules.
/// `None` if nothing was counted.
pub(super) fn hook_losses<'a>(
    observation: &'a Observation,
    lost: Vec<LostFlow<'a>>,
) -> Option<Vec<HookLoss<'a>>> {
    let is_counted =
        |lost: &LostFlow<'_>| observation.hooks.of_flow(Layer::Ip, Hook::Input, &lost.flow.key).is_some();
    if !lost.iter().any(is_counted) {
        return None;
    }
    let mut losses: Vec<HookLoss<'a>> = Vec::new();
    for flow in lost.into_iter().map(|lost| lost.flow) {
        for place in INCOMING {
            let Some(loss) = loss_at(observation, flow, place) else { continue };
            let same = |each: &&mut HookLoss<'_>| {
                each.hook == loss.hook
                    && each.suspects.are_like(&loss.suspects)
                    && each.flows.iter().all(|each| each.destination() == flow.destination())
            };
            match losses.iter_mut().find(same) {
                Some(same) => {
                    same.flows.push(flow);
                    same.reached += loss.reached;
                    same.passed += loss.passed;
                }
                None => losses.push(loss),
            }
        }
    }
    Some(losses)
}

/// Returns the loss of a flow at a hook, if it is serious.
pub(super) fn loss_at<'a>(
    observation: &Observation,
    flow: &'a Flow,
    place: (Layer, Hook),
) -> Option<HookLoss<'a>> {
    let (layer, hook) = place;
    // Fragments that are never complete are counted at some hooks only.
    let (reached, passed) =
        observation.hooks.of_flow(layer, hook, &flow.key).filter(|_| flow.fragmented == 0)?;
    is_serious(reached, passed).then_some(())?;
    let device = observation.link_name(flow.key.interface);
    let packet = arriving(observation, flow);
    let mut outcomes = trace(observation, &packet, place, &device, None);
    // What changes a source or a frame drops nothing.
    outcomes.retain(|outcome| !matches!(outcome.effect, RuleEffect::Masquerade | RuleEffect::Readdress));
    let suspects = responsible(observation, outcomes, reached - passed);
    let effect = suspects.effect().or_else(|| by_legacy_rule(observation, flow, hook, reached - passed));
    Some(HookLoss { flows: vec![flow], hook, reached, passed, suspects, effect })
}

/// Returns what the rules of legacy iptables do with the lost datagrams of a flow, as far as it follows from counters:
/// what is delivered all the same was not dropped.
fn by_legacy_rule(observation: &Observation, flow: &Flow, hook: Hook, lost: u64) -> Option<RuleEffect> {
    let family = Family::of(flow.key.group);
    let table = if family == Family::V4 { "iptables nat" } else { "ip6tables nat" };
    let has_table = observation.after.ruleset.legacy_tables.iter().any(|name| name == table);
    let rise = |counter| observation.rise(counter, family);
    let delivered = rise(Counter::InDelivers)?.saturating_sub(rise(Counter::InMulticast)?);
    (has_table && hook == Hook::Prerouting && explains(delivered, lost)).then_some(RuleEffect::Redirect)
}

/// Returns the tables of the old `iptables` that could not be read as evidence if no other rule is known.
pub(super) fn legacy_tables(observation: &Observation, suspects: &Suspects) -> Option<Evidence> {
    let tables = &observation.after.ruleset.legacy_tables;
    (suspects.is_empty() && !tables.is_empty())
        .then(|| Evidence::new(EvidenceKind::Rule, "tables whose rules were not read", tables.join(", ")))
}
