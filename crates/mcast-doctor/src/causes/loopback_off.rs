//! The sender does not let its own machine hear what it sends: IP_MULTICAST_LOOP is off.

use crate::observation::{Observation, Wanted};
use crate::wire::Flow;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

/// The last datagram may still be on its way back when listening ends.
const ENOUGH: u64 = 3;

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let Some(asked) = seen.asked() else { return Vec::new() };
    let unheard = |wanted: &Wanted<'_>| {
        let own = |flow: &&Flow| {
            let source = flow.key.source.ip();
            flow.key.interface == wanted.interface
                && flow.key.port == wanted.port
                && flow.datagrams >= ENOUGH
                && seen.before.is_own(source)
                && wanted.sources.admits(source)
                && asked.heard_from(wanted.interface, flow.key.source) == 0
        };
        seen.wire.outgoing(wanted.group.addr()).find(own).map(|flow| finding(seen, flow))
    };
    seen.wanted().iter().filter_map(unheard).collect()
}

fn finding(seen: &Observation, flow: &Flow) -> Finding {
    let (source, to) = (flow.key.source, flow.destination());
    let interface = seen.link_name(flow.key.interface);
    let option = if to.is_ipv4() { "IP_MULTICAST_LOOP" } else { "IPV6_MULTICAST_LOOP" };
    Finding::new(
        Id::LoopbackOff,
        Severity::Fault,
        format!("What {source} on this machine sends to {to} is not heard on this machine: the sender has {option} off."),
    )
    .on(&interface)
    .of(to)
    .from(source)
    .because(Evidence::new(Sort::Packet, &interface, format!("{} datagrams left, none came back", flow.datagrams)))
    .because(Evidence::new(Sort::Socket, "the doctor's own, joined there", format!("0 from {source}")))
    .remedied([Remedy::advice(
        Tool::Program,
        format!("Set {option} to 1 on the sending socket (on Windows on the receiving one)."),
    )])
}
