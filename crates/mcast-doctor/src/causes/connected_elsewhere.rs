//! The socket is connected, so it receives only from its peer, and the group's sender is another.

use crate::observation::Observation;
use super::Cause;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(check, &["udp(7)"]);

fn check(observation: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for interest in observation.interests() {
        let Some((socket, peer)) = interest.socket.and_then(|socket| Some((socket, socket.peer?))) else {
            continue;
        };
        let flows = observation.expected(&interest);
        let others: Vec<_> = flows.iter().filter(|flow| flow.key.source != peer).collect();
        let Some(other) = others.first().filter(|_| others.len() == flows.len()) else { continue };
        let source = other.key.source;
        findings.push(
            Finding::new(
                Id::ConnectedElsewhere,
                Severity::Fault,
                format!("The socket is connected to {peer}, so it does not receive from {source}, which sends to {}.", interest.destination()),
            )
            .for_group(interest.destination())
            .from_source(source)
            .in_program(observation.program().map_or("", |program| &program.name))
            .with_evidence(Evidence::new(EvidenceKind::Socket, format!("socket {}", socket.inode), format!("connected to {peer}")))
            .with_evidence(Evidence::new(EvidenceKind::Packet, observation.link_name(interest.interface), format!("{} datagrams from {source}", other.datagrams)))
            .with_remedies([Remedy::advice(Tool::Program, "Do not connect the receiving socket. To admit a single source, join with that source (IP_ADD_SOURCE_MEMBERSHIP, MCAST_JOIN_SOURCE_GROUP).")]),
        );
    }
    findings
}
