//! Joining must send an IGMP or MLD report, but none left the machine: netfilter dropped it. Snooping switches
//! then do not learn the membership. The same applies to the response to a query.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use mcast::Family;

use super::filter_rules::{
    INCOMING, OUTGOING, certain_drop, certain_drop_of_queries, dropping_control, is_reported, met_by,
    responsible,
};
use super::{Cause, Check, no_multicast_route, no_querier, queriers};
use crate::kernel_drops::FILTERED;
use crate::netfilter::{ControlKind, Hook, KnownPacket, Layer, Outcome, RuleEffect};
use crate::observation::{ExaminationTarget, Interest, Observation, protocol};
use crate::snapshot::{Counter, Link};
use crate::wire::{ControlMessage, ControlPacket};
use crate::{EvidenceKind, Finding, Id, Severity, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 9776 section 4", "RFC 4890 section 4.4.1"])
        .offering(|on| remedies::admit_membership_protocol(Family::V4, on.name(), Some(&on.rule)));

/// The first report is sent at once; after this time it is considered lost.
const REPORT_TIMEOUT: Duration = Duration::from_millis(800);
/// The time that a response may take beyond the response time in the query.
const RESPONSE_GRACE: Duration = Duration::from_secs(1);

fn check(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let observed = interests.iter().filter_map(|interest| judge(observation, interest));
    observed
        .chain(dropped_at_ports(observation))
        .chain(dropped_at_router(observation))
        .chain(reports_of_machine(observation))
        .chain(queries_of_machine(observation))
        .chain(nothing_is_admitted(observation))
        .collect()
}

/// Returns warnings about rules that certainly drop the reports that arrive at the ports of a snooping bridge.
fn dropped_at_ports(observation: &Observation) -> Vec<Finding> {
    let links = &observation.after.links;
    let bridge_of = |port: &Link| {
        let bridge = links.iter().find(|link| Some(link.index()) == port.interface.port_of)?;
        bridge.bridge.is_some_and(|bridge| bridge.snooping).then(|| bridge.name().to_owned())
    };
    let ports = links.iter().filter_map(|port| Some((port, bridge_of(port)?)));
    let places = [(Layer::Device, Hook::Ingress), (Layer::Bridge, Hook::Prerouting)];
    let found = ports.flat_map(|(port, bridge)| {
        [Family::V4, Family::V6].into_iter().filter_map(move |family| {
            let packet = KnownPacket::control(ControlKind::Report, None, family).arriving_on(port.index(), port.name());
            let protocol = protocol(family);
            let text = format!("{protocol} reports that arrive at {}, so {bridge} does not learn which groups hosts behind it have joined", port.name());
            static_finding(observation, &packet, &places, port.name(), (family, &text))
        })
    });
    found.collect()
}

/// Returns findings about rules of a router that certainly drop the reports of the hosts behind an interface, so that its daemon
/// does not learn what they want. It is a fault if the capture, which sees them before, shows a host that wants an examined group
/// and does not get it.
fn dropped_at_router(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let flows: Vec<_> = interests.iter().flat_map(|interest| observation.arrivals(interest)).collect();
    let is_judged = observation.is_about_machine() || !flows.is_empty();
    let behind = observation.after.links.iter().filter(|link| {
        let is_towards_senders = flows.iter().any(|flow| flow.key.interface == link.index());
        is_judged && !is_towards_senders && link.is_of_the_host() && !link.interface.loopback
    });
    let finding = |link: &Link, family: Family| {
        let name = link.name();
        let packet = KnownPacket::control(ControlKind::Report, None, family).arriving_on(link.index(), name);
        let text = format!(
            "{} reports that arrive on {name}, so the routing daemon of this machine does not learn which groups hosts behind it have joined",
            protocol(family)
        );
        let finding = static_finding(observation, &packet, &INCOMING, name, (family, &text))?;
        let mut of_family = flows.iter().filter(|flow| Family::of(flow.key.group) == family);
        let unserved = of_family.find_map(|flow| {
            Some((flow.key.group, no_multicast_route::unserved_member(observation, flow, link)?))
        });
        let Some((group, host)) = unserved else { return Some(finding) };
        let report = format!("a report for {group} from {host}, seen before the rule");
        Some(Finding { severity: Severity::Fault, ..finding }.evidence(EvidenceKind::Packet, name, report))
    };
    let families = |link| {
        let families = [Family::V4, Family::V6].into_iter();
        families.filter(move |family| observation.routes_groups(link, *family))
    };
    let found = behind.flat_map(|link| families(link).filter_map(|family| finding(link, family)));
    found.collect()
}

/// Returns warnings about rules that certainly drop the reports of this machine, if the machine is examined and has
/// joined groups that must be reported.
fn reports_of_machine(observation: &Observation) -> Vec<Finding> {
    if !observation.is_about_machine() {
        return Vec::new();
    }
    let joined = observation.after.joined.iter().filter(|joined| is_reported(joined.group));
    let senders: BTreeSet<_> = joined.map(|joined| (joined.interface, Family::of(joined.group))).collect();
    let finding = |(interface, family)| {
        let link = observation.link(interface).filter(|link| link.is_of_the_host())?;
        let packet =
            KnownPacket::control(ControlKind::Report, None, family).leaving_by(interface, link.name());
        let protocol = protocol(family);
        let text = format!(
            "{protocol} reports of this machine that leave by {}, on which it has joined groups",
            link.name()
        );
        static_finding(observation, &packet, &OUTGOING, link.name(), (family, &text))
    };
    senders.into_iter().filter_map(finding).collect()
}

/// Returns warnings about rules that certainly drop the queries which arrive at this machine, if the machine is examined and a
/// program has joined groups that switches forget without an answer. Most switches flood IPv6 groups of the link.
fn queries_of_machine(observation: &Observation) -> Vec<Finding> {
    let is_forgotten = |group: IpAddr| match group {
        IpAddr::V4(_) => is_reported(group),
        IpAddr::V6(v6) => is_reported(group) && v6.segments()[0] & 0xf != 2,
    };
    let interests = observation.joined_by_programs().map(|(_, interest)| interest);
    let joined = interests.filter(|interest| is_forgotten(interest.group.addr()));
    let members: BTreeSet<_> = joined.map(|interest| (interest.interface, interest.family())).collect();
    let finding = |(interface, family)| {
        let link = observation.link(interface).filter(|link| !link.interface.loopback)?;
        let text = format!(
            "{} queries that arrive on {}, so this machine does not answer them, and snooping switches forget the groups that it has joined there",
            protocol(family),
            link.name()
        );
        let packet =
            KnownPacket::control(ControlKind::Query, None, family).arriving_on(interface, link.name());
        static_finding(observation, &packet, &INCOMING, link.name(), (family, &text))
    };
    members.into_iter().filter_map(finding).collect()
}

/// Returns warnings about interfaces of the examined machine at which rules drop both all datagrams to groups and all queries,
/// while no program has joined a group: none that does so will receive anything.
fn nothing_is_admitted(observation: &Observation) -> Vec<Finding> {
    let has_members = observation.joined_by_programs().next().is_some();
    let is_judged = observation.is_about_machine() && !has_members;
    let links = observation.after.links.iter().filter(|link| {
        is_judged && link.is_of_the_host() && link.interface.running && link.interface.multicast
    });
    let finding = |link: &Link| {
        let families = [Family::V4, Family::V6].into_iter();
        let family = families.clone().find(|family| link.has_address(*family))?;
        let (index, name) = (link.index(), link.name());
        let data = KnownPacket::to_any_group(family).arriving_on(index, name);
        let data = certain_drop(observation, &data, &INCOMING, name)?;
        let queries = KnownPacket::control(ControlKind::Query, None, family).arriving_on(index, name);
        let queries = certain_drop(observation, &queries, &INCOMING, name)?;
        let protocol = protocol(family);
        let (by, also) = (data.rule.location(), queries.rule.location());
        let rules = if by == also {
            format!("The rule `{by}` drops")
        } else {
            format!("The rules `{by}` and `{also}` drop")
        };
        let cause = format!(
            "{rules} every UDP datagram to a group and every {protocol} query that arrives on {name}: a program that joins a group there receives nothing."
        );
        let evidence = |outcome: &Outcome| {
            let text = format!("at {}, matches", outcome.rule.hook.name());
            crate::Evidence::new(EvidenceKind::Rule, outcome.rule.location(), text)
        };
        let mut evidence = vec![evidence(&data), evidence(&queries)];
        evidence.dedup();
        let finding = Finding::warning(Id::FirewallDropsIgmp, cause)
            .on_interface(name)
            .with_all_evidence(evidence)
            .with_remedies(remedies::admit_membership_protocol(family, name, Some(&queries.rule)))
            .advise(Tool::Nft, "When a program has joined a group, run `mcast doctor GROUP:PORT`: it prints the command that admits this group and port.");
        Some(finding)
    };
    links.filter_map(finding).collect()
}

/// Returns a warning if a rule certainly drops a message.
fn static_finding(
    observation: &Observation,
    packet: &KnownPacket,
    places: &[(Layer, Hook)],
    interface: &str,
    (family, what): (Family, &str),
) -> Option<Finding> {
    let outcome = certain_drop(observation, packet, places, interface)?;
    let location = outcome.rule.location();
    let evidence = format!("at {}, matches", outcome.rule.hook.name());
    let finding = Finding::warning(Id::FirewallDropsIgmp, format!("The rule `{location}` drops {what}."))
        .on_interface(interface)
        .evidence(EvidenceKind::Rule, location, evidence)
        .with_remedies(remedies::admit_membership_protocol(family, interface, Some(&outcome.rule)));
    Some(finding)
}

fn judge(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    dropped_reports(observation, interest)
        .or_else(|| dropped_queries(observation, interest))
        .or_else(|| missing_reports(observation, interest))
        .or_else(|| dropped_behind_bridge(observation, interest))
        .or_else(|| queries_would_be_dropped(observation, interest))
}

/// Returns a finding about a rule that drops queries, although none came while listening: they are rare. It is a fault if a switch
/// did not know the membership, which an answer to a query would have renewed.
fn queries_would_be_dropped(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let outcome = certain_drop_of_queries(observation, interest)?;
    let (location, protocol) = (outcome.rule.location(), interest.protocol());
    let (name, to) = (observation.link_name(interest.interface), interest.destination());
    let dropped = format!(
        "The rule `{location}` drops the {protocol} queries that arrive on {name}, so this machine does not answer them, and snooping switches forget what it has joined"
    );
    let finding = match no_querier::is_forgotten(observation, interest) {
        true => {
            let cause = format!(
                "{dropped}: nothing for {to} reached {name}, although a program has joined it, until the doctor sent an {protocol} report for it."
            );
            let finding = Finding::fault(Id::FirewallDropsIgmp, cause);
            no_querier::with_forgotten_evidence(finding, observation, interest)
        }
        false => Finding::warning(
            Id::FirewallDropsIgmp,
            format!(
                "{dropped}, by default {} s after it joined.",
                observation.options.membership_interval.as_secs()
            ),
        ),
    };
    let evidence = format!("at {}, matches every {protocol} query", outcome.rule.hook.name());
    let finding = finding
        .concerning(&name, interest.group)
        .evidence(EvidenceKind::Rule, location, evidence)
        .with_remedies(remedies::admit_membership_protocol(interest.family(), &name, Some(&outcome.rule)));
    Some(finding)
}

/// Returns a finding about a rule that certainly drops the reports of this machine that leave its bridge by a port. They have passed
/// the hooks of the IP layer and the tap of the bridge by then. It is a fault if nothing arrives.
fn dropped_behind_bridge(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    const PLACES: [(Layer, Hook); 2] = [(Layer::Bridge, Hook::Output), (Layer::Bridge, Hook::Postrouting)];
    let bridge = observation.link(interest.interface).filter(|link| link.bridge.is_some())?;
    let links = observation.after.links.iter();
    let ports = links.filter(|link| link.interface.port_of == Some(bridge.index()));
    let (protocol, to, name) = (interest.protocol(), interest.destination(), bridge.name());
    let is_silent = observation.arrivals(interest).is_empty() && observation.wire.is_complete(bridge.index());
    let dropped = ports.filter(|_| is_reported(interest.group.addr())).filter_map(|port| {
        let packet = KnownPacket::control(ControlKind::Report, None, interest.family())
            .leaving_by(port.index(), port.name());
        let text = format!(
            "{protocol} reports of this machine that leave {name} by {}, so switches behind it do not learn that this machine has joined {to}",
            port.name()
        );
        static_finding(observation, &packet, &PLACES, port.name(), (interest.family(), &text))
    });
    let finding = dropped.into_iter().next()?.for_group(interest.group);
    Some(if is_silent {
        Finding { severity: Severity::Fault, ..finding }.on_interface(name)
    } else {
        finding
    })
}

/// Returns a finding about reports of this machine that temporary rules counted before a hook and not behind it.
fn dropped_reports(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let (interface, family, protocol) = (interest.interface, interest.family(), interest.protocol());
    let is_own = |source: IpAddr| source.is_unspecified() || observation.after.is_own(source);
    let count = |place: &(Layer, Hook)| observation.hooks.of_control(*place, family, interface, is_own);
    let place = OUTGOING.into_iter().find(|place| matches!(count(place), (1.., 0)))?;
    let (sent, _) = count(&place);
    let name = observation.link_name(interface);
    let packet = KnownPacket::control(ControlKind::Report, None, family).leaving_by(interface, &name);
    let dropped = format!(
        "This machine's firewall drops the {protocol} reports of this machine: {sent} were sent by {name} since {} was joined, and none passed the {} hook",
        interest.group,
        place.1.name()
    );
    Some(finding(observation, interest, place, &packet, dropped, sent))
}

/// Returns a finding about queries that temporary rules counted before a hook and not behind it.
fn dropped_queries(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let (interface, family, protocol) = (interest.interface, interest.family(), interest.protocol());
    let is_v4 = family == Family::V4;
    let queries = observation.wire.queries(interface, is_v4).filter(|query| !query.outgoing);
    let name = observation.link_name(interface);
    let dropped = queries.filter_map(|query| {
        let count = |place: &(Layer, Hook)| {
            observation.hooks.of_control(*place, family, interface, |source| source == query.source)
        };
        let place = INCOMING.into_iter().find(|place| matches!(count(place), (1.., 0)))?;
        Some((query.source, place, count(&place).0))
    });
    let (source, place, arrived) = dropped.into_iter().next()?;
    let packet = KnownPacket::control(ControlKind::Query, Some(source), family).arriving_on(interface, &name);
    let text = format!(
        "This machine's firewall drops the {protocol} queries from {source}: {arrived} that arrived on {name} did not pass the {} hook, so this machine does not answer them",
        place.1.name()
    );
    Some(finding(observation, interest, place, &packet, text, arrived))
}

/// Returns the finding about messages that did not pass a hook.
fn finding(
    observation: &Observation,
    interest: &Interest<'_>,
    place: (Layer, Hook),
    packet: &KnownPacket,
    dropped: String,
    lost: u64,
) -> Finding {
    let name = observation.link_name(interest.interface);
    let outcomes = met_by(observation, packet, place, &name, &[RuleEffect::Drop]);
    let suspects = responsible(observation, outcomes, lost);
    let text = format!("{lost} {} messages reached it, none passed it", interest.protocol());
    Finding::fault(Id::FirewallDropsIgmp, format!("{dropped}, and {}.", suspects.clause()))
        .concerning(&name, interest.group)
        .evidence(EvidenceKind::Counter, format!("hook {}", place.1.name()), text)
        .with_all_evidence(suspects.evidence(observation))
        .with_remedies(remedies::admit_membership_protocol(interest.family(), &name, suspects.rule()))
}

fn missing_reports(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
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
        || !is_reported(interest.group.addr())
        || !observation.after.is_joined(interest.group.addr(), interest.interface)
    {
        return None;
    }
    if let Some(finding) = queriers::ignored_query_finding(observation, interest) {
        return Some(finding);
    }
    // The kernel knows better.
    if observation.dropped_reports(interest).iter().any(|drop| drop.reason != FILTERED) {
        return None;
    }
    // What has passed all hooks was not dropped by the firewall.
    let own = |source: IpAddr| source.is_unspecified() || observation.after.is_own(source);
    let last = (Layer::Ip, Hook::Postrouting);
    if observation.hooks.of_control(last, interest.family(), interest.interface, own).1 > 0 {
        return None;
    }
    let reason =
        unreported_join(observation, interest).or_else(|| unanswered_query(observation, interest))?;
    let (protocol, group, family) = (interest.protocol(), interest.group, interest.family());
    let mut suspects = dropping_control(observation, interest, ControlKind::Report);
    if suspects.is_empty() {
        suspects = dropping_control(observation, interest, ControlKind::Query);
    }
    let counters = [Counter::OutRequests, Counter::OutTransmits];
    let finding = Finding::fault(
        Id::FirewallDropsIgmp,
        format!("{group} is joined on {}, but no {protocol} report for it left the machine: a firewall drops {protocol}.", link.name()),
    )
    .concerning(link.name(), group)
    .evidence(EvidenceKind::Packet, link.name(), reason)
    .with_all_evidence(counters.into_iter().filter_map(|counter| observation.counter_change(counter, family)))
    .with_all_evidence(suspects.evidence(observation))
    .with_remedies(remedies::admit_membership_protocol(family, link.name(), suspects.rule()));
    Some(finding)
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
    let (from, until) = observation.wire.span?;
    let (group, v4) = (interest.group.addr(), interest.group.addr().is_ipv4());
    let newest = if v4 { 3 } else { 2 };
    let is_old = |query: &ControlPacket| matches!(query.message, ControlMessage::Query { version, .. } if version < newest);
    // Before IGMPv3 and MLDv2, a host that hears another member's report keeps its own back, so that one counts.
    let in_use = observation.after.igmp_versions.get(&observation.link_name(interest.interface));
    let suppresses = v4 && in_use.is_some_and(|version| *version < newest)
        || observation.wire.queries(interest.interface, v4).any(is_old);
    let reports: Vec<_> = observation
        .wire
        .control
        .iter()
        .filter(|control| control.interface == interest.interface && control.message.joins(group))
        .collect();
    let query = observation.wire.queries(interest.interface, v4).find(|query| {
        let ControlMessage::Query { group: None, response_time, .. } = query.message else {
            return false;
        };
        // A host chooses a random time within the response time. A query that is too new proves nothing yet.
        let time_allowed = response_time.saturating_add(RESPONSE_GRACE);
        let is_due = until.duration_since(query.time).is_ok_and(|ago| ago >= time_allowed);
        let is_response = |report: &&ControlPacket| {
            let delay = report.time.duration_since(query.time);
            (report.outgoing || suppresses) && delay.is_ok_and(|delay| delay <= time_allowed)
        };
        !query.outgoing && query.time >= from && is_due && !reports.iter().any(is_response)
    })?;
    Some(format!("no response to the query from {}", query.source))
}

fn reports<'a>(
    observation: &'a Observation,
    interest: &Interest<'_>,
) -> impl Iterator<Item = &'a ControlPacket> {
    let (group, interface) = (interest.group.addr(), interest.interface);
    observation.wire.control.iter().filter(move |control| {
        control.outgoing && control.interface == interface && control.message.joins(group)
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{control, membership, query, report};
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
        let report = control(time, "10.9.0.2", report("239.1.2.3"));
        observation.wire.control.push(ControlPacket { outgoing: true, ..report });
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
        observation.wire.control.push(control(time, "10.9.0.254", query(2, None)));
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
