//! The program has the port open and has joined nothing: the group comes in, and no socket wants it.

use crate::observation::{Observation, Program, ProgramSocket};
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let Some(program) = seen.program() else { return Vec::new() };
    // Another socket may hold the membership for the one that receives.
    if program.sockets.iter().any(|socket| !socket.memberships.is_empty()) || !program.visible {
        return Vec::new();
    }
    program.sockets.iter().filter_map(|socket| judge(seen, program, socket)).collect()
}

fn judge(seen: &Observation, program: &Program, socket: &ProgramSocket) -> Option<Finding> {
    let local = socket.local?;
    let flow = seen.wire.flows.iter().find(|flow| {
        let for_it = socket.bound_group().is_none_or(|group| group == flow.key.group);
        let hears = local.ip().is_unspecified() || socket.bound_group().is_some();
        !flow.key.outgoing
            && flow.key.port == local.port()
            && for_it
            && hears
            && !seen.after.is_joined(flow.key.group, flow.key.interface)
    });
    let group = socket.bound_group().or_else(|| flow.map(|flow| flow.key.group))?;
    if seen.after.joined.iter().any(|joined| joined.group == group) {
        return None;
    }
    let interface = flow.map(|flow| seen.link_name(flow.key.interface));
    let packets = flow.map(|flow| {
        Evidence::new(
            Sort::Packet,
            seen.link_name(flow.key.interface),
            format!("{} datagrams from {} to {}", flow.datagrams, flow.key.source, flow.destination()),
        )
    });
    let finding = Finding::new(
        Id::NotJoined,
        Severity::Fault,
        format!("{} has port {} open and nobody on this machine has joined {group}.", program.name, local.port()),
    )
    .of(format_args!("{group}:{}", local.port()))
    .by(&program.name)
    .because(Evidence::new(Sort::Socket, format!("socket {}", socket.inode), format!("bound to {local}, no memberships")))
    .because_all(packets)
    .remedied([Remedy::advice(
        Tool::Program,
        format!("Join {group} on {} (MCAST_JOIN_GROUP with the interface's index); binding alone joins nothing. If it had joined, the interface may have been deleted since: restart it.", interface.as_deref().unwrap_or("the interface by which it comes")),
    )]);
    Some(finding)
}
