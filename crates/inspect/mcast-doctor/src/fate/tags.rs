//! What flows with a VLAN tag would meet without it.

use crate::causes::frames;
use crate::observation::{ExaminationTarget, Observation};
use crate::wire::{Flow, FlowKey};
use crate::{Finding, Id, Severity};

/// Returns the faults that flows with a tag would meet without it, and the tag as the first fault, if no interface of this machine
/// is in their VLAN. They are judged as if they had no tag.
pub(crate) fn behind_tags(observation: &Observation, found: &[Finding]) -> Vec<Finding> {
    /// The faults that follow from tables and from what arrives: they are the same on an interface in the VLAN.
    const OF_TABLES: [Id; 6] = [
        Id::NotJoined,
        Id::JoinedOtherInterface,
        Id::SourceNotAdmitted,
        Id::OwnGroupsOnly,
        Id::WrongPort,
        Id::MembershipLimit,
    ];
    // On a trunk, other machines have the groups of all VLANs.
    let is_trunk = |key: &FlowKey| {
        let mut links = observation.after.links.iter();
        links.any(|link| link.lower == Some(key.interface) && link.is_vlan())
    };
    let is_tagged = |flow: &Flow| {
        let mut same = observation.wire.incoming(flow.key.group);
        let has_tag = |flow: &Flow| flow.key.vlan.is_some_and(|tagging| tagging.id != 0);
        !flow.key.outgoing && has_tag(flow) && !is_trunk(&flow.key) && same.all(has_tag)
    };
    let tagged: Vec<_> = observation.wire.flows.iter().filter(|flow| is_tagged(flow)).collect();
    let is_one =
        matches!(&observation.target, ExaminationTarget::Membership(_) | ExaminationTarget::Program(_));
    if tagged.is_empty() || !is_one {
        return Vec::new();
    }
    let mut untagged = observation.clone();
    let keys: Vec<_> = tagged.iter().map(|flow| &flow.key).collect();
    for flow in untagged.wire.flows.iter_mut().filter(|flow| keys.contains(&&flow.key)) {
        flow.key.vlan = None;
    }
    let judged = OF_TABLES.iter().flat_map(|id| id.judged(&untagged));
    let is_new = |finding: &Finding| {
        finding.severity == Severity::Fault
            && tagged.iter().any(|flow| names_group_of(finding, flow))
            && !found.iter().any(|own| own.id == finding.id)
    };
    let mut findings: Vec<_> = judged.filter(is_new).collect();
    let is_hidden = |flow: &&&Flow| {
        let of_tables = |finding: &Finding| {
            finding.severity == Severity::Fault
                && OF_TABLES.contains(&finding.id)
                && names_group_of(finding, flow)
        };
        findings.iter().chain(found).any(of_tables)
    };
    let first = tagged.iter().find(is_hidden).filter(|_| !found.iter().any(|own| own.id == Id::VlanTagged));
    findings.extend(first.and_then(|flow| frames::of_flow(observation, flow)));
    findings
}

fn names_group_of(finding: &Finding, flow: &Flow) -> bool {
    finding.subject.groups.iter().any(|group| group.address == flow.key.group)
}

#[cfg(test)]
mod tests {
    use mcast::{InterfaceIndex, SourceFilter};
    use mcast_packet::ether_type;

    use super::*;
    use crate::causes::fixtures::{ETH0, ETH1, flow, joined_socket, program};
    use crate::wire::Tagging;

    const TO: &str = "239.1.2.3:5000";

    fn tagged(interface: InterfaceIndex, to: &str) -> Flow {
        let mut flow = flow(interface, "10.9.0.1:6000", to);
        flow.key.vlan = Some(Tagging { id: 7, protocol: ether_type::VLAN, inner: None });
        flow
    }

    /// A program that has the port open and joined nothing.
    fn not_joined(flows: Vec<Flow>) -> Observation {
        let mut socket = joined_socket(ETH0, SourceFilter::ANY);
        (socket.memberships, socket.memberships_after) = (Vec::new(), Vec::new());
        let mut observation = program(vec![socket], flows);
        (observation.before.joined, observation.after.joined) = (Vec::new(), Vec::new());
        observation
    }

    fn faults(observation: &Observation) -> Vec<Id> {
        let findings = crate::causes::judge(observation);
        let faults = findings.iter().filter(|finding| finding.severity == Severity::Fault);
        faults.map(|finding| finding.id).collect()
    }

    #[test]
    fn what_is_wrong_besides_the_tag_is_named_behind_it() {
        assert_eq!(faults(&not_joined(vec![tagged(ETH0, TO)])), [Id::VlanTagged, Id::NotJoined]);
        let elsewhere = program(vec![joined_socket(ETH1, SourceFilter::ANY)], vec![tagged(ETH0, TO)]);
        assert_eq!(faults(&elsewhere), [Id::VlanTagged, Id::JoinedOtherInterface]);
        let other = SourceFilter::Include(["10.9.0.9".parse().unwrap()].into());
        let other = program(vec![joined_socket(ETH0, other)], vec![tagged(ETH0, TO)]);
        assert_eq!(faults(&other), [Id::VlanTagged, Id::SourceNotAdmitted]);
    }

    #[test]
    fn groups_of_other_vlans_accuse_nobody() {
        let mut trunk = not_joined(vec![tagged(ETH0, TO)]);
        trunk.after.links[2].lower = Some(ETH0);
        trunk.after.links[2].kind = Some("vlan".into());
        assert!(!faults(&trunk).contains(&Id::VlanTagged));
        let both = not_joined(vec![tagged(ETH0, TO), flow(ETH0, "10.9.0.1:6000", TO)]);
        assert_eq!(faults(&both), [Id::NotJoined]);
        let other_group = not_joined(vec![tagged(ETH0, "239.7.7.7:7000")]);
        assert_eq!(faults(&other_group), []);
    }
}
