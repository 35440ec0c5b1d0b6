//! The program has left the group while it was examined.

use mcast::Membership;

use super::{Cause, Check, Placeholders};
use crate::acceptance::ExaminedSocket;
use crate::observation::{Observation, index_of};
use crate::{EvidenceKind, Finding, Id, Severity, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 1112 section 7.1"]).offering(Placeholders::join);

fn check(observation: &Observation) -> Vec<Finding> {
    // Programs beside an examined membership come and go.
    if observation.program().is_none() {
        return Vec::new();
    }
    let examined = observation.examined_sockets();
    examined.iter().flat_map(|socket| judge(observation, socket, &examined)).collect()
}

fn judge(
    observation: &Observation,
    examined: &ExaminedSocket<'_>,
    all: &[ExaminedSocket<'_>],
) -> Vec<Finding> {
    let siblings = || all.iter().filter(|other| other.program == examined.program);
    let is_kept = |membership: &Membership| {
        let same = |later: &Membership| {
            later.address.group == membership.address.group && later.interface == membership.interface
        };
        siblings().any(|other| other.socket.memberships_after.iter().any(same))
    };
    // If the interface is gone, the membership went with it.
    let has_interface = |membership: &Membership| {
        index_of(membership).is_some_and(|index| observation.after.link(index).is_some())
    };
    let left = examined.socket.memberships.iter();
    let left = left.filter(|membership| !is_kept(membership) && has_interface(membership));
    left.map(|membership| finding(observation, examined, membership)).collect()
}

fn finding(observation: &Observation, examined: &ExaminedSocket<'_>, membership: &Membership) -> Finding {
    let (program, socket, group) = (examined.program, examined.socket, membership.address.group);
    let interface = index_of(membership).map_or_else(String::new, |index| observation.link_name(index));
    // A program may end on purpose.
    let (severity, event) = match socket.closed {
        true => (Severity::Note, "closed its socket, and with it left"),
        false => (examined.severity, "left"),
    };
    let seconds = observation.listened().as_secs_f64();
    let join = index_of(membership).filter(|_| !socket.closed).and_then(|index| {
        let changes = remedies::socket::join(group.addr(), index, &membership.sources);
        remedies::socket::change(socket, &changes)
    });
    Finding::new(
        Id::LeftGroup,
        severity,
        format!("{program} {event} {group} on {interface} during the {seconds:.1} s in which it was examined."),
    )
    .on_interface(interface)
    .for_group(membership.address)
    .in_program(program)
    .change(
        EvidenceKind::Socket,
        format!("socket {}", socket.inode),
        format!("member of {group}"),
        if socket.closed { "closed" } else { "not a member" },
    )
    .with_all_evidence(observation.wire.incoming(group.addr()).map(|flow| observation.packets_of(flow)))
    .with_remedies(join)
    .advise(
        Tool::Program,
        "See when it leaves: `strace -f -e trace=setsockopt,close -p PID`, or `mcast groups --watch`. A membership ends when the program leaves the group or closes the socket.",
    )
}
