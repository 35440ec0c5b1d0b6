//! Datagrams arrive with damaged headers: a wrong IP header checksum, or lengths that exceed the packet. The system drops
//! them, and captures that parse them show nothing.

use std::net::{IpAddr, SocketAddr};

use super::{Cause, Check, defective_flows};
use crate::kernel_drops::{DroppedFlow, KernelDrop, evidence, meaning};
use crate::observation::{Interest, Observation};
use crate::wire::ControlDefect;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(
    Check::Observation(check),
    &["RFC 1122 sections 3.2.1 and 4.1.3.4", "RFC 8200 sections 3 and 8.1"],
);

/// The kernel's reasons for dropping damaged packets.
const REASONS: [&str; 5] = ["IP_INHDR", "IP_CSUM", "PKT_TOO_SMALL", "HDR_TRUNC", "IPV6_BAD_EXTHDR"];

fn check(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let mut findings = defective_flows::check(observation);
    let by_reason: Vec<_> =
        interests.iter().flat_map(|interest| of_interest(observation, interest)).collect();
    let is_known = |finding: &Finding| {
        let source = finding.subject.source.as_deref();
        let same = |known: &Finding| {
            let known = known.subject.source.as_ref().and_then(|known| known.parse::<SocketAddr>().ok());
            known.map(|known| known.ip().to_string()).as_deref() == source
        };
        findings.iter().any(same)
    };
    let new: Vec<_> = by_reason.into_iter().filter(|finding| !is_known(finding)).collect();
    findings.extend(new);
    findings.extend(damaged_control(observation));
    findings
}

/// Returns the findings about IGMP and MLD messages that arrive damaged. Reports among them do not request a group.
fn damaged_control(observation: &Observation) -> impl Iterator<Item = Finding> {
    observation.wire.damaged_control.iter().map(|(damaged, count)| {
        let (interface, source) = (observation.link_name(damaged.interface), damaged.source);
        let protocol = if source.is_ipv4() { "IGMP" } else { "MLD" };
        let (what, advice) = match damaged.defect {
            ControlDefect::Checksum => (
                "a wrong checksum".to_owned(),
                "The program or device that sends them computes the checksum incorrectly, or a device on the path changes them.",
            ),
            ControlDefect::HopLimit(hop_limit) => (
                format!("hop limit {hop_limit} instead of 1"),
                "Messages of hosts and queriers have hop limit 1. Correct the program that sends them, or the firewall rule that changes the hop limit of all packets.",
            ),
        };
        let cause = format!(
            "{count} {protocol} messages from {source} on {interface} have {what}: routers and switches ignore them, so the groups in them are neither joined nor queried for."
        );
        Finding::new(Id::MalformedPackets, Severity::Warning, cause)
            .on_interface(&interface)
            .from_source(source)
            .with_evidence(Evidence::new(EvidenceKind::Packet, &interface, format!("{count} {protocol} messages from {source} with {what}")))
            .with_remedies([Remedy::advice(Tool::Network, advice)])
    })
}

fn of_interest(observation: &Observation, interest: &Interest<'_>) -> Vec<Finding> {
    let dropped = observation.dropped_flows(interest, is_damaged);
    dropped.iter().map(|flow| finding(observation, interest, flow)).collect()
}

/// Returns whether a packet was dropped because it is damaged. For IPv6, the kernel gives the same reason for sources
/// that no host can have, and another one for a wrong version.
fn is_damaged(drop: &KernelDrop) -> bool {
    let source = drop.source.ip();
    let is_valid = !source.is_multicast() && !source.is_loopback();
    let is_wrong_version = source.is_ipv6() && drop.reason == "UNHANDLED_PROTO";
    is_wrong_version || REASONS.contains(&drop.reason.as_str()) && (source.is_ipv4() || is_valid)
}

fn finding(observation: &Observation, interest: &Interest<'_>, flow: &DroppedFlow<'_>) -> Finding {
    let interface = observation.link_name(interest.interface);
    let (source, to) = (flow.source.ip(), interest.destination());
    let what = flow.drops.first().and_then(|drop| meaning(&drop.reason)).unwrap_or("damaged");
    let cause = format!(
        "The datagrams from {source} to {to} arrive on {interface} damaged ({what}), so the system drops them: {} while listening.",
        flow.packets
    );
    Finding::fault(Id::MalformedPackets, cause)
        .on_interface(&interface)
        .for_group(to)
        .from_source(source)
        .with_all_evidence(evidence(flow.drops.iter().copied()))
        .advise(Tool::Network, advice(source))
}

fn advice(source: IpAddr) -> String {
    format!(
        "Capture on the sender ({source}) and behind each device on the way: tcpdump -nvv shows where the header becomes wrong. Then correct the program that builds the packets, or update the driver or device that changes them; on the sender, ethtool -K INTERFACE tx off shows whether its network card computes checksums wrongly."
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, kernel_drop, membership};
    use super::*;

    fn causes(reason: &str, source: &str, to: &str) -> Vec<String> {
        let mut observation = membership(to, Vec::new(), 0);
        observation.kernel_drops.drops = vec![kernel_drop(reason, source, to, 10)];
        CAUSE.judge(&observation).into_iter().map(|finding| finding.cause).collect()
    }

    #[test]
    fn damage_is_reported_although_the_capture_shows_nothing() {
        let causes = causes("IP_CSUM", "10.9.0.1:6000", "239.1.2.3:5000");
        assert!(causes.len() == 1 && causes[0].contains("a wrong IP header checksum"), "{causes:?}");
    }

    #[test]
    fn ipv6_source_that_no_host_can_have_is_not_damage() {
        let none: [String; 0] = [];
        assert_eq!(causes("IP_INHDR", "[ff15::9]:6000", "[ff15::1234]:5000"), none);
        assert_eq!(causes("IP_INHDR", "[fd09::1]:6000", "[ff15::1234]:5000").len(), 1);
    }

    #[test]
    fn single_damaged_packet_of_a_flow_is_not_reported() {
        let to = "239.1.2.3:5000";
        let mut observation = membership(to, vec![flow(ETH0, "10.9.0.1:6000", to)], 10);
        observation.kernel_drops.drops = vec![kernel_drop("IP_CSUM", "10.9.0.1:6000", to, 1)];
        assert_eq!(CAUSE.judge(&observation), []);
    }
}
