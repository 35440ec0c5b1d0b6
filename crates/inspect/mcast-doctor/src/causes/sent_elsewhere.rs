//! Datagrams that do not reach sockets of this machine because of how their program sends them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use mcast::{Family, InterfaceIndex};
use mcast_sys::SendInterface;

use super::filter_rules::{INCOMING, arriving, certain_drop};
use super::{Cause, Check, Placeholders};
use crate::fate::leaving::{self, Unsent};
use crate::netfilter::{CountedTraffic, Hook, HookCount};
use crate::observation::{ExaminationTarget, Interest, Observation, Program, TrialMembership};
use crate::snapshot::{Link, Snapshot, UdpSocket};
use crate::wire::{Flow, UnicastFlow};
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool, remedies};

/// A sender on this machine has `IP_MULTICAST_LOOP` off, so this machine does not receive what it sends.
pub(super) const LOOPBACK_OFF: Cause =
    Cause::new(Check::Interest(loopback_off), &["ip(7): IP_MULTICAST_LOOP"])
        .offering(|on| on.on_socket(&[remedies::socket::loop_back(Family::V4)]));

/// The last datagram may still be on its way back when listening ends, so a single one proves nothing.
const MIN_LOOPED: u64 = 3;

fn loopback_off(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    if let Some(program) = observation.program() {
        return for_program(observation, interest, program);
    }
    let trial = observation.trial()?;
    let interface = observation.link_name(interest.interface);
    let is_not_looped_back = |flow: &&Flow| {
        let source = flow.key.source.ip();
        flow.key.interface == interest.interface
            && flow.key.port == interest.port
            && flow.datagrams >= MIN_LOOPED
            && observation.before.is_own(source)
            && interest.sources.admits(source)
            && trial.received_from(interest.interface, flow.key.source) == 0
            && !observation.is_for_others(flow)
            // What is looped back passes the packet filter like what arrives.
            && certain_drop(observation, &arriving(observation, flow), &INCOMING, &interface).is_none()
    };
    let Some(flow) = observation.wire.outgoing(interest.group.addr()).find(is_not_looped_back) else {
        return behind_the_output_hook(observation, interest, trial);
    };
    let source = flow.key.source;
    let evidence = Evidence::new(
        EvidenceKind::Socket,
        "the doctor's own, joined on the same interface",
        format!("0 datagrams from {source}"),
    );
    Some(loopback_off_finding(observation, flow, Severity::Fault, evidence))
}

/// Judges by their options the sockets whose datagrams reach the output hook and do not leave, so that whether they would be looped
/// back does not show.
fn behind_the_output_hook(
    observation: &Observation,
    interest: &Interest<'_>,
    trial: &TrialMembership,
) -> Option<Finding> {
    let family = interest.family();
    let is_off = |unsent: &Unsent| {
        unsent.interface == interest.interface
            && unsent.to == interest.destination()
            && interest.sources.admits(unsent.source.ip())
            && trial.received_from(unsent.interface, unsent.source) == 0
    };
    let unsent = leaving::unsent(observation);
    let (unsent, socket) = unsent.iter().filter(|unsent| is_off(unsent)).find_map(|unsent| {
        let senders = unsent.sockets(observation, |options| !options.loopback);
        senders.into_iter().next().map(|socket| (unsent, socket))
    })?;
    let option = option(family);
    let cause = loopback_off_cause(unsent.source, unsent.to, option);
    let finding = Finding::fault(Id::LoopbackOff, cause)
        .about(observation.link_name(unsent.interface), unsent.to, unsent.source)
        .at_hook(Hook::Postrouting)
        .with_evidence(unsent.evidence())
        .evidence(EvidenceKind::Socket, format!("socket {}", socket.inode), format!("{option} off"))
        .with_remedies(on_socket(observation, socket, family));
    Some(finding.advise(Tool::Program, turn_on(option)))
}

/// Judges what other programs on this machine send to the examined one, by the options of their sockets.
fn for_program(observation: &Observation, interest: &Interest<'_>, program: &Program) -> Option<Finding> {
    let is_kept_out = |flow: &&Flow| {
        let source = flow.key.source.ip();
        flow.key.interface == interest.interface
            && flow.key.port == interest.port
            && observation.before.is_own(source)
            && interest.sources.admits(source)
            // A program may want not to receive what it sends itself.
            && !program.sends(flow)
    };
    let mut sent = observation.wire.outgoing(interest.group.addr()).filter(is_kept_out);
    let (flow, socket) = sent.find_map(|flow| Some((flow, observation.without_loopback(flow)?)))?;
    // What arrives from other machines may be all that it is meant to receive.
    let severity =
        if observation.arrivals(interest).is_empty() { Severity::Fault } else { Severity::Warning };
    let evidence = Evidence::new(
        EvidenceKind::Socket,
        format!("socket {}", socket.inode),
        format!("{} off", option(interest.family())),
    );
    Some(loopback_off_finding(observation, flow, severity, evidence).in_program(&program.name))
}

/// Returns the remedy for the socket of a sender on this machine that has the option off.
fn on_socket(observation: &Observation, socket: &UdpSocket, family: Family) -> Option<Remedy> {
    let (pid, name) = observation.before.socket_processes.get(&socket.inode)?;
    remedies::socket::of_process(*pid, name, socket.inode, &[remedies::socket::loop_back(family)])
}

const fn option(family: Family) -> &'static str {
    match family {
        Family::V4 => "IP_MULTICAST_LOOP",
        Family::V6 => "IPV6_MULTICAST_LOOP",
    }
}

fn loopback_off_finding(
    observation: &Observation,
    flow: &Flow,
    severity: Severity,
    evidence: Evidence,
) -> Finding {
    let (source, to) = (flow.key.source, flow.destination());
    let interface = observation.link_name(flow.key.interface);
    let option = option(Family::of(to.ip()));
    Finding::new(Id::LoopbackOff, severity, loopback_off_cause(source, to, option))
        .about_flow(&interface, flow)
        .evidence(
            EvidenceKind::Packet,
            &interface,
            format!("{} datagrams sent, none looped back", flow.datagrams),
        )
        .with_evidence(evidence)
        .with_remedies(
            observation
                .without_loopback(flow)
                .and_then(|socket| on_socket(observation, socket, Family::of(to.ip()))),
        )
        .advise(Tool::Program, turn_on(option))
}

fn loopback_off_cause(source: SocketAddr, to: SocketAddr, option: &str) -> String {
    format!(
        "Datagrams that {source} on this machine sends to {to} do not reach receivers on this machine: the sender has {option} off."
    )
}

fn turn_on(option: &str) -> String {
    format!("Set {option} to 1 on the sending socket (on Windows, on the receiving one).")
}

/// This machine sends the group itself, by another interface than the one on which it is expected.
pub(super) const SENT_BY_OTHER_INTERFACE: Cause = Cause::new(
    Check::Observation(sent_by_other_interface),
    &["RFC 1112 section 6.1", "ip(7): IP_MULTICAST_IF"],
)
.offering(|on| {
    let send_by = remedies::socket::send_by(Family::V4, Placeholders::INDEX, SendInterface::Route);
    let route = remedies::linux::route_group(on.to.ip(), &on.link, false);
    on.on_socket(&[send_by]).into_iter().chain(route).collect()
});

fn sent_by_other_interface(observation: &Observation) -> Vec<Finding> {
    let kept = kept_here(observation);
    if !kept.is_empty() {
        return kept;
    }
    if observation.trial().is_some() {
        return of_membership(observation).into_iter().collect();
    }
    let Some(program) = observation.program() else { return Vec::new() };
    let sent = observation.wire.flows.iter().filter(|flow| flow.key.outgoing && program.sends(flow));
    sent.filter_map(|flow| of_program(observation, flow, &program.name)).collect()
}

/// Judges what this machine sends to a group that is one of its addresses (`ip address add GROUP dev INTERFACE autojoin`): it goes
/// to the loopback interface, whichever interface the program chooses. Receiving alone works with such an address.
fn kept_here(observation: &Observation) -> Vec<Finding> {
    let is_examined = |flow: &Flow| match &observation.target {
        ExaminationTarget::Membership(trial) => flow.destination() == trial.destination(),
        ExaminationTarget::Program(program) => program.sends(flow),
        ExaminationTarget::Machine | ExaminationTarget::File => false,
    };
    let is_on_loopback =
        |flow: &Flow| observation.link(flow.key.interface).is_some_and(|link| link.interface.loopback);
    let mut reported = BTreeSet::new();
    let sent = observation
        .wire
        .flows
        .iter()
        .filter(|flow| flow.key.outgoing && is_examined(flow) && is_on_loopback(flow));
    let judged = sent.filter_map(|flow| {
        let (link, prefix) = holder(observation, flow.key.group)?;
        reported.insert(flow.destination()).then(|| kept_here_finding(observation, flow, link, prefix))
    });
    judged.collect()
}

/// Returns the interface that has a group as an address, and the length of its prefix.
fn holder(observation: &Observation, group: IpAddr) -> Option<(&Link, u8)> {
    let networks = observation.after.links.iter().filter(|link| !link.interface.loopback);
    let mut addresses = networks.flat_map(|link| link.interface.addresses.iter().map(move |own| (link, own)));
    addresses.find(|(_, own)| own.address == group).map(|(link, own)| (link, own.prefix))
}

fn kept_here_finding(observation: &Observation, flow: &Flow, link: &Link, prefix: u8) -> Finding {
    let (to, group, name) = (flow.destination(), flow.key.group, link.name());
    let sends = observation.link_name(flow.key.interface);
    let joins = observation.after.is_joined(group, link.index());
    let cause = format!(
        "{group} is an address of this machine, on {name}: datagrams that this machine sends to it go to {sends} and never leave."
    );
    let finding = Finding::fault(Id::SentByOtherInterface, cause)
        .concerning(name, to)
        .evidence(EvidenceKind::Interface, format!("ip address show dev {name}"), format!("{group}/{prefix}"))
        .with_evidence(observation.packets_of(flow))
        .with_remedies([remedies::linux::remove_group_address(group, prefix, name, joins)])
        .advise(
            Tool::Program,
            format!("Also remove the address from what configures {name} at boot. If it was added to receive the group (autojoin), join in the program that receives it instead: a program that has not joined stops receiving when the address is removed."),
        );
    finding.with(observation.program().map(|program| &program.name), Finding::in_program)
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
    let flow = observation.wire.outgoing(trial.group().addr()).find(elsewhere);
    let sent =
        flow.map(|flow| Sent::of(observation, flow)).or_else(|| unsent_elsewhere(observation, trial))?;
    let leaves = observation.link_name(sent.interface);
    let cause = format!(
        "This machine sends {} itself, by {leaves} and not by {}, so no machine on the network of {} receives it.",
        sent.to,
        expected.name(),
        expected.name()
    );
    let join = Remedy::advice(
        Tool::Program,
        format!("A program on this machine that should receive it joins on {leaves}."),
    );
    let finding = sent_by_other_interface_finding(observation, &sent, expected, Severity::Fault, cause);
    Some(finding.with_remedies([join]))
}

/// Returns what this machine would send by an interface that is not joined if nothing kept it from leaving, unless it also sends
/// by one that is.
fn unsent_elsewhere(observation: &Observation, trial: &TrialMembership) -> Option<Sent> {
    let mut unsent = leaving::unsent(observation);
    unsent.retain(|unsent| {
        unsent.to == trial.destination() && trial.membership.sources.admits(unsent.source.ip())
    });
    let is_joined = |unsent: &Unsent| trial.joined.contains(&unsent.interface);
    let first = unsent.first().filter(|_| !unsent.iter().any(is_joined))?;
    let Unsent { interface, source, to, .. } = *first;
    Some(Sent { interface, source, to, evidence: first.evidence() })
}

/// What this machine sends by an interface.
struct Sent {
    interface: InterfaceIndex,
    source: SocketAddr,
    to: SocketAddr,
    evidence: Evidence,
}

impl Sent {
    fn of(observation: &Observation, flow: &Flow) -> Self {
        let (interface, source, to) = (flow.key.interface, flow.key.source, flow.destination());
        let sent = format!("{} datagrams out from {source} to {to}", flow.datagrams);
        let evidence = Evidence::new(EvidenceKind::Packet, observation.link_name(interface), sent);
        Self { interface, source, to, evidence }
    }
}

/// Judges what the examined program sends: a member reported the group on another interface, or its source address belongs to one.
fn of_program(observation: &Observation, flow: &Flow, program: &str) -> Option<Finding> {
    let leaves = observation.link_name(flow.key.interface);
    let (to, sent) = (flow.destination(), Sent::of(observation, flow));
    if let Some((member, expected)) = member_elsewhere(observation, flow) {
        let cause = format!(
            "{program} sends {to} by {leaves}, but {member} has joined it on the network of {}.",
            expected.name()
        );
        let finding = sent_by_other_interface_finding(observation, &sent, expected, Severity::Fault, cause);
        let location = observation.link_name(expected.index());
        let report = Evidence::new(EvidenceKind::Packet, location, format!("{member} reports {}", to.ip()));
        return Some(finding.in_program(program).with_evidence(report));
    }
    if let Some(expected) = instead_of_loopback(observation, flow) {
        let cause = format!(
            "{program} sends {to} by {leaves}, the loopback interface: the datagrams stay on this machine, and no program has joined the group on {leaves}."
        );
        return Some(
            sent_by_other_interface_finding(observation, &sent, expected, Severity::Fault, cause)
                .in_program(program),
        );
    }
    let expected = owner_of(observation, flow.key.source.ip(), flow.key.interface)?;
    let cause = format!(
        "{program} sends {to} by {leaves} with the source address {} of {}: receivers that check the reverse path drop it.",
        flow.key.source.ip(),
        expected.name()
    );
    Some(
        sent_by_other_interface_finding(observation, &sent, expected, Severity::Warning, cause)
            .in_program(program),
    )
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

fn sent_by_other_interface_finding(
    observation: &Observation,
    sent: &Sent,
    expected: &Link,
    severity: Severity,
    cause: String,
) -> Finding {
    let (to, leaves) = (sent.to, observation.link_name(sent.interface));
    let option = if to.is_ipv4() { "IP_MULTICAST_IF" } else { "IPV6_MULTICAST_IF" };
    let family = Family::of(to.ip());
    let mut routes = observation.after.group_routes.iter().filter(|route| route.family == family);
    let by_route = routes.any(|route| route.interface == Some(sent.interface));
    // A route decides only if the program leaves the choice to it.
    let route =
        remedies::route_group(to.ip(), expected, observation.after.has_routing_rules).filter(|_| by_route);
    let former = if by_route { SendInterface::Route } else { SendInterface::Index(sent.interface) };
    let send_by = remedies::socket::send_by(family, expected.index(), former);
    let on_socket = observation
        .program()
        .and_then(|program| remedies::socket::change(program.socket_at(sent.source.port())?, &[send_by]));
    Finding::new(Id::SentByOtherInterface, severity, cause)
        .with_remedies(on_socket)
        .about(&leaves, to, sent.source)
        .with_evidence(sent.evidence.clone())
        .advise(
            Tool::Program,
            format!("In the sender, choose the interface: {option} with the index of {}, which is {}. Many programs have an option for it.", expected.name(), expected.index()),
        )
        .with_remedies(route)
}

/// The datagrams are sent to the unicast address of a machine, or to the broadcast address of its network, and not to the
/// group.
pub(super) const SENT_TO_UNICAST: Cause =
    Cause::new(Check::Observation(sent_to_unicast), &["RFC 1112 section 6.1"]);

/// Fewer datagrams may be a reply or a discovery.
const MIN_UNICAST: u64 = 10;

fn sent_to_unicast(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    if interests.is_empty() {
        return of_sender(observation).into_iter().collect();
    }
    interests.iter().filter_map(|interest| of_interest(observation, interest)).collect()
}

/// Judges a membership: nothing for it is on the wire, and something is sent to its port and not to a group.
fn of_interest(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let group = interest.group.addr();
    let is_silent = observation.wire.flows.iter().all(|flow| flow.key.group != group);
    if !is_silent || observation.received_anything() {
        return None;
    }
    let mut candidates = observation.wire.unicast.iter().filter(|flow| {
        flow.interface == interest.interface
            && flow.destination.port() == interest.port
            && flow.datagrams >= MIN_UNICAST
            && flow.destination.is_ipv4() == group.is_ipv4()
            && (!flow.outgoing || observation.after.is_own(flow.source.ip()))
    });
    let flow = candidates.next()?;
    // Another program that receives unicast on this port may be the intended receiver.
    let is_taken = observation
        .after
        .udp_sockets
        .iter()
        .any(|socket| socket.local == flow.destination || socket.peer == Some(flow.source));
    let severity = if is_taken { Severity::Warning } else { Severity::Fault };
    let (interface, to) = (observation.link_name(interest.interface), interest.destination());
    let cause = format!(
        "There is no datagram for {to} on the wire of {interface}, but {} sends to {}, {}, which is not a group.",
        flow.source,
        flow.destination,
        described(observation, flow.destination.ip())
    );
    let finding = Finding::new(Id::SentToUnicast, severity, cause)
        .about(&interface, to, flow.source)
        .with_evidence(evidence(observation, flow))
        .evidence(EvidenceKind::Packet, &interface, format!("no datagram to {}", interest.group))
        .with_remedies([remedy(Some(to))]);
    Some(finding)
}

/// Judges a program that has joined no group and sends to none.
fn of_sender(observation: &Observation) -> Option<Finding> {
    let program = observation.program()?;
    // What a rule drops or sends elsewhere has reached the output hook.
    let is_counted = |count: &HookCount| match count.traffic {
        CountedTraffic::SentFrom(_, port) => count.reached > 0 && program.sends_from(port),
        _ => false,
    };
    let sends = |flow: &Flow| flow.key.outgoing && program.sends(flow);
    if observation.wire.flows.iter().any(sends) || observation.hooks.counts.iter().any(is_counted) {
        return None;
    }
    let mut sent = observation.wire.unicast.iter().filter(|flow| {
        flow.outgoing && flow.datagrams >= MIN_UNICAST && program.sends_from(flow.source.port())
    });
    let flow = sent.next()?;
    let interface = observation.link_name(flow.interface);
    let cause = format!(
        "{} sends to {}, {}, which is not a group, and to no group.",
        program.name,
        flow.destination,
        described(observation, flow.destination.ip())
    );
    let finding = Finding::new(Id::SentToUnicast, Severity::Warning, cause)
        .on_interface(&interface)
        .in_program(&program.name)
        .with_evidence(evidence(observation, flow))
        .with_remedies([remedy(None)]);
    Some(finding)
}

fn evidence(observation: &Observation, flow: &UnicastFlow) -> Evidence {
    let text = format!("{} datagrams from {} to {}", flow.datagrams, flow.source, flow.destination);
    Evidence::new(EvidenceKind::Packet, observation.link_name(flow.interface), text)
}

/// Returns what an address that is not a group belongs to.
fn described(observation: &Observation, address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(v4) if v4.is_broadcast() || is_broadcast_here(observation, v4.into()) => {
            "a broadcast address"
        }
        _ if observation.after.is_own(address) => "the unicast address of this machine",
        _ => "the unicast address of one machine",
    }
}

/// Returns whether an address is the last one of a network of this machine.
fn is_broadcast_here(observation: &Observation, address: IpAddr) -> bool {
    let IpAddr::V4(address) = address else { return false };
    let mut own = observation.after.links.iter().flat_map(|link| &link.interface.addresses);
    own.any(|own| match own.address {
        IpAddr::V4(here) if own.prefix < 31 => {
            let host_bits = u32::MAX.checked_shr(own.prefix.into()).unwrap_or_default();
            here.to_bits() | host_bits == address.to_bits()
        }
        _ => false,
    })
}

fn remedy(to: Option<SocketAddr>) -> Remedy {
    let to = to.map_or_else(|| "the group".to_owned(), |to| to.to_string());
    Remedy::advice(
        Tool::Program,
        format!(
            "In the configuration of the sender, enter {to} as the destination, and a hop limit for groups if receivers are behind a router."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{ETH0, ETH1, flow, membership};

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn group_that_this_machine_sends_by_another_interface_explains_the_silence() {
        let mut own = flow(ETH1, "10.8.0.2:6000", "239.1.2.3:5000");
        own.key.outgoing = true;
        let findings = super::super::judge(&membership("239.1.2.3:5000", vec![own], 0));
        let ids: Vec<_> = findings.iter().map(|finding| finding.id).collect();
        assert_eq!(ids, [Id::SentByOtherInterface]);
        assert!(findings[0].cause.contains("by eth1 and not by eth0"), "{}", findings[0].cause);
    }

    fn sent_to(destination: &str) -> Observation {
        let mut observation = membership(TO, Vec::new(), 0);
        observation.wire.unicast.push(UnicastFlow {
            interface: ETH0,
            outgoing: false,
            source: "10.9.0.1:6000".parse().unwrap(),
            destination: destination.parse().unwrap(),
            datagrams: 10,
        });
        observation
    }

    #[test]
    fn unicast_and_broadcast_to_the_port_are_named() {
        for (to, what) in [
            ("10.9.0.2:5000", "the unicast address of this machine"),
            ("10.9.0.255:5000", "a broadcast address"),
            ("255.255.255.255:5000", "a broadcast address"),
        ] {
            let finding = sent_to_unicast(&sent_to(to)).remove(0);
            assert!(finding.cause.contains(&format!("sends to {to}, {what}")), "{}", finding.cause);
            assert_eq!(finding.severity, Severity::Fault);
        }
    }

    #[test]
    fn other_ports_and_groups_that_arrive_are_not_reported() {
        assert_eq!(sent_to_unicast(&sent_to("10.9.0.2:5001")), []);
        let mut both = sent_to("10.9.0.2:5000");
        both.wire.flows.push(flow(ETH0, "10.9.0.1:6000", TO));
        assert_eq!(sent_to_unicast(&both), []);
        let mut few = sent_to("10.9.0.2:5000");
        few.wire.unicast[0].datagrams = 2;
        assert_eq!(sent_to_unicast(&few), []);
    }

    #[test]
    fn unicast_for_another_program_is_only_a_warning() {
        let mut taken = sent_to("10.9.0.2:5000");
        taken.after.udp_sockets = vec![UdpSocket {
            local: "10.9.0.2:5000".parse().unwrap(),
            peer: None,
            inode: 9,
            drops: 0,
            programs: Vec::new(),
        }];
        assert_eq!(sent_to_unicast(&taken)[0].severity, Severity::Warning);
    }
}
