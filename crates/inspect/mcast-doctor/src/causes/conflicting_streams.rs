//! Several senders send different streams to one group and port, and a program that has joined it gets a mixture.

use std::time::Duration;

use mcast_watch::Format;

use super::{Cause, Check};
use crate::finding::list;
use crate::observation::{ExaminationTarget, Observation};
use crate::wire::Flow;
use crate::{EvidenceKind, Finding, Id, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 3550 section 8.2", "ISO/IEC 13818-1 section 2.4.4"])
        .without_loss();

/// Fewer datagrams are not a stream.
const MIN_DATAGRAMS: u64 = 20;
/// A device that takes over from another changes the Ethernet address less often.
const MIN_CHANGES: u64 = 10;
/// For how long two streams must be there at the same time. One may replace the other.
const MIN_OVERLAP: Duration = Duration::from_millis(500);

fn check(observation: &Observation) -> Vec<Finding> {
    let mut groups: Vec<Vec<&Flow>> = Vec::new();
    for interest in observation.interests() {
        groups.push(observation.expected(&interest));
    }
    if matches!(observation.target, ExaminationTarget::File) {
        let arrivals = observation.all_arrivals();
        for flow in &arrivals {
            let key = |flow: &Flow| (flow.key.interface, flow.destination(), flow.key.vlan);
            groups.push(arrivals.iter().copied().filter(|other| key(other) == key(flow)).collect());
        }
    }
    let mut findings: Vec<Finding> = Vec::new();
    let flows = groups.iter().flatten();
    let shared = flows.filter_map(|flow| shared_address(observation, flow));
    for finding in groups.iter().filter_map(|flows| judge(observation, flows)).chain(shared) {
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

/// Judges a flow from an address of this network: whether several hosts have it and send in turn.
fn shared_address(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let source = flow.key.source.ip();
    let link = observation.link(flow.key.interface).filter(|link| link.is_next_to(source))?;
    // A router or bond that takes over changes it once, and the copies of a redundant path repeat the payloads.
    if flow.mac_changes < MIN_CHANGES || flow.repeats_by_other_path.saturating_mul(10) >= flow.datagrams {
        return None;
    }
    let to = flow.destination();
    let cause = format!(
        "{} hosts send to {to} as {}, in turn and with different payloads: they have the same IP address {source}, and a receiver takes both for one stream.",
        flow.macs.len(),
        flow.key.source
    );
    let finding = Finding::warning(Id::ConflictingStreams, cause)
        .about_flow(link.name(), flow)
        .with_evidence(observation.packets_of(flow))
        .evidence(EvidenceKind::Packet, link.name(), format!("Ethernet addresses {}, {} changes", flow.mac_list(), flow.mac_changes))
        .advise(Tool::Network, format!("Give one of them another address. `arping -D -I {} {source}` and the switch's table of Ethernet addresses show where they are.", link.name()));
    Some(finding)
}

/// Judges the flows to one group and port.
fn judge(observation: &Observation, flows: &[&Flow]) -> Option<Finding> {
    let conflict = flows.iter().enumerate().find_map(|(index, one)| {
        let others: Vec<_> =
            flows[index + 1..].iter().filter_map(|other| Some((*other, mixture(one, other)?))).collect();
        let (_, mixture) = *others.first()?;
        let all: Vec<&Flow> =
            std::iter::once(*one).chain(others.into_iter().map(|(other, _)| other)).collect();
        Some((all, mixture))
    });
    let (flows, mixture) = conflict?;
    let first = flows.first()?;
    let (to, interface) = (first.destination(), observation.link_name(first.key.interface));
    let sources = list(flows.iter().map(|flow| flow.key.source));
    let mut addresses: Vec<_> = flows.iter().map(|flow| flow.key.source.ip()).collect();
    addresses.dedup();
    let cause = format!(
        "{} senders send different streams to {to} on {interface} at the same time, {sources}: {mixture}.",
        flows.len()
    );
    let finding = Finding::warning(Id::ConflictingStreams, cause)
        .on_interface(&interface)
        .for_group(to)
        .from_source(sources)
        .with_all_evidence(flows.iter().map(|flow| observation.packets_of(flow)))
        .evidence(EvidenceKind::Packet, &interface, "payloads of one sender are not among those of the other")
        .with_remedies(addresses.first().filter(|_| addresses.len() > 1).map(|source| {
            remedies::mcast::recv_from(&[*source], to)
        }))
        .advise(Tool::Program, "Give each stream a group or a port of its own, or stop the sender that should not be there. Receivers can also join with the source that they want (source-specific).");
    Some(finding)
}

/// Returns what a receiver of two flows gets, if it cannot distinguish them.
fn mixture(one: &Flow, other: &Flow) -> Option<&'static str> {
    let is_stream = |flow: &Flow| flow.datagrams >= MIN_DATAGRAMS;
    let overlap = one.last.min(other.last).duration_since(one.first.max(other.first)).unwrap_or_default();
    if !is_stream(one) || !is_stream(other) || overlap < MIN_OVERLAP || one.has_payloads_of(other) {
        return None;
    }
    match (one.numbering.format()?, other.numbering.format()?) {
        (Format::MpegTs, Format::MpegTs) => Some(
            "a receiver gets one transport stream whose continuity counters and tables contradict each other",
        ),
        (Format::RtpMpegTs, Format::RtpMpegTs) => {
            Some("a receiver gets one transport stream with two sequences of RTP")
        }
        (Format::Rtp, Format::Rtp) if one.numbering.ssrc()? == other.numbering.ssrc()? => {
            Some("both have the same SSRC, so a receiver takes them for one stream of RTP with two sequences")
        }
        // Otherwise, receivers distinguish sources by what the payloads state, or by their addresses.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, ETH0, begin, datagram, flow, membership, severities};
    use super::*;
    use crate::Severity;

    const TO: &str = "239.1.2.3:5000";

    /// Returns a flow of RTP with these payload hashes, 100 per second.
    fn rtp(source: &str, ssrc: u32, hashes: std::ops::Range<u64>) -> Flow {
        let at = |number: u64| begin() + Duration::from_millis(number * 10);
        let key = flow(ETH0, source, TO).key;
        let mut flow = Flow::new(key, &datagram(begin(), 0));
        for (number, hash) in (0..).zip(hashes) {
            // As evenly distributed as hashes are.
            flow.add(datagram(at(number), hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            flow.numbering.observe(&key, &fixtures::rtp(number as u16, ssrc), at(number));
        }
        flow
    }

    fn outcome(other: Flow) -> Vec<Severity> {
        let flows = vec![rtp("10.9.0.1:6000", 7, 0..100), other];
        severities(&CAUSE, &membership(TO, flows, 100))
    }

    #[test]
    fn two_streams_with_the_same_ssrc_conflict() {
        assert_eq!(outcome(rtp("10.9.0.7:6000", 7, 1000..1100)), [Severity::Warning]);
        assert_eq!(outcome(rtp("10.9.0.1:6001", 7, 1000..1100)), [Severity::Warning], "of one host");
    }

    #[test]
    fn two_hosts_with_one_address_that_send_in_turn_conflict() {
        let outcome = |turns: u64, source: &str, copies: bool| {
            let mut one = flow(ETH0, source, TO);
            for number in 0..100 {
                let mac = mcast_packet::MacAddress([2, 0, 0, 0, 0, (number * turns / 100 % 2) as u8]);
                let hash = if copies { number / 2 } else { number };
                let time = begin() + Duration::from_millis(number * 10);
                let summary = fixtures::datagram(time, 1000 + hash);
                one.add(crate::wire::DatagramSummary { mac: Some(mac), identification: 7, ..summary });
            }
            severities(&CAUSE, &membership(TO, vec![one], 100))
        };
        assert_eq!(outcome(100, "10.9.0.1:6000", false), [Severity::Warning]);
        assert_eq!(outcome(2, "10.9.0.1:6000", false), [], "a device takes over");
        assert_eq!(outcome(100, "10.9.0.1:6000", true), [], "copies of a redundant path");
        assert_eq!(outcome(100, "192.0.2.1:6000", false), [], "routers that share the load");
    }

    #[test]
    fn several_sources_and_copies_of_one_stream_are_fine() {
        assert_eq!(outcome(rtp("10.9.0.7:6000", 8, 1000..1100)), [], "another participant");
        assert_eq!(outcome(rtp("10.9.0.7:6000", 7, 2..102)), [], "a redundant path");
        assert_eq!(outcome(rtp("10.9.0.7:6000", 7, 1000..1010)), [], "too few");
        let mut later = rtp("10.9.0.7:6000", 7, 1000..1100);
        (later.first, later.last) =
            (later.first + Duration::from_secs(1), later.last + Duration::from_secs(1));
        assert_eq!(outcome(later), [], "a restarted sender");
        assert_eq!(outcome(flow(ETH0, "10.9.0.7:6000", TO)), [], "an announcement");
    }

    #[test]
    fn copies_are_recognised_in_long_streams_with_an_offset() {
        let copy = rtp("10.9.0.7:6000", 7, 300..3300);
        let flows = vec![rtp("10.9.0.1:6000", 7, 0..3000), copy];
        assert_eq!(severities(&CAUSE, &membership(TO, flows, 100)), []);
    }
}
