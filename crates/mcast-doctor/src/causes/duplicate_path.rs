//! The network delivers datagrams twice on one interface: a loop, a mirrored port, a relay, two bridges;
//! or the sender sends them twice.

use std::collections::BTreeSet;

use crate::observation::{About, Observation};
use crate::wire::Flow;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

/// So many different payloads make it unlikely that a sender only repeats itself.
const VARIETY: usize = 5;

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let wanted = seen.wanted();
    let mut flows: Vec<_> = wanted.iter().flat_map(|wanted| seen.arrivals(wanted)).collect();
    if matches!(seen.about, About::File) {
        flows.extend(seen.wire.flows.iter().filter(|flow| !flow.key.outgoing));
    }
    let mut told = BTreeSet::new();
    let doubled = flows.into_iter().filter(|flow| is_doubled(flow) && told.insert(flow.key));
    doubled.map(|flow| finding(seen, flow)).collect()
}

/// At least two in five of the originals were repeated.
fn is_doubled(flow: &Flow) -> bool {
    let originals = flow.datagrams.saturating_sub(flow.repeats);
    flow.payloads.len() >= VARIETY && flow.repeats * 5 >= originals * 2
}

fn finding(seen: &Observation, flow: &Flow) -> Finding {
    let (source, to) = (flow.key.source, flow.destination());
    let interface = seen.link_name(flow.key.interface);
    let times = if flow.repeats_by_other_way > 0 {
        "by another way, as its hop limit or Ethernet sender differs"
    } else {
        "with the same hop limit and Ethernet sender"
    };
    let macs: Vec<_> = flow.macs.iter().map(ToString::to_string).collect();
    Finding::new(
        Id::DuplicatePath,
        if flow.repeats_by_other_way > 0 { Severity::Fault } else { Severity::Warning },
        format!("{} of {} datagrams from {source} to {to} came a second time, {times}.", flow.repeats, flow.datagrams),
    )
    .on(&interface)
    .of(to)
    .from(source)
    .because(Evidence::new(Sort::Packet, &interface, format!("{} datagrams, {} repeated, hop limit {} to {}", flow.datagrams, flow.repeats, flow.hop_limits.0, flow.hop_limits.1)))
    .because(Evidence::new(Sort::Packet, format!("{interface} Ethernet senders"), macs.join(", ")))
    .remedied([
        Remedy::advice(Tool::Network, "Look for a loop between switches (switch spanning tree on), a mirrored port, or a relay or second router that forwards the group, too."),
        Remedy::advice(Tool::Program, "A sender that leaves by two interfaces of one network sends twice: choose one (IP_MULTICAST_IF)."),
    ])
}
