//! Sockets that receive datagrams twice, or those of groups that they have not joined.

use std::collections::{BTreeMap, BTreeSet};

use mcast::Family;
use mcast_packet::MacAddress;

use super::{Cause, Check};
use crate::finding::list;
use crate::observation::{ExaminationTarget, Interest, Observation, Program, ProgramSocket};
use crate::wire::{Flow, FlowKey};
use crate::{EvidenceKind, Finding, Id, Severity, Tool, remedies};

/// The group is joined on two interfaces of one network, so every datagram arrives twice.
pub(super) const DUPLICATE_INTERFACES: Cause =
    Cause::new(Check::Observation(duplicate_interfaces), &[]).without_loss();

fn duplicate_interfaces(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let mut reported = BTreeSet::new();
    let mut findings = Vec::new();
    for (position, one) in interests.iter().enumerate() {
        for other in &interests[position + 1..] {
            let same = one.address() == other.address() && one.interface != other.interface;
            if same
                && same_socket(one, other)
                && let Some((first, second)) = twice(observation, one, other)
                && reported.insert((first.key.source, one.destination()))
            {
                findings.push(duplicate_interfaces_finding(observation, first, second));
            }
        }
    }
    findings
}

fn same_socket(one: &Interest<'_>, other: &Interest<'_>) -> bool {
    one.socket.map(|socket| socket.inode) == other.socket.map(|socket| socket.inode)
}

/// Returns two flows from one source that carry the same datagrams on both interfaces.
fn twice<'a>(
    observation: &'a Observation,
    one: &Interest<'_>,
    other: &Interest<'_>,
) -> Option<(&'a Flow, &'a Flow)> {
    let seconds = observation.expected(other);
    observation.expected(one).into_iter().find_map(|first| {
        let second = seconds.iter().find(|second| second.key.source == first.key.source)?;
        let common = first.payloads.intersection(&second.payloads).count();
        (common * 2 >= first.payloads.len().min(second.payloads.len())).then_some((first, *second))
    })
}

fn duplicate_interfaces_finding(observation: &Observation, first: &Flow, second: &Flow) -> Finding {
    let (one, other) =
        (observation.link_name(first.key.interface), observation.link_name(second.key.interface));
    let (source, to) = (first.key.source, first.destination());
    let count = |flow: &Flow| format!("{} datagrams from {source} to {to}", flow.datagrams);
    let (severity, cause) = match observation
        .trial()
        .is_some_and(|trial| trial.membership.interface.is_none())
    {
        // The doctor itself joined on both, because no interface was named.
        true => (
            Severity::Note,
            format!(
                "{one} and {other} are in the same network: a program that joins {to} on both receives each datagram twice."
            ),
        ),
        false => (
            Severity::Fault,
            format!(
                "{to} is joined on {one} and on {other}, which are in the same network: each datagram arrives twice."
            ),
        ),
    };
    Finding::new(Id::DuplicateInterfaces, severity, cause)
        .about(&other, to, source)
        .evidence(EvidenceKind::Packet, &one, count(first))
        .evidence(EvidenceKind::Packet, &other, count(second))
        .advise(
            Tool::Program,
            format!(
                "Join on only one of them, by its index: {} or {}.",
                first.key.interface, second.key.interface
            ),
        )
        .with_remedies([remedies::mcast::recv_on(to, &one)])
}

/// The network delivers datagrams twice on one interface (a loop, a mirrored port, a relay, two bridges), or
/// the sender sends them twice.
pub(super) const DUPLICATE_PATH: Cause =
    Cause::new(Check::Observation(duplicate_path), &["RFC 7761 section 4.6"]).without_loss();

/// The number of distinct payloads above which a sender is unlikely to merely repeat itself.
const MIN_PAYLOADS: usize = 5;

fn duplicate_path(observation: &Observation) -> Vec<Finding> {
    let mut reported = BTreeSet::new();
    let doubled =
        observation.all_arrivals().into_iter().filter(|flow| is_doubled(flow) && reported.insert(flow.key));
    let mut findings: Vec<_> = doubled.map(|flow| duplicate_path_finding(observation, flow)).collect();
    let arrivals: Vec<_> = match observation.target {
        ExaminationTarget::File => vec![observation.all_arrivals()],
        _ => observation.interests().iter().map(|interest| observation.expected(interest)).collect(),
    };
    for flows in arrivals {
        for finding in per_address(observation, &flows) {
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    findings.extend(mirrored_with_tag(observation));
    findings
}

/// Returns whether two flows carry nearly the same payloads, and enough different ones.
fn are_copies(one: &Flow, other: &Flow) -> bool {
    let least = one.payloads.len().min(other.payloads.len());
    least >= MIN_PAYLOADS && one.payloads.intersection(&other.payloads).count() * 10 >= least * 9
}

/// Judges hosts of this network that send every datagram once from each of their addresses.
fn per_address(observation: &Observation, flows: &[&Flow]) -> Vec<Finding> {
    let mut by_host: BTreeMap<_, Vec<&Flow>> = BTreeMap::new();
    for flow in flows {
        let link = observation.link(flow.key.interface);
        // Behind a router, all sources have its Ethernet address.
        let is_next = link.is_some_and(|link| link.is_next_to(flow.key.source.ip()));
        if let (Some(mac), 1) = (flow.macs.first().filter(|_| is_next), flow.macs.len()) {
            by_host
                .entry((flow.key.interface, flow.destination(), flow.key.vlan, *mac))
                .or_default()
                .push(flow);
        }
    }
    let judged = by_host.into_iter().filter_map(|((.., mac), flows)| {
        let copied = |first: &&&Flow| {
            let is_copy =
                |other: &&&Flow| other.key.source.ip() != first.key.source.ip() && are_copies(first, other);
            flows.iter().any(|other| is_copy(&other))
        };
        let first = flows.iter().find(copied)?;
        let mut copies = vec![*first];
        copies.extend(
            flows
                .iter()
                .filter(|other| other.key.source.ip() != first.key.source.ip() && are_copies(first, other)),
        );
        Some(per_address_finding(observation, &copies, mac))
    });
    judged.collect()
}

fn per_address_finding(observation: &Observation, copies: &[&Flow], mac: MacAddress) -> Finding {
    let sources = list(copies.iter().map(|flow| flow.key.source.ip()));
    let interface = copies.first().map(|flow| observation.link_name(flow.key.interface)).unwrap_or_default();
    let to = copies.first().map(|flow| flow.destination().to_string()).unwrap_or_default();
    let cause = format!(
        "One host sends each datagram to {to} {} times, from {sources}: all have the Ethernet address {mac}.",
        copies.len()
    );
    let first = copies.first().map(|flow| flow.key.source.ip().to_string()).unwrap_or_default();
    Finding::warning(Id::DuplicatePath, cause)
        .on_interface(&interface)
        .for_groups(copies.first().map(|flow| flow.destination()))
        .from_sources(copies.iter().map(|flow| flow.key.source.ip()))
        .with_all_evidence(copies.iter().map(|flow| observation.packets_of(flow)))
        .evidence(EvidenceKind::Packet, format!("{interface} Ethernet source"), mac)
        .advise(
            Tool::Program,
            format!("The sender opens a socket for each address of its host: make it use one address per interface. Until then, receivers can join with one source ({first})."),
        )
}

/// Judges datagrams that are captured twice on one interface, with and without a VLAN tag.
fn mirrored_with_tag(observation: &Observation) -> Vec<Finding> {
    let mut untagged: BTreeMap<_, &Flow> = BTreeMap::new();
    let incoming = || observation.wire.flows.iter().filter(|flow| !flow.key.outgoing);
    for flow in incoming().filter(|flow| flow.key.vlan.is_none()) {
        untagged.insert((flow.key.interface, flow.key.source, flow.destination()), flow);
    }
    let judged = incoming().filter_map(|flow| {
        let vlan = flow.key.vlan.filter(|tagging| tagging.id != 0)?;
        let key = (flow.key.interface, flow.key.source, flow.destination());
        let first = untagged.get(&key).filter(|first| are_copies(first, flow))?;
        let (source, to, interface) = (flow.key.source, flow.destination(), observation.link_name(flow.key.interface));
        let cause = format!(
            "The datagrams from {source} to {to} were captured twice on {interface}, once untagged and once in VLAN {}: probably on a mirror port, which copies frames both before and after a port adds or removes the tag.",
            vlan.id
        );
        let finding = Finding::note(Id::DuplicatePath, cause)
            .about_flow(&interface, flow)
            .with_evidence(observation.packets_of(first))
            .evidence(EvidenceKind::Packet, &interface, format!("{} datagrams in VLAN {}", flow.datagrams, vlan.id))
            .advise(Tool::Network, "Count only one of the copies. On the switch, mirror one direction, or one port.");
        Some(finding)
    });
    judged.collect()
}

/// Returns whether at least 40 % of the originals were repeated.
fn is_doubled(flow: &Flow) -> bool {
    let originals = flow.datagrams.saturating_sub(flow.repeats);
    flow.payloads.len() >= MIN_PAYLOADS && flow.repeats * 5 >= originals * 2
}

fn duplicate_path_finding(observation: &Observation, flow: &Flow) -> Finding {
    let (source, to) = (flow.key.source, flow.destination());
    let interface = observation.link_name(flow.key.interface);
    let difference = if flow.repeats_by_other_path > 0 {
        "by another path: the hop limit or Ethernet source differs"
    } else {
        "with the same hop limit and Ethernet source"
    };
    Finding::new(
        Id::DuplicatePath,
        if flow.repeats_by_other_path > 0 { Severity::Fault } else { Severity::Warning },
        format!("{} of {} datagrams from {source} to {to} arrived a second time, {difference}.", flow.repeats, flow.datagrams),
    )
    .about_flow(&interface, flow)
    .evidence(EvidenceKind::Packet, &interface, format!("{} datagrams, {} repeated, hop limit {} to {}", flow.datagrams, flow.repeats, flow.hop_limits.0, flow.hop_limits.1))
    .evidence(EvidenceKind::Packet, format!("{interface} Ethernet sources"), flow.mac_list())
    .advise(Tool::Network, "Look for a loop between switches (enable spanning tree), a mirrored port, or a relay or second router that also forwards the group.").advise(Tool::Program, "If the sender sends on two interfaces of one network, choose one of them (IP_MULTICAST_IF).")
}

/// A socket bound to the wildcard address also receives groups on its port that only other programs have joined.
pub(super) const FOREIGN_GROUPS_LEAK: Cause =
    Cause::new(Check::Observation(foreign_groups_leak), &["ip(7): IP_MULTICAST_ALL"])
        .without_loss()
        .offering(|on| on.on_socket(&[remedies::socket::own_groups_only(Family::V4)]));

fn foreign_groups_leak(observation: &Observation) -> Vec<Finding> {
    let Some(program) = observation.program() else { return Vec::new() };
    let leaks = program.sockets.iter().filter_map(|socket| leak(observation, program, socket));
    leaks.chain(one_socket_per_interface(observation, program)).collect()
}

/// Judges a program with a socket for each interface, on one port: each socket also receives what the others joined elsewhere.
fn one_socket_per_interface(observation: &Observation, program: &Program) -> Option<Finding> {
    let incoming = observation.wire.flows.iter();
    let mut incoming =
        incoming.filter(|flow| !flow.key.outgoing && flow.key.vlan.is_none() && flow.sound() > 0);
    incoming.find_map(|flow| {
        let mut sockets = program.sockets.iter();
        let member = sockets.find(|socket| joins(socket, flow) && may_take(socket, flow))?;
        let other = program.sockets.iter().find(|other| {
            other.inode != member.inode && other.owner == member.owner && takes_of_others(other, flow)
        })?;
        Some(one_socket_per_interface_finding(observation, flow, member, other))
    })
}

/// Returns whether a socket has joined the group of a flow on the interface on which it arrives.
fn joins(socket: &ProgramSocket, flow: &Flow) -> bool {
    let mut joined = socket.interests();
    joined.any(|own| own.destination() == flow.destination() && own.interface == flow.key.interface)
}

/// Returns whether the address that a socket is bound to admits a flow.
fn may_take(socket: &ProgramSocket, flow: &Flow) -> bool {
    let FlowKey { interface, group, port, source, .. } = flow.key;
    let is_bound = |local: std::net::SocketAddr| {
        local.port() == port
            && (local.ip() == group || (local.ip().is_unspecified() && local.is_ipv4() == group.is_ipv4()))
    };
    socket.local.is_some_and(is_bound)
        && socket.peer.is_none_or(|peer| peer == source)
        && socket.bound_interface.is_none_or(|bound| bound == interface)
}

/// Returns whether a socket that has joined the group of a flow on other interfaces receives it all the same. Linux compares
/// the interface only for IPv4, and only without `IP_MULTICAST_ALL`.
fn takes_of_others(socket: &ProgramSocket, flow: &Flow) -> bool {
    let mut memberships = socket.interests().filter(|own| own.destination() == flow.destination()).peekable();
    // Its options decide, and are known only if the program may be inspected.
    let is_known = socket.options.is_some();
    let is_open = flow.key.group.is_ipv6() || !socket.own_groups_only.contains(&Family::V4);
    memberships.peek().is_some()
        && memberships
            .all(|own| own.interface != flow.key.interface && own.sources.admits(flow.key.source.ip()))
        && is_known
        && is_open
        && may_take(socket, flow)
}

fn one_socket_per_interface_finding(
    observation: &Observation,
    flow: &Flow,
    member: &ProgramSocket,
    other: &ProgramSocket,
) -> Finding {
    let (to, interface) = (flow.destination(), observation.link_name(flow.key.interface));
    let own = other.interests().filter(|own| own.destination() == to);
    let elsewhere = list(own.map(|own| observation.link_name(own.interface)));
    let cause = format!(
        "{} receives each datagram to {to} from {interface} twice: one of its sockets has joined the group on {interface}, and another one, which has joined it on {elsewhere}, receives them as well.",
        member.owner
    );
    let finding = Finding::warning(Id::ForeignGroupsLeak, cause)
        .about_flow(&interface, flow)
        .in_program(&member.owner)
        .evidence(
            EvidenceKind::Socket,
            format!("socket {}", member.inode),
            format!("{} on {interface}", to.ip()),
        )
        .evidence(
            EvidenceKind::Socket,
            format!("socket {}", other.inode),
            format!("{} on {elsewhere}", to.ip()),
        )
        .with_evidence(observation.packets_of(flow));
    match Family::of(to.ip()) {
        Family::V4 => finding
            .evidence(EvidenceKind::Socket, format!("socket {} IP_MULTICAST_ALL", other.inode), "1")
            .with_remedies(remedies::socket::change(other, &[remedies::socket::own_groups_only(Family::V4)]))
            .advise(Tool::Program, "Set IP_MULTICAST_ALL to 0 on each of the sockets."),
        // Without the option, IPv6 still compares the group alone.
        Family::V6 => finding.advise(
            Tool::Program,
            "Bind each of the sockets to its interface (SO_BINDTODEVICE), or use one socket that joins on all interfaces. IPV6_MULTICAST_ALL does not help: it compares the group, not the interface.",
        ),
    }
}

fn leak(observation: &Observation, program: &Program, socket: &ProgramSocket) -> Option<Finding> {
    // Linux delivers every group that anybody on the machine has joined to sockets that are bound to no address, unless they
    // ask for their own only.
    let local = socket.local.filter(|local| local.ip().is_unspecified())?;
    let membership = socket.memberships.first()?;
    let open = |flow: &&Flow| {
        let family = Family::of(flow.key.group);
        socket.memberships.iter().any(|own| own.address.group.family() == family)
            && !socket.own_groups_only.contains(&family)
    };
    let foreign = |flow: &&Flow| {
        !flow.key.outgoing
            && flow.key.port == local.port()
            && flow.sound() > 0
            && socket.memberships.iter().all(|own| own.address.group.addr() != flow.key.group)
            && observation.after.is_joined(flow.key.group, flow.key.interface)
            && socket.peer.is_none_or(|peer| peer == flow.key.source)
            && socket.bound_interface.is_none_or(|bound| bound == flow.key.interface)
    };
    let flow = observation.wire.flows.iter().filter(foreign).find(open)?;
    let option = if flow.key.group.is_ipv4() { "IP_MULTICAST_ALL" } else { "IPV6_MULTICAST_ALL" };
    let interface = observation.link_name(flow.key.interface);
    let finding = Finding::fault(
        Id::ForeignGroupsLeak,
        format!("The socket is bound to {local} and also receives {}, which only another program has joined.", flow.destination()),
    )
    .about_flow(&interface, flow)
    .in_program(&program.name)
    .evidence(EvidenceKind::Socket, format!("socket {} {option}", socket.inode), "1")
    .evidence(EvidenceKind::Packet, &interface, format!("{} datagrams to {}, besides {}", flow.datagrams, flow.destination(), membership.address.group))
    .with_remedies(remedies::socket::change(
        socket,
        &[remedies::socket::own_groups_only(Family::of(flow.key.group))],
    ))
    .advise(
        Tool::Program,
        format!("Set {option} to 0 on the socket, or bind it to {}, or check the destination of each datagram (IP_PKTINFO, IPV6_RECVPKTINFO).", std::net::SocketAddr::new(membership.address.group.addr(), local.port())),
    );
    Some(finding)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mcast::InterfaceSelector;

    use super::*;
    use crate::causes::fixtures::{ETH0, ETH1, datagram, flow, membership};
    use crate::wire::DatagramSummary;

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn doctors_own_join_on_all_interfaces_is_only_a_note() {
        let severity = |interface: Option<InterfaceSelector>| {
            let flows = vec![flow(ETH0, "10.9.0.1:6000", TO), flow(ETH1, "10.9.0.1:6000", TO)];
            let mut observation = membership(TO, flows, 10);
            let trial = observation.trial_mut();
            trial.joined = vec![ETH0, ETH1];
            trial.membership.interface = interface;
            duplicate_interfaces(&observation)[0].severity
        };
        assert_eq!(
            (severity(None), severity(Some(InterfaceSelector::All))),
            (Severity::Note, Severity::Fault)
        );
    }

    /// Returns the number of findings for these payloads, with or without IPv4 identification.
    fn outcome(payloads: impl IntoIterator<Item = u64>, numbered: bool) -> usize {
        let first = flow(ETH0, "10.9.0.1:6000", TO);
        let summary = |(count, hash): (u16, u64)| DatagramSummary {
            identification: if numbered { count + 1 } else { 0 },
            ..datagram(first.first + Duration::from_millis(u64::from(count)), hash)
        };
        let summaries: Vec<_> = (0..).zip(payloads).map(summary).collect();
        let mut repeating = Flow::new(first.key, &summaries[0]);
        summaries.into_iter().for_each(|summary| repeating.add(summary));
        duplicate_path(&membership(TO, vec![repeating], 0)).len()
    }

    #[test]
    fn each_payload_twice_in_a_row_is_a_duplicate() {
        assert_eq!(outcome((0..20).flat_map(|hash| [hash, hash]), false), 1);
    }

    #[test]
    fn sender_that_repeats_itself_is_not_a_duplicate_path() {
        assert_eq!(outcome([7; 50], false), 0, "always the same");
        assert_eq!(outcome((0..100).map(|count| count % 10), false), 0, "alternating");
        assert_eq!(outcome((0..20).flat_map(|hash| [hash, hash]), true), 0, "with distinct identifications");
    }
}
