//! The network has no querier. Snooping switches forget a member that has not reported for the membership
//! interval, and hosts report again only in response to a query.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use mcast::Family;

use super::{Cause, Check};
use crate::change::{Attribute, Change};
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
            "The {protocol} querier {} on {name} has stopped: its last query is {} s before the end of the capture. Snooping switches forget members that it no longer asks.",
            last.source,
            ago.as_secs()
        );
        let finding = Finding::new(Id::NoQuerier, Severity::Warning, cause)
            .on_interface(&name)
            .from_source(last.source)
            .with_evidence(Evidence::new(EvidenceKind::Packet, name, format!("{} queries from {}, none in the last {} s", queries.len(), last.source, ago.as_secs())))
            .with_remedies([Remedy::advice(Tool::Network, "Restart the querier, or enable one on a switch or router of this network (on switches often called \"IGMP snooping querier\").")]);
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
                "{name} forwards groups to no member: the {protocol} querier {} sent its last query {} s ago, and {name} forgets members after {} s. It floods groups again in {} s.",
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
    if flows.is_empty() && rejoin == Some(RejoinOutcome::CameBack) && silence.last.is_none() {
        return Some(forgotten(observation, interest));
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
        // The sender has stopped; otherwise the stream would have come back after rejoining.
        (Some(_), Some(RejoinOutcome::StayedSilent)) => return None,
        (Some(flow), rejoin) => stopped_stream(observation, interest, flow, rejoin.is_some()),
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
        .on_interface(interface)
        .for_group(interest.destination())
        .advise(Tool::Network, "Enable the querier on a switch or router of this network (on switches often called \"IGMP snooping querier\").").advise(Tool::Network, "On a Linux bridge, run `ip link set BRIDGE type bridge mcast_querier 1`.").with_remedies([remedies::mcast::become_querier(interface)])
}

/// Judges a group that a program had joined before, and that arrived only when the doctor reported it again.
fn forgotten(observation: &Observation, interest: &Interest<'_>) -> Finding {
    let (interface, to) = (observation.link_name(interest.interface), interest.destination());
    let protocol = interest.protocol();
    let cause = format!(
        "Nothing for {to} reached {interface}, although a program has joined it, until the doctor sent an {protocol} report for it: a switch had forgotten this membership, and there is no querier that would have renewed it."
    );
    let seconds = observation.listened().as_secs_f64();
    let finding = Finding::fault(Id::NoQuerier, cause)
        .evidence(
            EvidenceKind::Packet,
            &interface,
            format!("no datagram to {to} and no {protocol} query in {seconds:.1} s"),
        )
        .evidence(EvidenceKind::Answer, format!("{protocol} report"), format!("datagrams to {to} arrived"));
    with_remedies(finding, &interface, interest)
}

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
    came_back: bool,
) -> Finding {
    let duration = flow
        .last
        .duration_since(last_report(observation, interest).unwrap_or(flow.first))
        .unwrap_or_default();
    let (to, seconds) = (interest.destination(), duration.as_secs());
    let (severity, cause) = match came_back {
        true => (
            Severity::Fault,
            format!(
                "{to} stopped {seconds} s after the last report for it, there is no querier, and the stream came back after rejoining: the switch had forgotten this membership."
            ),
        ),
        false => (
            Severity::Warning,
            format!(
                "{to} stopped {seconds} s after the last report for it, and there is no querier: either the switch has forgotten this membership, or the sender has stopped. Rejoining would show which."
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
    use super::super::fixtures::{ETH0, control, flow, membership, query, severities};
    use super::*;
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
