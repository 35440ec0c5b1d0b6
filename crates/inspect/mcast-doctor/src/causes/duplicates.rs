//! Sockets that receive datagrams twice, or those of groups that they have not joined.

use std::collections::BTreeSet;

use mcast::Family;

use super::{Cause, Check};
use crate::observation::{Interest, Observation, Program, ProgramSocket};
use crate::wire::Flow;
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
        .on_interface(&other)
        .for_group(to)
        .from_source(source)
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
    doubled.map(|flow| duplicate_path_finding(observation, flow)).collect()
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
    program.sockets.iter().filter_map(|socket| leak(observation, program, socket)).collect()
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
