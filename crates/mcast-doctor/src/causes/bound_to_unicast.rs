//! The socket has joined a group, but is bound to a unicast address, so it receives only datagrams sent to that
//! address. (On Windows it would receive the group as well.)

use super::{Cause, Check};
use crate::observation::{Observation, ProgramSocket};
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["RFC 3678 section 4"]);

fn check(observation: &Observation) -> Vec<Finding> {
    let Some(program) = observation.program() else { return Vec::new() };
    // The program may receive with another socket, and use this one only to join.
    let another_socket_receives = |joined: &ProgramSocket| {
        program.sockets.iter().any(|other| {
            other.inode != joined.inode
                && other.local.is_some_and(|local| {
                    (local.ip().is_unspecified() || local.ip().is_multicast())
                        && Some(local.port()) == joined.local.map(|local| local.port())
                })
        })
    };
    let bound_to_unicast = program.sockets.iter().filter(|socket| {
        let unicast =
            socket.local.is_some_and(|local| !local.ip().is_unspecified() && !local.ip().is_multicast());
        // `connect` sets the local address; binding differently would not help.
        unicast && socket.peer.is_none() && !socket.memberships.is_empty() && !another_socket_receives(socket)
    });
    bound_to_unicast.filter_map(|socket| {
        let local = socket.local?;
        let group = socket.memberships.first()?.address.group;
        let to = std::net::SocketAddr::new(group.addr(), local.port());
        let finding = Finding::new(
            Id::BoundToUnicast,
            Severity::Fault,
            format!("The socket has joined {group} but is bound to {local}, so it receives only datagrams sent to that address."),
        )
        .for_group(to)
        .in_program(&program.name)
        .with_evidence(Evidence::new(EvidenceKind::Socket, format!("socket {} of {}", socket.inode, program.name), format!("bound to {local}")))
        .with_remedies([Remedy::advice(
            Tool::Program,
            format!("Bind to the group ({to}), or bind to the wildcard address and check the destination of each datagram (IP_PKTINFO, IPV6_RECVPKTINFO)."),
        )]);
        Some(finding)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, joined_socket, program};
    use super::*;
    use mcast::SourceFilter;

    fn socket(inode: u64, local: &str, is_joined: bool) -> ProgramSocket {
        let mut socket = joined_socket(ETH0, SourceFilter::ANY);
        (socket.inode, socket.local) = (inode, Some(local.parse().unwrap()));
        socket.memberships.retain(|_| is_joined);
        socket
    }

    #[test]
    fn socket_bound_to_unicast_is_a_fault_unless_another_socket_receives() {
        let joined = socket(1, "10.9.0.2:5000", true);
        assert_eq!(check(&program(vec![joined.clone()], Vec::new())).len(), 1);
        let receives = socket(2, "0.0.0.0:5000", false);
        assert_eq!(check(&program(vec![joined.clone(), receives], Vec::new())), []);
        let another_port = socket(2, "0.0.0.0:5001", false);
        assert_eq!(check(&program(vec![joined, another_port], Vec::new())).len(), 1);
    }

    #[test]
    fn connected_socket_is_not_a_fault() {
        let mut connected = socket(1, "10.9.0.2:5000", true);
        connected.peer = Some("10.9.0.7:6000".parse().unwrap());
        assert_eq!(check(&program(vec![connected], Vec::new())), []);
    }

    #[test]
    fn socket_without_memberships_is_not_a_fault() {
        assert_eq!(check(&program(vec![socket(1, "10.9.0.2:5000", false)], Vec::new())), []);
    }
}
