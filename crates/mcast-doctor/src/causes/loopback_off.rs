//! A sender on this machine has `IP_MULTICAST_LOOP` off, so this machine does not receive what it sends.

use crate::observation::{Interest, Observation};
use crate::wire::Flow;
use super::Cause;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(check, &["ip(7): IP_MULTICAST_LOOP"]);

/// The last datagram may still be on its way back when listening ends, so a single one proves nothing.
const MIN_DATAGRAMS: u64 = 3;

fn check(observation: &Observation) -> Vec<Finding> {
    let Some(trial) = observation.trial() else { return Vec::new() };
    let not_looped_back = |interest: &Interest<'_>| {
        let own = |flow: &&Flow| {
            let source = flow.key.source.ip();
            flow.key.interface == interest.interface
                && flow.key.port == interest.port
                && flow.datagrams >= MIN_DATAGRAMS
                && observation.before.is_own(source)
                && interest.sources.admits(source)
                && trial.received_from(interest.interface, flow.key.source) == 0
        };
        observation.wire.outgoing(interest.group.addr()).find(own).map(|flow| finding(observation, flow))
    };
    observation.interests().iter().filter_map(not_looped_back).collect()
}

fn finding(observation: &Observation, flow: &Flow) -> Finding {
    let (source, to) = (flow.key.source, flow.destination());
    let interface = observation.link_name(flow.key.interface);
    let option = if to.is_ipv4() { "IP_MULTICAST_LOOP" } else { "IPV6_MULTICAST_LOOP" };
    Finding::new(
        Id::LoopbackOff,
        Severity::Fault,
        format!("Datagrams that {source} on this machine sends to {to} do not reach receivers on this machine: the sender has {option} off."),
    )
    .on_interface(&interface)
    .for_group(to)
    .from_source(source)
    .with_evidence(Evidence::new(EvidenceKind::Packet, &interface, format!("{} datagrams sent, none looped back", flow.datagrams)))
    .with_evidence(Evidence::new(EvidenceKind::Socket, "the doctor's own, joined on the same interface", format!("0 datagrams from {source}")))
    .with_remedies([Remedy::advice(
        Tool::Program,
        format!("Set {option} to 1 on the sending socket (on Windows, on the receiving one)."),
    )])
}
