//! A socket bound to any address also gets the groups of its port that only others have joined.

use crate::observation::{Observation, Program, ProgramSocket};
use crate::wire::Flow;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let Some(program) = seen.program() else { return Vec::new() };
    program.sockets.iter().filter_map(|socket| leak(seen, program, socket)).collect()
}

fn leak(seen: &Observation, program: &Program, socket: &ProgramSocket) -> Option<Finding> {
    let local = socket.local.filter(|local| local.ip().is_unspecified())?;
    let membership = socket.memberships.first()?;
    let open = |flow: &&Flow| {
        let of_family =
            socket.memberships.iter().filter(|own| own.group.addr().is_ipv4() == flow.key.group.is_ipv4());
        let (mut any, mut all) = (false, true);
        for own in of_family {
            any = true;
            all &= own.multicast_all;
        }
        any && all
    };
    let foreign = |flow: &&Flow| {
        !flow.key.outgoing
            && flow.key.port == local.port()
            && flow.sound() > 0
            && socket.memberships.iter().all(|own| own.group.addr() != flow.key.group)
            && seen.after.is_joined(flow.key.group, flow.key.interface)
            && socket.peer.is_none_or(|peer| peer == flow.key.source)
            && socket.bound_interface.is_none_or(|bound| bound == flow.key.interface)
    };
    let flow = seen.wire.flows.iter().filter(foreign).find(open)?;
    let option = if flow.key.group.is_ipv4() { "IP_MULTICAST_ALL" } else { "IPV6_MULTICAST_ALL" };
    let interface = seen.link_name(flow.key.interface);
    let finding = Finding::new(
        Id::ForeignGroupsLeak,
        Severity::Fault,
        format!("The socket, bound to {local}, also receives {}, which it has not joined, as another program has.", flow.destination()),
    )
    .on(&interface)
    .of(flow.destination())
    .from(flow.key.source)
    .by(&program.name)
    .because(Evidence::new(Sort::Socket, format!("socket {} {option}", socket.inode), "1"))
    .because(Evidence::new(Sort::Packet, &interface, format!("{} datagrams to {}, beside {}", flow.datagrams, flow.destination(), membership.group)))
    .remedied([Remedy::advice(
        Tool::Program,
        format!("Set {option} to 0 on the socket, or bind it to {}:{}, or look at each datagram's destination (IP_PKTINFO, IPV6_RECVPKTINFO).", membership.group, local.port()),
    )]);
    Some(finding)
}
