//! Groups of which nothing arrives, here or at other members, without a cause that the machine shows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast::{Group, InterfaceIndex};
use mcast_packet::payload::Ptp;
use mcast_packet::{MacAddress, ether_type};

use super::{Cause, Check, between, carriers, intervals, sent_to_another_group};
use crate::fate::depth::{Depth, ExpectedFlow};
use crate::finding::list;
use crate::observation::{ExaminationTarget, Interest, Observation};
use crate::snapshot::Link;
use crate::wire::{ControlMessage, Flow, PtpFrames, Tagging};
use crate::{Evidence, EvidenceKind, ExplainedFlow, Finding, Id, OpenQuestion, Severity, Tool, remedies};

/// Nothing for a group reached this machine, and no other finding explains it.
pub(super) const NOTHING_ARRIVES: Cause = Cause::new(Check::Unexplained(nothing_arrives), &[]);

/// The maximum number of groups that a sentence names.
const MAX_NAMED: usize = 3;
/// Fewer packets of another protocol are not a stream.
const MIN_PACKETS: u64 = 3;

fn nothing_arrives(observation: &Observation, unexplained: &[ExpectedFlow<'_>]) -> Vec<Finding> {
    // What was seen below the interface is lost in this machine.
    let is_silent = |flow: &&ExpectedFlow<'_>| {
        flow.status.depth.is_silent()
            && !between::is_seen_below(observation, &flow.interest)
            && resting_question(observation, flow).is_none()
    };
    let silent: Vec<_> = unexplained.iter().filter(is_silent).collect();
    let Some(one) = silent.first() else { return Vec::new() };
    let list = |mut texts: Vec<String>| {
        texts.sort();
        texts.dedup();
        match texts.len().saturating_sub(MAX_NAMED) {
            0 => texts.join(", "),
            more => format!("{} and {more} others", texts[..MAX_NAMED].join(", ")),
        }
    };
    let groups = list(silent.iter().map(|flow| flow.status.destination.to_string()).collect());
    let names = list(silent.iter().map(|flow| flow.status.interface.clone()).collect());
    let seconds = observation.listened().as_secs_f64();
    let to = one.status.destination;
    // One group of several may be silent in a sound network.
    let others_arrive = observation.expected_flows().iter().any(|flow| flow.status.depth == Depth::Arrives);
    let named = silent.iter().take(MAX_NAMED);
    let mut hints: Vec<String> = named.flat_map(|flow| hints(observation, flow)).collect();
    let links = silent.iter().filter_map(|flow| observation.link(flow.interest.interface));
    hints.extend(links.filter(|link| link.is_tunnel()).map(tunnel_hint));
    hints.dedup();
    let severity = match observation.is_survey && hints.is_empty() {
        // Nobody has stated that something is sent to the group at present.
        true => Severity::Note,
        false if others_arrive => Severity::Warning,
        false => Severity::Fault,
    };
    let finding = Finding::new(
        Id::NothingArrives,
        severity,
        format!("Nothing for {groups} reached {names} in {seconds:.1} s.{}", hints.concat()),
    )
    .on_interfaces(silent.iter().map(|flow| flow.status.interface.as_str()).collect::<BTreeSet<_>>())
    .for_group(to)
    .explaining(silent.iter().map(|flow| ExplainedFlow::from(&flow.status)))
    .evidence(EvidenceKind::Packet, &names, format!("no datagram to {groups} in {seconds:.1} s"))
    .with_all_evidence(others(observation, one))
    .with_remedies([remedies::mcast::listen(to)]).advise(Tool::Network, format!("Meanwhile, run `mcast {}` on the sender: the probes that arrive show where the path ends.", remedies::mcast::probe(to).join(" "))).advise(Tool::Network, "Also run `mcast doctor` on the sender: the datagrams must leave on the right interface, with a hop limit above 1 if there is a router in between, and that router must route the group.");
    vec![finding.with(observation.program().map(|program| &program.name), Finding::in_program)]
}

/// Returns the open question about a silent flow of a protocol that sends rarely; `None` if it should have sent, or if something that
/// was observed explains the silence.
fn resting_question(observation: &Observation, flow: &ExpectedFlow<'_>) -> Option<OpenQuestion> {
    let question = intervals::question(observation, flow).filter(|_| flow.status.depth.is_silent())?;
    hints(observation, flow).is_empty().then_some(question)
}

/// Returns the open questions whether groups arrive whose protocols send rarely.
pub(crate) fn unheard(observation: &Observation) -> Vec<OpenQuestion> {
    let flows = observation.expected_flows();
    let mut questions: Vec<OpenQuestion> = Vec::new();
    for question in flows.iter().filter_map(|flow| resting_question(observation, flow)) {
        if !questions.contains(&question) {
            questions.push(question);
        }
    }
    questions
}

/// Returns sentences on what may explain the silence.
fn hints(observation: &Observation, silent: &ExpectedFlow<'_>) -> Vec<String> {
    let interest = &silent.interest;
    // Programs that have joined where it leaves receive it there.
    let is_joined = |flow: &Flow| {
        let mut interests = observation.interests().into_iter();
        interests.any(|other| other.group == interest.group && other.interface == flow.key.interface)
    };
    let mut sent = observation.wire.outgoing(interest.group.addr());
    let own = sent.find(|flow| flow.key.port == interest.port && !is_joined(flow));
    let own = own.map(|own| {
        let by = observation.link_name(own.key.interface);
        format!(
            " This machine itself sends it by {by}: a program that should receive it here must join on {by}."
        )
    });
    let others = observation.kernel_drops.drops.iter().find_map(|drop| {
        let is_here = drop.arrived_on == Some(interest.interface)
            && drop.destination.ip() == interest.group.addr()
            && drop.packets >= MIN_PACKETS;
        drop.other_protocol().filter(|_| is_here).map(|protocol| (drop, protocol))
    });
    let others = others.map(|(drop, protocol)| {
        format!(
            " {} sends packets of {protocol} (IP protocol {}) to {}: they are not UDP, and no program here receives them.",
            drop.source.ip(),
            drop.protocol,
            interest.group
        )
    });
    let link = observation.link(interest.interface);
    let macvlan = link.filter(|link| link.kind.as_deref() == Some("macvlan")).map(|link| {
        format!(" {} is a macvlan: it exchanges nothing with the host of its lower interface.", link.name())
    });
    let elsewhere = between::elsewhere(observation, interest);
    let carrier = carriers::hint(observation, interest);
    let ptp = ptp_without_udp(observation, interest);
    ptp.into_iter().chain(own).chain(others).chain(macvlan).chain(elsewhere).chain(carrier).collect()
}

/// Returns what is known of tunnels. That does not make silence of a protocol that sends rarely a fault.
fn tunnel_hint(link: &Link) -> String {
    let flag = if link.interface.multicast { "" } else { " without the flag MULTICAST" };
    format!(
        " {} is a tunnel{flag}: many VPNs carry no groups, and WireGuard sends one only to the peer whose AllowedIPs contain it. `mcast relay` at both ends carries groups across any of them.",
        link.name()
    )
}

/// Returns that PTP arrives in the other form: it runs over UDP, or over Ethernet alone.
fn ptp_without_udp(observation: &Observation, interest: &Interest<'_>) -> Option<String> {
    let is_ptp = interest
        .group
        .well_known()
        .any(|known| known.ports.contains(&Ptp::EVENT_PORT) && known.ports.contains(&interest.port));
    let here = |(interface, _): &(InterfaceIndex, Option<MacAddress>)| *interface == interest.interface;
    let senders: Vec<_> = observation.wire.ptp.iter().filter(|(key, _)| is_ptp && here(key)).collect();
    let ((interface, first), PtpFrames { frames, domain }) =
        senders.iter().find(|((_, sender), _)| sender.is_some()).or_else(|| senders.first())?;
    let name = observation.link_name(*interface);
    let sender = first.map_or_else(|| "One of many hosts".to_owned(), |sender| sender.to_string());
    let others: u64 = senders.iter().map(|(_, other)| other.frames).sum::<u64>() - frames;
    let others = if others > 0 { format!(", beside {others} frames of others") } else { String::new() };
    Some(format!(
        " {sender} sends PTP on {name} over Ethernet alone, without UDP ({frames} frames{others}, EtherType 0x{:04x}, domain {domain}): configure the same transport at both ends, such as `network_transport` of ptp4l.",
        ether_type::PTP
    ))
}

/// Returns what arrives on the same interface for the same group on another port.
fn others<'a>(
    observation: &'a Observation,
    silent: &ExpectedFlow<'a>,
) -> impl Iterator<Item = Evidence> + use<'a> {
    let interface = silent.interest.interface;
    let group = silent.interest.group.addr();
    let here = observation.wire.incoming(group).filter(move |flow| flow.key.interface == interface);
    here.take(MAX_NAMED).map(|flow| observation.packets_of(flow))
}

/// In a capture, hosts report that they are members of a group, and no datagram to it is there.
pub(super) const MEMBERS_GET_NOTHING: Cause =
    Cause::new(Check::Observation(members_get_nothing), &["RFC 9776 section 4", "RFC 4541 section 2.1.1"])
        .without_loss();

/// The reports for a group in one VLAN of one interface.
struct Membership {
    first: SystemTime,
    hosts: BTreeSet<IpAddr>,
}

type Key = (Group, InterfaceIndex, Option<Tagging>);

fn members_get_nothing(observation: &Observation) -> Vec<Finding> {
    if !matches!(observation.target, ExaminationTarget::File) {
        return Vec::new();
    }
    let memberships = memberships(observation);
    memberships
        .iter()
        .filter_map(|(key, membership)| judge_members_get_nothing(observation, *key, membership))
        .collect()
}

/// Returns the memberships at the end of the capture.
fn memberships(observation: &Observation) -> BTreeMap<Key, Membership> {
    let mut memberships = BTreeMap::<Key, Membership>::new();
    for packet in &observation.wire.control {
        let ControlMessage::Report { joined, left, .. } = &packet.message else { continue };
        let key = |group: &IpAddr| Some((Group::new(*group).ok()?, packet.interface, packet.vlan));
        for key in joined.iter().filter_map(key) {
            let new = || Membership { first: packet.time, hosts: BTreeSet::new() };
            memberships.entry(key).or_insert_with(new).hosts.insert(packet.source);
        }
        for key in left.iter().filter_map(key) {
            if let Some(membership) = memberships.get_mut(&key) {
                membership.hosts.remove(&packet.source);
            }
        }
    }
    memberships.retain(|_, membership| !membership.hosts.is_empty());
    memberships
}

fn judge_members_get_nothing(
    observation: &Observation,
    key: Key,
    membership: &Membership,
) -> Option<Finding> {
    /// A shorter capture proves nothing.
    const AT_LEAST: Duration = Duration::from_secs(2);
    let (group, interface, vlan) = key;
    let (_, until) = observation.wire.span?;
    let silence = until.duration_since(membership.first).ok().filter(|silence| *silence >= AT_LEAST)?;
    let mut flows = observation.wire.flows.iter();
    let arrives = flows.any(|flow| {
        flow.key.group == group.addr() && flow.key.interface == interface && flow.key.vlan == vlan
    });
    // Many well-known protocols are silent until queried.
    if arrives || group.scope().stays_on_link() || group.name().is_some() {
        return None;
    }
    let name = observation.link_name(interface);
    let hosts = list(membership.hosts.iter().take(3));
    let elsewhere = observation.wire.flows.iter().find(|flow| flow.key.group == group.addr());
    let similar = observation.wire.flows.iter().find(|flow| {
        flow.key.interface == interface
            && sent_to_another_group::similarity(group.addr(), flow.key.group).is_some()
    });
    let seconds = silence.as_secs_f64();
    let (severity, cause) = match elsewhere {
        Some(flow) if flow.key.vlan != vlan => (
            Severity::Fault,
            format!(
                "{hosts} joined {group} {}, but its datagrams are {}.",
                in_vlan(vlan),
                in_vlan(flow.key.vlan)
            ),
        ),
        _ => (
            Severity::Warning,
            format!(
                "{hosts} joined {group}, and the capture shows no datagram to it in the {seconds:.1} s after that."
            ),
        ),
    };
    let finding = Finding::new(Id::MembersGetNothing, severity, cause)
        .concerning(&name, group)
        .evidence(EvidenceKind::Packet, &name, format!("reports for {group} from {hosts}, {}", in_vlan(vlan)))
        .with_all_evidence(elsewhere.or(similar).map(|flow| observation.packets_of(flow)))
        .advise(Tool::Network, format!("If {group} is being sent, it is lost before the point of this capture: make the next one on the other side of the switch or router, towards the sender.")).advise(Tool::Network, "If the capture was made on a port that does not lead to these hosts (a router port, for instance), datagrams need not appear in it.");
    Some(finding)
}

fn in_vlan(vlan: Option<Tagging>) -> String {
    vlan.map_or_else(|| "without a VLAN tag".to_owned(), |tagging| format!("in VLAN {}", tagging.id))
}

#[cfg(test)]
mod tests {
    use mcast::SourceFilter;
    use mcast::interface::InterfaceAddress;

    use super::*;
    use crate::Effect;
    use crate::causes::fixtures::{
        self, ETH0, ETH1, control, flow, joined_socket, kernel_drop, membership, program,
    };
    use crate::causes::judge;
    use crate::kernel_drops::KernelDrop;
    use crate::wire::ControlPacket;

    const TO: &str = "239.1.2.3:5000";

    fn silence(observation: &Observation) -> Option<Finding> {
        judge(observation).into_iter().find(|finding| finding.id == Id::NothingArrives)
    }

    #[test]
    fn receiver_listens_and_sender_probes() {
        let mut observation = membership("[ff15::1234]:5000", Vec::new(), 0);
        let address = "fe80::2".parse().unwrap();
        observation.after.links[1].interface.addresses.push(InterfaceAddress::new(address, 64));
        let finding = silence(&observation).unwrap();
        assert_eq!(finding.subject.group().as_deref(), Some("[ff15::1234]:5000"));
        let quote = if cfg!(windows) { '"' } else { '\'' };
        let listen = format!("mcast doctor --listen {quote}[ff15::1234]:5000{quote}");
        assert_eq!(finding.remedies[0].command().unwrap(), listen);
        let advice = format!("{:?}", finding.remedies[1].instructions);
        assert!(advice.contains("`mcast doctor --probe [ff15::1234]:5000` on the sender"), "{advice}");
    }

    #[test]
    fn group_that_this_machine_sends_by_another_interface_is_named() {
        let mut own = flow(ETH1, "10.8.0.2:6000", TO);
        own.key.outgoing = true;
        let finding = silence(&program(vec![joined_socket(ETH0, SourceFilter::ANY)], vec![own])).unwrap();
        assert!(finding.cause.contains("This machine itself sends it by eth1"), "{}", finding.cause);
    }

    #[test]
    fn program_that_sends_where_it_has_joined_is_not_advised_to_join_there() {
        let mut own = flow(ETH0, "10.8.0.2:6000", TO);
        own.key.outgoing = true;
        let sockets = vec![joined_socket(ETH0, SourceFilter::ANY), joined_socket(ETH1, SourceFilter::ANY)];
        let finding = silence(&program(sockets, vec![own]));
        assert!(!format!("{finding:?}").contains("must join on"), "{finding:?}");
    }

    #[test]
    fn silence_is_a_note_where_nobody_has_asked_about_the_group() {
        let sockets = || vec![joined_socket(ETH0, SourceFilter::ANY)];
        let survey = |flows| Observation { is_survey: true, ..program(sockets(), flows) };
        assert_eq!(silence(&survey(Vec::new())).unwrap().severity, Severity::Note);
        let mut own = flow(ETH1, "10.8.0.2:6000", TO);
        own.key.outgoing = true;
        assert_eq!(silence(&survey(vec![own])).unwrap().severity, Severity::Fault, "it is sent elsewhere");
    }

    #[test]
    fn packets_of_another_protocol_are_named() {
        let mut observation = membership(TO, Vec::new(), 0);
        let drop = kernel_drop("NOT_SPECIFIED", "10.9.0.1:0", "239.1.2.3:0", 9);
        observation.kernel_drops.drops = vec![KernelDrop { protocol: 136, ..drop }];
        let finding = silence(&observation).unwrap();
        assert!(
            finding.cause.contains("10.9.0.1 sends packets of UDP-Lite (IP protocol 136) to 239.1.2.3"),
            "{}",
            finding.cause
        );
    }

    #[test]
    fn silence_is_reported_only_with_a_complete_capture() {
        assert!(silence(&membership(TO, Vec::new(), 0)).is_some());
        let mut uncaptured = membership(TO, Vec::new(), 0);
        uncaptured.wire.taps[0].refused = Some("no right".into());
        assert_eq!(silence(&uncaptured), None);
        assert_eq!(silence(&membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 0)), None);
    }

    /// Returns the severities for a capture in which a host reports this group.
    fn severities(group: &str, change: impl FnOnce(&mut Observation)) -> Vec<Severity> {
        let mut observation = membership("239.1.2.3:5000", Vec::new(), 0);
        observation.target = ExaminationTarget::File;
        let (start, _) = observation.wire.span.unwrap();
        observation.wire.span = Some((start, start + Duration::from_secs(5)));
        observation.wire.control.push(report(start, vec![group.parse().unwrap()], Vec::new()));
        change(&mut observation);
        fixtures::severities(&MEMBERS_GET_NOTHING, &observation)
    }

    fn report(time: SystemTime, joined: Vec<IpAddr>, left: Vec<IpAddr>) -> ControlPacket {
        control(time, "10.9.0.2", ControlMessage::Report { version: 3, joined, left, sources: Vec::new() })
    }

    #[test]
    fn member_without_datagrams_is_a_warning() {
        assert_eq!(severities("239.61.7.7", |_| {}), [Severity::Warning]);
        let arriving = |observation: &mut Observation| {
            observation.wire.flows = vec![flow(ETH0, "10.9.0.1:6000", "239.61.7.7:5000")];
        };
        assert_eq!(severities("239.61.7.7", arriving), []);
        let short = |observation: &mut Observation| {
            let (start, _) = observation.wire.span.unwrap();
            observation.wire.span = Some((start, start + Duration::from_secs(1)));
        };
        assert_eq!(severities("239.61.7.7", short), []);
        let leaving = |observation: &mut Observation| {
            let (start, _) = observation.wire.span.unwrap();
            let group = "239.61.7.7".parse().unwrap();
            observation.wire.control.push(report(start + Duration::from_secs(1), Vec::new(), vec![group]));
        };
        assert_eq!(severities("239.61.7.7", leaving), []);
    }

    #[test]
    fn silent_protocols_are_not_reported() {
        for group in ["224.0.0.251", "239.255.255.250"] {
            assert_eq!(severities(group, |_| {}), [], "{group}");
        }
    }

    #[test]
    fn datagrams_in_another_vlan_are_a_fault() {
        let tagged = |observation: &mut Observation| {
            let mut flow = flow(ETH0, "10.9.0.1:6000", "239.61.7.7:5000");
            flow.key.vlan = Some(Tagging { id: 42, protocol: 0x8100, inner: None });
            observation.wire.flows = vec![flow];
        };
        assert_eq!(severities("239.61.7.7", tagged), [Severity::Fault]);
    }

    const SAP: &str = "224.2.127.254:9875";
    const MDNS: &str = "224.0.0.251:5353";

    /// Returns the ids of the faults, and the open questions.
    fn outcome(observation: &Observation) -> (Vec<Id>, Vec<OpenQuestion>) {
        let findings = judge(observation).into_iter();
        let faults = findings.filter(|finding| finding.severity == Severity::Fault).map(|finding| finding.id);
        (faults.collect(), unheard(observation))
    }

    fn listened(to: &str, seconds: u64) -> Observation {
        let mut observation = membership(to, Vec::new(), 0);
        let (start, _) = observation.wire.span.unwrap();
        observation.wire.span = Some((start, start + Duration::from_secs(seconds)));
        observation
    }

    #[test]
    fn silence_before_the_interval_is_over_is_no_fault() {
        for (to, known_after) in [(SAP, Some(Duration::from_secs(300))), (MDNS, None)] {
            let (faults, questions) = outcome(&listened(to, 5));
            assert_eq!(faults, [], "{to}");
            let [question] = &questions[..] else { panic!("{questions:?}") };
            assert_eq!((question.effect, question.known_after), (Effect::NoAnswer, known_after), "{to}");
            assert!(question.reason.contains("5.0 s"), "{question}");
        }
    }

    #[test]
    fn silence_for_longer_than_the_interval_is_a_fault() {
        assert_eq!(outcome(&listened(SAP, 301)), (vec![Id::NothingArrives], Vec::new()));
    }

    #[test]
    fn another_port_and_another_group_have_no_interval() {
        for to in ["224.2.127.254:5000", "239.1.2.3:9875"] {
            assert_eq!(outcome(&listened(to, 5)), (vec![Id::NothingArrives], Vec::new()), "{to}");
        }
    }

    #[test]
    fn what_arrives_is_no_question() {
        assert_eq!(unheard(&membership(SAP, vec![flow(ETH0, "10.9.0.1:6000", SAP)], 10)), []);
    }

    #[test]
    fn observed_reason_is_still_a_fault() {
        let mut own = flow(ETH1, "10.8.0.2:6000", SAP);
        own.key.outgoing = true;
        let mut observation = listened(SAP, 5);
        observation.wire.flows.push(own);
        assert_eq!(outcome(&observation), (vec![Id::SentByOtherInterface], Vec::new()));
    }
}
