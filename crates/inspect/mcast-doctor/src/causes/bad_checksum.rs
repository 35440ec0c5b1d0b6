//! Datagrams arrive with a wrong checksum, and UDP drops them.

use super::{Cause, Check};
use crate::observation::{ExaminationTarget, Observation, explains};
use crate::snapshot::Counter;
use crate::wire::Flow;
use crate::{EvidenceKind, Finding, Id, Remedy, Severity, Tool};
use mcast::Family;

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["RFC 768", "RFC 8200 section 8.1"]);

fn check(observation: &Observation) -> Vec<Finding> {
    // Some devices pass on frames without a computed checksum, so UDP's counter must agree if there is one.
    let agrees = |flow: &&Flow| {
        let rise = observation.rise(Counter::ChecksumErrors, Family::of(flow.key.group));
        flow.bad_checksums > 0 && rise.is_none_or(|rise| rise > 0)
    };
    let arrivals = observation.all_arrivals();
    let wrong = arrivals.iter().copied().filter(agrees).map(|flow| finding(observation, flow));
    let absent = arrivals.iter().filter(|flow| is_refused(observation, flow));
    wrong.chain(absent.map(|flow| without_checksum(observation, flow))).collect()
}

/// Returns the finding about a flow that does not get to UDP, because something drops it before. UDP's counter cannot agree, and
/// some devices pass on frames without a computed checksum.
pub(super) fn ahead(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let is_all = flow.bad_checksums > 0 && flow.bad_checksums == flow.datagrams;
    is_all.then(|| Finding { severity: Severity::Warning, ..finding(observation, flow) })
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

fn finding(observation: &Observation, flow: &Flow) -> Finding {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instructions;
    use crate::causes::fixtures::{ETH0, flow, membership, with_counters};

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
        check(observation).iter().flat_map(|finding| finding.remedies.iter().map(advice)).collect()
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
            check(&membership("[ff15::1234]:5000", vec![flow], received)).len()
        };
        assert_eq!((findings(0), findings(10)), (1, 0));
    }

    #[test]
    fn checksum_errors_of_this_machine_were_wrong_on_the_wire() {
        let observation = with_counters(damaged(), &[("UdpInCsumErrors", 11)]);
        let [only] = &remedies(&observation)[..] else { panic!("{:?}", remedies(&observation)) };
        assert!(only.contains("ethtool"), "{only}");
    }
}
