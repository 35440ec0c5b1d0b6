//! Datagrams arrive with a wrong checksum, and UDP drops them.

use crate::observation::Observation;
use crate::snapshot::Counter;
use crate::wire::Flow;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};
use mcast::Family;

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let wanted = seen.wanted();
    let mut flows: Vec<_> = wanted.iter().flat_map(|wanted| seen.arrivals(wanted)).collect();
    if matches!(seen.about, crate::observation::About::File) {
        // What a file's own machine sent has checksums that its device was to fill in.
        flows.extend(seen.wire.flows.iter().filter(|flow| !flow.key.outgoing));
    }
    // Some devices hand on what they have not computed: only if UDP agrees, or nobody counts, it is bad.
    let agrees = |flow: &&Flow| {
        let rise = seen.rise(Counter::ChecksumErrors, Family::of(flow.key.group));
        flow.bad_checksums > 0 && rise.is_none_or(|rise| rise > 0)
    };
    flows.into_iter().filter(agrees).map(|flow| finding(seen, flow)).collect()
}

fn finding(seen: &Observation, flow: &Flow) -> Finding {
    let (bad, all, source) = (flow.bad_checksums, flow.datagrams, flow.key.source);
    let interface = seen.link_name(flow.key.interface);
    let family = Family::of(flow.key.group);
    let counter = Counter::ChecksumErrors.name(family);
    let counted = seen.values(counter).filter(|(before, after)| after > before);
    Finding::new(
        Id::BadChecksum,
        Severity::Fault,
        format!("{bad} of {all} datagrams from {source} have a wrong checksum, so UDP drops them."),
    )
    .on(&interface)
    .of(flow.destination())
    .from(source)
    .because(Evidence::new(Sort::Packet, format!("{interface}: {source} > {}", flow.destination()), format!("{bad} of {all} with a wrong checksum")))
    .because_all(counted.map(|(before, after)| Evidence::change(Sort::Counter, counter, before, after)))
    .remedied([
        Remedy::advice(Tool::Network, format!("On the sender ({}), have the kernel compute checksums instead of a device that does it wrongly: ethtool -K INTERFACE tx off", source.ip())),
    ])
}
