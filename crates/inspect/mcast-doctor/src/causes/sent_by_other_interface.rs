//! This machine sends the group itself, by another interface than the one on which it is expected.

use std::net::IpAddr;

use mcast::{Family, InterfaceIndex};
use mcast_sys::SendInterface;

use super::{Cause, Check, Placeholders};
use crate::observation::Observation;
use crate::snapshot::{Link, Snapshot};
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 1112 section 6.1", "ip(7): IP_MULTICAST_IF"]).offering(
        |on| {
            let send_by = remedies::socket::send_by(Family::V4, Placeholders::INDEX, SendInterface::Route);
            let route = remedies::linux::route_group(on.to.ip(), &on.link, false);
            on.on_socket(&[send_by]).into_iter().chain(route).collect()
        },
    );

fn check(observation: &Observation) -> Vec<Finding> {
    if observation.trial().is_some() {
        return of_membership(observation).into_iter().collect();
    }
    let Some(program) = observation.program() else { return Vec::new() };
    let sent = observation.wire.flows.iter().filter(|flow| flow.key.outgoing && program.sends(flow));
    sent.filter_map(|flow| of_program(observation, flow, &program.name)).collect()
}

/// Judges the examined membership: nothing arrives, and this machine sends the group by an interface that is not joined.
fn of_membership(observation: &Observation) -> Option<Finding> {
    let trial = observation.trial().filter(|_| !observation.received_anything())?;
    let expected = observation.link(*trial.joined.first()?)?;
    let mut sent = observation.wire.outgoing(trial.group().addr());
    if sent.any(|flow| trial.joined.contains(&flow.key.interface)) {
        return None;
    }
    let arrives = |flow: &Flow| {
        let mut incoming = observation.wire.incoming(flow.key.group);
        incoming.any(|other| other.destination() == flow.destination() && flow.is_copy_of(other))
    };
    let elsewhere = |flow: &&Flow| {
        let source = flow.key.source.ip();
        // What this machine forwards or diverts has another source, unless a router masquerades.
        flow.key.port == trial.port()
            && !arrives(flow)
            && trial.membership.sources.admits(source)
            && observation.after.is_own(source)
    };
    let flow = observation.wire.outgoing(trial.group().addr()).find(elsewhere)?;
    let leaves = observation.link_name(flow.key.interface);
    let cause = format!(
        "This machine sends {} itself, by {leaves} and not by {}: no machine on the network of {} receives it.",
        flow.destination(),
        expected.name(),
        expected.name()
    );
    let join = Remedy::advice(
        Tool::Program,
        format!("A program on this machine that should receive it joins on {leaves}."),
    );
    Some(finding(observation, flow, expected, Severity::Fault, cause).with_remedies([join]))
}

/// Judges what the examined program sends: a member reported the group on another interface, or its source address belongs to one.
fn of_program(observation: &Observation, flow: &Flow, program: &str) -> Option<Finding> {
    let leaves = observation.link_name(flow.key.interface);
    let to = flow.destination();
    if let Some((member, expected)) = member_elsewhere(observation, flow) {
        let cause = format!(
            "{program} sends {to} by {leaves}, but {member} has joined it on the network of {}.",
            expected.name()
        );
        let finding = finding(observation, flow, expected, Severity::Fault, cause);
        let location = observation.link_name(expected.index());
        let report = Evidence::new(EvidenceKind::Packet, location, format!("{member} reports {}", to.ip()));
        return Some(finding.in_program(program).with_evidence(report));
    }
    if let Some(expected) = instead_of_loopback(observation, flow) {
        let cause = format!(
            "{program} sends {to} by {leaves}, the loopback interface: the datagrams stay on this machine, and no program has joined the group on {leaves}."
        );
        return Some(finding(observation, flow, expected, Severity::Fault, cause).in_program(program));
    }
    let expected = owner_of(observation, flow.key.source.ip(), flow.key.interface)?;
    let cause = format!(
        "{program} sends {to} by {leaves} with the source address {} of {}: receivers that check the reverse path drop it.",
        flow.key.source.ip(),
        expected.name()
    );
    Some(finding(observation, flow, expected, Severity::Warning, cause).in_program(program))
}

/// Returns an interface to a network, if a flow leaves by the loopback interface and nobody has joined it there.
fn instead_of_loopback<'a>(observation: &'a Observation, flow: &Flow) -> Option<&'a Link> {
    let sends = observation.link(flow.key.interface).filter(|link| link.interface.loopback)?;
    let is_joined = |snapshot: &Snapshot| snapshot.is_joined(flow.key.group, sends.index());
    if is_joined(&observation.before) || is_joined(&observation.after) {
        return None;
    }
    observation.after.links.iter().find(|link| link.is_of_the_host() && link.interface.multicast)
}

/// Returns another host that reported the group on another interface, if none reported it where it is sent.
fn member_elsewhere<'a>(observation: &'a Observation, flow: &Flow) -> Option<(IpAddr, &'a Link)> {
    let group = flow.key.group;
    let reports =
        observation.wire.control.iter().filter(|packet| packet.message.joins(group) && !packet.outgoing);
    if reports.clone().any(|packet| packet.interface == flow.key.interface) {
        return None;
    }
    let is_sent_there = |interface: InterfaceIndex| {
        let mut sent = observation.wire.outgoing(group);
        sent.any(|other| other.key.interface == interface && other.key.port == flow.key.port)
    };
    let report = reports.clone().find(|packet| !is_sent_there(packet.interface))?;
    Some((report.source, observation.link(report.interface)?))
}

/// Returns the interface that has an address, unless the sending one has it, too.
fn owner_of(observation: &Observation, address: IpAddr, sends: InterfaceIndex) -> Option<&Link> {
    let has = |link: &&Link| link.interface.addresses.iter().any(|own| own.address == address);
    let mut owners = observation.after.links.iter().filter(has);
    if owners.clone().any(|link| link.index() == sends) {
        return None;
    }
    // Routers and anycast services have addresses on the loopback interface that all interfaces use.
    owners.find(|link| link.is_of_the_host())
}

fn finding(
    observation: &Observation,
    flow: &Flow,
    expected: &Link,
    severity: Severity,
    cause: String,
) -> Finding {
    let (to, leaves) = (flow.destination(), observation.link_name(flow.key.interface));
    let option = if to.is_ipv4() { "IP_MULTICAST_IF" } else { "IPV6_MULTICAST_IF" };
    let family = Family::of(to.ip());
    let mut routes = observation.after.group_routes.iter().filter(|route| route.family == family);
    let by_route = routes.any(|route| route.interface == Some(flow.key.interface));
    // A route decides only if the program leaves the choice to it.
    let route =
        remedies::route_group(to.ip(), expected, observation.after.has_routing_rules).filter(|_| by_route);
    let sent = format!("{} datagrams out from {} to {to}", flow.datagrams, flow.key.source);
    let former = if by_route { SendInterface::Route } else { SendInterface::Index(flow.key.interface) };
    let send_by = remedies::socket::send_by(family, expected.index(), former);
    let on_socket = observation
        .program()
        .and_then(|program| remedies::socket::change(program.socket_of(flow)?, &[send_by]));
    Finding::new(Id::SentByOtherInterface, severity, cause)
        .with_remedies(on_socket)
        .on_interface(&leaves)
        .for_group(to)
        .from_source(flow.key.source)
        .evidence(EvidenceKind::Packet, &leaves, sent)
        .advise(
            Tool::Program,
            format!("In the sender, choose the interface: {option} with the index of {}, which is {}. Many programs have an option for it.", expected.name(), expected.index()),
        )
        .with_remedies(route)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH1, flow, membership};
    use super::*;

    #[test]
    fn group_that_this_machine_sends_by_another_interface_explains_the_silence() {
        let mut own = flow(ETH1, "10.8.0.2:6000", "239.1.2.3:5000");
        own.key.outgoing = true;
        let findings = super::super::judge(&membership("239.1.2.3:5000", vec![own], 0));
        let ids: Vec<_> = findings.iter().map(|finding| finding.id).collect();
        assert_eq!(ids, [Id::SentByOtherInterface]);
        assert!(findings[0].cause.contains("by eth1 and not by eth0"), "{}", findings[0].cause);
    }
}
