//! A connected socket hears its peer alone, and the group's sender is another.

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for wanted in seen.wanted() {
        let Some((socket, peer)) = wanted.socket.and_then(|socket| Some((socket, socket.peer?))) else {
            continue;
        };
        let flows = seen.expected(&wanted);
        let others: Vec<_> = flows.iter().filter(|flow| flow.key.source != peer).collect();
        let Some(other) = others.first().filter(|_| others.len() == flows.len()) else { continue };
        let source = other.key.source;
        findings.push(
            Finding::new(
                Id::ConnectedElsewhere,
                Severity::Fault,
                format!("The socket is connected to {peer}, so it does not hear {source}, who sends to {}.", wanted.destination()),
            )
            .of(wanted.destination())
            .from(source)
            .by(seen.program().map_or("", |program| &program.name))
            .because(Evidence::new(Sort::Socket, format!("socket {}", socket.inode), format!("connected to {peer}")))
            .because(Evidence::new(Sort::Packet, seen.link_name(wanted.interface), format!("{} datagrams from {source}", other.datagrams)))
            .remedied([Remedy::advice(Tool::Program, "Do not connect the socket that receives; to admit one sender only, join with the source (IP_ADD_SOURCE_MEMBERSHIP, MCAST_JOIN_SOURCE_GROUP).")]),
        );
    }
    findings
}
