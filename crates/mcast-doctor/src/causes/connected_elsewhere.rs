//! The socket is connected, so it receives only from its peer, and the group's sender is another.

use super::{Cause, Check};
use crate::observation::{Interest, Observation};
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Interest(check), &["udp(7)"]);

fn check(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let socket = interest.socket?;
    let peer = socket.peer?;
    let flows = observation.expected(interest);
    let other = flows.first().filter(|_| flows.iter().all(|flow| flow.key.source != peer))?;
    let source = other.key.source;
    let finding = Finding::new(
        Id::ConnectedElsewhere,
        Severity::Fault,
        format!("The socket is connected to {peer}, so it does not receive from {source}, which sends to {}.", interest.destination()),
    )
    .for_group(interest.destination())
    .from_source(source)
    .in_program(observation.program().map_or("", |program| &program.name))
    .with_evidence(Evidence::new(EvidenceKind::Socket, format!("socket {}", socket.inode), format!("connected to {peer}")))
    .with_evidence(Evidence::new(EvidenceKind::Packet, observation.link_name(interest.interface), format!("{} datagrams from {source}", other.datagrams)))
    .with_remedies([Remedy::advice(Tool::Program, "Do not connect the receiving socket. To admit a single source, join with that source (IP_ADD_SOURCE_MEMBERSHIP, MCAST_JOIN_SOURCE_GROUP).")]);
    Some(finding)
}
