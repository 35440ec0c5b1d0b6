//! The group arrives with a VLAN tag, and no interface of this machine is in that VLAN.

use std::collections::BTreeSet;

use super::{Cause, Check};
use crate::finding::list;
use crate::observation::{ExaminationTarget, Interest, Observation};
use crate::wire::{Flow, Tagging};
use crate::{EvidenceKind, Finding, Id, Remedy, RemedyScope, Tool};
use mcast_packet::ether_type;

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["IEEE 802.1Q"]).offering(|on| {
    create_vlan_interface(on.name(), Tagging { id: 7, protocol: ether_type::VLAN, inner: None })
});

fn check(observation: &Observation) -> Vec<Finding> {
    if matches!(observation.target, ExaminationTarget::File) {
        return in_file(observation);
    }
    observation.interests().iter().filter_map(|interest| judge(observation, interest)).collect()
}

/// Notes the groups that a capture shows only with a tag, which is normal on a trunk.
fn in_file(observation: &Observation) -> Vec<Finding> {
    let flows = &observation.wire.flows;
    let is_only_tagged = |flow: &Flow| {
        let mut same = flows.iter().filter(|other| other.destination() == flow.destination());
        same.all(|other| other.key.vlan.is_some_and(|tagging| tagging.id != 0))
    };
    let mut destinations = BTreeSet::new();
    let tagged = flows.iter().filter(|flow| is_only_tagged(flow) && destinations.insert(flow.destination()));
    let note = |flow: &Flow| {
        let (to, vlan, interface) =
            (flow.destination(), flow.key.vlan?.id, observation.link_name(flow.key.interface));
        let cause = format!(
            "{to} is tagged with VLAN {vlan} in the capture: a host receives it only on an interface in that VLAN, or behind a switch port that removes the tag."
        );
        let finding = Finding::note(Id::VlanTagged, cause).about_flow(&interface, flow).evidence(
            EvidenceKind::Packet,
            &interface,
            format!("{} datagrams with VLAN tag {vlan}", flow.datagrams),
        );
        Some(finding)
    };
    tagged.filter_map(note).collect()
}

fn judge(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let links = &observation.after.links;
    let joined = observation.link(interest.interface)?;
    // The frames of all VLANs arrive on the interface below.
    let wire = joined.lower.filter(|_| joined.is_vlan()).unwrap_or(interest.interface);
    let mut vlans = links.iter().filter(|link| link.lower == Some(wire) && link.is_vlan()).peekable();
    let is_trunk = vlans.peek().is_some();
    // The tap on an interface that is down does not show whether it is in the VLAN.
    if vlans.any(|link| !link.interface.up) {
        return None;
    }
    // VLAN id 0 carries only a priority, and every system removes it.
    let in_vlan = |flow: &Flow| flow.key.vlan.is_some_and(|tagging| tagging.id != 0);
    let incoming = || observation.wire.incoming(interest.group.addr());
    let is_to_port = |flow: &&Flow| flow.key.port == interest.port;
    // Without any datagram to the port, those to another one are probably meant, unless this is a trunk.
    let has_port = is_trunk || incoming().any(|flow| is_to_port(&flow));
    let tagged =
        |flow: &&Flow| flow.key.interface == wire && in_vlan(flow) && (!has_port || is_to_port(flow));
    let untagged = |flow: &Flow| {
        let source = flow.key.source.ip();
        let same = incoming().filter(move |other| other.key.source.ip() == source);
        same.filter(|other| other.key.port == interest.port && !in_vlan(other)).collect::<Vec<_>>()
    };
    // On a trunk, the native VLAN carries what another one carries, too.
    let is_copy = |flow: &Flow| {
        untagged(flow).iter().any(|other| other.key.interface != wire || is_trunk || flow.is_copy_of(other))
    };
    let flows: Vec<_> = incoming().filter(tagged).filter(|flow| !is_copy(flow)).collect();
    let flow = flows.first()?;
    let arrives = !observation.arrivals(interest).is_empty();
    // Other VLANs of a trunk may carry the same group.
    if arrives && (is_trunk || !interest.sources.admits(flow.key.source.ip())) {
        return None;
    }
    let to = interest.destination();
    let others: u64 = untagged(flow).iter().map(|other| other.datagrams).sum();
    let what = match others {
        0 if !has_port => format!("{}, not {to},", flow.destination()),
        0 => to.to_string(),
        _ => format!(
            "A part of {to} ({} of {} datagrams from {})",
            flow.datagrams,
            flow.datagrams + others,
            flow.key.source.ip()
        ),
    };
    let sources = list(flows.iter().map(|flow| flow.key.source));
    Some(finding(observation, flow, flow.key.vlan?, &what).for_group(to).from_source(sources))
}

/// Returns the finding about a flow that has only this tag, and whose group need not be joined where it arrives.
pub(super) fn of_flow(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let to = flow.destination();
    let finding = finding(observation, flow, flow.key.vlan?, &to.to_string());
    Some(finding.for_group(to).from_source(flow.key.source.to_string()))
}

fn finding(observation: &Observation, flow: &Flow, tagging: Tagging, what: &str) -> Finding {
    let (vlan, interface) = (tagging.id, observation.link_name(flow.key.interface));
    let cause = format!(
        "{what} arrives on {interface} in VLAN {vlan}, but no interface of this machine is in that VLAN."
    );
    Finding::fault(Id::VlanTagged, cause)
        .on_interface(&interface)
        .evidence(
            EvidenceKind::Packet,
            &interface,
            format!("{} datagrams with VLAN tag {vlan}", flow.datagrams),
        )
        .with_remedies(create_vlan_interface(&interface, tagging))
        .advise(Tool::Network, format!("Or configure the switch to send VLAN {vlan} to this port untagged."))
}

/// Returns the remedies that create an interface in the VLAN, give it an address, and join on it.
fn create_vlan_interface(interface: &str, tagging: Tagging) -> Vec<Remedy> {
    /// `IFNAMSIZ` without the terminating zero.
    const MAX_NAME: usize = 15;
    let Tagging { id, protocol, inner } = tagging;
    if let Some(inner) = inner {
        return vec![Remedy::advice(
            Tool::Ip,
            format!(
                "Create an interface for VLAN {id} on {interface}, and on that one an interface for VLAN {inner}. Give it an address, and join the group there."
            ),
        )];
    }
    let own = format!("{interface}.{id}");
    let name = if own.len() <= MAX_NAME { own } else { format!("vlan{id}") };
    let protocol = if protocol == ether_type::PROVIDER_VLAN { "802.1ad" } else { "802.1Q" };
    let id = id.to_string();
    let add =
        ["link", "add", "link", interface, "name", &name, "type", "vlan", "protocol", protocol, "id", &id];
    vec![
        Remedy::now(Tool::Ip, add).then(["link", "set", "dev", &name, "up"]).with_scope(RemedyScope::new(
            format!("a new interface, {name}; frames with this tag reach it and no longer {interface}"),
        )),
        Remedy::advice(
            Tool::Program,
            format!(
                "Give {name} an address in its subnet, and join the group on {name} instead of {interface}."
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixtures::{ETH0, ETH1, begin, datagram, flow, membership};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    fn finding(tagging: Tagging) -> Finding {
        let mut tagged = flow(ETH0, "10.9.0.1:6000", TO);
        tagged.key.vlan = Some(tagging);
        CAUSE.judge(&membership(TO, vec![tagged], 0)).remove(0)
    }

    #[test]
    fn vlan_interface_uses_the_protocol_of_the_tag() {
        let command =
            |protocol| finding(Tagging { id: 77, protocol, inner: None }).remedies[0].command().unwrap();
        let add = |protocol| {
            format!(
                "ip link add link eth0 name eth0.77 type vlan protocol {protocol} id 77 && ip link set dev eth0.77 up"
            )
        };
        assert_eq!(command(ether_type::VLAN), add("802.1Q"));
        assert_eq!(command(ether_type::PROVIDER_VLAN), add("802.1ad"));
    }

    #[test]
    fn tagged_source_is_reported_beside_an_untagged_one() {
        let tagging = Tagging { id: 77, protocol: ether_type::VLAN, inner: None };
        let sources = |tagged: &str| {
            let mut tagged = flow(ETH0, tagged, TO);
            tagged.key.vlan = Some(tagging);
            let flows = vec![flow(ETH0, "10.9.0.1:6000", TO), tagged];
            let findings = CAUSE.judge(&membership(TO, flows, 1));
            findings.into_iter().filter_map(|finding| finding.subject.source).collect::<Vec<_>>()
        };
        assert_eq!(sources("10.9.0.7:6000"), ["10.9.0.7:6000"]);
        assert!(sources("10.9.0.1:6000").is_empty(), "a copy of what arrives");
    }

    #[test]
    fn tagged_part_of_a_stream_is_missing() {
        let part = |hashes: [u64; 3], delay, vlan| {
            let mut part = flow(ETH0, "10.9.0.1:6000", TO);
            part.key.vlan = vlan;
            let mut part = Flow::new(part.key, &datagram(begin(), 0));
            for (number, hash) in (0_u64..).zip(hashes) {
                part.add(datagram(begin() + Duration::from_millis(delay + number * 20), hash));
            }
            part
        };
        let causes = |own, tagged, delay| {
            let tagging = Tagging { id: 77, protocol: ether_type::VLAN, inner: None };
            let flows = vec![part(own, 0, None), part(tagged, delay, Some(tagging))];
            let findings = CAUSE.judge(&membership(TO, flows, 3));
            findings.into_iter().map(|finding| finding.cause).collect::<Vec<_>>()
        };
        let half = "A part of 239.1.2.3:5000 (3 of 6 datagrams from 10.9.0.1) arrives on eth0 in VLAN 77, but no interface of this machine is in that VLAN.";
        assert_eq!(causes([0, 2, 4], [1, 3, 5], 10), [half]);
        assert_eq!(causes([7; 3], [7; 3], 10), [half], "equal payloads in turn");
        assert!(causes([7; 3], [7; 3], 0).is_empty(), "equal payloads together");
        assert!(causes([0, 1, 2], [0, 1, 2], 10).is_empty(), "late copies");
    }

    #[test]
    fn member_in_another_vlan_of_a_trunk_gets_nothing() {
        let tagging = Tagging { id: 77, protocol: ether_type::VLAN, inner: None };
        let outcome = |decapsulated: &[&str], joined_on| {
            let mut tagged = flow(ETH0, "10.9.0.7:6000", TO);
            tagged.key.vlan = Some(tagging);
            let others = decapsulated.iter().map(|source| flow(ETH1, source, TO));
            let mut observation = membership(TO, others.chain([tagged]).collect(), 0);
            observation.trial_mut().joined = vec![joined_on];
            observation.after.links[2].lower = Some(ETH0);
            observation.after.links[2].kind = Some("vlan".into());
            CAUSE
                .judge(&observation)
                .into_iter()
                .filter_map(|finding| finding.subject.interface)
                .collect::<Vec<_>>()
        };
        assert_eq!(outcome(&[], ETH1), ["eth0"]);
        assert_eq!(outcome(&[], ETH0), ["eth0"]);
        assert!(outcome(&["10.9.0.7:6000"], ETH0).is_empty(), "the machine is in the VLAN");
        assert!(outcome(&["10.9.0.1:6000"], ETH1).is_empty(), "another VLAN carries the group, too");
    }

    #[test]
    fn two_tags_need_two_interfaces() {
        let single = finding(Tagging { id: 77, protocol: ether_type::VLAN, inner: None });
        let advice = |remedy: &Remedy| format!("{:?}", remedy.instructions);
        assert!(advice(&single.remedies[1]).contains("join the group on eth0.77"), "{single:?}");
        let double = finding(Tagging { id: 77, protocol: ether_type::PROVIDER_VLAN, inner: Some(5) });
        assert_eq!(double.remedies[0].command(), None);
        assert!(advice(&double.remedies[0]).contains("VLAN 5"), "{double:?}");
    }
}
