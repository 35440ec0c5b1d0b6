//! A socket bound to the wildcard address also receives groups on its port that only other programs have joined.

use mcast::Family;

use super::{Cause, Check};
use crate::observation::{Observation, Program, ProgramSocket};
use crate::wire::Flow;
use crate::{EvidenceKind, Finding, Id, Tool, remedies};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["ip(7): IP_MULTICAST_ALL"])
    .without_loss()
    .offering(|on| on.on_socket(&[remedies::socket::own_groups_only(Family::V4)]));

fn check(observation: &Observation) -> Vec<Finding> {
    let Some(program) = observation.program() else { return Vec::new() };
    program.sockets.iter().filter_map(|socket| leak(observation, program, socket)).collect()
}

fn leak(observation: &Observation, program: &Program, socket: &ProgramSocket) -> Option<Finding> {
    let local = socket.local.filter(|local| local.ip().is_unspecified())?;
    let membership = socket.memberships.first()?;
    let open = |flow: &&Flow| {
        let family = Family::of(flow.key.group);
        socket.memberships.iter().any(|own| own.address.group.family() == family)
            && !socket.own_groups_only.contains(&family)
    };
    let foreign = |flow: &&Flow| {
        !flow.key.outgoing
            && flow.key.port == local.port()
            && flow.sound() > 0
            && socket.memberships.iter().all(|own| own.address.group.addr() != flow.key.group)
            && observation.after.is_joined(flow.key.group, flow.key.interface)
            && socket.peer.is_none_or(|peer| peer == flow.key.source)
            && socket.bound_interface.is_none_or(|bound| bound == flow.key.interface)
    };
    let flow = observation.wire.flows.iter().filter(foreign).find(open)?;
    let option = if flow.key.group.is_ipv4() { "IP_MULTICAST_ALL" } else { "IPV6_MULTICAST_ALL" };
    let interface = observation.link_name(flow.key.interface);
    let finding = Finding::fault(
        Id::ForeignGroupsLeak,
        format!("The socket is bound to {local} and also receives {}, which only another program has joined.", flow.destination()),
    )
    .about_flow(&interface, flow)
    .in_program(&program.name)
    .evidence(EvidenceKind::Socket, format!("socket {} {option}", socket.inode), "1")
    .evidence(EvidenceKind::Packet, &interface, format!("{} datagrams to {}, besides {}", flow.datagrams, flow.destination(), membership.address.group))
    .with_remedies(remedies::socket::change(
        socket,
        &[remedies::socket::own_groups_only(Family::of(flow.key.group))],
    ))
    .advise(
        Tool::Program,
        format!("Set {option} to 0 on the socket, or bind it to {}, or check the destination of each datagram (IP_PKTINFO, IPV6_RECVPKTINFO).", std::net::SocketAddr::new(membership.address.group.addr(), local.port())),
    );
    Some(finding)
}
