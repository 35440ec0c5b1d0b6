//! A program on this machine sends the group, but by another interface than the one on which it is joined.

use super::{Cause, Check};
use crate::observation::{Interest, Observation};
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 1112 section 6.1", "ip(7): IP_MULTICAST_IF"]);

fn check(observation: &Observation) -> Vec<Finding> {
    if observation.received_anything() {
        return Vec::new();
    }
    let interests = observation.interests();
    let mut findings: Vec<Finding> = Vec::new();
    for interest in &interests {
        let same = || interests.iter().filter(|other| other.address() == interest.address());
        // Where it is joined or arrives, nothing is wrong with the interface.
        let is_here = |flow: &Flow| same().any(|other| other.interface == flow.key.interface);
        let has_another_source = same().any(|other| !observation.arrivals(other).is_empty());
        if let Some(flow) = sent_here(observation, interest).find(|flow| !is_here(flow))
            && sent_here(observation, interest).all(|flow| !is_here(flow))
            && !has_another_source
        {
            findings.push(finding(observation, interest, flow));
        }
    }
    findings.dedup_by(|one, other| one.subject.group == other.subject.group);
    findings
}

/// Returns the flows to the group that this machine itself sends, and does not forward.
fn sent_here<'a>(observation: &'a Observation, interest: &Interest<'_>) -> impl Iterator<Item = &'a Flow> {
    let port = interest.port;
    observation.wire.outgoing(interest.group.addr()).filter(move |flow| {
        let is_loopback = observation.link(flow.key.interface).is_some_and(|link| link.interface.loopback);
        flow.key.port == port && !is_loopback && observation.before.is_own(flow.key.source.ip())
    })
}

fn finding(observation: &Observation, interest: &Interest<'_>, flow: &Flow) -> Finding {
    let (to, source) = (interest.destination(), flow.key.source);
    let (wanted, actual) =
        (observation.link_name(interest.interface), observation.link_name(flow.key.interface));
    let option = if to.is_ipv4() { "IP_MULTICAST_IF" } else { "IPV6_MULTICAST_IF" };
    let by_route = observation.after.group_routes.iter().find(|route| route.family == interest.family());
    let is_by_route = by_route.is_some_and(|route| route.interface == Some(flow.key.interface));
    let route = observation.link(interest.interface).filter(|_| is_by_route);
    Finding::new(
        Id::SentByOtherInterface,
        Severity::Fault,
        format!("This machine itself sends {to} from {source}, but by {actual}: nothing of it reaches the network of {wanted}, nor a program that joined on {wanted}."),
    )
    .on_interface(&wanted)
    .for_group(to)
    .from_source(source)
    .with_evidence(observation.packets_of(flow))
    .with_evidence(Evidence::new(EvidenceKind::Packet, &wanted, format!("no datagram to {to}")))
    .with_remedies([
        Remedy::advice(
            Tool::Program,
            format!("In the sender, select {wanted} ({option} with its index {}, or bind to an address of {wanted}), then restart it. If {actual} is right, receivers join on {actual}.", interest.interface),
        ),
        remedies::mcast::send_on(to, &wanted),
    ])
    .with_remedies(route.and_then(|link| remedies::route_group(to.ip(), link)))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, ETH1, flow, membership};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    /// Returns a flow that leaves this machine.
    fn sent(interface: mcast::InterfaceIndex, source: &str) -> Flow {
        let mut flow = flow(interface, source, TO);
        flow.key.outgoing = true;
        flow
    }

    #[test]
    fn own_stream_that_leaves_by_another_interface_is_a_fault() {
        let found = |flows| check(&membership(TO, flows, 0)).len();
        assert_eq!(found(vec![sent(ETH1, "10.8.0.2:6000")]), 1);
        assert_eq!(found(vec![sent(ETH0, "10.9.0.2:6000")]), 0, "the joined interface");
        assert_eq!(found(vec![sent(ETH0, "10.9.0.2:6000"), sent(ETH1, "10.8.0.2:6000")]), 0, "both");
        assert_eq!(found(vec![sent(ETH1, "10.9.0.1:6000")]), 0, "forwarded for another host");
        let arriving = vec![flow(ETH0, "10.9.0.1:6000", TO), sent(ETH1, "10.8.0.2:6000")];
        assert_eq!(found(arriving), 0, "another sender arrives");
    }
}
