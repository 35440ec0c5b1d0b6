//! Datagrams reach the socket, and the program does not read them.

use super::{Cause, Check};
use crate::acceptance::ExaminedSocket;
use crate::finding::list;
use crate::observation::Observation;
use crate::{EvidenceKind, Finding, Id, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Socket(check), &["udp(7)"]);

fn check(observation: &Observation, examined: &ExaminedSocket<'_>) -> Option<Finding> {
    let (program, socket) = (examined.program, examined.socket);
    // Otherwise, the process that should read is stopped.
    if socket.stopped().is_some() || !observation.is_unread(socket) {
        return None;
    }
    let (local, seconds) = (socket.local?, observation.listened().as_secs_f64());
    let flows = observation.taken_by(socket);
    let to = flows.first()?.destination();
    let sources = list(flows.iter().map(|flow| flow.key.source));
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
    .from_source(sources)
    .in_program(program)
    .change(EvidenceKind::Socket, format!("bytes in the receive queue of socket {}", socket.inode), first, last)
    .change(EvidenceKind::Counter, format!("drops of socket {}", socket.inode), socket.drops.0, socket.drops.1)
    .advise(
        Tool::Program,
        format!("See what it waits for: `cat /proc/{pid}/stack` or `gdb -p {pid}`. A program that receives calls recv in a loop, in a thread that does nothing else. If several sockets of it are bound to port {}, close those that it does not read.", local.port(), pid = socket.processes.first().map_or(0, |process| process.pid)),
    );
    Some(finding)
}
