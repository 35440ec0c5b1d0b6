//! Datagrams arrive from 0.0.0.0, because the sender had no address. The system drops them without counting
//! them.

use super::{Cause, Check};
use crate::observation::{ExaminationTarget, Observation};
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["RFC 1122 section 3.2.1.3"]);

fn check(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let mut flows: Vec<_> = interests.iter().flat_map(|interest| observation.arrivals(interest)).collect();
    if matches!(observation.target, ExaminationTarget::File) {
        flows.extend(&observation.wire.flows);
    }
    let mut findings = Vec::new();
    for flow in flows.into_iter().filter(|flow| flow.key.source.ip().is_unspecified()) {
        let interface = observation.link_name(flow.key.interface);
        let macs = flow.mac_list();
        findings.push(
            Finding::new(
                Id::SourceZero,
                Severity::Fault,
                format!("Datagrams for {} arrive on {interface} without a source address ({}), so the system drops them.", flow.destination(), flow.key.source.ip()),
            )
            .about_flow(&interface, flow)
            .with_evidence(Evidence::new(EvidenceKind::Packet, &interface, format!("{} datagrams from {}, sent by {macs}", flow.datagrams, flow.key.source)))
            .with_remedies([Remedy::advice(Tool::Network, format!("On the machine with the hardware address {macs}, give the sending interface an address: ip address add ADDRESS/PREFIX dev INTERFACE"))]),
        );
    }
    findings
}
