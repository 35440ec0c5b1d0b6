//! The network has no querier. Snooping switches forget a member that has not reported for the membership
//! interval, and hosts report again only in response to a query.

use super::{Cause, Check};
use crate::observation::{Interest, Observation, RejoinOutcome};
use crate::wire::{ControlMessage, Flow};
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Interest(check), &["RFC 4541 section 2.1.1", "RFC 9776 section 8"]);

fn check(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let link = observation.link(interest.interface)?;
    let listened = observation.listened();
    let has_querier =
        observation.wire.queries(interest.interface, interest.group.addr().is_ipv4()).next().is_some();
    let timeout = observation.options.querier_timeout();
    if link.interface.loopback
        || has_querier
        || listened < timeout
        || !observation.wire.is_complete(interest.interface)
        || !is_snooped(interest)
    {
        return None;
    }
    let flows = observation.arrivals(interest);
    let (_, until) = observation.wire.span?;
    let stopped = flows.iter().find(|flow| flow.has_stopped(until));
    let finding = match (stopped, observation.trial().and_then(|trial| trial.rejoin)) {
        // The sender has stopped; otherwise the stream would have come back after rejoining.
        (Some(_), Some(RejoinOutcome::StayedSilent)) => return None,
        (Some(flow), rejoin) => stopped_stream(observation, interest, flow, rejoin.is_some()),
        // A stream that still arrives does not depend on a querier.
        (None, _) if !flows.is_empty() => return None,
        (None, _) => Finding::new(
            Id::NoQuerier,
            Severity::Warning,
            format!(
                "No querier on {} sent a query in {} s: a snooping switch would have forgotten this membership.",
                link.name(),
                listened.as_secs()
            ),
        ),
    };
    let protocol = interest.protocol();
    Some(
        finding
            .on_interface(link.name())
            .for_group(interest.destination())
            .with_evidence(Evidence::new(EvidenceKind::Packet, link.name(), format!("no {protocol} query in {} s", listened.as_secs())))
            .with_remedies([
                Remedy::advice(Tool::Network, "Enable the querier on a switch or router of this network (on switches often called \"IGMP snooping querier\")."),
                Remedy::advice(Tool::Network, "On a Linux bridge, run `ip link set BRIDGE type bridge mcast_querier 1`."),
                remedies::mcast::become_querier(link.name()),
            ]),
    )
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
    let reports_group = |message: &ControlMessage| matches!(message, ControlMessage::Report { joined: groups, .. } if groups.contains(&interest.group.addr()));
    let own = observation.wire.control.iter().filter(|control| {
        control.outgoing && control.interface == interest.interface && reports_group(&control.message)
    });
    own.map(|control| control.time).max()
}

/// Returns whether switches snoop the group. They flood link-local groups (RFC 4541 section 2.1.2).
fn is_snooped(interest: &Interest<'_>) -> bool {
    !interest.group.scope().stays_on_link()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixtures::{ETH0, flow, membership};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn stopped_stream_is_a_fault_only_if_rejoining_brings_it_back() {
        let outcome = |rejoin| {
            let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 10);
            let (from, _) = observation.wire.span.unwrap();
            observation.wire.span = Some((from, from + Duration::from_secs(275)));
            observation.trial_mut().rejoin = rejoin;
            CAUSE.judge(&observation).iter().map(|finding| finding.severity).collect::<Vec<_>>()
        };
        assert_eq!(outcome(Some(RejoinOutcome::CameBack)), [Severity::Fault]);
        assert_eq!(outcome(Some(RejoinOutcome::StayedSilent)), []);
        assert_eq!(outcome(None), [Severity::Warning]);
    }
}
