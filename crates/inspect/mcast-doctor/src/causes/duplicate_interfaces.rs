//! The group is joined on two interfaces of one network, so every datagram arrives twice.

use std::collections::BTreeSet;

use super::{Cause, Check};
use crate::observation::{Interest, Observation};
use crate::wire::Flow;
use crate::{EvidenceKind, Finding, Id, Severity, Tool, remedies};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &[]).without_loss();

fn check(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let mut reported = BTreeSet::new();
    let mut findings = Vec::new();
    for (position, one) in interests.iter().enumerate() {
        for other in &interests[position + 1..] {
            let same = one.address() == other.address() && one.interface != other.interface;
            if same
                && same_socket(one, other)
                && let Some((first, second)) = twice(observation, one, other)
                && reported.insert((first.key.source, one.destination()))
            {
                findings.push(finding(observation, first, second));
            }
        }
    }
    findings
}

fn same_socket(one: &Interest<'_>, other: &Interest<'_>) -> bool {
    one.socket.map(|socket| socket.inode) == other.socket.map(|socket| socket.inode)
}

/// Returns two flows from one source that carry the same datagrams on both interfaces.
fn twice<'a>(
    observation: &'a Observation,
    one: &Interest<'_>,
    other: &Interest<'_>,
) -> Option<(&'a Flow, &'a Flow)> {
    let seconds = observation.expected(other);
    observation.expected(one).into_iter().find_map(|first| {
        let second = seconds.iter().find(|second| second.key.source == first.key.source)?;
        let common = first.payloads.intersection(&second.payloads).count();
        (common * 2 >= first.payloads.len().min(second.payloads.len())).then_some((first, *second))
    })
}

fn finding(observation: &Observation, first: &Flow, second: &Flow) -> Finding {
    let (one, other) =
        (observation.link_name(first.key.interface), observation.link_name(second.key.interface));
    let (source, to) = (first.key.source, first.destination());
    let count = |flow: &Flow| format!("{} datagrams from {source} to {to}", flow.datagrams);
    let (severity, cause) = match observation
        .trial()
        .is_some_and(|trial| trial.membership.interface.is_none())
    {
        // The doctor itself joined on both, because no interface was named.
        true => (
            Severity::Note,
            format!(
                "{one} and {other} are in the same network: a program that joins {to} on both receives each datagram twice."
            ),
        ),
        false => (
            Severity::Fault,
            format!(
                "{to} is joined on {one} and on {other}, which are in the same network: each datagram arrives twice."
            ),
        ),
    };
    Finding::new(Id::DuplicateInterfaces, severity, cause)
        .on_interface(&other)
        .for_group(to)
        .from_source(source)
        .evidence(EvidenceKind::Packet, &one, count(first))
        .evidence(EvidenceKind::Packet, &other, count(second))
        .advise(
            Tool::Program,
            format!(
                "Join on only one of them, by its index: {} or {}.",
                first.key.interface, second.key.interface
            ),
        )
        .with_remedies([remedies::mcast::recv_on(to, &one)])
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, ETH1, flow, membership};
    use super::*;
    use mcast::InterfaceSelector;

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn doctors_own_join_on_all_interfaces_is_only_a_note() {
        let severity = |interface: Option<InterfaceSelector>| {
            let flows = vec![flow(ETH0, "10.9.0.1:6000", TO), flow(ETH1, "10.9.0.1:6000", TO)];
            let mut observation = membership(TO, flows, 10);
            let trial = observation.trial_mut();
            trial.joined = vec![ETH0, ETH1];
            trial.membership.interface = interface;
            check(&observation)[0].severity
        };
        assert_eq!(
            (severity(None), severity(Some(InterfaceSelector::All))),
            (Severity::Note, Severity::Fault)
        );
    }
}
