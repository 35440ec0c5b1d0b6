//! The datagrams reach the IP layer of this machine but not UDP: netfilter dropped them.
//!
//! The IP layer counts accepted multicast packets (`InMcastPkts`) before the firewall's input hook and delivered
//! packets (`InDelivers`) after it. What was accepted and not delivered, without another counter that explains
//! it, was dropped by the firewall. Packets dropped at an earlier hook show only in the counters of the rules.

use super::{Cause, Check, reverse_path_filter};
use crate::depth::{Depth, LostFlow};
use crate::observation::{Interest, Observation, TrialMembership, explains};
use crate::snapshot::{Counter, DroppingRule};
use crate::wire::Flow;
use crate::{
    Evidence, EvidenceKind, ExplainedFlow, Finding, Id, Remedy, RemedyScope, Severity, Tool, remedies,
};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &[]);

/// The maximum number of flows that are listed as evidence.
const MAX_SHOWN: usize = 3;

fn check(observation: &Observation) -> Vec<Finding> {
    let mut findings: Vec<_> =
        observation.interests().iter().filter_map(|interest| judge(observation, interest)).collect();
    findings.extend(may_be_blocked(observation));
    findings
}

fn judge(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    if !observation.wire.is_tapped(interest.interface) {
        return by_counters_alone(observation, interest);
    }
    let lost = unfiltered(observation, interest);
    let missing: u64 = lost.iter().map(|lost| lost.lost).sum();
    // What another program's socket received is unknown.
    let received = observation.trial().map_or(0, TrialMembership::received_count);
    if missing == 0 || reached_udp(observation, interest, received).saturating_mul(2) >= missing {
        return None;
    }
    let (lost, rules) = explained(observation, interest, lost, received)?;
    let missing: u64 = lost.iter().map(|lost| lost.lost).sum();
    let expected: u64 = lost.iter().filter_map(|lost| lost.status.on_wire).sum();
    let interface = observation.link_name(interest.interface);
    let to = lost.first()?.status.destination;
    let rule = rules.first().map(|(rule, ..)| *rule).or_else(|| incoming_rules(observation).next());
    let rules = rules
        .iter()
        .map(|(rule, before, after)| Evidence::change(EvidenceKind::Rule, rule.location(), before, after));
    let finding = Finding::new(
        Id::FirewallDropsData,
        Severity::Fault,
        format!("This machine's firewall drops the datagrams to {to}: {missing} of {expected} that arrived on {interface} were not delivered."),
    )
    .on_interface(&interface)
    .for_group(to)
    .explaining(lost.iter().map(|lost| ExplainedFlow::from(&lost.status)))
    .with_all_evidence(lost.iter().take(MAX_SHOWN).map(|lost| observation.packets_of(lost.flow)))
    .with_all_evidence(counters(observation, interest))
    .with_all_evidence(rules)
    .with_remedies(remedies::admit_datagrams(&interface, to, rule));
    Some(finding)
}

/// Returns the lost flows of an interest that the kernel does not drop before the firewall for another reason.
fn unfiltered<'a>(observation: &'a Observation, interest: &Interest<'a>) -> Vec<LostFlow<'a>> {
    let reverse: Vec<_> = reverse_path_filter::dropped(observation, interest);
    let is_dropped = |flow: &Flow| {
        reverse.iter().any(|lost| lost.flow.key == flow.key)
            || flow.key.source.ip().is_unspecified()
            || flow.sound() == 0
            || (!flow.key.outgoing && observation.before.is_own(flow.key.source.ip()))
    };
    let mut lost = observation.lost_flows(interest);
    lost.extend(observation.stray_flows(interest));
    lost.retain(|lost| !is_dropped(lost.flow));
    lost
}

/// A dropping rule with its counts before and after listening.
type CountedRule<'a> = (&'a DroppingRule, u64, u64);

/// Returns those of the lost flows that the firewall explains, and the rules that dropped them. If it explains only a
/// part, flows that the IP layer certainly accepted are the likely ones.
fn explained<'a>(
    observation: &'a Observation,
    interest: &Interest<'_>,
    mut lost: Vec<LostFlow<'a>>,
    received: u64,
) -> Option<(Vec<LostFlow<'a>>, Vec<CountedRule<'a>>)> {
    lost.sort_by_key(|lost| lost.status.depth != Depth::AtIp);
    while !lost.is_empty() {
        let missing = lost.iter().map(|lost| lost.lost).sum();
        let rules = rules_that_dropped(observation, missing);
        if !rules.is_empty() || is_dropped_at_input(observation, interest, missing, received) {
            return Some((lost, rules));
        }
        lost.pop();
    }
    None
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
    are_dropped.then(|| {
        Finding::new(
            Id::FirewallDropsData,
            Severity::Warning,
            format!("The IP layer accepted {accepted} packets to groups and delivered none: a firewall drops them. They may or may not be for {to}."),
        )
        .on_interface(&interface)
        .for_group(to)
        .with_all_evidence(counters(observation, interest))
        .with_remedies(remedies::admit_datagrams(&interface, to, incoming_rules(observation).next()))
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
    let finding = Finding::new(
        Id::FirewallDropsData,
        Severity::Warning,
        format!(
            "This machine's firewall blocks traffic that no rule admits, and nothing for {to} was received."
        ),
    )
    .for_group(to)
    .with_evidence(Evidence::new(EvidenceKind::Rule, "firewall", state))
    .with_remedies([if state.starts_with("profile") {
        Remedy::now(
            Tool::Netsh,
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

/// Returns the dropping rules on the incoming path, with or without counters.
fn incoming_rules(observation: &Observation) -> impl Iterator<Item = &DroppingRule> {
    observation.after.dropping_rules.iter().filter(|rule| is_on_the_incoming_path(rule))
}

fn is_on_the_incoming_path(rule: &DroppingRule) -> bool {
    rule.hook.as_deref().is_none_or(|hook| matches!(hook, "input" | "prerouting" | "ingress"))
}

/// Returns the rules on the incoming path whose counters explain the `missing` datagrams, each with its counts
/// before and after.
fn rules_that_dropped(observation: &Observation, missing: u64) -> Vec<CountedRule<'_>> {
    let is_responsible = |(rule, before, after): &CountedRule<'_>| {
        is_on_the_incoming_path(rule) && explains(after.saturating_sub(*before), missing)
    };
    observation.rule_counts().filter(is_responsible).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, membership, with_counters};
    use super::*;

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
            check(&with_counters(observation, &rises))
                .iter()
                .map(|finding| finding.severity)
                .collect::<Vec<_>>()
        };
        assert_eq!(outcome(0, 0), [Severity::Warning]);
        assert_eq!((outcome(0, 2), outcome(10, 10)), (Vec::new(), Vec::new()));
    }
}
