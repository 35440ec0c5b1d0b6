//! The interface was deleted and made anew: memberships belong to its number, and went with it.

use crate::observation::{Observation, Program, ProgramSocket};
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let Some(program) = seen.program() else { return Vec::new() };
    program.sockets.iter().flat_map(|socket| lost(seen, program, socket)).collect()
}

fn lost(seen: &Observation, program: &Program, socket: &ProgramSocket) -> Vec<Finding> {
    let gone = socket.memberships.iter().filter_map(|membership| {
        let before = seen.before.link(membership.interface)?;
        let now = seen.after.link_named(&before.name);
        let is_another = now.is_none_or(|now| now.index != before.index);
        let rejoined = now.is_some_and(|now| {
            socket
                .memberships_after
                .iter()
                .any(|held| held.group == membership.group && held.interface == now.index)
        });
        (is_another && !rejoined).then_some((membership, before, now))
    });
    gone.map(|(membership, before, now)| {
        let what = if now.is_some() { "was made anew" } else { "has gone" };
        let number = now.map_or_else(|| "none".to_owned(), |now| now.index.to_string());
        Finding::new(
            Id::InterfaceRecreated,
            Severity::Fault,
            format!("{} {what}, and the membership of {} went with the old one: the program has to join again.", before.name, membership.group),
        )
        .on(&before.name)
        .of(membership.group)
        .by(&program.name)
        .because(Evidence::change(Sort::Interface, format!("number of {}", before.name), before.index, number))
        .because(Evidence::new(Sort::Socket, format!("socket {}", socket.inode), format!("holds {} no more", membership.group)))
        .remedied([
            Remedy::advice(Tool::Program, "Join again when an interface of the name appears (netlink RTM_NEWLINK); with the mcast library, ReceiverBuilder::follow does it."),
            Remedy::advice(Tool::Program, "Until then, restart the program."),
        ])
    })
    .collect()
}
