//! The socket has joined a group, but is bound to a unicast address, so it receives only datagrams sent to that
//! address. (On Windows it would receive the group as well.)

use super::{Cause, Check};
use crate::acceptance::{Blocked, Refusal};
use crate::observation::Observation;
use crate::{Finding, Id, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Blocked(check), &["RFC 3678 section 4"]);

fn check(observation: &Observation, blocked: &Blocked<'_>) -> Option<Finding> {
    // `connect` sets the local address; binding differently would not help.
    let Refusal::Address(local) = blocked.refusal else { return None };
    if local.ip().is_multicast() || blocked.socket.peer.is_some() {
        return None;
    }
    let cause = format!(
        "The socket has joined {} but is bound to {local}, so it receives only datagrams sent to that address.",
        blocked.to.ip()
    );
    let advice = format!(
        "Bind to the group ({}), or bind to the wildcard address and check the destination of each datagram (IP_PKTINFO, IPV6_RECVPKTINFO).",
        blocked.to
    );
    let finding = blocked.finding(observation, Id::BoundToUnicast, cause, format!("bound to {local}"));
    Some(finding.advise(Tool::Program, advice))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, joined_socket, program};
    use super::*;
    use crate::observation::ProgramSocket;
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
        assert_eq!(CAUSE.judge(&program(vec![joined.clone()], Vec::new())).len(), 1);
        let receives = socket(2, "0.0.0.0:5000", false);
        assert_eq!(CAUSE.judge(&program(vec![joined.clone(), receives], Vec::new())), []);
        let another_port = socket(2, "0.0.0.0:5001", false);
        assert_eq!(CAUSE.judge(&program(vec![joined, another_port], Vec::new())).len(), 1);
    }

    #[test]
    fn connected_socket_is_not_a_fault() {
        let mut connected = socket(1, "10.9.0.2:5000", true);
        connected.peer = Some("10.9.0.7:6000".parse().unwrap());
        assert_eq!(CAUSE.judge(&program(vec![connected], Vec::new())), []);
    }

    #[test]
    fn socket_without_memberships_is_not_a_fault() {
        assert_eq!(CAUSE.judge(&program(vec![socket(1, "10.9.0.2:5000", false)], Vec::new())), []);
    }
}
