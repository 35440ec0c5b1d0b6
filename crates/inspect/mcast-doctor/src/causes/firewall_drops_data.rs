//! The datagrams reach the IP layer of this machine but not UDP: netfilter dropped them.
//!
//! The IP layer counts accepted multicast packets (`InMcastPkts`) before the firewall's input hook and delivered
//! packets (`InDelivers`) after it. What was accepted and not delivered, without another counter that explains
//! it, was dropped by the firewall. Temporary rules before and behind the other filters of each hook (`HookCounts`) show
//! for each source at which hook its datagrams are lost; the rules of that hook are then evaluated for such a datagram.

use std::net::SocketAddr;

use super::filter_rules::{
    HookLoss, INCOMING, Suspects, arriving, arriving_for, dropping_beside, hook_losses, ip_sets,
    legacy_tables, loss_at, met_by, responsible,
};
use super::{Cause, Check, Forecast, carriers, not_forwarded, routes, through};
use crate::fate::depth::{Depth, KernelVerdict, LostFlow};
use crate::fate::{Ahead, Stage, Way, as_known, has_usable_source};
use crate::kernel_drops::{FILTERED, evidence};
use crate::netfilter::{Hook, KnownPacket, Layer, Outcome, RuleEffect};
use crate::observation::{Interest, Observation, Program, TrialMembership};
use crate::snapshot::{Counter, DroppingRule, explains};
use crate::wire::Flow;
use crate::{
    Evidence, EvidenceKind, ExplainedFlow, Finding, Id, Persistence, Remedy, RemedyScope, Severity, Tool,
    remedies,
};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &[])
    .at(Stage::InputHook)
    .predicted_by(Forecast::Way(predicted))
    .offering(|on| remedies::admit_datagrams(on.name(), on.to, Some(&on.rule)));

/// What rules do that keep datagrams from every socket.
const DROPS: [RuleEffect; 2] = [RuleEffect::Drop, RuleEffect::Queue];

/// The maximum number of flows that are listed as evidence.
const MAX_SHOWN: usize = 3;

fn check(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let mut findings: Vec<_> = interests.iter().flat_map(|interest| judge(observation, interest)).collect();
    findings.extend(interests.iter().flat_map(|interest| dropped_when_forwarded(observation, interest)));
    findings.extend(interests.iter().flat_map(|interest| dropped_at_ports(observation, interest)));
    findings.extend(interests.iter().filter_map(|interest| carriers::dropped(observation, interest)));
    findings.extend(may_be_blocked(observation));
    findings.extend(through::findings(observation));
    findings.extend(observation.joined_by_programs().filter_map(|joined| for_program(observation, joined)));
    findings
}

/// Judges a group that a program of the examined machine has joined: whether a rule drops its datagrams, from whomever they come.
/// Whether any are sent is not observed, so that it is a warning.
pub(super) fn for_program(
    observation: &Observation,
    (program, interest): (&Program, Interest<'_>),
) -> Option<Finding> {
    let (device, to) = (observation.link_name(interest.interface), interest.destination());
    let packet = arriving_for(observation, &interest);
    let mut outcomes =
        INCOMING.iter().flat_map(|place| met_by(observation, &packet, *place, &device, &DROPS));
    let outcome = outcomes.find(|outcome| outcome.is_certain)?;
    let rule = &outcome.rule;
    let (location, hook) = (rule.location(), rule.hook);
    let cause = format!(
        "The rule `{location}` drops every datagram to {to} that arrives on {device}, where {} has joined the group.",
        program.name
    );
    let finding = Finding::warning(Id::FirewallDropsData, cause)
        .concerning(&device, to)
        .in_program(&program.name)
        .at_hook(hook)
        .evidence(EvidenceKind::Rule, location, format!("at {}; matches", hook.name()))
        .with_all_evidence(ip_sets(&outcome))
        .with_remedies(admit(observation, &device, to, (hook, Some(rule))));
    Some(finding)
}

fn judge(observation: &Observation, interest: &Interest<'_>) -> Vec<Finding> {
    if !observation.wire.is_tapped(interest.interface) {
        return by_counters_alone(observation, interest).into_iter().collect();
    }
    match hook_losses(observation, unfiltered(observation, interest)) {
        Some(losses) => {
            let drops = losses.iter().filter(|loss| loss.effect.is_none_or(|effect| DROPS.contains(&effect)));
            let counted = drops.map(|loss| counted_at_hook(observation, interest, loss));
            // Rules with the lowest and the highest priority act before and behind the temporary ones.
            let mut others = unfiltered(observation, interest);
            others.retain(|lost| {
                // Fragments are another cause (`fragments-lost`).
                lost.flow.fragmented == 0
                    && is_proven(observation, lost)
                    && !losses.iter().any(|loss| loss.flows.iter().any(|flow| flow.key == lost.flow.key))
            });
            counted.chain(by_reason_or_counters(observation, interest, others)).collect()
        }
        None => {
            let lost = unfiltered(observation, interest);
            by_reason_or_counters(observation, interest, lost).into_iter().collect()
        }
    }
}

/// Returns whether the kernel states that its packet filter drops a flow.
fn is_proven(observation: &Observation, lost: &LostFlow<'_>) -> bool {
    observation.kernel_verdict(lost, FILTERED) == KernelVerdict::Proven
}

/// Returns the finding about datagrams that temporary rules counted before a hook and not behind it.
fn counted_at_hook(observation: &Observation, interest: &Interest<'_>, loss: &HookLoss<'_>) -> Finding {
    let interface = observation.link_name(interest.interface);
    let to = loss.flows.first().map_or_else(|| interest.destination(), |flow| flow.destination());
    let (lost, reached, hook) = (loss.lost(), loss.reached, loss.hook.name());
    let finding = Finding::fault(
        Id::FirewallDropsData,
        format!(
            "This machine's firewall drops the datagrams from {} to {to}: {lost} of {reached} that arrived on {interface} did not pass the {hook} hook, and {}.",
            loss.sources(),
            loss.suspects.clause()
        ),
    );
    finding
        .concerning(&interface, to)
        .explaining(loss.explained(observation))
        .at_hook(loss.hook)
        .with_evidence(loss.evidence())
        .with_all_evidence(loss.suspects.evidence(observation))
        .with_all_evidence(legacy_tables(observation, &loss.suspects))
        .with_remedies(admit(observation, &interface, to, (loss.hook, loss.suspects.rule())))
}

/// Judges by the kernel's reasons; if it gives none, by the counters of the IP layer and of the rules.
fn by_reason_or_counters<'a>(
    observation: &'a Observation,
    interest: &Interest<'a>,
    lost: Vec<LostFlow<'a>>,
) -> Option<Finding> {
    let (proven, others): (Vec<_>, Vec<_>) = lost.into_iter().partition(|lost| is_proven(observation, lost));
    let (lost, suspects) = match proven.is_empty() {
        true => explained(observation, interest, others)?,
        false => {
            let missing = proven.iter().map(|lost| lost.lost).sum();
            let hooks = INCOMING.map(|(_, hook)| hook);
            let suspects = suspects_on_path(observation, &proven, missing, &hooks);
            (proven, suspects)
        }
    };
    let drops = observation.kernel_drops.drops.iter();
    let drops = drops.filter(|drop| drop.is_filtered() && lost.iter().any(|lost| drop.is_of(&lost.flow.key)));
    let missing: u64 = lost.iter().map(|lost| lost.lost).sum();
    let expected: u64 = lost.iter().filter_map(|lost| lost.status.on_wire).sum();
    let interface = observation.link_name(interest.interface);
    let to = lost.first()?.status.destination;
    let finding = Finding::fault(
        Id::FirewallDropsData,
        format!("This machine's firewall drops the datagrams to {to}: {missing} of {expected} that arrived on {interface} were not delivered, and {}.", suspects.clause()),
    )
    .concerning(&interface, to)
    .explaining(lost.iter().map(|lost| ExplainedFlow::from(&lost.status)))
    .with_all_evidence(evidence(drops))
    .with_all_evidence(lost.iter().take(MAX_SHOWN).map(|lost| observation.packets_of(lost.flow)))
    .with_all_evidence(counters(observation, interest))
    .with_all_evidence(suspects.evidence(observation))
    .with_all_evidence(legacy_tables(observation, &suspects))
    .with_remedies(admit(observation, &interface, to, (Hook::Input, suspects.rule())));
    Some(finding)
}

/// Returns the findings about datagrams that do not get to rules yet, each of which is certain to drop them.
fn predicted(ahead: &Ahead<'_>) -> Vec<Finding> {
    let observation = ahead.observation;
    match ahead.way {
        Way::Arriving { meant, .. } => of_arriving(ahead, meant),
        Way::Silent(interest) if !ahead.has(Id::FirewallDropsData) => {
            let (device, to) = (observation.link_name(interest.interface), interest.destination());
            let packet = arriving_for(observation, interest);
            behind(observation, &packet, (&device, None), (&format!("the datagrams to {to}"), to))
        }
        Way::Routed(flow) => {
            let severity = ahead.faults().map(|fault| fault.severity).max();
            severity
                .map_or_else(Vec::new, |severity| not_forwarded::behind_routing(observation, severity, flow))
        }
        _ => Vec::new(),
    }
}

fn of_arriving(ahead: &Ahead<'_>, flow: &Flow) -> Vec<Finding> {
    let observation = ahead.observation;
    let (_, passed) = observation.hooks.at_input(&flow.key).unwrap_or_default();
    if passed > 0 || ahead.is_only_last() {
        return Vec::new();
    }
    let (device, to, source) =
        (observation.link_name(flow.key.interface), flow.destination(), flow.key.source);
    let packet = as_known(observation, flow);
    let what = format!("the datagrams from {source} to {to}");
    let is_lost_at = |(layer, hook): &(Layer, Hook)| {
        let counted = observation.hooks.of_flow(*layer, *hook, &flow.key);
        counted.is_some_and(|(reached, passed)| reached > passed)
    };
    let is_found = ahead.has(Id::FirewallDropsData);
    let place = INCOMING.into_iter().rev().find(is_lost_at).filter(|_| is_found);
    let loss = place
        .filter(|_| has_usable_source(observation, flow))
        .and_then(|place| loss_at(observation, flow, place));
    let rule = loss.as_ref().and_then(|loss| loss.suspects.rule());
    let beside = rule.and_then(|rule| beside(observation, &packet, rule, &device, (&what, to)));
    let mut findings: Vec<_> = beside.into_iter().collect();
    if !is_found || place.is_some() {
        let last = place.map(|(_, hook)| hook);
        findings.extend(behind(observation, &packet, (&device, last), (&what, to)));
    }
    findings.into_iter().map(|finding| finding.from_source(source)).collect()
}

/// Returns the findings about rules behind a hook, the last one that the datagrams reach.
fn behind(
    observation: &Observation,
    packet: &KnownPacket,
    (device, last): (&str, Option<Hook>),
    (what, to): (&str, SocketAddr),
) -> Vec<Finding> {
    let reached = INCOMING.iter().position(|(_, hook)| Some(*hook) == last);
    let places = INCOMING.into_iter().skip(reached.map_or(0, |index| index + 1));
    let finding = |place: (Layer, Hook)| {
        let mut outcomes = met_by(observation, packet, place, device, &DROPS).into_iter();
        let outcome = outcomes.find(|outcome| outcome.is_certain)?;
        let beside = beside(observation, packet, &outcome.rule, device, (what, to));
        Some([finding_ahead(observation, &outcome, device, (what, to))].into_iter().chain(beside))
    };
    places.filter_map(finding).flatten().collect()
}

/// Returns the finding about datagrams that this rule lets pass, and that another table at the same hook is certain to drop.
fn beside(
    observation: &Observation,
    packet: &KnownPacket,
    rule: &DroppingRule,
    device: &str,
    (what, to): (&str, SocketAddr),
) -> Option<Finding> {
    let other = dropping_beside(observation, packet, rule, device)?;
    Some(finding_ahead(observation, &other, device, (what, to)))
}

fn finding_ahead(
    observation: &Observation,
    outcome: &Outcome,
    device: &str,
    (what, to): (&str, SocketAddr),
) -> Finding {
    let rule = &outcome.rule;
    let (hook, location) = (rule.hook, rule.location());
    let cause = format!(
        "This machine's firewall drops {what} at its {} hook: `{location}` matches them.",
        hook.name()
    );
    Finding::fault(Id::FirewallDropsData, cause)
        .concerning(device, to)
        .at_hook(hook)
        .evidence(EvidenceKind::Rule, location, format!("at {}; matches", hook.name()))
        .with_all_evidence(ip_sets(outcome))
        .with_remedies(admit(observation, device, to, (hook, Some(rule))))
}

/// Returns the lost flows of an interest that the kernel does not drop before the firewall for another reason.
fn unfiltered<'a>(observation: &'a Observation, interest: &Interest<'a>) -> Vec<LostFlow<'a>> {
    let reverse: Vec<_> = routes::dropped(observation, interest);
    let is_dropped = |flow: &Flow| {
        reverse.iter().any(|lost| lost.flow.key == flow.key)
            || flow.key.source.ip().is_unspecified()
            || (flow.sound() == 0 && !is_filtered(observation, flow))
            || (!flow.key.outgoing && observation.before.is_own(flow.key.source.ip()))
    };
    let mut lost = observation.lost_flows(interest);
    lost.extend(observation.stray_flows(interest));
    lost.retain(|lost| !is_dropped(lost.flow));
    lost.retain(|lost| observation.kernel_verdict(lost, FILTERED) != KernelVerdict::Refuted);
    lost
}

/// Returns whether a hook lets nothing of a flow pass.
fn is_filtered(observation: &Observation, flow: &Flow) -> bool {
    INCOMING.into_iter().any(|(layer, hook)| {
        let counted = observation.hooks.of_flow(layer, hook, &flow.key);
        counted.is_some_and(|(reached, passed)| passed == 0 && explains(reached, flow.datagrams))
    })
}

/// Returns those of the lost flows that the firewall explains, and the rules that may have dropped them. If it explains
/// only a part, flows that the IP layer certainly accepted are the likely ones.
fn explained<'a>(
    observation: &'a Observation,
    interest: &Interest<'_>,
    mut lost: Vec<LostFlow<'a>>,
) -> Option<(Vec<LostFlow<'a>>, Suspects)> {
    let missing: u64 = lost.iter().map(|lost| lost.lost).sum();
    // What another program's socket received is unknown.
    let received = observation.trial().map_or(0, TrialMembership::received_count);
    if missing == 0 || reached_udp(observation, interest, received).saturating_mul(2) >= missing {
        return None;
    }
    lost.sort_by_key(|lost| lost.status.depth != Depth::AtIp);
    while !lost.is_empty() {
        let missing = lost.iter().map(|lost| lost.lost).sum();
        // The counters of the IP layer count fragments.
        let is_counted = lost.iter().all(|lost| lost.flow.fragmented == 0);
        let is_at_input = is_counted && is_dropped_at_input(observation, interest, missing, received);
        let likely: &[_] = if is_at_input { &[Hook::Input] } else { &[] };
        let suspects = suspects_on_path(observation, &lost, missing, likely);
        if is_at_input || suspects.is_proven {
            return Some((lost, suspects));
        }
        lost.pop();
    }
    None
}

/// Returns the rules on the incoming path that explain the loss. A rule that may match, and has no counter, does so only at
/// the `likely` hooks, at which the datagrams were lost.
fn suspects_on_path(
    observation: &Observation,
    lost: &[LostFlow<'_>],
    missing: u64,
    likely: &[Hook],
) -> Suspects {
    let mut outcomes = Vec::new();
    for LostFlow { flow, .. } in lost {
        let (packet, device) = (arriving(observation, flow), observation.link_name(flow.key.interface));
        for place in INCOMING {
            for outcome in met_by(observation, &packet, place, &device, &DROPS) {
                let is_likely = likely.contains(&place.1);
                // Elsewhere, only what is certain explains the loss: routing may drop as well.
                if !outcomes.iter().any(|other| outcome.is_like(other))
                    && (is_likely || outcome.is_certain || outcome.rule.packets.is_some())
                {
                    outcomes.push(outcome);
                }
            }
        }
    }
    responsible(observation, outcomes, missing)
}

/// Returns findings about flows that arrive at ports of the joined bridge, or at the interface below a macvlan, and are
/// dropped before the bridge or macvlan takes them, or before the bridge forwards them.
fn dropped_at_ports(observation: &Observation, interest: &Interest<'_>) -> Vec<Finding> {
    const PLACES: [(Layer, Hook); 4] = [
        (Layer::Device, Hook::Ingress),
        (Layer::Bridge, Hook::Prerouting),
        (Layer::Bridge, Hook::Input),
        (Layer::Bridge, Hook::Forward),
    ];
    let is_below = |flow: &&Flow| {
        !flow.key.outgoing
            && observation.is_below(flow.key.interface, interest.interface)
            && flow.destination() == interest.destination()
            && interest.sources.admits(flow.key.source.ip())
    };
    let flows = observation.wire.ports.flows.iter().chain(&observation.wire.flows).filter(is_below);
    let losses = flows.flat_map(|flow| PLACES.map(|place| loss_at(observation, flow, place)));
    losses.flatten().filter_map(|loss| dropped_at_port(observation, interest, &loss)).collect()
}

fn dropped_at_port(
    observation: &Observation,
    interest: &Interest<'_>,
    loss: &HookLoss<'_>,
) -> Option<Finding> {
    let port = observation.link_name(loss.flows.first()?.key.interface);
    let (bridge, to) = (observation.link_name(interest.interface), interest.destination());
    let (what, interface, severity) = match loss.hook {
        Hook::Forward if loss.passed > 0 => ("forwarded by", &port, Severity::Warning),
        Hook::Forward => ("forwarded by", &port, Severity::Fault),
        _ => ("taken by", &bridge, Severity::Fault),
    };
    let cause = format!(
        "This machine's firewall drops the datagrams from {} to {to} that arrive at {port}, below {bridge}: {} of {} did not pass the {} hook to be {what} {bridge}, and {}.",
        loss.sources(),
        loss.lost(),
        loss.reached,
        loss.hook.name(),
        loss.suspects.clause()
    );
    let explained = ExplainedFlow { destination: to, source: None, interface: interface.clone() };
    let rule = loss.suspects.rule();
    // Rules of the IP layer meet frames as if they had arrived on the bridge.
    let rule_interface = if rule.is_some_and(|rule| rule.layer == Layer::Ip) { &bridge } else { &port };
    let finding = Finding::new(Id::FirewallDropsData, severity, cause)
        .concerning(interface, to)
        .explaining([explained])
        .with_evidence(loss.evidence())
        .with_all_evidence(loss.suspects.evidence(observation))
        .with_remedies(admit(observation, rule_interface, to, (loss.hook, rule)));
    Some(finding)
}

/// Returns findings about flows that this machine forwards and whose datagrams its forward chain drops.
fn dropped_when_forwarded(observation: &Observation, interest: &Interest<'_>) -> Vec<Finding> {
    let forwarded = [(Layer::Ip, Hook::Forward), (Layer::Bridge, Hook::Forward)];
    let flows = observation.arrivals(interest);
    let losses = flows.into_iter().flat_map(|flow| forwarded.map(|place| loss_at(observation, flow, place)));
    let finding = |loss: HookLoss<'_>| {
        let (interface, to) = (observation.link_name(interest.interface), interest.destination());
        let severity = if loss.passed == 0 { Severity::Fault } else { Severity::Warning };
        Finding::new(
            Id::FirewallDropsData,
            severity,
            format!("This machine's firewall does not forward the datagrams from {} to {to}: {} of {} did not pass the forward hook, and {}.", loss.sources(), loss.lost(), loss.reached, loss.suspects.clause()),
        )
        .concerning(&interface, to)
        .with_evidence(loss.evidence())
        .with_all_evidence(loss.suspects.evidence(observation))
        .with_remedies(admit(observation, &interface, to, (loss.hook, loss.suspects.rule())))
    };
    losses.flatten().map(finding).collect()
}

/// Returns the remedies that admit the datagrams. Where rules of the old `iptables` could not be read, and no other is known,
/// they are preceded where its tables are.
fn admit(
    observation: &Observation,
    interface: &str,
    to: SocketAddr,
    (hook, rule): (Hook, Option<&DroppingRule>),
) -> Vec<Remedy> {
    let mut remedies = remedies::admit_datagrams(interface, to, rule);
    let program = if to.is_ipv4() { "iptables" } else { "ip6tables" };
    let names = observation.after.ruleset.legacy_tables.iter();
    let tables: Vec<_> = names.filter_map(|name| name.strip_prefix(program)).map(str::trim).collect();
    // Rules that jump nowhere else are the same in all tables.
    let (chain, order) = match hook {
        Hook::Prerouting => ("PREROUTING", ["raw", "mangle"].as_slice()),
        Hook::Input => ("INPUT", ["filter", "mangle", "security"].as_slice()),
        Hook::Forward => ("FORWARD", ["filter", "mangle", "security"].as_slice()),
        _ => return remedies,
    };
    let there = order.iter().filter(|table| tables.contains(*table));
    let insert = |table: &&str| {
        format!(
            "`{program}-legacy -t {table} -I {chain} -i {interface} -d {} -p udp --dport {} -j ACCEPT`",
            to.ip(),
            to.port()
        )
    };
    let commands: Vec<_> = there.map(insert).collect();
    if rule.is_none() && !commands.is_empty() {
        let advice = format!(
            "This machine has rules of legacy iptables (`{program}-legacy-save` shows them). Let the datagrams pass there: {}.",
            commands.join(" and ")
        );
        remedies.insert(0, Remedy::advice(Tool::Nft, advice));
    }
    remedies
}

/// Judges by counters alone, without a capture: the IP layer accepted packets to groups but delivered none.
fn by_counters_alone(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    /// The number of packets below which unrelated traffic may explain the counters.
    const MIN_PACKETS: u64 = 10;
    let accepted = observation.rise(Counter::InMulticast, interest.family())?;
    let are_dropped = accepted >= MIN_PACKETS
        && !observation.received_anything()
        && reached_udp(observation, interest, 0) == 0
        && is_dropped_at_input(observation, interest, accepted, 0);
    let (interface, to) = (observation.link_name(interest.interface), interest.destination());
    let packet: KnownPacket = arriving_for(observation, interest);
    let outcomes = met_by(observation, &packet, (Layer::Ip, Hook::Input), &interface, &DROPS);
    let rule = responsible(observation, outcomes, accepted).rule().cloned();
    are_dropped.then(|| {
        Finding::warning(
            Id::FirewallDropsData,
            format!("The IP layer accepted {accepted} packets to groups and delivered none: a firewall drops them. They may or may not be for {to}."),
        )
        .concerning(&interface, to)
        .with_all_evidence(counters(observation, interest))
        .with_remedies(remedies::admit_datagrams(&interface, to, rule.as_ref()))
    })
}

/// Reports a firewall that blocks by default and whose rules cannot be read, if nothing was received.
fn may_be_blocked(observation: &Observation) -> Option<Finding> {
    let interest = observation
        .interests()
        .into_iter()
        .next()
        .filter(|_| observation.trial().is_some() && !observation.received_anything())?;
    let state = observation.after.firewall.as_ref()?;
    let to = interest.destination();
    let finding = Finding::warning(
        Id::FirewallDropsData,
        format!(
            "This machine's firewall blocks traffic that no rule admits, and nothing for {to} was received."
        ),
    )
    .for_group(to)
    .evidence(EvidenceKind::Rule, "firewall", state)
    .with_remedies([if state.starts_with("profile") {
        Remedy::with_undo(
            Tool::Netsh,
            Persistence::Now,
            [
                "advfirewall",
                "firewall",
                "add",
                "rule",
                &format!("name=multicast {to}"),
                "dir=in",
                "action=allow",
                "protocol=UDP",
                &format!("localport={}", to.port()),
            ],
            ["advfirewall", "firewall", "delete", "rule", &format!("name=multicast {to}")],
        )
        .with_scope(RemedyScope::new(format!("everything that arrives on UDP port {}", to.port())))
    } else {
        Remedy::advice(Tool::Program, "Allow the program in System Settings > Network > Firewall > Options.")
    }]);
    Some(finding)
}

fn counters(observation: &Observation, interest: &Interest<'_>) -> impl Iterator<Item = Evidence> {
    let counters = [Counter::InMulticast, Counter::InDelivers].into_iter();
    counters.filter_map(|counter| observation.counter_change(counter, interest.family()))
}

/// Returns how many packets reached UDP beyond those received: they may be the missing ones.
fn reached_udp(observation: &Observation, interest: &Interest<'_>, received: u64) -> u64 {
    let others =
        ["TcpInSegs", "IcmpInMsgs", "Icmp6InMsgs"].into_iter().filter_map(|name| observation.rise_of(name));
    let delivered = observation.rise(Counter::InDelivers, interest.family()).unwrap_or_default();
    delivered.saturating_sub(others.sum()).saturating_sub(received)
}

/// Returns whether at least 80 % of `missing` packets were accepted by the IP layer and not delivered.
fn is_dropped_at_input(
    observation: &Observation,
    interest: &Interest<'_>,
    missing: u64,
    received: u64,
) -> bool {
    let rise = |counter| observation.rise(counter, interest.family());
    let (Some(all), Some(multicast), Some(delivered)) =
        (rise(Counter::InReceives), rise(Counter::InMulticast), rise(Counter::InDelivers))
    else {
        return false;
    };
    let requests = rise(Counter::ReassemblyRequests).unwrap_or_default();
    let fragments = requests.saturating_sub(rise(Counter::Reassembled).unwrap_or_default());
    let undelivered = all.saturating_sub(delivered).saturating_sub(fragments);
    explains(multicast.saturating_sub(received), missing) && explains(undelivered, missing)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, kernel_drop, membership, ruleset, severities, with_counters};
    use super::*;
    use crate::kernel_drops::KernelDrop;

    const TO: &str = "239.1.2.3:5000";

    /// Returns the number of findings for 10 datagrams on the wire, `received` at the socket, and these increases of
    /// `IpInReceives`, `IpExtInMcastPkts`, `IpInDelivers` and `TcpInSegs`.
    fn outcome(received: u64, rises: [u64; 4]) -> usize {
        let observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], received);
        let names = ["IpInReceives", "IpExtInMcastPkts", "IpInDelivers", "TcpInSegs"];
        let rises: Vec<_> = names.into_iter().zip(rises).collect();
        check(&with_counters(observation, &rises)).len()
    }

    #[test]
    fn accepted_and_undelivered_packets_were_filtered() {
        assert_eq!(outcome(0, [10, 10, 0, 0]), 1);
        assert_eq!(outcome(0, [510, 10, 500, 500]), 1, "during a download");
        assert_eq!(outcome(6, [10, 10, 6, 0]), 1, "some of them");
    }

    #[test]
    fn another_reason_of_the_kernel_outweighs_the_counters() {
        let outcome = |reason| {
            let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 0);
            observation.kernel_drops.drops = vec![kernel_drop(reason, "10.9.0.1:6000", TO, 10)];
            let rises = [("IpInReceives", 10), ("IpExtInMcastPkts", 10), ("IpInDelivers", 0)];
            check(&with_counters(observation, &rises)).len()
        };
        assert_eq!((outcome("NETFILTER_DROP"), outcome("XFRM_POLICY")), (1, 0));
    }

    #[test]
    fn queue_that_no_program_reads_is_the_rule_that_leads_to_it() {
        let found = |function: &str| {
            let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 0);
            let drop = kernel_drop("NOT_SPECIFIED", "10.9.0.1:6000", TO, 10);
            observation.kernel_drops.drops = vec![KernelDrop { function: Some(function.to_owned()), ..drop }];
            observation.after.ruleset = ruleset(Hook::Input, RuleEffect::Queue, None);
            let findings = crate::causes::judge(&observation);
            findings.iter().map(|finding| finding.id).collect::<Vec<_>>()
        };
        assert_eq!(found("nf_queue"), [Id::FirewallDropsData]);
        assert!(found("ip_rcv_core").contains(&Id::LostInThisMachine));
    }

    #[test]
    fn reason_of_the_kernel_suffices_without_counters() {
        let sources = ["10.9.0.1:6000", "10.9.0.7:6000"];
        let mut observation =
            membership(TO, sources.iter().map(|source| flow(ETH0, source, TO)).collect(), 0);
        assert_eq!(check(&observation), []);
        observation.kernel_drops.drops = vec![kernel_drop("NETFILTER_DROP", sources[1], TO, 10)];
        let findings = check(&observation);
        let [finding] = &findings[..] else { panic!("{findings:#?}") };
        assert_eq!(finding.flows.len(), 1, "only the flow of which the kernel dropped packets");
        assert!(finding.cause.contains("10 of 10"), "{}", finding.cause);
        assert!(finding.evidence.iter().any(|evidence| evidence.value.contains("NETFILTER_DROP")));
    }

    #[test]
    fn losses_that_other_counters_explain_were_not_filtered() {
        assert_eq!(outcome(10, [10, 10, 10, 0]), 0, "all were received");
        assert_eq!(outcome(0, [10, 0, 0, 0]), 0, "never accepted");
        assert_eq!(outcome(0, [10, 10, 10, 0]), 0, "delivered");
        assert_eq!(outcome(0, [20, 10, 10, 0]), 0, "as many other packets were not accepted");
    }

    #[test]
    fn without_a_capture_only_complete_silence_is_reported() {
        let outcome = |received, delivered| {
            let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], received);
            observation.wire.flows.clear();
            observation.wire.taps[0].refused = Some("no right".into());
            let rises = [("IpInReceives", 20), ("IpExtInMcastPkts", 20), ("IpInDelivers", delivered)];
            severities(&CAUSE, &with_counters(observation, &rises))
        };
        assert_eq!(outcome(0, 0), [Severity::Warning]);
        assert_eq!((outcome(0, 2), outcome(10, 10)), (Vec::new(), Vec::new()));
    }
}
