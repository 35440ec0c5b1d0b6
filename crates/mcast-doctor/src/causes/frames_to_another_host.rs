//! The frames of the group carry another host's Ethernet address as their destination, so this machine ignores them.

use mcast_packet::MacAddress;

use super::{Cause, Check};
use crate::kernel_drops::{KernelDrop, evidence};
use crate::observation::{Interest, Observation};
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Interest(check), &["RFC 1112 section 6.4", "RFC 2464 section 7"]);

fn check(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
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
    let finding = Finding::new(Id::FramesToAnotherHost, Severity::Fault, cause)
        .on_interface(&interface)
        .for_group(to)
        .from_source(source)
        .with_evidence(Evidence::new(EvidenceKind::Packet, &interface, format!("Ethernet destination {mac}, of the group: {right}")))
        .with_all_evidence(evidence(dropped.iter().flat_map(|flow| flow.drops.iter().copied())))
        .with_remedies([Remedy::advice(
            Tool::Network,
            format!("Find out what sends the frames to {mac}: the sender ({source}), or a switch, bridge or access point that converts multicast to unicast (on a Linux bridge: bridge -details link show, mcast_to_unicast) and has the wrong host for this port. Frames to {to} belong to {right}."),
        )]);
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, kernel_drop, membership};
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
}
