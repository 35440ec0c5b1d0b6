//! The socket is connected, so it receives only from its peer, and only at the address that `connect` chose.

use super::{Cause, Check};
use crate::acceptance::{Blocked, Refusal};
use crate::observation::Observation;
use crate::{Finding, Id, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Blocked(check), &["udp(7)"]);

fn check(observation: &Observation, blocked: &Blocked<'_>) -> Option<Finding> {
    let peer = blocked.socket.peer?;
    let cause = match blocked.refusal {
        Refusal::Peer(_) if peers_arrive(observation, blocked) => return None,
        Refusal::Peer(_) => {
            let source = blocked.flows.first()?.key.source;
            format!(
                "The socket is connected to {peer}, so it does not receive from {source}, which sends to {}.",
                blocked.to
            )
        }
        Refusal::Address(local) if !local.ip().is_multicast() => {
            format!(
                "The socket is connected to {peer}, which also bound it to {local}: it receives only datagrams sent to that address, and none sent to {}.",
                blocked.to
            )
        }
        _ => return None,
    };
    let finding = blocked.finding(observation, Id::ConnectedElsewhere, cause, format!("connected to {peer}"));
    Some(finding.advise(
        Tool::Program,
        "Do not connect the receiving socket. To admit a single source, join with that source (IP_ADD_SOURCE_MEMBERSHIP, MCAST_JOIN_SOURCE_GROUP).",
    ))
}

/// Returns whether the peer sends to the group as well: then the socket is connected to it on purpose.
fn peers_arrive(observation: &Observation, blocked: &Blocked<'_>) -> bool {
    let to = |port| port == blocked.to.port();
    let mut flows = observation.wire.incoming(blocked.to.ip());
    flows.any(|flow| to(flow.key.port) && Some(flow.key.source) == blocked.socket.peer)
}
