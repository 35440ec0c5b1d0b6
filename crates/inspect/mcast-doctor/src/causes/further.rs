//! Faults that hide behind others: what drops a flow as soon as the first fault is gone.
//!
//! A datagram that is dropped early leaves no trace in the counters of what is behind. Where that is known, it is evaluated for
//! a datagram of the flow: its frame, its source, the filters, its checksum, and the options of the socket.

use std::collections::BTreeSet;

use super::{
    Check, bad_checksum, firewall_drops_data, frames_to_another_host, reverse_path_filter, source_is_local,
    source_zero, tc_drops,
};
use crate::acceptance::{Blocked, Refusal};
use crate::observation::{Observation, explains};
use crate::wire::Flow;
use crate::{Finding, Id, Severity};

/// Returns the faults behind those that were found, in the order in which they act.
pub(super) fn findings(observation: &Observation, found: &[Finding]) -> Vec<Finding> {
    let flows = observation.wire.flows.iter().filter(|flow| is_usable(flow));
    let mut reported = BTreeSet::new();
    flows
        .flat_map(|flow| behind(observation, flow, found))
        .filter(|finding| {
            reported.insert((finding.id, finding.subject.interface.clone(), finding.subject.group.clone()))
        })
        .collect()
}

/// Returns whether a flow arrives in whole datagrams.
fn is_usable(flow: &Flow) -> bool {
    !flow.key.outgoing && flow.fragmented == 0
}

fn behind(observation: &Observation, flow: &Flow, found: &[Finding]) -> Vec<Finding> {
    let faults: Vec<_> = found.iter().filter(|finding| takes(observation, finding, flow)).collect();
    let has = |id: Id| faults.iter().any(|finding| finding.id == id);
    if faults.is_empty() || arrives(observation, flow) {
        return Vec::new();
    }
    let mut behind: Vec<_> =
        [frames_to_another_host::ahead, tc_drops::ahead, source_zero::ahead, source_is_local::ahead]
            .into_iter()
            .filter_map(|ahead| ahead(observation, flow))
            .filter(|finding| !has(finding.id))
            .collect();
    let (reached, passed) = observation.hooks.at_input(&flow.key).unwrap_or_default();
    // Datagrams to the wrong port are dropped last, so that the filters before have counted what they drop.
    let is_only_last = behind.is_empty() && faults.iter().all(|finding| finding.id == Id::WrongPort);
    let rise = observation.rise_of(reverse_path_filter::COUNTER).unwrap_or_default();
    // The interface of a VLAN has a filter of its own, and a source that the system refuses has to change.
    let has_route = flow.key.vlan.is_none() && has_usable_source(observation, flow);
    let by_route = (!has(Id::ReversePathFilter) && reached == 0 && has_route)
        .then(|| reverse_path_filter::ahead(observation, flow))
        .flatten()
        .filter(|_| !is_only_last || explains(rise, flow.datagrams));
    let may_be_filtered = !has(Id::FirewallDropsData) && passed == 0 && (!is_only_last || by_route.is_some());
    let by_rule = may_be_filtered.then(|| firewall_drops_data::ahead(observation, flow)).flatten();
    let by_checksum = bad_checksum::ahead(observation, flow).filter(|_| !has(Id::BadChecksum));
    behind.extend(by_route.into_iter().chain(by_rule).chain(by_checksum));
    behind.extend(by_socket(observation, flow).into_iter().filter(|finding| !has(finding.id)));
    behind
}

fn has_usable_source(observation: &Observation, flow: &Flow) -> bool {
    let source = flow.key.source.ip();
    !source.is_unspecified() && !observation.before.is_own(source)
}

/// Returns the findings about sockets of the examined program that would not take a flow.
fn by_socket(observation: &Observation, flow: &Flow) -> Vec<Finding> {
    if observation.program().is_none() {
        return Vec::new();
    }
    // Without a member, the program has to join.
    let is_joined = observation.before.is_joined(flow.key.group, flow.key.interface);
    let mut blocked = observation.blocked_ahead(flow);
    blocked.retain(|blocked| is_joined || blocked.refusal != Refusal::Membership);
    let judge = |blocked: &Blocked<'_>| {
        let judged = Id::ALL.iter().filter_map(|id| match id.cause().check {
            Check::Blocked(check) => check(observation, blocked),
            _ => None,
        });
        judged.collect::<Vec<_>>()
    };
    blocked.iter().flat_map(judge).collect()
}

/// Returns whether a finding keeps a flow from arriving, or would if it were expected.
fn takes(observation: &Observation, finding: &Finding, flow: &Flow) -> bool {
    let (to, group) = (flow.destination().to_string(), flow.key.group.to_string());
    let interface = observation.link_name(flow.key.interface);
    let of_group = |own: &str| {
        own.split(", ").any(|own| own == to || own == group)
            // The group arrives on another port than the one that was examined.
            || (finding.id == Id::WrongPort && own.rsplit_once(':').is_some_and(|(own, _)| own.trim_matches(['[', ']']) == group))
    };
    let has_interface =
        finding.subject.interface.as_ref().is_none_or(|own| own.split(", ").any(|own| own == interface));
    let has_group = match finding.flows.as_slice() {
        [] => finding.subject.group.as_deref().is_some_and(of_group),
        flows => flows.iter().any(|own| {
            own.destination == flow.destination()
                && own.source.is_none_or(|source| source == flow.key.source.ip())
        }),
    };
    finding.severity == Severity::Fault && finding.id.loses_datagrams() && has_interface && has_group
}

/// Returns whether datagrams of a flow are received all the same.
fn arrives(observation: &Observation, flow: &Flow) -> bool {
    let same = |status: &crate::FlowStatus| {
        status.destination == flow.destination() && status.source == Some(flow.key.source)
    };
    let mut expected = observation.expected_flows().into_iter().map(|expected| expected.status);
    expected.any(|status| same(&status) && (status.depth == crate::Depth::Arrives || status.some_arrive))
}
