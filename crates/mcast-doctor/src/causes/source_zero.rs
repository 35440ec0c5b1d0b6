//! Datagrams arrive from 0.0.0.0, because the sender had no address. The system drops them without counting
//! them.

use super::{Cause, Check};
use crate::observation::{ExaminationTarget, Observation};
use crate::wire::Flow;
use crate::{EvidenceKind, Finding, Id, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["RFC 1122 section 3.2.1.3"]);

fn check(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let mut flows: Vec<_> = interests.iter().flat_map(|interest| observation.arrivals(interest)).collect();
    if matches!(observation.target, ExaminationTarget::File) {
        flows.extend(&observation.wire.flows);
    }
    // Linux accepts this source in IPv6, and in IPv4 for groups in 224.0.0.0/24.
    let is_received = |flow: &Flow| match observation.trial() {
        Some(trial) => trial.received_from(flow.key.interface, flow.key.source) > 0,
        None => observation.program().is_some() && flow.key.source.is_ipv6(),
    };
    // A machine without an address may send to itself.
    let is_inside =
        |flow: &Flow| observation.link(flow.key.interface).is_some_and(|link| link.interface.loopback);
    flows.retain(|flow| !is_inside(flow) && flow.key.source.ip().is_unspecified() && !is_received(flow));
    let mut findings = Vec::new();
    for flow in flows {
        let interface = observation.link_name(flow.key.interface);
        let macs = flow.mac_list();
        findings.push(
            Finding::fault(
                Id::SourceZero,
                format!("Datagrams for {} arrive on {interface} without a source address ({}), so the system drops them.", flow.destination(), flow.key.source.ip()),
            )
            .about_flow(&interface, flow)
            .evidence(EvidenceKind::Packet, &interface, format!("{} datagrams from {}, sent by {macs}", flow.datagrams, flow.key.source))
            .advise(Tool::Network, format!("On the machine with the hardware address {macs}, give the sending interface an address: ip address add ADDRESS/PREFIX dev INTERFACE")),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, membership};
    use super::*;

    #[test]
    fn source_that_the_system_accepts_is_no_fault() {
        let findings = |source, to: &str, received| {
            CAUSE.judge(&membership(to, vec![flow(ETH0, source, to)], received)).len()
        };
        assert_eq!(findings("0.0.0.0:6000", "239.1.2.3:5000", 0), 1);
        assert_eq!(findings("[::]:6000", "[ff15::1234]:5000", 10), 0);
    }
}
