//! The program has the port open but has not joined the group, so no socket receives it.

use super::{Cause, Check, Placeholders};
use crate::observation::{Observation, Program, ProgramSocket};
use mcast::SourceFilter;

use crate::{EvidenceKind, Finding, Id, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 1112 section 7.1"]).offering(Placeholders::join);

fn check(observation: &Observation) -> Vec<Finding> {
    let Some(program) = observation.program() else { return Vec::new() };
    // Another socket of the program may hold the membership for the one that receives.
    let is_member =
        |socket: &ProgramSocket| !socket.memberships.is_empty() || !socket.memberships_after.is_empty();
    if program.sockets.iter().any(is_member) || !program.visible {
        return Vec::new();
    }
    program.sockets.iter().filter_map(|socket| judge(observation, program, socket)).collect()
}

fn judge(observation: &Observation, program: &Program, socket: &ProgramSocket) -> Option<Finding> {
    let local = socket.local?;
    let flow = observation.wire.flows.iter().find(|flow| {
        let matches_group = socket.bound_group().is_none_or(|group| group == flow.key.group);
        let can_receive = local.ip().is_unspecified() || socket.bound_group().is_some();
        !flow.key.outgoing
            && flow.key.port == local.port()
            && matches_group
            && can_receive
            && !observation.after.is_joined(flow.key.group, flow.key.interface)
    });
    let group = socket.bound_group().or_else(|| flow.map(|flow| flow.key.group))?;
    if observation.after.joined.iter().any(|joined| joined.group == group) {
        return None;
    }
    let interface = flow.map(|flow| observation.link_name(flow.key.interface));
    let packets = flow.map(|flow| observation.packets_of(flow));
    let join = flow.and_then(|flow| {
        // Routers forward a source-specific group only to members that name the source.
        let is_ssm = mcast::Group::new(group).is_ok_and(mcast::Group::is_source_specific);
        let sources = match is_ssm {
            true => SourceFilter::Include([flow.key.source.ip()].into()),
            false => SourceFilter::ANY,
        };
        let changes = remedies::socket::join(group, flow.key.interface, &sources);
        remedies::socket::change(socket, &changes)
    });
    let finding = Finding::fault(
        Id::NotJoined,
        format!("{} has port {} open, but no program on this machine has joined {group}.", program.name, local.port()),
    )
    .for_group(std::net::SocketAddr::new(group, local.port()))
    .in_program(&program.name)
    .evidence(EvidenceKind::Socket, format!("socket {}", socket.inode), format!("bound to {local}, no memberships"))
    .with_all_evidence(packets)
    .with_remedies(join)
    .advise(
        Tool::Program,
        format!("Join {group} on {} (MCAST_JOIN_GROUP with the index of the interface); binding alone does not join. If the program did join, the interface may have been deleted since: restart the program.", interface.as_deref().unwrap_or("the interface on which it arrives")),
    );
    Some(finding)
}
