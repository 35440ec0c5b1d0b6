//! Switches that have forgotten a member, and networks without a querier. Snooping switches forget a member that has not
//! reported for the membership interval, and hosts report again only in response to a query.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use mcast::Family;

use super::filter_rules::{certain_drop_of_queries, dropping_control};
use super::{Cause, Check};
use crate::change::{Attribute, Change};
use crate::netfilter::ControlKind;
use crate::observation::{ExaminationTarget, Interest, Observation, RejoinOutcome, protocol};
use crate::snapshot::Link;
use crate::wire::{ControlMessage, ControlPacket, Flow};
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 4541 section 2.1.1", "RFC 9776 section 8"]).offering(|on| {
        [make_bridge_query(&on.bridge), vec![remedies::mcast::become_querier(on.name())]].concat()
    });

fn check(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let of_interests = interests.iter().filter_map(|interest| of_interest(observation, interest));
    let of_bridges = observation.after.links.iter().flat_map(of_bridge);
    of_interests.chain(of_bridges).chain(in_file(observation)).collect()
}

/// Judges a capture whose querier has stopped although hosts have reported groups.
fn in_file(observation: &Observation) -> Vec<Finding> {
    let Some((_, until)) = observation.wire.span else { return Vec::new() };
    if !matches!(observation.target, ExaminationTarget::File) {
        return Vec::new();
    }
    let places: BTreeSet<_> =
        observation.wire.control.iter().map(|packet| (packet.interface, packet.source.is_ipv4())).collect();
    let judged = places.into_iter().filter_map(|(interface, v4)| {
        let queries: Vec<_> = observation.wire.queries(interface, v4).collect();
        let last = queries.iter().max_by_key(|query| query.time)?;
        let ago = until.duration_since(last.time).ok()?;
        let has_stopped = ago >= other_querier_present(&queries)?;
        let has_members = observation.wire.control.iter().any(|packet| {
            let joins = matches!(&packet.message, ControlMessage::Report { joined, .. } if !joined.is_empty());
            (packet.interface, packet.source.is_ipv4()) == (interface, v4) && joins
        });
        let (name, protocol) = (observation.link_name(interface), if v4 { "IGMP" } else { "MLD" });
        let cause = format!(
            "The {protocol} querier {} on {name} has stopped: its last query is {} s before the end of the capture. Snooping switches forget members that are no longer queried.",
            last.source,
            ago.as_secs()
        );
        let finding = Finding::new(Id::NoQuerier, Severity::Warning, cause)
            .on_interface(&name)
            .from_source(last.source)
            .evidence(EvidenceKind::Packet, name, format!("{} queries from {}, none in the last {} s", queries.len(), last.source, ago.as_secs()))
            .advise(Tool::Network, "Restart the querier, or enable one on a switch or router of this network (on switches often called \"IGMP snooping querier\").");
        (has_stopped && has_members).then_some(finding)
    });
    judged.collect()
}

/// Judges a bridge of this machine: it has forgotten its members, and takes a querier for present that has stopped.
fn of_bridge(link: &Link) -> Vec<Finding> {
    let Some(bridge) = link.bridge.filter(|bridge| bridge.snooping && !bridge.querier) else {
        return Vec::new();
    };
    let stopped = [Family::V4, Family::V6].into_iter().filter_map(|family| {
        let querier = bridge.other_querier(family)?;
        let silence = bridge.querier_interval.saturating_sub(querier.remaining);
        let is_forgotten = !bridge.membership_interval.is_zero() && silence >= bridge.membership_interval;
        is_forgotten.then_some((family, querier, silence))
    });
    stopped
        .map(|(family, querier, silence)| {
            let protocol = protocol(family);
            let name = link.name();
            let cause = format!(
                "{name} no longer forwards groups to members: the {protocol} querier {} sent its last query {} s ago, and {name} forgets members after {} s. It floods groups again in {} s.",
                querier.address,
                silence.as_secs(),
                bridge.membership_interval.as_secs(),
                querier.remaining.as_secs()
            );
            let timer = format!("other querier {}, {} s left", querier.address, querier.remaining.as_secs());
            Finding::fault(Id::NoQuerier, cause)
                .on_interface(name)
                .evidence(EvidenceKind::Table, format!("ip -d link show {name}"), timer)
                .evidence(EvidenceKind::Setting, format!("{name} mcast_querier"), 0)
                .with_remedies(make_bridge_query(link))
                .advise(Tool::Network, format!("Or restart the querier {}.", querier.address))
        })
        .collect()
}

/// Makes a bridge the querier.
fn make_bridge_query(bridge: &Link) -> Vec<Remedy> {
    let name = bridge.name();
    let scope = format!("every host behind {name}: it sends queries, and hosts answer them");
    let scope = RemedyScope::new(scope);
    let now = Change::interface(name, Attribute::Bridge("mcast_querier".into()), 1);
    let now = Remedy::now_changing(Tool::Ip, now);
    remedies::with_networkd(now.with_scope(scope), bridge, "querier", "[Bridge]\nMulticastQuerier=yes\n")
}

fn of_interest(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let link = observation.link(interest.interface)?;
    let listened = observation.listened();
    let silence = Silence::of(observation, interest)?;
    let rejoin = observation.rejoin(interest);
    let flows = observation.arrivals(interest);
    if is_forgotten(observation, interest) && silence.last.is_none() {
        // A shorter silence does not show that there is no querier: see `membership_forgotten`.
        return silence.is_conclusive.then(|| without_querier(observation, interest));
    }
    if link.interface.loopback
        || !silence.is_conclusive
        || !observation.wire.is_complete(interest.interface)
        || !is_snooped(interest)
    {
        return None;
    }
    let (_, until) = observation.wire.span?;
    let stopped = flows.iter().find(|flow| flow.has_stopped(until));
    let finding = match (stopped, rejoin) {
        // Otherwise, the stream would have come back after rejoining.
        (Some(_), Some(RejoinOutcome::StayedSilent)) => return None,
        (Some(flow), rejoin) => {
            let silent_for = silence.last.map_or(listened, |(_, ago)| ago);
            stopped_stream(observation, interest, flow, silent_for, rejoin.is_some())
        }
        // A stream that still arrives does not depend on a querier.
        (None, _) if !flows.is_empty() => return None,
        (None, _) => Finding::warning(
            Id::NoQuerier,
            format!(
                "{} A snooping switch would have forgotten this membership.",
                silence.sentence(link.name())
            ),
        ),
    };
    let protocol = interest.protocol();
    let since = silence.last.map_or(listened, |(_, ago)| ago);
    let finding = finding.evidence(
        EvidenceKind::Packet,
        link.name(),
        format!("no {protocol} query in {} s", since.as_secs()),
    );
    Some(with_remedies(finding, link.name(), interest))
}

fn with_remedies(finding: Finding, interface: &str, interest: &Interest<'_>) -> Finding {
    finding
        .concerning(interface, interest.destination())
        .advise(Tool::Network, "Enable the querier on a switch or router of this network (on switches often called \"IGMP snooping querier\").").advise(Tool::Network, "On a Linux bridge, run `ip link set BRIDGE type bridge mcast_querier 1`.").with_remedies([remedies::mcast::become_querier(interface)])
}

/// Returns whether a group that a program had joined before arrived only when the doctor reported it again.
pub(super) fn is_forgotten(observation: &Observation, interest: &Interest<'_>) -> bool {
    observation.rejoin(interest) == Some(RejoinOutcome::CameBack) && observation.arrivals(interest).is_empty()
}

/// Judges a forgotten membership after a silence longer than the interval of queriers.
fn without_querier(observation: &Observation, interest: &Interest<'_>) -> Finding {
    let interface = observation.link_name(interest.interface);
    let cause = format!(
        "{}: a switch had forgotten this membership, and no querier has sent a query for {} s.",
        forgotten_clause(observation, interest),
        observation.listened().as_secs()
    );
    let finding = Finding::fault(Id::NoQuerier, cause);
    with_remedies(with_forgotten_evidence(finding, observation, interest), &interface, interest)
}

fn forgotten_clause(observation: &Observation, interest: &Interest<'_>) -> String {
    format!(
        "Nothing for {} reached {}, although a program has joined it, until the doctor sent an {} report for it",
        interest.destination(),
        observation.link_name(interest.interface),
        interest.protocol()
    )
}

/// Adds what was observed of a forgotten membership.
pub(super) fn with_forgotten_evidence(
    finding: Finding,
    observation: &Observation,
    interest: &Interest<'_>,
) -> Finding {
    let (protocol, to) = (interest.protocol(), interest.destination());
    let seconds = observation.listened().as_secs_f64();
    let silence = format!("no datagram to {to} and no {protocol} query in {seconds:.1} s");
    finding.evidence(EvidenceKind::Packet, observation.link_name(interest.interface), silence).evidence(
        EvidenceKind::Answer,
        format!("{protocol} report"),
        format!("datagrams to {to} arrived"),
    )
}

/// A switch does not know a membership, and it is open why: no query came while the doctor listened, which was shorter than the
/// interval between two queries.
pub(super) const MEMBERSHIP_FORGOTTEN: Cause = Cause::new(
    Check::Interest(membership_forgotten),
    &["RFC 4541 section 2.1.1", "RFC 9776 sections 4 and 8"],
);

fn membership_forgotten(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let silence = Silence::of(observation, interest)?;
    if !is_forgotten(observation, interest)
        || silence.last.is_some()
        || silence.is_conclusive
        || certain_drop_of_queries(observation, interest).is_some()
    {
        return None;
    }
    let (interface, protocol) = (observation.link_name(interest.interface), interest.protocol());
    let cause = format!(
        "{}: a switch did not know this membership. Whether it had forgotten it, for lack of a querier, or never received the first report, is open: no {protocol} query came in {:.0} s, and queriers send one every {} s.",
        forgotten_clause(observation, interest),
        observation.listened().as_secs_f64(),
        observation.options.query_interval.as_secs()
    );
    let seconds = observation.options.querier_timeout().as_secs();
    let finding =
        Finding::fault(Id::MembershipForgotten, cause).concerning(&interface, interest.destination());
    let finding = with_forgotten_evidence(finding, observation, interest)
        .with_all_evidence(known_queries(observation, interest))
        .with_all_evidence(dropping_control(observation, interest, ControlKind::Query).evidence(observation))
        .with_remedies([remedies::mcast::watch_queriers(&interface)])
        .advise(Tool::Network, format!("If no query comes in {seconds} s, enable the querier on a switch or router of this network (on switches often called \"IGMP snooping querier\")."))
        .advise(Tool::Network, "If queries come, the first report was lost: the link or a port of a spanning tree was not up yet when the program joined. Or the switch forgets members sooner than the querier asks again: compare its membership timeout with the query interval.")
        .advise(Tool::Program, "Until then, let the program leave the group and join it again, or restart it: each join sends a report.");
    Some(finding)
}

/// Returns what the machine knows of queries from before the doctor listened.
fn known_queries(observation: &Observation, interest: &Interest<'_>) -> Vec<Evidence> {
    let family = interest.family();
    let counted = observation.after.counters.value(MLD_QUERIES).filter(|_| family == Family::V6);
    let counted = counted.map(|queries| {
        Evidence::new(EvidenceKind::Counter, MLD_QUERIES, format!("{queries} since boot, on all interfaces"))
    });
    let link = observation.link(interest.interface);
    let bridge = link.and_then(|link| Some((link.name(), link.bridge?.other_querier(family)?)));
    let bridge = bridge.map(|(name, querier)| {
        let text = format!("other querier {}, {} s left", querier.address, querier.remaining.as_secs());
        Evidence::new(EvidenceKind::Table, format!("ip -d link show {name}"), text)
    });
    counted.into_iter().chain(bridge).collect()
}

/// The counter of the MLD queries that the system processed.
const MLD_QUERIES: &str = "Icmp6InGroupMembQueries";

/// How long no query has arrived.
struct Silence {
    /// The latest querier, and how long ago it sent a query.
    last: Option<(IpAddr, Duration)>,
    /// Whether a querier would have sent one meanwhile.
    is_conclusive: bool,
}

impl Silence {
    fn of(observation: &Observation, interest: &Interest<'_>) -> Option<Self> {
        let (_, until) = observation.wire.span?;
        let v4 = interest.group.addr().is_ipv4();
        let queries: Vec<_> = observation.wire.queries(interest.interface, v4).collect();
        let Some(last) = queries.iter().max_by_key(|query| query.time) else {
            let is_conclusive = observation.listened() >= observation.options.querier_timeout();
            return Some(Self { last: None, is_conclusive });
        };
        let ago = until.duration_since(last.time).unwrap_or_default();
        let present = other_querier_present(&queries).unwrap_or(observation.options.membership_interval);
        Some(Self { last: Some((last.source, ago)), is_conclusive: ago >= present })
    }

    fn sentence(&self, interface: &str) -> String {
        match self.last {
            Some((querier, ago)) => format!(
                "The querier {querier} on {interface} has stopped: its last query came {} s ago.",
                ago.as_secs()
            ),
            None => format!("No querier on {interface} sent a query."),
        }
    }
}

/// Returns how long a querier may be silent before others take it for gone: twice its interval and the response time
/// (RFC 9776 section 8.5, rounded up). The interval is what the queries state, or what five of them show.
fn other_querier_present(queries: &[&ControlPacket]) -> Option<Duration> {
    const ENOUGH: usize = 5;
    let last = queries.iter().max_by_key(|query| query.time)?;
    let ControlMessage::Query { interval, response_time, .. } = last.message else { return None };
    let stated = interval.filter(|interval| !interval.is_zero());
    let between = |pair: &[&ControlPacket]| pair.last()?.time.duration_since(pair.first()?.time).ok();
    let longest = || queries.windows(2).filter_map(between).max();
    let interval = stated.or_else(|| (queries.len() >= ENOUGH).then(longest)?)?;
    interval.checked_mul(2)?.checked_add(response_time)
}

fn stopped_stream(
    observation: &Observation,
    interest: &Interest<'_>,
    flow: &Flow,
    silent_for: Duration,
    came_back: bool,
) -> Finding {
    let duration = flow
        .last
        .duration_since(last_report(observation, interest).unwrap_or(flow.first))
        .unwrap_or_default();
    let (to, seconds, silent_for) = (interest.destination(), duration.as_secs(), silent_for.as_secs());
    let (severity, cause) = match came_back {
        true => (
            Severity::Fault,
            format!(
                "{to} stopped {seconds} s after the last report for it, no querier has sent a query for {silent_for} s, and the stream came back after rejoining: the switch had forgotten this membership."
            ),
        ),
        false => (
            Severity::Warning,
            format!(
                "{to} stopped {seconds} s after the last report for it, and no querier has sent a query for {silent_for} s: either the switch has forgotten this membership, or the sender has stopped. Rejoining would show which."
            ),
        ),
    };
    let evidence = Evidence::new(
        EvidenceKind::Packet,
        observation.link_name(interest.interface),
        format!("{} datagrams, then none", flow.datagrams),
    );
    Finding::new(Id::NoQuerier, severity, cause).from_source(flow.key.source).with_evidence(evidence)
}

fn last_report(observation: &Observation, interest: &Interest<'_>) -> Option<std::time::SystemTime> {
    let own = observation.wire.control.iter().filter(|control| {
        control.outgoing
            && control.interface == interest.interface
            && control.message.joins(interest.group.addr())
    });
    own.map(|control| control.time).max()
}

/// Returns whether switches snoop the group. They flood link-local groups (RFC 4541 section 2.1.2).
fn is_snooped(interest: &Interest<'_>) -> bool {
    !interest.group.scope().stays_on_link()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, control, flow, membership, query, ruleset, severities};
    use super::*;
    use crate::netfilter::{Hook, RuleEffect, Ruleset};
    use crate::snapshot::{Bridge, OtherQuerier};

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn stopped_stream_is_a_fault_only_if_rejoining_brings_it_back() {
        let outcome = |rejoin| {
            let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 10);
            let (from, _) = observation.wire.span.unwrap();
            observation.wire.span = Some((from, from + Duration::from_secs(275)));
            observation.trial_mut().rejoin = rejoin;
            severities(&CAUSE, &observation)
        };
        assert_eq!(outcome(Some(RejoinOutcome::CameBack)), [Severity::Fault]);
        assert_eq!(outcome(Some(RejoinOutcome::StayedSilent)), []);
        assert_eq!(outcome(None), [Severity::Warning]);
    }

    /// Returns the ids of what is found after listening for this time to a group that comes back when it is reported again.
    fn found_when_it_came_back(to: &str, seconds: u64, ruleset: Ruleset) -> Vec<Id> {
        let mut observation = membership(to, Vec::new(), 0);
        let (from, _) = observation.wire.span.unwrap();
        observation.wire.span = Some((from, from + Duration::from_secs(seconds)));
        observation.trial_mut().rejoin = Some(RejoinOutcome::CameBack);
        observation.after.ruleset = ruleset;
        super::super::judge(&observation).iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn short_silence_does_not_show_that_there_is_no_querier() {
        let found = |seconds| found_when_it_came_back(TO, seconds, Ruleset::default());
        assert_eq!((found(5), found(275)), (vec![Id::MembershipForgotten], vec![Id::NoQuerier]));
        let v6 = found_when_it_came_back("[ff15::1234]:5000", 5, Ruleset::default());
        assert!(v6.contains(&Id::MembershipForgotten) && !v6.contains(&Id::NoQuerier), "{v6:?}");
    }

    #[test]
    fn rule_that_drops_queries_is_the_reason_why_a_membership_is_forgotten() {
        let found = |effect| found_when_it_came_back(TO, 5, ruleset(Hook::Input, effect, None));
        assert_eq!(found(RuleEffect::Drop), [Id::FirewallDropsIgmp]);
        assert_eq!(found(RuleEffect::Rewrite), [Id::MembershipForgotten]);
    }

    #[test]
    fn bridge_that_waits_for_a_stopped_querier_has_forgotten_its_members() {
        let finds = |seconds_left, querier| {
            let other = OtherQuerier {
                address: "10.9.0.254".parse().unwrap(),
                port: None,
                remaining: Duration::from_secs(seconds_left),
            };
            let mut observation =
                Observation { after: super::super::fixtures::machine(), ..Observation::default() };
            observation.after.links[1].bridge = Some(Bridge {
                snooping: true,
                querier,
                membership_interval: Duration::from_secs(10),
                querier_interval: Duration::from_secs(255),
                other_querier_v4: Some(other),
                ..Bridge::default()
            });
            CAUSE.judge(&observation).len()
        };
        assert_eq!((finds(246, false), finds(245, false), finds(200, true)), (0, 1, 0));
    }

    #[test]
    fn querier_that_has_stopped_is_reported_after_its_own_interval() {
        let outcome = |interval, silence| {
            let mut observation = membership(TO, Vec::new(), 0);
            let (start, _) = observation.wire.span.unwrap();
            let query = query(3, Some(Duration::from_secs(interval)));
            observation.wire.control.push(control(start, "10.9.0.254", query));
            observation.wire.span = Some((start, start + Duration::from_secs(silence)));
            CAUSE.judge(&observation).iter().map(|finding| finding.cause.clone()).collect::<Vec<_>>()
        };
        assert_eq!(outcome(125, 200), Vec::<String>::new());
        assert_eq!(outcome(5, 19), Vec::<String>::new());
        assert!(outcome(5, 20)[0].contains("10.9.0.254 on eth0 has stopped: its last query came 20 s ago"));
    }
}
