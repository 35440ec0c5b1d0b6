//! The socket has joined, but is bound to an address of the machine: it then hears only what is sent
//! to that address. (On Windows it would hear the groups, too.)

use crate::observation::{Observation, ProgramSocket};
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let Some(program) = seen.program() else { return Vec::new() };
    // Another socket of the program may be the one that receives, and this one only join for it.
    let is_heard_by_another = |deaf: &ProgramSocket| {
        program.sockets.iter().any(|other| {
            other.inode != deaf.inode
                && other.local.is_some_and(|local| {
                    (local.ip().is_unspecified() || local.ip().is_multicast())
                        && Some(local.port()) == deaf.local.map(|local| local.port())
                })
        })
    };
    let deaf = program.sockets.iter().filter(|socket| {
        let unicast =
            socket.local.is_some_and(|local| !local.ip().is_unspecified() && !local.ip().is_multicast());
        unicast && !socket.memberships.is_empty() && !is_heard_by_another(socket)
    });
    deaf.filter_map(|socket| {
        let local = socket.local?;
        let group = socket.memberships.first()?.group;
        let finding = Finding::new(
            Id::BoundToUnicast,
            Severity::Fault,
            format!("The socket has joined {group}, but is bound to {local}, so it hears only what is sent to that address."),
        )
        .of(format_args!("{group}:{}", local.port()))
        .by(&program.name)
        .because(Evidence::new(Sort::Socket, format!("socket {} of {}", socket.inode, program.name), format!("bound to {local}")))
        .remedied([Remedy::advice(
            Tool::Program,
            format!("Bind to the group ({group}:{}), or to any address and look at the destination of each datagram (IP_PKTINFO, IPV6_RECVPKTINFO).", local.port()),
        )]);
        Some(finding)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::invent::{ETH0, program};
    use super::*;
    use crate::observation::Membership;
    use mcast::SourceFilter;

    fn socket(inode: u64, local: &str, groups: &[&str]) -> ProgramSocket {
        let membership = |group: &&str| Membership {
            group: group.parse().unwrap(),
            interface: ETH0,
            sources: SourceFilter::ANY,
            multicast_all: true,
            loopback: true,
        };
        let memberships: Vec<_> = groups.iter().map(membership).collect();
        ProgramSocket {
            inode,
            local: Some(local.parse().unwrap()),
            peer: None,
            bound_interface: None,
            receive_buffer: None,
            drops: (0, 0),
            memberships_after: memberships.clone(),
            memberships,
        }
    }

    #[test]
    fn a_deaf_socket_is_a_fault_unless_another_hears_for_it() {
        let deaf = socket(1, "10.9.0.2:5000", &["239.1.2.3"]);
        assert_eq!(check(&program(vec![deaf.clone()], Vec::new())).len(), 1);
        let hears = socket(2, "0.0.0.0:5000", &[]);
        assert_eq!(check(&program(vec![deaf.clone(), hears], Vec::new())), []);
        let another_port = socket(2, "0.0.0.0:5001", &[]);
        assert_eq!(check(&program(vec![deaf, another_port], Vec::new())).len(), 1);
    }

    #[test]
    fn a_socket_that_has_joined_nothing_may_be_bound_to_what_it_likes() {
        assert_eq!(check(&program(vec![socket(1, "10.9.0.2:5000", &[])], Vec::new())), []);
    }
}
