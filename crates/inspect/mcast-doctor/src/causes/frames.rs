//! The frames of the group carry an Ethernet destination that is not the one of the group, or a VLAN tag of a VLAN that no
//! interface of this machine is in.

use std::collections::BTreeSet;

use mcast::Group;
use mcast_packet::{MacAddress, ether_type};

use super::{Cause, Check, Forecast};
use crate::change::{Change, NewInterface};
use crate::fate::Stage;
use crate::kernel_drops::{KernelDrop, evidence};
use crate::observation::{ExaminationTarget, Interest, Observation};
use crate::wire::{Flow, Tagging};
use crate::{EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool};

pub(super) const FRAMES_TO_ANOTHER_HOST: Cause =
    Cause::new(Check::Observation(frames_to_another_host), &["RFC 1112 section 6.4", "RFC 2464 section 7"])
        .at(Stage::Frame)
        .predicted_by(Forecast::Flow(ahead));

fn frames_to_another_host(observation: &Observation) -> Vec<Finding> {
    if matches!(observation.target, ExaminationTarget::File) {
        let flows = observation.all_arrivals().into_iter();
        return flows.filter_map(|flow| in_file(observation, flow)).collect();
    }
    let judge = |interest: &Interest<'_>| {
        by_reason(observation, interest)
            .or_else(|| by_destination(observation, interest))
            .or_else(|| address_of_another_group(observation, interest))
    };
    observation.interests().iter().filter_map(judge).collect()
}

/// Returns the finding about a flow whose group is not joined where it arrives.
fn ahead(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let mac = host_address(flow).filter(|_| !flow.key.outgoing && is_foreign(observation, flow))?;
    let cause = format!(
        "The datagrams from {} to {} arrive on {} in frames for another host, {mac}, so the kernel drops them.",
        flow.key.source.ip(),
        flow.destination(),
        observation.link_name(flow.key.interface)
    );
    Some(wrong_destination(observation, flow, mac, Severity::Fault, cause))
}

/// Returns whether the frames of a flow arrive on Ethernet, and are for no address of this machine.
fn is_foreign(observation: &Observation, flow: &Flow) -> bool {
    let is_ethernet =
        observation.link(flow.key.interface).is_some_and(|link| link.interface.hardware_address.is_some());
    let own = observation.before.links.iter().filter_map(|link| link.interface.hardware_address);
    let mut own = own.map(|own| MacAddress(own.0));
    is_ethernet && !own.any(|own| flow.ethernet_destinations.contains(&own))
}

/// Judges the drops for which the kernel gives this reason.
fn by_reason(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    // A group address here means that the frame had the tag of a VLAN to which this machine does not belong.
    let is_addressed = |drop: &KernelDrop| drop.mac.is_some_and(|mac| !mac.is_multicast());
    let dropped =
        observation.dropped_flows(interest, |drop| drop.reason == "OTHERHOST" && is_addressed(drop));
    let flow = dropped.first()?;
    let mac = flow.drops.first()?.mac?;
    let (interface, to) = (observation.link_name(interest.interface), interest.destination());
    let right = MacAddress::of_group(interest.group);
    let source = flow.source.ip();
    let cause = format!(
        "The datagrams from {source} to {to} arrive on {interface} in frames for another host: their Ethernet destination is {mac} instead of {right}, so the kernel drops them."
    );
    let finding = Finding::fault(Id::FramesToAnotherHost, cause)
        .about(&interface, to, source)
        .evidence(EvidenceKind::Packet, &interface, format!("Ethernet destination {mac}, of the group: {right}"))
        .with_all_evidence(evidence(dropped.iter().flat_map(|flow| flow.drops.iter().copied())))
        .advise(
            Tool::Network,
            format!("Find out what sends the frames to {mac}: the sender ({source}), or a switch, bridge or access point that converts multicast to unicast (on a Linux bridge: bridge -details link show, mcast_to_unicast) and sends the wrong host's frames to this port. Frames to {to} belong to {right}."),
        );
    Some(finding)
}

/// Returns the Ethernet destination of a flow if it is that of a host.
fn host_address(flow: &Flow) -> Option<MacAddress> {
    let only = flow.ethernet_destinations.iter().all(|mac| !mac.is_multicast());
    flow.ethernet_destinations.first().copied().filter(|_| only)
}

/// Returns the Ethernet destination of a flow if it is that of another group.
fn other_groups_address(flow: &Flow) -> Option<MacAddress> {
    let group = Group::new(flow.key.group).ok()?;
    let right = MacAddress::of_group(group);
    let is_wrong = |mac: &MacAddress| mac.is_multicast() && *mac != right && *mac != MacAddress::BROADCAST;
    flow.ethernet_destinations.first().copied().filter(|_| flow.ethernet_destinations.iter().all(is_wrong))
}

/// Judges what the tap sees, for kernels that give no reason.
fn by_destination(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let flows = observation.arrivals(interest);
    let flow = flows.iter().find(|flow| host_address(flow).is_some())?;
    ahead(observation, flow).filter(|_| !observation.is_received(flow))
}

/// Judges frames to the address of another group. A capture makes network cards accept them.
fn address_of_another_group(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let flows = observation.arrivals(interest);
    let (flow, mac) = flows.iter().find_map(|flow| Some((*flow, other_groups_address(flow)?)))?;
    Some(wrong_destination(observation, flow, mac, Severity::Warning, another_group(flow, mac)))
}

fn another_group(flow: &Flow, mac: MacAddress) -> String {
    format!(
        "The frames from {} to {} carry the Ethernet address of another group, {mac}: NICs that filter, and switches, do not deliver them to members.",
        flow.key.source.ip(),
        flow.destination()
    )
}

fn in_file(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let to_host = host_address(flow).map(|mac| {
        let cause = format!("The frames from {} to {} are addressed to one host, {mac}, and not to the group: only that host can receive them.", flow.key.source.ip(), flow.destination());
        (mac, cause)
    });
    let (mac, cause) =
        to_host.or_else(|| other_groups_address(flow).map(|mac| (mac, another_group(flow, mac))))?;
    Some(wrong_destination(observation, flow, mac, Severity::Warning, cause))
}

fn wrong_destination(
    observation: &Observation,
    flow: &Flow,
    mac: MacAddress,
    severity: Severity,
    cause: String,
) -> Finding {
    let interface = observation.link_name(flow.key.interface);
    let right = Group::new(flow.key.group).map(MacAddress::of_group);
    let right = right.map_or_else(|_| "unknown".to_owned(), |right| right.to_string());
    let advice = format!(
        "Find out what sends the frames to {mac}: the sender ({}, {}), or a switch, bridge or access point that rewrites them. Frames to this group belong to {right}.",
        flow.key.source.ip(),
        flow.mac_list()
    );
    Finding::new(Id::FramesToAnotherHost, severity, cause)
        .about_flow(&interface, flow)
        .evidence(
            EvidenceKind::Packet,
            &interface,
            format!("{} datagrams with Ethernet destination {mac}, of the group: {right}", flow.datagrams),
        )
        .advise(Tool::Network, advice)
}

pub(super) const VLAN_TAGGED: Cause =
    Cause::new(Check::Observation(vlan_tagged), &["IEEE 802.1Q"]).at(Stage::Vlan).offering(|on| {
        create_vlan_interface(on.name(), Tagging { id: 7, protocol: ether_type::VLAN, inner: None })
    });

fn vlan_tagged(observation: &Observation) -> Vec<Finding> {
    if matches!(observation.target, ExaminationTarget::File) {
        return tagged_in_file(observation);
    }
    observation.interests().iter().filter_map(|interest| judge(observation, interest)).collect()
}

/// Notes the groups that a capture shows only with a tag, which is normal on a trunk.
fn tagged_in_file(observation: &Observation) -> Vec<Finding> {
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
    let sources = flows.iter().map(|flow| flow.key.source);
    Some(finding(observation, flow, flow.key.vlan?, &what).for_group(to).from_sources(sources))
}

/// Returns the finding about a flow that has only this tag, and whose group need not be joined where it arrives.
pub(crate) fn of_flow(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let to = flow.destination();
    let finding = finding(observation, flow, flow.key.vlan?, &to.to_string());
    Some(finding.for_group(to).from_source(flow.key.source))
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
                "Create an interface for VLAN {id} on {interface}, and on that one an interface for VLAN {inner}. Give that one an address, and join the group there."
            ),
        )];
    }
    let own = format!("{interface}.{id}");
    let name = if own.len() <= MAX_NAME { own } else { format!("vlan{id}") };
    let protocol = if protocol == ether_type::PROVIDER_VLAN { "802.1ad" } else { "802.1Q" };
    let id = id.to_string();
    let vlan = NewInterface::new(interface, &name, &["vlan", "protocol", protocol, "id", &id]);
    vec![
        Remedy::now_changing(Tool::Ip, Change::NewInterface(vlan)).with_scope(RemedyScope::new(format!(
            "a new interface, {name}; frames with this tag reach it and no longer {interface}"
        ))),
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

    use super::super::fixtures::{ETH0, ETH1, begin, datagram, flow, kernel_drop, membership, severities};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    fn causes(mac: [u8; 6]) -> Vec<String> {
        let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 0);
        let drop = kernel_drop("OTHERHOST", "10.9.0.1:6000", TO, 10);
        observation.kernel_drops.drops = vec![KernelDrop { mac: Some(MacAddress(mac)), ..drop }];
        FRAMES_TO_ANOTHER_HOST.judge(&observation).into_iter().map(|finding| finding.cause).collect()
    }

    #[test]
    fn both_addresses_are_named() {
        let [cause] = &causes([2, 0, 0, 0, 9, 9])[..] else { panic!("no finding") };
        assert!(cause.contains("02:00:00:00:09:09 instead of 01:00:5e:01:02:03"), "{cause}");
    }

    #[test]
    fn frame_to_the_group_was_dropped_for_another_reason() {
        assert_eq!(causes([1, 0, 0x5e, 1, 2, 3]), Vec::<String>::new());
    }

    /// Returns the severities for a stream whose frames have this destination.
    fn by_tap(mac: [u8; 6], received: u64) -> Vec<Severity> {
        let mut flow = flow(ETH0, "10.9.0.1:6000", TO);
        flow.ethernet_destinations = [MacAddress(mac)].into();
        let mut observation = membership(TO, vec![flow], received);
        for links in [&mut observation.before.links, &mut observation.after.links] {
            links[1].interface.hardware_address = Some(mcast::interface::HardwareAddress([2, 0, 0, 0, 0, 2]));
        }
        severities(&FRAMES_TO_ANOTHER_HOST, &observation)
    }

    #[test]
    fn tap_shows_it_without_reasons() {
        assert_eq!(by_tap([2, 0, 0, 0, 9, 9], 0), [Severity::Fault]);
        assert_eq!(by_tap([2, 0, 0, 0, 9, 9], 10), [], "received all the same");
        assert_eq!(by_tap([2, 0, 0, 0, 0, 2], 0), [], "converted to unicast for this machine");
        assert_eq!(by_tap([1, 0, 0x5e, 1, 2, 3], 0), []);
        assert_eq!(by_tap([0xff; 6], 0), [], "broadcast");
        assert_eq!(by_tap([1, 0, 0x5e, 9, 9, 9], 10), [Severity::Warning], "another group");
    }

    fn finding(tagging: Tagging) -> Finding {
        let mut tagged = flow(ETH0, "10.9.0.1:6000", TO);
        tagged.key.vlan = Some(tagging);
        VLAN_TAGGED.judge(&membership(TO, vec![tagged], 0)).remove(0)
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
            let findings = VLAN_TAGGED.judge(&membership(TO, flows, 1));
            findings.into_iter().filter_map(|finding| finding.subject.source()).collect::<Vec<_>>()
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
            let findings = VLAN_TAGGED.judge(&membership(TO, flows, 3));
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
            VLAN_TAGGED
                .judge(&observation)
                .into_iter()
                .filter_map(|finding| finding.subject.interface())
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
