//! Datagrams arrive malformed, so that every receiver drops them, and no checksum of UDP is wrong.

use mcast::Family;

use super::filter_rules::explained;
use crate::observation::{ExaminationTarget, Observation};
use crate::wire::{Defect, Flow};
use crate::{Evidence, EvidenceKind, Finding, Id, Severity, Tool};

/// Returns the findings about flows with defects.
pub(super) fn check(observation: &Observation) -> Vec<Finding> {
    let arrivals = observation.all_arrivals();
    arrivals.into_iter().filter_map(|flow| judge(observation, flow)).collect()
}

/// Returns the finding about the defects of a flow, if it has some.
pub(super) fn judge(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let (defect, count) = flow.defects.iter().max_by_key(|(_, count)| **count)?;
    // A few damaged packets are not why a stream does not arrive.
    let severity =
        if count.saturating_mul(20) >= flow.datagrams { Severity::Fault } else { Severity::Warning };
    let source = flow.key.source;
    let interface = observation.link_name(flow.key.interface);
    let is_file = matches!(observation.target, ExaminationTarget::File);
    let consequence = if is_file { "receivers drop them" } else { "the system drops them" };
    let counters = counters(*defect, Family::of(flow.key.group)).iter().filter_map(|name| {
        let (before, after) = observation.values(name).filter(|(before, after)| after > before)?;
        Some(Evidence::change(EvidenceKind::Counter, *name, before, after))
    });
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
    use super::super::fixtures::{ETH0, flow, membership};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    fn severities(defects: u64) -> Vec<Severity> {
        let mut flow = flow(ETH0, "10.9.0.1:6000", TO);
        flow.datagrams = 100;
        if defects > 0 {
            flow.defects.insert(Defect::Length, defects);
        }
        check(&membership(TO, vec![flow], 0)).iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn few_malformed_datagrams_are_a_warning() {
        assert_eq!(severities(100), [Severity::Fault]);
        assert_eq!(severities(1), [Severity::Warning]);
        assert_eq!(severities(0), []);
    }
}
