//! The frames of the group carry an Ethernet destination that is not the one of the group: another host's address, so
//! this machine ignores them, or the address of another group, which the filters of network cards drop.

use mcast::Group;
use mcast_packet::MacAddress;

use super::{Cause, Check};
use crate::kernel_drops::{KernelDrop, evidence};
use crate::observation::{ExaminationTarget, Interest, Observation};
use crate::wire::Flow;
use crate::{EvidenceKind, Finding, Id, Severity, Tool};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 1112 section 6.4", "RFC 2464 section 7"]);

fn check(observation: &Observation) -> Vec<Finding> {
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
pub(super) fn ahead(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let mac = host_address(flow).filter(|_| !flow.key.outgoing && is_foreign(observation, flow))?;
    let cause = format!(
        "The datagrams from {} to {} arrive on {} in frames for another host, {mac}, so the system drops them.",
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
        "The datagrams from {source} to {to} arrive on {interface} in frames for another host: their Ethernet destination is {mac} instead of {right}, so the system drops them."
    );
    let finding = Finding::fault(Id::FramesToAnotherHost, cause)
        .on_interface(&interface)
        .for_group(to)
        .from_source(source)
        .evidence(EvidenceKind::Packet, &interface, format!("Ethernet destination {mac}, of the group: {right}"))
        .with_all_evidence(evidence(dropped.iter().flat_map(|flow| flow.drops.iter().copied())))
        .advise(
            Tool::Network,
            format!("Find out what sends the frames to {mac}: the sender ({source}), or a switch, bridge or access point that converts multicast to unicast (on a Linux bridge: bridge -details link show, mcast_to_unicast) and has the wrong host for this port. Frames to {to} belong to {right}."),
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
        "The frames from {} to {} carry the Ethernet address of another group, {mac}: network cards that filter, and switches, do not deliver them to members.",
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

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, kernel_drop, membership, severities};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    fn causes(mac: [u8; 6]) -> Vec<String> {
        let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 0);
        let drop = kernel_drop("OTHERHOST", "10.9.0.1:6000", TO, 10);
        observation.kernel_drops.drops = vec![KernelDrop { mac: Some(MacAddress(mac)), ..drop }];
        CAUSE.judge(&observation).into_iter().map(|finding| finding.cause).collect()
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
        severities(&CAUSE, &observation)
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
}
