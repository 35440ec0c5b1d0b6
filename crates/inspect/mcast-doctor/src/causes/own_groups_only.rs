//! The socket receives only groups that it has joined itself, and another socket holds the membership.

use super::{Cause, Check, Placeholders};
use crate::acceptance::{Blocked, Refusal};
use crate::observation::Observation;
use crate::{Finding, Id, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Blocked(check), &["ip(7): IP_MULTICAST_ALL"]).offering(Placeholders::join);

fn check(observation: &Observation, blocked: &Blocked<'_>) -> Option<Finding> {
    if blocked.refusal != Refusal::Membership {
        return None;
    }
    let (program, group) = (blocked.program, blocked.to.ip());
    let interface = observation.link_name(blocked.interface);
    let is_ipv6_socket = blocked.socket.local.is_some_and(|local| local.is_ipv6());
    let (why, socket) = match (group.is_ipv4(), is_ipv6_socket) {
        (true, true) => (
            "an IPv6 socket receives only the IPv4 groups that it has joined itself",
            "an IPv6 socket, not a member itself",
        ),
        (true, false) => ("IP_MULTICAST_ALL is off", "IP_MULTICAST_ALL off, not a member itself"),
        (false, _) => ("IPV6_MULTICAST_ALL is off", "IPV6_MULTICAST_ALL off, not a member itself"),
    };
    let cause = format!(
        "{group} is joined on {interface} by another socket, and the socket of {program} on port {} does not receive it: {why}.",
        blocked.to.port()
    );
    let finding = blocked.finding(observation, Id::OwnGroupsOnly, cause, socket.to_owned());
    let join = remedies::socket::join(group, blocked.interface, &mcast::SourceFilter::ANY);
    let finding = finding.with_remedies(remedies::socket::change(blocked.socket, &join));
    Some(finding.advise(
        Tool::Program,
        format!("Join {group} on the socket that reads (MCAST_JOIN_GROUP), or turn IP_MULTICAST_ALL (IPV6_MULTICAST_ALL) on there."),
    ))
}
