//! Datagrams come from 0.0.0.0, as the sender had no address: the system drops them without a count.

use crate::observation::{About, Observation};
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let wanted = seen.wanted();
    let mut flows: Vec<_> = wanted.iter().flat_map(|wanted| seen.arrivals(wanted)).collect();
    if matches!(seen.about, About::File) {
        flows.extend(&seen.wire.flows);
    }
    let mut findings = Vec::new();
    for flow in flows.into_iter().filter(|flow| flow.key.source.ip().is_unspecified()) {
        let interface = seen.link_name(flow.key.interface);
        let macs: Vec<_> = flow.macs.iter().map(ToString::to_string).collect();
        let macs = macs.join(", ");
        findings.push(
            Finding::new(
                Id::SourceZero,
                Severity::Fault,
                format!("What comes in by {interface} for {} has no source address ({}), so the system drops it.", flow.destination(), flow.key.source.ip()),
            )
            .on(&interface)
            .of(flow.destination())
            .from(flow.key.source)
            .because(Evidence::new(Sort::Packet, &interface, format!("{} datagrams from {}, sent by {macs}", flow.datagrams, flow.key.source)))
            .remedied([Remedy::advice(Tool::Network, format!("Give the sending interface an address on the machine whose hardware address is {macs}: ip address add ADDRESS/PREFIX dev INTERFACE"))]),
        );
    }
    findings
}
