//! A sender on this machine has `IP_MULTICAST_LOOP` off, so this machine does not receive what it sends.

use super::{Cause, Check};
use crate::observation::{Interest, Observation};
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Interest(check), &["ip(7): IP_MULTICAST_LOOP"]);

/// The last datagram may still be on its way back when listening ends, so a single one proves nothing.
const MIN_DATAGRAMS: u64 = 3;

fn check(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let trial = observation.trial()?;
    let is_not_looped_back = |flow: &&Flow| {
        let source = flow.key.source.ip();
        flow.key.interface == interest.interface
            && flow.key.port == interest.port
            && flow.datagrams >= MIN_DATAGRAMS
            && observation.before.is_own(source)
            && interest.sources.admits(source)
            && trial.received_from(interest.interface, flow.key.source) == 0
    };
    let flow = observation.wire.outgoing(interest.group.addr()).find(is_not_looped_back)?;
    let (source, to) = (flow.key.source, flow.destination());
    let interface = observation.link_name(flow.key.interface);
    let option = if to.is_ipv4() { "IP_MULTICAST_LOOP" } else { "IPV6_MULTICAST_LOOP" };
    let finding = Finding::new(
        Id::LoopbackOff,
        Severity::Fault,
        format!("Datagrams that {source} on this machine sends to {to} do not reach receivers on this machine: the sender has {option} off."),
    )
    .about_flow(&interface, flow)
    .with_evidence(Evidence::new(EvidenceKind::Packet, &interface, format!("{} datagrams sent, none looped back", flow.datagrams)))
    .with_evidence(Evidence::new(EvidenceKind::Socket, "the doctor's own, joined on the same interface", format!("0 datagrams from {source}")))
    .with_remedies([Remedy::advice(
        Tool::Program,
        format!("Set {option} to 1 on the sending socket (on Windows, on the receiving one)."),
    )]);
    Some(finding)
}
