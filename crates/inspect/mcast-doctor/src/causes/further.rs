//! Faults that hide behind others: what drops a flow as soon as the first fault is gone.
//!
//! A datagram that is dropped early leaves no trace in the counters of the filters behind. Where those filters are known, they
//! are evaluated for a datagram of the flow.

use std::collections::BTreeSet;

use super::{firewall_drops_data, reverse_path_filter};
use crate::observation::{Observation, explains};
use crate::wire::{Flow, FlowKey};
use crate::{Finding, Id, Severity};

/// Returns the faults behind those that were found, in the order in which they act.
pub(super) fn findings(observation: &Observation, found: &[Finding]) -> Vec<Finding> {
    let flows = observation.wire.flows.iter().filter(|flow| is_usable(observation, flow));
    let mut reported = BTreeSet::new();
    flows
        .flat_map(|flow| behind(observation, flow, found))
        .filter(|finding| {
            reported.insert((finding.id, finding.subject.interface.clone(), finding.subject.group.clone()))
        })
        .collect()
}

/// Returns whether a flow arrives and would be received if nothing were wrong.
fn is_usable(observation: &Observation, flow: &Flow) -> bool {
    let FlowKey { outgoing, source, vlan, .. } = flow.key;
    let is_valid = !source.ip().is_unspecified() && flow.sound() > 0 && flow.fragmented == 0;
    !outgoing && vlan.is_none() && is_valid && !observation.before.is_own(source.ip())
}

fn behind(observation: &Observation, flow: &Flow, found: &[Finding]) -> Vec<Finding> {
    let faults: Vec<_> = found.iter().filter(|finding| takes(observation, finding, flow)).collect();
    let has = |id: Id| faults.iter().any(|finding| finding.id == id);
    if faults.is_empty() || arrives(observation, flow) {
        return Vec::new();
    }
    let (reached, passed) = observation.hooks.at_input(&flow.key).unwrap_or_default();
    // Datagrams to the wrong port are dropped last, so that the filters before have counted what they drop.
    let is_only_last = faults.iter().all(|finding| finding.id == Id::WrongPort);
    let rise = observation.rise_of(reverse_path_filter::COUNTER).unwrap_or_default();
    let by_route = (!has(Id::ReversePathFilter) && reached == 0)
        .then(|| reverse_path_filter::ahead(observation, flow))
        .flatten()
        .filter(|_| !is_only_last || explains(rise, flow.datagrams));
    let may_be_filtered = !has(Id::FirewallDropsData) && passed == 0 && (!is_only_last || by_route.is_some());
    let by_rule = may_be_filtered.then(|| firewall_drops_data::ahead(observation, flow)).flatten();
    by_route.into_iter().chain(by_rule).collect()
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
