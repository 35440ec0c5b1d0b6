//! In a capture, hosts report that they are members of a group, and no datagram to it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast::{Group, InterfaceIndex};

use super::{Cause, Check, sent_to_another_group};
use crate::finding::list;
use crate::observation::{ExaminationTarget, Observation};
use crate::wire::{ControlMessage, Tagging};
use crate::{EvidenceKind, Finding, Id, Severity, Tool};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 9776 section 4", "RFC 4541 section 2.1.1"]).without_loss();

/// The reports for a group in one VLAN of one interface.
struct Membership {
    first: SystemTime,
    hosts: BTreeSet<IpAddr>,
}

type Key = (Group, InterfaceIndex, Option<Tagging>);

fn check(observation: &Observation) -> Vec<Finding> {
    if !matches!(observation.target, ExaminationTarget::File) {
        return Vec::new();
    }
    let memberships = memberships(observation);
    memberships.iter().filter_map(|(key, membership)| judge(observation, *key, membership)).collect()
}

/// Returns the memberships at the end of the capture.
fn memberships(observation: &Observation) -> BTreeMap<Key, Membership> {
    let mut memberships = BTreeMap::<Key, Membership>::new();
    for packet in &observation.wire.control {
        let ControlMessage::Report { joined, left, .. } = &packet.message else { continue };
        let key = |group: &IpAddr| Some((Group::new(*group).ok()?, packet.interface, packet.vlan));
        for key in joined.iter().filter_map(key) {
            let new = || Membership { first: packet.time, hosts: BTreeSet::new() };
            memberships.entry(key).or_insert_with(new).hosts.insert(packet.source);
        }
        for key in left.iter().filter_map(key) {
            if let Some(membership) = memberships.get_mut(&key) {
                membership.hosts.remove(&packet.source);
            }
        }
    }
    memberships.retain(|_, membership| !membership.hosts.is_empty());
    memberships
}

fn judge(observation: &Observation, key: Key, membership: &Membership) -> Option<Finding> {
    /// A shorter capture proves nothing.
    const AT_LEAST: Duration = Duration::from_secs(2);
    let (group, interface, vlan) = key;
    let (_, until) = observation.wire.span?;
    let silence = until.duration_since(membership.first).ok().filter(|silence| *silence >= AT_LEAST)?;
    let mut flows = observation.wire.flows.iter();
    let arrives = flows.any(|flow| {
        flow.key.group == group.addr() && flow.key.interface == interface && flow.key.vlan == vlan
    });
    // Many well-known protocols are silent until queried.
    if arrives || group.scope().stays_on_link() || group.name().is_some() {
        return None;
    }
    let name = observation.link_name(interface);
    let hosts = list(membership.hosts.iter().take(3));
    let elsewhere = observation.wire.flows.iter().find(|flow| flow.key.group == group.addr());
    let similar = observation.wire.flows.iter().find(|flow| {
        flow.key.interface == interface
            && sent_to_another_group::similarity(group.addr(), flow.key.group).is_some()
    });
    let seconds = silence.as_secs_f64();
    let (severity, cause) = match elsewhere {
        Some(flow) if flow.key.vlan != vlan => (
            Severity::Fault,
            format!(
                "{hosts} joined {group} {}, but its datagrams are {}.",
                in_vlan(vlan),
                in_vlan(flow.key.vlan)
            ),
        ),
        _ => (
            Severity::Warning,
            format!(
                "{hosts} joined {group}, and the capture shows no datagram to it in the {seconds:.1} s after that."
            ),
        ),
    };
    let finding = Finding::new(Id::MembersGetNothing, severity, cause)
        .on_interface(&name)
        .for_group(group)
        .evidence(EvidenceKind::Packet, &name, format!("reports for {group} from {hosts}, {}", in_vlan(vlan)))
        .with_all_evidence(elsewhere.or(similar).map(|flow| observation.packets_of(flow)))
        .advise(Tool::Network, format!("If {group} is being sent, it is lost before the place of this capture: make the next one on the other side of the switch or router, towards the sender.")).advise(Tool::Network, "If the capture was made on a port that does not lead to these hosts (a router port, for instance), datagrams need not appear in it.");
    Some(finding)
}

fn in_vlan(vlan: Option<Tagging>) -> String {
    vlan.map_or_else(|| "without a VLAN tag".to_owned(), |tagging| format!("in VLAN {}", tagging.id))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, ETH0, control, flow, membership};
    use super::*;
    use crate::wire::ControlPacket;

    /// Returns the severities for a capture in which a host reports this group.
    fn severities(group: &str, change: impl FnOnce(&mut Observation)) -> Vec<Severity> {
        let mut observation = membership("239.1.2.3:5000", Vec::new(), 0);
        observation.target = ExaminationTarget::File;
        let (start, _) = observation.wire.span.unwrap();
        observation.wire.span = Some((start, start + Duration::from_secs(5)));
        observation.wire.control.push(report(start, vec![group.parse().unwrap()], Vec::new()));
        change(&mut observation);
        fixtures::severities(&CAUSE, &observation)
    }

    fn report(time: SystemTime, joined: Vec<IpAddr>, left: Vec<IpAddr>) -> ControlPacket {
        control(time, "10.9.0.2", ControlMessage::Report { version: 3, joined, left, sources: Vec::new() })
    }

    #[test]
    fn member_without_datagrams_is_a_warning() {
        assert_eq!(severities("239.61.7.7", |_| {}), [Severity::Warning]);
        let arriving = |observation: &mut Observation| {
            observation.wire.flows = vec![flow(ETH0, "10.9.0.1:6000", "239.61.7.7:5000")];
        };
        assert_eq!(severities("239.61.7.7", arriving), []);
        let short = |observation: &mut Observation| {
            let (start, _) = observation.wire.span.unwrap();
            observation.wire.span = Some((start, start + Duration::from_secs(1)));
        };
        assert_eq!(severities("239.61.7.7", short), []);
        let leaving = |observation: &mut Observation| {
            let (start, _) = observation.wire.span.unwrap();
            let group = "239.61.7.7".parse().unwrap();
            observation.wire.control.push(report(start + Duration::from_secs(1), Vec::new(), vec![group]));
        };
        assert_eq!(severities("239.61.7.7", leaving), []);
    }

    #[test]
    fn silent_protocols_are_not_reported() {
        for group in ["224.0.0.251", "239.255.255.250"] {
            assert_eq!(severities(group, |_| {}), [], "{group}");
        }
    }

    #[test]
    fn datagrams_in_another_vlan_are_a_fault() {
        let tagged = |observation: &mut Observation| {
            let mut flow = flow(ETH0, "10.9.0.1:6000", "239.61.7.7:5000");
            flow.key.vlan = Some(Tagging { id: 42, protocol: 0x8100, inner: None });
            observation.wire.flows = vec![flow];
        };
        assert_eq!(severities("239.61.7.7", tagged), [Severity::Fault]);
    }
}
