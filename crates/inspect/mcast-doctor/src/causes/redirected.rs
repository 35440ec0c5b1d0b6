//! A rule of this machine changes the destination of the datagrams (`redirect`, `dnat`), hands them to a proxy (`tproxy`),
//! or sends them out again (`fwd`), so that sockets that joined the group do not get them. Rules may also change the
//! destination or the source (`snat`, `masquerade`) of what this machine sends.

use std::net::SocketAddr;

use super::filter_rules::{
    HookLoss, INCOMING, Suspects, arriving, arriving_for, ends, explained, hook_losses, leaving,
    legacy_tables, masquerading, met_by, responsible,
};
use super::sending::is_lost;
use super::{Cause, Check, Forecast};
use crate::fate::depth::LostFlow;
use crate::fate::{Ahead, Stage, Way, as_known};
use crate::netfilter::{Hook, HookCount, KnownPacket, Layer, RuleEffect};
use crate::observation::{Interest, Observation};
use crate::snapshot::Counter;
use crate::wire::Flow;
use crate::{EvidenceKind, ExplainedFlow, Finding, Id, Severity, remedies};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &[])
    .at(Stage::Destination)
    .predicted_by(Forecast::Way(ahead))
    .offering(|on| {
        remedies::keep_destination(Hook::Prerouting, on.name(), on.to, RuleEffect::Redirect, None)
    });

/// What rules do that take datagrams elsewhere.
const REDIRECTIONS: [RuleEffect; 4] =
    [RuleEffect::Redirect, RuleEffect::Proxy, RuleEffect::Divert, RuleEffect::Rewrite];

fn check(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let sent_elsewhere =
        observation.hooks.counts.iter().filter_map(|count| sent_elsewhere(observation, count));
    let disguised = observation.wire.flows.iter().filter_map(|flow| disguised(observation, flow));
    let sent = sent_elsewhere.chain(disguised);
    interests
        .iter()
        .flat_map(|interest| {
            let lost = observation.lost_flows(interest);
            let alone = by_rule_alone(observation, interest, &lost);
            let counted = hook_losses(observation, lost).unwrap_or_default();
            let counted = counted.iter().filter_map(|loss| redirected(observation, interest, loss));
            let below = readdressed(observation, interest);
            counted.chain(alone).chain(below).collect::<Vec<_>>()
        })
        .chain(sent)
        .collect()
}

/// Returns the finding about datagrams that arrive at a port of the joined bridge and do not get to it, if a rule changes the
/// Ethernet address of their frames: a bridge takes only what is sent to a group or to itself.
fn readdressed(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    const PLACES: [(Layer, Hook); 2] = [(Layer::Device, Hook::Ingress), (Layer::Bridge, Hook::Prerouting)];
    let above = observation.link(interest.interface).filter(|above| above.bridge.is_some())?;
    observation.flows_below(interest).into_iter().find_map(|flow| {
        let passed = observation.passed_to(above, flow);
        let lost = flow.datagrams.saturating_sub(passed);
        let (port, to) = (observation.link_name(flow.key.interface), flow.destination());
        let packet = arriving(observation, flow);
        let mut met = PLACES
            .into_iter()
            .flat_map(|place| met_by(observation, &packet, place, &port, &[RuleEffect::Readdress]));
        let outcome = met.find(|outcome| outcome.is_certain).filter(|_| observation.is_short_on(above, flow))?;
        let suspects = responsible(observation, vec![outcome], lost);
        let rule = suspects.rule()?;
        let cause = format!(
            "{lost} of {} datagrams from {} to {to} that arrive at {port} do not reach {}: `{}` changes the destination address of their frames, so the bridge does not take them for the group.",
            flow.datagrams,
            flow.key.source,
            above.name(),
            rule.location()
        );
        let explained = ExplainedFlow { destination: to, source: None, interface: above.name().to_owned() };
        let finding = Finding::fault(Id::Redirected, cause)
            .about(above.name(), to, flow.key.source)
            .explaining([explained])
            .at_hook(rule.hook)
            .with_evidence(observation.packets_of(flow))
            .evidence(EvidenceKind::Packet, above.name(), format!("{passed} datagrams of this flow"))
            .with_all_evidence(suspects.evidence(observation))
            .with_remedies(remedies::keep_destination(rule.hook, &port, to, RuleEffect::Readdress, Some(rule)));
        Some(finding)
    })
}

/// Returns the finding about datagrams of this machine whose destination a rule changes on the way out.
fn sent_elsewhere(observation: &Observation, count: &HookCount) -> Option<Finding> {
    let (source, to) = ends(observation, count).filter(|_| is_lost(observation, count))?;
    let interface = observation.link_name(count.interface);
    let packet = leaving(observation, count.interface, source, to);
    let place = (count.layer, count.hook);
    let met = met_by(observation, &packet, place, &interface, &[RuleEffect::Redirect]);
    let lost = count.reached - count.passed;
    let suspects = responsible(observation, met, lost);
    let rule = suspects.rule()?;
    let finding = Finding::new(
        Id::Redirected,
        Severity::Fault,
        format!(
            "{lost} of {} datagrams that this machine sends from {source} to {to} are diverted: `{}` changes their destination (nat).",
            count.reached,
            rule.location()
        ),
    );
    let counted = format!("{} datagrams reached it, {} passed it to {to}", count.reached, count.passed);
    Some(
        finding
            .about(&interface, to, source)
            .evidence(EvidenceKind::Counter, format!("hook {}", count.hook.name()), counted)
            .with_all_evidence(suspects.evidence(observation))
            .with_remedies(remedies::keep_destination(
                Hook::Output,
                &interface,
                to,
                RuleEffect::Redirect,
                Some(rule),
            )),
    )
}

/// Returns the finding about a flow of this machine whose source a rule changes to an address of another machine.
/// Receivers that admit only the original source do not get it.
fn disguised(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let (to, source) = (flow.destination(), flow.key.source);
    let interests = observation.interests();
    let mut examined = interests
        .iter()
        .filter(|interest| interest.destination() == to && interest.interface == flow.key.interface);
    let interest = examined.next();
    let is_sent = observation.program().is_some_and(|program| program.sends(flow));
    let suspects = masquerading(observation, flow).filter(|_| is_sent || interest.is_some())?;
    let rule = suspects.rule()?;
    let interface = observation.link_name(flow.key.interface);
    let is_refused = interest.is_some_and(|interest| !interest.sources.admits(source.ip()));
    let severity = if is_refused { Severity::Fault } else { Severity::Warning };
    let finding = Finding::new(
        Id::Redirected,
        severity,
        format!(
            "Datagrams that this machine sends to {to} by {interface} leave with the source {}, which is not an address of this machine: `{}` changes it (nat). Receivers that join with a source, and routers that check the reverse path, reject it.",
            source.ip(),
            rule.location()
        ),
    )
    .about(&interface, to, source)
    .with_evidence(observation.packets_of(flow))
    .with_all_evidence(suspects.evidence(observation))
    .with_remedies(remedies::keep_destination(Hook::Output, &interface, to, RuleEffect::Masquerade, Some(rule)));
    let silent = ExplainedFlow { destination: to, source: None, interface };
    Some(finding.explaining(is_refused.then_some(silent)))
}

/// Returns the finding about datagrams that temporary rules counted before a hook and not behind it, if a rule there
/// redirects them.
fn redirected(observation: &Observation, interest: &Interest<'_>, loss: &HookLoss<'_>) -> Option<Finding> {
    let effect = loss.effect.filter(|effect| REDIRECTIONS.contains(effect))?;
    let finding =
        finding(observation, interest, &loss.sources(), effect, (loss.lost(), loss.reached), &loss.suspects);
    let finding = finding.explaining(loss.explained(observation)).at_hook(loss.hook);
    Some(
        finding
            .with_evidence(loss.evidence())
            .with_all_evidence(loss.suspects.evidence(observation))
            .with_all_evidence(legacy_tables(observation, &loss.suspects)),
    )
}

/// Returns the finding about a flow that the doctor's own socket did not receive although it passed all hooks, or none of
/// them was counted, and a rule that certainly matches redirects it.
fn by_rule_alone(
    observation: &Observation,
    interest: &Interest<'_>,
    lost: &[LostFlow<'_>],
) -> Option<Finding> {
    observation.trial()?;
    let has_passed = |lost: &&LostFlow<'_>| {
        let passed = observation.hooks.of_flow(Layer::Ip, Hook::Input, &lost.flow.key);
        passed.is_none_or(|(_, passed)| passed >= lost.lost)
    };
    let device = observation.link_name(interest.interface);
    lost.iter().filter(has_passed).find_map(|lost| {
        let flow = lost.flow;
        let packet = arriving(observation, flow);
        let met = INCOMING
            .into_iter()
            .flat_map(|place| met_by(observation, &packet, place, &device, &REDIRECTIONS))
            .filter(|outcome| outcome.is_certain);
        let suspects = responsible(observation, met.collect(), lost.lost);
        let effect = suspects.effect()?;
        let counts = (lost.lost, flow.datagrams);
        let source = flow.key.source.to_string();
        let finding = finding(observation, interest, &source, effect, counts, &suspects);
        Some(
            finding
                .explaining([explained(observation, flow)])
                .with_evidence(observation.packets_of(flow))
                .with_all_evidence(suspects.evidence(observation)),
        )
    })
}

/// Returns the finding about datagrams that do not get to a rule yet, which is certain to take them elsewhere.
fn ahead(ahead: &Ahead<'_>) -> Vec<Finding> {
    let observation = ahead.observation;
    if ahead.has(Id::Redirected) {
        return Vec::new();
    }
    let finding = match ahead.way {
        Way::Arriving { meant, .. } => {
            let flow = *meant;
            let counted = |(layer, hook): (Layer, Hook)| observation.hooks.of_flow(layer, hook, &flow.key);
            let is_short =
                |place: (Layer, Hook)| counted(place).is_some_and(|(reached, passed)| reached > passed);
            let lost_at = INCOMING.into_iter().rev().find(|place| is_short(*place));
            let lost_at = lost_at.filter(|_| ahead.has(Id::FirewallDropsData));
            let is_before = lost_at.is_none_or(|(_, hook)| hook == Hook::Ingress);
            let (_, passed) = observation.hooks.at_input(&flow.key).unwrap_or_default();
            let what = format!("The datagrams from {} to {}", flow.key.source, flow.destination());
            let packet = as_known(observation, flow);
            let device = observation.link_name(flow.key.interface);
            (passed == 0 && is_before)
                .then(|| certain(observation, &packet, &device, (&what, flow.destination())))
                .flatten()
                .map(|finding| finding.from_source(flow.key.source))
        }
        Way::Silent(interest) => {
            let (device, to) = (observation.link_name(interest.interface), interest.destination());
            let packet = arriving_for(observation, interest);
            certain(observation, &packet, &device, (&format!("The datagrams to {to}"), to))
        }
        _ => None,
    };
    finding.into_iter().collect()
}

fn certain(
    observation: &Observation,
    packet: &KnownPacket,
    device: &str,
    (what, to): (&str, SocketAddr),
) -> Option<Finding> {
    let met = |place: (Layer, Hook)| {
        let mut outcomes = met_by(observation, packet, place, device, &REDIRECTIONS).into_iter();
        Some((place.1, outcomes.find(|outcome| outcome.is_certain)?))
    };
    let (hook, outcome) = INCOMING.into_iter().find_map(met)?;
    let location = outcome.rule.location();
    let cause = format!(
        "{what} are diverted on this machine, at its {} hook: `{location}` {}.",
        hook.name(),
        deed(outcome.effect)
    );
    let finding = Finding::fault(Id::Redirected, cause)
        .concerning(device, to)
        .at_hook(hook)
        .evidence(EvidenceKind::Rule, location, format!("at {}; matches", hook.name()))
        .with_remedies(remedies::keep_destination(hook, device, to, outcome.effect, Some(&outcome.rule)));
    Some(finding)
}

/// Returns what a rule with this effect does with datagrams.
const fn deed(effect: RuleEffect) -> &'static str {
    match effect {
        RuleEffect::Proxy => "delivers them to a proxy (tproxy)",
        RuleEffect::Divert => "sends them out on another interface (fwd)",
        RuleEffect::Rewrite => "writes another address or port into them",
        _ => "changes their destination (nat)",
    }
}

fn finding(
    observation: &Observation,
    interest: &Interest<'_>,
    sources: &str,
    effect: RuleEffect,
    (lost, all): (u64, u64),
    suspects: &Suspects,
) -> Finding {
    let (interface, to) = (observation.link_name(interest.interface), interest.destination());
    let what = deed(effect);
    let rule = suspects.rule();
    let rule =
        rule.map_or_else(|| "a rule of iptables-legacy".to_owned(), |rule| format!("`{}`", rule.location()));
    let counters = [Counter::InDelivers, Counter::InMulticast];
    Finding::fault(
        Id::Redirected,
        format!("{lost} of {all} datagrams from {sources} to {to} that arrived on {interface} are diverted on this machine: {rule} {what}."),
    )
    .concerning(&interface, to)
    .with_all_evidence(counters.into_iter().filter_map(|counter| observation.counter_change(counter, interest.family())))
    .with_remedies(remedies::keep_destination(Hook::Prerouting, &interface, to, effect, suspects.rule()))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, membership, ruleset};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    /// Returns an observation of 10 datagrams, of which `received` reached the socket, and a rule of the raw table.
    fn with_rule(received: u64, effect: RuleEffect) -> Observation {
        let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], received);
        observation.after.ruleset = ruleset(Hook::Prerouting, effect, None);
        observation
    }

    #[test]
    fn rule_of_the_old_iptables_redirects_if_what_is_lost_is_delivered_elsewhere() {
        use super::super::fixtures::with_counters;
        use crate::netfilter::{CountedTraffic, HookCount};

        let found = |delivered| {
            let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 0);
            observation.after.ruleset.legacy_tables = vec!["iptables nat".into()];
            let count = |hook, passed| HookCount {
                layer: Layer::Ip,
                hook,
                interface: ETH0,
                traffic: CountedTraffic::Datagrams(TO.parse().unwrap()),
                peer: "10.9.0.1:6000".parse().unwrap(),
                reached: 10,
                passed,
            };
            let hook = |hook| (Layer::Ip, hook, CountedTraffic::Datagrams(TO.parse().unwrap()));
            observation.hooks.hooks = vec![hook(Hook::Prerouting), hook(Hook::Input)];
            observation.hooks.counts = vec![count(Hook::Prerouting, 0), count(Hook::Input, 10)];
            let rises = [("IpInDelivers", delivered), ("IpExtInMcastPkts", 0)];
            check(&with_counters(observation, &rises)).len()
        };
        assert_eq!((found(10), found(0)), (1, 0));
    }

    #[test]
    fn proxy_is_reported_if_the_datagrams_do_not_reach_the_socket() {
        let findings = check(&with_rule(0, RuleEffect::Proxy));
        assert!(
            findings[0].cause.ends_with("`nft ip t c handle 4` delivers them to a proxy (tproxy)."),
            "{findings:?}"
        );
        assert_eq!(check(&with_rule(10, RuleEffect::Proxy)), []);
        assert_eq!(check(&with_rule(0, RuleEffect::Drop)), []);
    }
}
