//! Packets that arrive and that a receiver discards, because they are damaged.

use std::net::IpAddr;

use mcast::Family;

use super::filter_rules::explained;
use super::{Cause, Check, Forecast};
use crate::fate::Stage;
use crate::fate::depth::DroppedFlow;
use crate::kernel_drops::{KernelDrop, evidence, meaning};
use crate::observation::{ExaminationTarget, Interest, Observation};
use crate::snapshot::{Counter, explains};
use crate::wire::{ControlDefect, Defect, Flow};
use crate::{EvidenceKind, Finding, Id, Remedy, Severity, Tool};

/// Datagrams arrive with a wrong checksum, and UDP drops them.
pub(super) const BAD_CHECKSUM: Cause =
    Cause::new(Check::Observation(bad_checksum), &["RFC 768", "RFC 8200 section 8.1"])
        .at(Stage::Checksum)
        .predicted_by(Forecast::Flow(bad_checksum_ahead));

fn bad_checksum(observation: &Observation) -> Vec<Finding> {
    // Some devices pass on frames without a computed checksum, so UDP's counter must agree if there is one.
    let agrees = |flow: &&Flow| {
        let rise = observation.rise(Counter::ChecksumErrors, Family::of(flow.key.group));
        flow.bad_checksums > 0 && rise.is_none_or(|rise| rise > 0)
    };
    let arrivals = observation.all_arrivals();
    let wrong = arrivals.iter().copied().filter(agrees).map(|flow| bad_checksum_finding(observation, flow));
    let absent = arrivals.iter().filter(|flow| is_refused(observation, flow));
    wrong.chain(absent.map(|flow| without_checksum(observation, flow))).collect()
}

/// Returns the finding about a flow that does not get to UDP, because something drops it before. UDP's counter cannot agree, and
/// some devices pass on frames without a computed checksum.
fn bad_checksum_ahead(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let is_all = flow.bad_checksums > 0 && flow.bad_checksums == flow.datagrams;
    is_all.then(|| Finding { severity: Severity::Warning, ..bad_checksum_finding(observation, flow) })
}

/// Returns whether the system drops a flow because its IPv6 datagrams have no checksum. Tunnels may send such datagrams,
/// and a program may accept them.
fn is_refused(observation: &Observation, flow: &Flow) -> bool {
    let is_dropped = match &observation.target {
        ExaminationTarget::Membership(trial) => trial.received_from(flow.key.interface, flow.key.source) == 0,
        ExaminationTarget::File => true,
        _ => {
            let ignored = observation.rise(Counter::IgnoredMulticast, Family::V6);
            ignored.is_some_and(|ignored| explains(ignored, flow.without_checksum))
        }
    };
    flow.without_checksum > 0 && is_dropped
}

fn without_checksum(observation: &Observation, flow: &Flow) -> Finding {
    let (absent, all, source) = (flow.without_checksum, flow.datagrams, flow.key.source);
    let interface = observation.link_name(flow.key.interface);
    Finding::fault(
        Id::BadChecksum,
        format!("{absent} of {all} datagrams from {source} have no UDP checksum (it is zero), which IPv6 allows only to tunnels, so UDP drops them."),
    )
    .about_flow(&interface, flow)
    .evidence(EvidenceKind::Packet, format!("{interface}: {source} > {}", flow.destination()), format!("{absent} of {all} with the checksum 0"))
    .with_all_evidence(observation.counter_increase(Counter::IgnoredMulticast, Family::V6))
    .advise(
        Tool::Program,
        format!("Let the sender ({}) compute checksums: it builds its own packets or has set UDP_NO_CHECK6_TX. A receiving program accepts datagrams without a checksum if it sets UDP_NO_CHECK6_RX.", source.ip()),
    )
}

fn bad_checksum_finding(observation: &Observation, flow: &Flow) -> Finding {
    let (bad, all, source) = (flow.bad_checksums, flow.datagrams, flow.key.source);
    let interface = observation.link_name(flow.key.interface);
    let family = Family::of(flow.key.group);
    let is_file = matches!(observation.target, ExaminationTarget::File);
    let consequence = if is_file { "which a receiver drops" } else { "so UDP drops them" };
    // Not every system leaves the partial sum by which an offloaded checksum is recognized.
    let elsewhere = is_file.then(|| {
        Remedy::advice(Tool::Network, format!("If the capture was made on the sender ({}), its device may have completed the checksums later, and nothing is wrong: capture on a receiver to see what arrives.", source.ip()))
    });
    Finding::fault(Id::BadChecksum, format!("{bad} of {all} datagrams from {source} have a wrong checksum, {consequence}."))
    .about_flow(&interface, flow)
    .evidence(EvidenceKind::Packet, format!("{interface}: {source} > {}", flow.destination()), format!("{bad} of {all} with a wrong checksum"))
    .with_all_evidence(observation.counter_increase(Counter::ChecksumErrors, family))
    .with_remedies(elsewhere.into_iter().chain([
        Remedy::advice(Tool::Network, format!("The device, driver or program of the sender ({}) computes checksums incorrectly. Update it, or let the sender's kernel compute them at the cost of CPU time: ethtool -K INTERFACE tx off", source.ip())),
    ]))
}

/// Datagrams arrive with damaged headers: a wrong IP header checksum, or lengths that exceed the packet. The system drops
/// them, and captures that parse them show nothing.
pub(super) const MALFORMED_PACKETS: Cause = Cause::new(
    Check::Observation(malformed_packets),
    &["RFC 1122 sections 3.2.1 and 4.1.3.4", "RFC 8200 sections 3 and 8.1"],
)
.at(Stage::Headers)
.predicted_by(Forecast::Flow(defective_flow));

/// The kernel's reasons for dropping damaged packets.
const REASONS: [&str; 5] = ["IP_INHDR", "IP_CSUM", "PKT_TOO_SMALL", "HDR_TRUNC", "IPV6_BAD_EXTHDR"];

fn malformed_packets(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let mut findings = defective_flows(observation);
    let by_reason: Vec<_> =
        interests.iter().flat_map(|interest| of_interest(observation, interest)).collect();
    let is_known = |finding: &Finding| {
        let addresses = |finding: &Finding| {
            finding.subject.sources.iter().map(|source| source.address).collect::<Vec<_>>()
        };
        findings.iter().any(|known| addresses(known) == addresses(finding))
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
            "{count} {protocol} messages from {source} on {interface} have {what}: routers and switches ignore them, so they have no effect."
        );
        Finding::new(Id::MalformedPackets, Severity::Warning, cause)
            .on_interface(&interface)
            .from_source(source)
            .evidence(EvidenceKind::Packet, &interface, format!("{count} {protocol} messages from {source} with {what}"))
            .advise(Tool::Network, advice)
    })
}

fn of_interest(observation: &Observation, interest: &Interest<'_>) -> Vec<Finding> {
    let dropped = observation.dropped_flows(interest, is_damaged);
    dropped.iter().map(|flow| malformed_packets_finding(observation, interest, flow)).collect()
}

/// Returns whether a packet was dropped because it is damaged. For IPv6, the kernel gives the same reason for sources
/// that no host can have, and another one for a wrong version.
fn is_damaged(drop: &KernelDrop) -> bool {
    let source = drop.source.ip();
    let is_valid = !source.is_multicast() && !source.is_loopback();
    let is_wrong_version = source.is_ipv6() && drop.reason == "UNHANDLED_PROTO";
    is_wrong_version || REASONS.contains(&drop.reason.as_str()) && (source.is_ipv4() || is_valid)
}

fn malformed_packets_finding(
    observation: &Observation,
    interest: &Interest<'_>,
    flow: &DroppedFlow<'_>,
) -> Finding {
    let interface = observation.link_name(interest.interface);
    let (source, to) = (flow.source.ip(), interest.destination());
    let what = flow.drops.first().and_then(|drop| meaning(&drop.reason)).unwrap_or("damaged");
    let cause = format!(
        "The datagrams from {source} to {to} arrive on {interface} damaged ({what}), so the kernel drops them: {} while listening.",
        flow.packets
    );
    Finding::fault(Id::MalformedPackets, cause)
        .about(&interface, to, source)
        .with_all_evidence(evidence(flow.drops.iter().copied()))
        .advise(Tool::Network, advice(source))
}

fn advice(source: IpAddr) -> String {
    format!(
        "Capture on the sender ({source}) and after each device on the path: tcpdump -nvv shows where the header becomes wrong. Then correct the program that builds the packets, or update the driver or device that changes them; on the sender, ethtool -K INTERFACE tx off shows whether its NIC computes checksums wrongly."
    )
}

/// Returns the findings about flows that every receiver drops, because their datagrams are malformed, and no checksum of UDP
/// is wrong.
fn defective_flows(observation: &Observation) -> Vec<Finding> {
    let arrivals = observation.all_arrivals();
    arrivals.into_iter().filter_map(|flow| defective_flow(observation, flow)).collect()
}

/// Returns the finding about the defects of a flow, if it has some.
fn defective_flow(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let (defect, count) = flow.defects.iter().max_by_key(|(_, count)| **count)?;
    // A few damaged packets are not why a stream does not arrive.
    let severity =
        if count.saturating_mul(20) >= flow.datagrams { Severity::Fault } else { Severity::Warning };
    let source = flow.key.source;
    let interface = observation.link_name(flow.key.interface);
    let is_file = matches!(observation.target, ExaminationTarget::File);
    let consequence = if is_file { "receivers drop them" } else { "the kernel drops them" };
    let counters =
        counters(*defect, Family::of(flow.key.group)).iter().filter_map(|name| observation.increase_of(name));
    let finding = Finding::new(
        Id::MalformedPackets,
        severity,
        format!("{count} of {} datagrams from {source} to {} {}: {consequence}.", flow.datagrams, flow.destination(), defect.text()),
    )
    .about_flow(&interface, flow)
    .explaining([explained(observation, flow)])
    .evidence(EvidenceKind::Packet, interface, format!("{count} of {} {}", flow.datagrams, defect.text()))
    .with_all_evidence(counters)
    .advise(Tool::Network, format!("The program, driver or device of the sender ({}), or of a tunnel or router on the path, builds these packets incorrectly. {}", source.ip(), defect.advice()));
    Some(finding)
}

/// Returns the counters that increase when the system drops such a datagram.
const fn counters(defect: Defect, family: Family) -> &'static [&'static str] {
    match (defect, family) {
        (Defect::HeaderChecksum, _) => &["IpExtInCsumErrors", "IpInHdrErrors"],
        (_, Family::V4) => &["UdpInErrors"],
        (_, Family::V6) => &["Udp6InErrors"],
    }
}

impl Defect {
    const fn text(self) -> &'static str {
        match self {
            Self::HeaderChecksum => "have a wrong checksum in the IPv4 header",
            Self::Length => "state a UDP length beyond the end of the packet",
        }
    }

    const fn advice(self) -> &'static str {
        match self {
            Self::HeaderChecksum => "Routers that change the hop limit must adjust the checksum.",
            Self::Length => {
                "The length must be that of the UDP header and the payload, which an IP packet must contain completely."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instructions;
    use crate::causes::fixtures::{ETH0, flow, kernel_drop, membership, with_counters};

    const TO: &str = "239.1.2.3:5000";

    fn damaged() -> Observation {
        let mut flow = flow(ETH0, "10.9.0.1:4000", "239.1.2.3:5000");
        flow.bad_checksums = flow.datagrams;
        membership("239.1.2.3:5000", vec![flow], 0)
    }

    fn remedies(observation: &Observation) -> Vec<String> {
        let advice = |remedy: &Remedy| match &remedy.instructions {
            Instructions::Advice(advice) => advice.clone(),
            Instructions::Actions { .. } => panic!("no command of this machine helps"),
        };
        bad_checksum(observation).iter().flat_map(|finding| finding.remedies.iter().map(advice)).collect()
    }

    #[test]
    fn first_remedy_for_a_file_is_to_capture_on_a_receiver() {
        let file = Observation { target: ExaminationTarget::File, ..damaged() };
        let [first, second] = &remedies(&file)[..] else { panic!("{:?}", remedies(&file)) };
        assert!(first.contains("capture on a receiver") && !first.contains("ethtool"), "{first}");
        assert!(second.contains("ethtool"), "{second}");
    }

    #[test]
    fn ipv6_datagrams_without_a_checksum_are_reported_unless_received() {
        let findings = |received| {
            let mut flow = flow(ETH0, "[fd09::1]:4000", "[ff15::1234]:5000");
            flow.without_checksum = flow.datagrams;
            bad_checksum(&membership("[ff15::1234]:5000", vec![flow], received)).len()
        };
        assert_eq!((findings(0), findings(10)), (1, 0));
    }

    #[test]
    fn checksum_errors_of_this_machine_were_wrong_on_the_wire() {
        let observation = with_counters(damaged(), &[("UdpInCsumErrors", 11)]);
        let [only] = &remedies(&observation)[..] else { panic!("{:?}", remedies(&observation)) };
        assert!(only.contains("ethtool"), "{only}");
    }

    fn causes(reason: &str, source: &str, to: &str) -> Vec<String> {
        let mut observation = membership(to, Vec::new(), 0);
        observation.kernel_drops.drops = vec![kernel_drop(reason, source, to, 10)];
        MALFORMED_PACKETS.judge(&observation).into_iter().map(|finding| finding.cause).collect()
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
        assert_eq!(MALFORMED_PACKETS.judge(&observation), []);
    }

    fn severities(defects: u64) -> Vec<Severity> {
        let mut flow = flow(ETH0, "10.9.0.1:6000", TO);
        flow.datagrams = 100;
        if defects > 0 {
            flow.defects.insert(Defect::Length, defects);
        }
        defective_flows(&membership(TO, vec![flow], 0)).iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn few_malformed_datagrams_are_a_warning() {
        assert_eq!(severities(100), [Severity::Fault]);
        assert_eq!(severities(1), [Severity::Warning]);
        assert_eq!(severities(0), []);
    }
}
