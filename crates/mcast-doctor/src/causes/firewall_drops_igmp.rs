//! Joining must send an IGMP or MLD report, but none left the machine: netfilter dropped it. Snooping switches
//! then do not learn the membership. The same applies to the response to a query.

use std::time::Duration;

use mcast::Family;

use super::{Cause, Check, ignored_query};
use crate::observation::{ExaminationTarget, Interest, Observation};
use crate::snapshot::{Counter, DroppingRule};
use crate::wire::{ControlMessage, ControlPacket};
use crate::{Evidence, EvidenceKind, Finding, Id, Severity, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Interest(check), &["RFC 9776 section 4", "RFC 4890 section 4.4.1"]);

/// The first report is sent at once; after this time it is considered lost.
const REPORT_TIMEOUT: Duration = Duration::from_millis(800);
/// The time that a response may take beyond the response time in the query.
const RESPONSE_GRACE: Duration = Duration::from_secs(1);

fn check(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    // The kernel knows better.
    if observation.dropped_reports(interest).iter().any(|drop| drop.reason != "NETFILTER_DROP") {
        return None;
    }
    let link = observation.link(interest.interface)?;
    // MLD needs an IPv6 source address.
    let can_send = interest.group.addr().is_ipv4() || link.has_address(Family::V6);
    // Without a carrier nothing is sent, which is not the firewall's doing.
    let is_open = observation.wire.is_complete(interest.interface)
        && link.interface.running
        && link.interface.multicast
        && !link.interface.loopback;
    if !is_open
        || !can_send
        || !must_be_reported(interest)
        || !observation.after.is_joined(interest.group.addr(), interest.interface)
    {
        return None;
    }
    if let Some(finding) = ignored_query::finding(observation, interest) {
        return Some(finding);
    }
    let reason =
        unreported_join(observation, interest).or_else(|| unanswered_query(observation, interest))?;
    let (protocol, group, family) = (interest.protocol(), interest.group, interest.family());
    let counted: Vec<_> = observation
        .rule_counts()
        .filter(|(rule, before, after)| !is_for_forwarding(rule) && after > before)
        .collect();
    let evidence: Vec<_> = counted
        .iter()
        .map(|(rule, before, after)| Evidence::change(EvidenceKind::Rule, rule.location(), before, after))
        .collect();
    let rules = match &counted[..] {
        [] => uncounted_rules(observation),
        counted => counted.iter().map(|(rule, ..)| *rule).collect(),
    };
    let counters = [Counter::OutRequests, Counter::OutTransmits];
    let finding = Finding::new(
        Id::FirewallDropsIgmp,
        Severity::Fault,
        format!("{group} is joined on {}, but no {protocol} report for it left the machine: a firewall drops {protocol}.", link.name()),
    )
    .on_interface(link.name())
    .for_group(group)
    .with_evidence(Evidence::new(EvidenceKind::Packet, link.name(), reason))
    .with_all_evidence(counters.into_iter().filter_map(|counter| observation.counter_change(counter, family)))
    .with_all_evidence(evidence)
    .with_remedies(remedies::admit_membership_protocol(family, link.name(), &rules));
    Some(finding)
}

/// Returns the rules without a counter, one of which may be responsible: those that drop outgoing reports, else those
/// that drop incoming queries, which nobody answers then.
fn uncounted_rules(observation: &Observation) -> Vec<&DroppingRule> {
    let is_outgoing = |rule: &&DroppingRule| {
        matches!(rule.hook.as_deref(), Some("output" | "postrouting" | "egress") | None)
    };
    let rules = observation.after.dropping_rules.iter();
    let rules = rules.filter(|rule| rule.packets.is_none() && !is_for_forwarding(rule));
    let (outgoing, incoming): (Vec<_>, Vec<_>) = rules.partition(is_outgoing);
    if outgoing.is_empty() { incoming } else { outgoing }
}

/// Returns whether a rule applies to forwarded traffic, and not to traffic of this machine itself.
fn is_for_forwarding(rule: &DroppingRule) -> bool {
    rule.hook.as_deref() == Some("forward")
}

/// Returns whether hosts report the group. They do not report 224.0.0.0/24 by default, interface-local groups,
/// and ff02::1 (RFC 9776 section 5).
fn must_be_reported(interest: &Interest<'_>) -> bool {
    match interest.group.addr() {
        std::net::IpAddr::V4(group) => group.octets()[..3] != [224, 0, 0],
        std::net::IpAddr::V6(group) => {
            group.segments()[0] & 0xf > 1 && group.segments() != [0xff02, 0, 0, 0, 0, 0, 0, 1]
        }
    }
}

fn unreported_join(observation: &Observation, interest: &Interest<'_>) -> Option<String> {
    let ExaminationTarget::Membership(trial) = &observation.target else { return None };
    let fresh = !trial.already_joined.contains(&interest.interface);
    let is_silent = reports(observation, interest).next().is_none() && !sent_nothing(observation, interest);
    (fresh && is_silent && observation.listened() >= REPORT_TIMEOUT)
        .then(|| "no report after joining".to_owned())
}

/// Returns whether the system itself sent no report. A query of an older version that arrives right after the
/// join makes the system withdraw its first report and respond within 10 s instead. A firewall can only drop what
/// the system counts as sent.
fn sent_nothing(observation: &Observation, interest: &Interest<'_>) -> bool {
    let (v4, family) = (interest.group.addr().is_ipv4(), interest.family());
    // Linux before 6.7 counts outgoing IPv4 packets after the firewall, and has no `IpOutTransmits`.
    if v4 && observation.values(Counter::OutTransmits.name(family)).is_none() {
        let is_old = |message: &ControlMessage| matches!(message, ControlMessage::Query { version, .. } if *version < 3);
        return observation
            .wire
            .queries(interest.interface, v4)
            .any(|query| !query.outgoing && is_old(&query.message));
    }
    let sent = observation.values(Counter::OutRequests.name(family));
    sent.is_some_and(|(before, after)| before == after)
}

/// Returns the evidence of a query without a response. In versions that suppress reports, a report by any host is a
/// response.
fn unanswered_query(observation: &Observation, interest: &Interest<'_>) -> Option<String> {
    let (_, until) = observation.wire.span?;
    let (group, v4) = (interest.group.addr(), interest.group.addr().is_ipv4());
    let newest = if v4 { 3 } else { 2 };
    let (query, suppresses) = observation.wire.queries(interest.interface, v4).find_map(|query| {
        let ControlMessage::Query { version, group: None, response_time, .. } = query.message else {
            return None;
        };
        let is_due = until
            .duration_since(query.time)
            .is_ok_and(|ago| ago >= response_time.saturating_add(RESPONSE_GRACE));
        (!query.outgoing && is_due).then_some((query, version < newest))
    })?;
    let answered = observation.wire.control.iter().any(|control| {
        let reports =
            matches!(&control.message, ControlMessage::Report { joined, .. } if joined.contains(&group));
        let counts = control.outgoing || suppresses;
        reports && counts && control.interface == interest.interface && control.time >= query.time
    });
    (!answered).then(|| format!("no response to the query from {}", query.source))
}

fn reports<'a>(
    observation: &'a Observation,
    interest: &Interest<'_>,
) -> impl Iterator<Item = &'a ControlPacket> {
    let (group, interface) = (interest.group.addr(), interest.interface);
    observation.wire.control.iter().filter(move |control| {
        let about =
            matches!(&control.message, ControlMessage::Report { joined, .. } if joined.contains(&group));
        control.outgoing && control.interface == interface && about
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, membership};
    use super::*;

    /// Returns a new membership without a captured report.
    fn unreported(to: &str) -> Observation {
        let mut observation = membership(to, Vec::new(), 0);
        observation.trial_mut().already_joined.clear();
        observation
    }

    fn reported() -> Observation {
        let mut observation = unreported("239.1.2.3:5000");
        let (time, _) = observation.wire.span.unwrap();
        let message = ControlMessage::Report {
            version: 3,
            joined: vec!["239.1.2.3".parse().unwrap()],
            left: Vec::new(),
        };
        let source = "10.9.0.2".parse().unwrap();
        observation.wire.control.push(ControlPacket {
            time,
            interface: ETH0,
            outgoing: true,
            source,
            message,
            vlan: None,
        });
        observation
    }

    #[test]
    fn new_membership_without_a_report_is_a_fault() {
        assert_eq!(CAUSE.judge(&unreported("239.1.2.3:5000")).len(), 1);
        assert_eq!(CAUSE.judge(&reported()), []);
    }

    #[test]
    fn report_that_was_never_sent_was_not_dropped() {
        let mut observation = unreported("239.1.2.3:5000");
        let names = ["IpOutRequests", "IpOutTransmits"];
        let sent = |count| names.iter().map(|name| ((*name).to_owned(), count)).collect();
        (observation.before.counters, observation.after.counters) = (sent(7), sent(7));
        assert_eq!(CAUSE.judge(&observation), []);
        observation.after.counters = sent(8);
        assert_eq!(CAUSE.judge(&observation).len(), 1);
    }

    /// Linux before 6.7.
    #[test]
    fn counter_after_the_firewall_does_not_excuse_it() {
        let mut observation = unreported("239.1.2.3:5000");
        let sent = || [("IpOutRequests".to_owned(), 7)].into_iter().collect();
        (observation.before.counters, observation.after.counters) = (sent(), sent());
        assert_eq!(CAUSE.judge(&observation).len(), 1);

        let (time, _) = observation.wire.span.unwrap();
        let response_time = Duration::from_secs(10);
        let message = ControlMessage::Query { version: 2, group: None, interval: None, response_time };
        let source = "10.9.0.254".parse().unwrap();
        observation.wire.control.push(ControlPacket {
            time,
            interface: ETH0,
            outgoing: false,
            source,
            message,
            vlan: None,
        });
        assert_eq!(
            CAUSE.judge(&observation),
            [],
            "the system withdraws its report when an older querier appears"
        );
    }

    #[test]
    fn unreported_groups_and_unusable_interfaces_are_not_reported() {
        assert_eq!(
            CAUSE.judge(&membership("239.1.2.3:5000", Vec::new(), 0)),
            [],
            "another program had joined"
        );
        assert_eq!(CAUSE.judge(&unreported("224.0.0.251:5353")), [], "a link-local group");
        let mut without_carrier = unreported("239.1.2.3:5000");
        without_carrier.before.links[1].interface.running = false;
        without_carrier.after.links[1].interface.running = false;
        assert_eq!(CAUSE.judge(&without_carrier), []);
        let mut lossy_tap = unreported("239.1.2.3:5000");
        lossy_tap.wire.taps[0].dropped = 1;
        assert_eq!(CAUSE.judge(&lossy_tap), [], "the tap may have missed it");
    }
}
