//! Datagrams come from 0.0.0.0, as the sender had no address: the system drops them without a count.

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for wanted in seen.wanted() {
        let flow = seen.arrivals(&wanted).into_iter().find(|flow| flow.key.source.ip().is_unspecified());
        let Some(flow) = flow else { continue };
        let interface = seen.link_name(wanted.interface);
        let macs: Vec<_> = flow.macs.iter().map(ToString::to_string).collect();
        let macs = macs.join(", ");
        findings.push(
            Finding::new(
                Id::SourceZero,
                Severity::Fault,
                format!("What comes in by {interface} for {} has no source address ({}), so the system drops it.", wanted.destination(), flow.key.source.ip()),
            )
            .on(&interface)
            .of(wanted.destination())
            .from(flow.key.source)
            .because(Evidence::new(Sort::Packet, &interface, format!("{} datagrams from {}, sent by {macs}", flow.datagrams, flow.key.source)))
            .remedied([Remedy::advice(Tool::Network, format!("Give the sending interface an address on the machine whose hardware address is {macs}: ip address add ADDRESS/PREFIX dev INTERFACE"))]),
        );
    }
    findings
}
