//! The socket has joined one group and is bound to another, so it receives only the other.

use super::{Cause, Check};
use crate::acceptance::{Blocked, Refusal};
use crate::observation::Observation;
use crate::{Finding, Id, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Blocked(check), &["ip(7)"]);

fn check(observation: &Observation, blocked: &Blocked<'_>) -> Option<Finding> {
    let Refusal::Address(local) = blocked.refusal else { return None };
    if !local.ip().is_multicast() {
        return None;
    }
    let (program, group, to) = (blocked.program, blocked.to.ip(), blocked.to);
    let cause = format!(
        "{program} has joined {group} but its socket is bound to {local}, so it receives only what is sent to {}.",
        local.ip()
    );
    let finding = blocked.finding(observation, Id::BoundToOtherGroup, cause, format!("bound to {local}"));
    Some(finding.advise(
        Tool::Program,
        format!("Bind to {to}, or join {} instead. One socket for several groups is bound to the wildcard address and checks the destination of each datagram (IP_PKTINFO, IPV6_RECVPKTINFO).", local.ip()),
    ))
}
