//! Datagrams reach the socket, and the program does not read them.

use super::{Cause, Check};
use crate::acceptance::ExaminedSocket;
use crate::observation::Observation;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["udp(7)"]);

fn check(observation: &Observation) -> Vec<Finding> {
    observation.examined_sockets().iter().filter_map(|examined| judge(observation, examined)).collect()
}

fn judge(observation: &Observation, examined: &ExaminedSocket<'_>) -> Option<Finding> {
    let (program, socket) = (examined.program, examined.socket);
    // Otherwise, the process that should read is stopped.
    if socket.stopped().is_some() || !observation.is_unread(socket) {
        return None;
    }
    let (local, seconds) = (socket.local?, observation.listened().as_secs_f64());
    let flows = observation.taken_by(socket);
    let to = flows.first()?.destination();
    let sources: Vec<_> = flows.iter().map(|flow| flow.key.source.to_string()).collect();
    let (first, last) = (*socket.queued.first()?, *socket.queued.last()?);
    let dropped = socket.drops.1.saturating_sub(socket.drops.0);
    // As long as there is room, nothing is lost.
    let severity = if dropped > 0 { examined.severity } else { Severity::Warning };
    let arrived: u64 = flows.iter().map(|flow| flow.sound()).sum();
    let outcome = match dropped {
        0 => format!("{arrived} datagrams to {to} wait in its receive buffer"),
        _ => format!("its receive buffer is full, and {dropped} datagrams to {to} were dropped"),
    };
    let finding = Finding::new(
        Id::NotRead,
        severity,
        format!("{program} has read nothing from its socket on {local} for at least {seconds:.1} s: {outcome}."),
    )
    .for_group(to)
    .from_source(sources.join(", "))
    .in_program(program)
    .with_evidence(Evidence::change(EvidenceKind::Socket, format!("bytes in the receive queue of socket {}", socket.inode), first, last))
    .with_evidence(Evidence::change(EvidenceKind::Counter, format!("drops of socket {}", socket.inode), socket.drops.0, socket.drops.1))
    .with_remedies([Remedy::advice(
        Tool::Program,
        format!("See what it waits for: `cat /proc/{pid}/stack` or `gdb -p {pid}`. A program that receives calls recv in a loop, in a thread that does nothing else. If several sockets of it are bound to port {}, close those that it does not read.", local.port(), pid = socket.processes.first().map_or(0, |process| process.pid)),
    )]);
    Some(finding)
}
