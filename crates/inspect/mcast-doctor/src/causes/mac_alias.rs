//! Groups share an Ethernet address (32 IPv4 groups each), so devices and simple switches cannot distinguish them.

use mcast::Group;

use super::{Cause, Check};
use crate::observation::{Interest, Observation};
use crate::{Evidence, EvidenceKind, Finding, Id, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 1112 section 6.4"]).without_loss();

fn check(observation: &Observation) -> Vec<Finding> {
    let mut interests = observation.interests();
    interests.dedup_by_key(|interest| (interest.group, interest.interface));
    interests
        .iter()
        .flat_map(|interest| {
            alias_of_control_group(observation, interest)
                .into_iter()
                .chain(alias_of_other_group(observation, interest))
        })
        .collect()
}

/// Judges a group that shares its address with one of 224.0.0.x, which switches flood.
fn alias_of_control_group(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let control = interest.group.control_alias()?;
    Some(finding(
        observation,
        interest,
        format!(
            "{} has the same Ethernet address as {control}, so switches flood it to every port.",
            interest.group
        ),
        Evidence::new(
            EvidenceKind::Packet,
            interest.group.ethernet_address().to_string(),
            format!("{} and {control}", interest.group),
        ),
    ))
}

/// Judges a group that shares its address with another group on the wire.
fn alias_of_other_group(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let address = interest.group.ethernet_address();
    let alias = observation.wire.flows.iter().find_map(|flow| {
        let group = Group::new(flow.key.group).ok()?;
        let here = flow.key.interface == interest.interface && !flow.key.outgoing;
        let unwanted =
            group != interest.group && !observation.after.is_joined(group.addr(), interest.interface);
        (here && unwanted && group.ethernet_address() == address).then_some((group, flow))
    });
    let (group, flow) = alias?;
    Some(finding(
        observation,
        interest,
        format!(
            "{group} arrives although no program on this machine has joined it: it shares an Ethernet address with {}.",
            interest.group
        ),
        Evidence::new(
            EvidenceKind::Packet,
            observation.link_name(interest.interface),
            format!("{} datagrams from {} to {group}, {address}", flow.datagrams, flow.key.source),
        ),
    ))
}

fn finding(observation: &Observation, interest: &Interest<'_>, cause: String, evidence: Evidence) -> Finding {
    Finding::warning(Id::MacAlias, cause)
        .on_interface(observation.link_name(interest.interface))
        .for_group(interest.group)
        .with_evidence(evidence)
        .advise(
                Tool::Network,
                "Choose a group whose low 23 bits differ from those of all other groups in use. Avoid x.0.0.y and x.128.0.y.",
            ).with_remedies([remedies::mcast::pick()])
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, ETH1, flow, membership, severities};
    use super::*;
    use crate::Severity;
    use crate::snapshot::JoinedGroup;

    #[test]
    fn group_that_arrives_only_by_its_ethernet_address_is_a_warning() {
        let outcome = |interface, group: &str, is_joined: bool| {
            let other = flow(interface, "10.9.0.7:6000", &format!("{group}:5000"));
            let mut observation = membership("239.1.2.3:5000", vec![other], 0);
            if is_joined {
                let group = group.parse().unwrap();
                observation.after.joined.push(JoinedGroup { group, interface });
            }
            severities(&CAUSE, &observation)
        };
        assert_eq!(outcome(ETH0, "239.129.2.3", false), [Severity::Warning]);
        assert_eq!(outcome(ETH0, "239.129.2.3", true), [], "a program wants it");
        assert_eq!(outcome(ETH0, "239.1.2.4", false), []);
        assert_eq!(outcome(ETH1, "239.129.2.3", false), []);
    }

    #[test]
    fn group_with_the_ethernet_address_of_a_control_group_is_flooded() {
        let outcome = |group: &str| severities(&CAUSE, &membership(&format!("{group}:5000"), Vec::new(), 0));
        assert_eq!((outcome("239.128.0.5"), outcome("239.128.1.5")), (vec![Severity::Warning], vec![]));
    }
}
