//! Datagrams arrive from 0.0.0.0, because the sender had no address. The system drops them without counting
//! them. On the sender itself, they leave, and its own sockets receive them.

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
    findings.extend(flows.into_iter().map(|flow| finding(observation, flow)));
    findings.extend(sent(observation));
    findings
}

/// Returns the finding about a flow that does not get to the check of its source, because something drops it before.
pub(super) fn ahead(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let source = flow.key.source.ip();
    (source.is_ipv4() && source.is_unspecified()).then(|| finding(observation, flow))
}

fn finding(observation: &Observation, flow: &Flow) -> Finding {
    let interface = observation.link_name(flow.key.interface);
    let macs = flow.mac_list();
    Finding::fault(
                Id::SourceZero,
                format!("Datagrams for {} arrive on {interface} without a source address ({}), so the system drops them.", flow.destination(), flow.key.source.ip()),
            )
            .about_flow(&interface, flow)
            .evidence(EvidenceKind::Packet, &interface, format!("{} datagrams from {}, sent by {macs}", flow.datagrams, flow.key.source))
            .advise(Tool::Network, format!("On the machine with the hardware address {macs}, give the sending interface an address: ip address add ADDRESS/PREFIX dev INTERFACE"))
}

/// Returns findings about datagrams that this machine sends without an address.
fn sent(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let is_examined = |flow: &Flow| {
        interests.iter().any(|interest| interest.destination() == flow.destination())
            || observation.program().is_some_and(|program| program.sends(flow))
    };
    // Linux accepts 0.0.0.0 for the groups of the local network control block.
    let is_accepted = |flow: &Flow| match flow.key.group {
        std::net::IpAddr::V4(group) => group.octets()[..3] == [224, 0, 0],
        std::net::IpAddr::V6(_) => true,
    };
    let is_device =
        |flow: &Flow| observation.link(flow.key.interface).is_some_and(|link| !link.interface.loopback);
    let flows = observation.wire.flows.iter().filter(|flow| {
        let (from, is_sent) = (flow.key.source.ip(), flow.key.outgoing);
        is_sent && from.is_unspecified() && !is_accepted(flow) && is_device(flow) && is_examined(flow)
    });
    let finding = |flow: &Flow| {
        let (interface, to) = (observation.link_name(flow.key.interface), flow.destination());
        Finding::fault(
            Id::SourceZero,
            format!("This machine sends to {to} by {interface} without a source address (0.0.0.0), so every other machine drops the datagrams."),
        )
        .about_flow(&interface, flow)
        .with_evidence(observation.packets_of(flow))
        .advise(Tool::Ip, format!("Give {interface} an address, then restart the sender: ip address add ADDRESS/PREFIX dev {interface}"))
    };
    flows.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, LO, flow, membership};
    use super::*;

    #[test]
    fn sender_without_an_address_is_at_fault_at_the_sender() {
        let findings = |to: &str, interface| {
            let mut sent = flow(interface, "0.0.0.0:6000", to);
            sent.key.outgoing = true;
            CAUSE.judge(&membership(to, vec![sent], 10)).len()
        };
        assert_eq!(findings("239.1.2.3:5000", ETH0), 1);
        assert_eq!((findings("224.0.0.50:5000", ETH0), findings("239.1.2.3:5000", LO)), (0, 0));
    }

    #[test]
    fn source_that_the_system_accepts_is_no_fault() {
        let findings = |source, to: &str, received| {
            CAUSE.judge(&membership(to, vec![flow(ETH0, source, to)], received)).len()
        };
        assert_eq!(findings("0.0.0.0:6000", "239.1.2.3:5000", 0), 1);
        assert_eq!(findings("[::]:6000", "[ff15::1234]:5000", 10), 0);
    }
}
