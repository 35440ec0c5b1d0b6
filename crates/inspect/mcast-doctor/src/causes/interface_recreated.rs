//! The interface was deleted and created again. Memberships belong to its index, so they were lost.

use super::{Cause, Check};
use crate::observation::{Observation, Program, ProgramSocket, index_of};
use crate::{EvidenceKind, Finding, Id, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["RFC 3678 section 4"]);

fn check(observation: &Observation) -> Vec<Finding> {
    let Some(program) = observation.program() else { return Vec::new() };
    program.sockets.iter().flat_map(|socket| lost(observation, program, socket)).collect()
}

fn lost(observation: &Observation, program: &Program, socket: &ProgramSocket) -> Vec<Finding> {
    let gone = socket.memberships.iter().filter_map(|membership| {
        let before = observation.before.link(index_of(membership)?)?;
        let now = observation.after.link_named(before.name());
        let is_another = now.is_none_or(|now| now.index() != before.index());
        let rejoin = now.is_some_and(|now| {
            socket.memberships_after.iter().any(|later| {
                later.address.group == membership.address.group && index_of(later) == Some(now.index())
            })
        });
        (is_another && !rejoin).then_some((membership, before, now))
    });
    gone.map(|(membership, before, now)| {
        let event = if now.is_some() { "was created again" } else { "was deleted" };
        let index = now.map_or_else(|| "none".to_owned(), |now| now.index().to_string());
        Finding::fault(
            Id::InterfaceRecreated,
            format!("{} {event}, and the membership of {} was lost with the old interface: the program must join again.", before.name(), membership.address.group),
        )
        .on_interface(before.name())
        .for_group(membership.address.group)
        .in_program(&program.name)
        .change(EvidenceKind::Interface, format!("index of {}", before.name()), before.index(), index)
        .evidence(EvidenceKind::Socket, format!("socket {}", socket.inode), format!("no longer a member of {}", membership.address.group))
        .advise(Tool::Program, "Join again when an interface of that name appears (netlink RTM_NEWLINK). In the mcast library, ReceiverBuilder::follow does this.").advise(Tool::Program, "Until then, restart the program.")
    })
    .collect()
}
