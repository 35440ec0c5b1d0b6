//! The socket has joined a group of one address family and receives only the other.

use super::{Cause, Check};
use crate::acceptance::{Blocked, Refusal};
use crate::observation::Observation;
use crate::{Finding, Id, Tool};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Blocked(check), &["RFC 3493 section 5.3", "ipv6(7): IPV6_V6ONLY"]);

fn check(observation: &Observation, blocked: &Blocked<'_>) -> Option<Finding> {
    if blocked.refusal != Refusal::Family {
        return None;
    }
    let (program, to, local) = (blocked.program, blocked.to, blocked.socket.local?);
    let (why, advice) = match (blocked.socket.is_v6_only(), to.is_ipv4()) {
        (true, _) => (
            format!("its socket on {local} receives IPv6 only (IPV6_V6ONLY is on)"),
            format!("Turn IPV6_V6ONLY off before bind, or open an IPv4 socket for {}.", to.ip()),
        ),
        (false, true) => (
            format!("its socket is bound to the IPv6 address {local}"),
            format!("Bind to the wildcard address (::), or open an IPv4 socket for {}.", to.ip()),
        ),
        (false, false) => (
            format!("its socket is bound to the IPv4 address {local}"),
            format!("Bind to the wildcard address (::) or to {}.", to.ip()),
        ),
    };
    let cause = format!("{program} has joined {}, but {why}.", to.ip());
    let finding = blocked.finding(observation, Id::FamilyMismatch, cause, why);
    Some(finding.advise(Tool::Program, advice))
}
