//! Judges why the participants of DDS on this machine and another one, such as two nodes of ROS, do not find each other, or find
//! each other and exchange nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mcast_packet::payload::RtpsLocatorUse;
use mcast_watch::discovery::{
    DdsEndpoint, DdsMismatch, DdsObstacle, DdsSetting, Discovered, DiscoveredKind, DiscoveryProtocol,
    UntrustedText, dds_obstacles,
};

use super::services::{Judgement, title};
use super::{Cause, Check};
use crate::finding::list;
use crate::remedies::{self, AnswerPort};
use crate::{Effect, EvidenceKind, Finding, Id, OpenQuestion, Severity, Tool};

const RTPS: &[&str] = &["RTPS 2.5 section 9.6.1.1"];
const MATCHING: &[&str] = &["DDS 1.4 section 2.2.3"];

/// The participants are in different domains, or kept apart by a tag.
pub(super) const DIFFERENT_DDS_DOMAIN: Cause = Cause::new(Check::Protocol, RTPS).without_loss();

/// The writer and the reader of a topic never match.
pub(super) const DDS_MISMATCH: Cause = Cause::new(Check::Protocol, MATCHING).without_loss();

/// Returns what keeps the participants of this machine from what was found; where only this machine announces that, from all others.
pub(super) fn findings(judgement: &Judgement<'_>, here: &[&Discovered]) -> Vec<Finding> {
    let search = judgement.search;
    let all: Vec<Discovered> =
        search.found.iter().chain(&search.others).chain(&search.own).cloned().collect();
    let is_participant = |entry: &&Discovered| entry.kind == DiscoveredKind::Participant;
    let own: Vec<&Discovered> = search.own.iter().filter(is_participant).collect();
    let is_of_dds = |entry: &&&Discovered| entry.key.protocol == DiscoveryProtocol::Rtps;
    let (here, remote): (Vec<&Discovered>, Vec<&Discovered>) =
        here.iter().filter(is_of_dds).partition(|entry| judgement.is_own(entry));
    // None means all.
    let entries = || here.iter().chain(&remote);
    let topics: BTreeSet<_> = match entries().any(is_participant) {
        true => BTreeSet::new(),
        false => entries().map(|entry| &entry.name).collect(),
    };
    let mut found = Vec::new();
    let mut judged = BTreeSet::new();
    for entry in &remote {
        let Some(participant) = participant_of(entry, &all) else { continue };
        if !judged.insert(&participant.key) {
            continue;
        }
        if entry.kind == DiscoveredKind::Endpoint {
            found.extend(judgement.reachability(participant));
        }
        let is_beside = |own: &&&Discovered| own.key.place == participant.key.place;
        let beside: Vec<&Discovered> = own.iter().filter(is_beside).copied().collect();
        match (beside.is_empty(), own.is_empty()) {
            (false, _) => found.extend(between(judgement, participant, &beside, &all, &topics)),
            (true, false) => found.push(elsewhere(judgement, participant, &own)),
            (true, true) if search.own_programs.is_empty() || !search.is_own_restricted => {}
            (true, true) => found.push(nowhere(judgement, participant)),
        }
        found.extend(unanswered(judgement, participant));
    }
    if let (true, [first, ..]) = (found.is_empty(), &here[..]) {
        let looked_for: Vec<_> = here.iter().filter_map(|entry| participant_of(entry, &all)).collect();
        match remote.is_empty() {
            true => found.extend(alone(judgement, first, &looked_for, &all, &topics)),
            // Others announce it, too, and do the same as this machine.
            false if !topics.is_empty() && !is_answered(&topics, &all) => {
                found.push(not_answered(judgement, first, &remote, &all));
            }
            false => {}
        }
    }
    if found.is_empty() {
        let severity = if topics.is_empty() { Severity::Warning } else { Severity::Fault };
        found.extend(ends_apart(judgement, &here, &remote, severity));
    }
    found
}

/// A reader of another host has no writer in its network, not even here, and one of another host in another network of this machine.
fn ends_apart(
    judgement: &Judgement<'_>,
    here: &[&Discovered],
    remote: &[&Discovered],
    severity: Severity,
) -> Option<Finding> {
    let is_writer = |end: &Discovered| end.dds_endpoint().map(|endpoint| endpoint.is_writer);
    let mut readers = remote.iter().filter(|end| is_writer(end) == Some(false));
    let (reader, writer) = readers.find_map(|reader| {
        let is_of_topic = |end: &&&Discovered| is_writer(end) == Some(true) && end.name == reader.name;
        let mut writers = remote.iter().chain(here).filter(is_of_topic);
        let has_one = writers.any(|writer| writer.key.place == reader.key.place);
        let writer = remote.iter().find(is_of_topic).filter(|_| !has_one)?;
        Some((*reader, *writer))
    })?;
    let [of_writer, of_reader] = [writer, reader].map(|end| judgement.name(end.key.place.interface));
    let cause = format!(
        "A writer of \"{}\" is announced on {of_writer}, from {}, and a reader on {of_reader}, from {}: DDS announces itself within a network only, so the two do not find each other.",
        reader.name, writer.source, reader.source
    );
    let finding = judgement.about(Id::AnnouncedElsewhere, severity, reader, cause);
    Some(finding.with_all_evidence(judgement.announcements([writer, reader])).advise(
        Tool::Program,
        "Bring both into one network: run a container in that of its host (docker run --network host), or give it a macvlan interface. If only routers without NAT are between them, name the other host as a peer (`<Discovery><Peers>` in the CYCLONEDDS_URI, initialPeersList of Fast DDS), or use a discovery server.",
    ))
}

/// Returns whether one of these topics has a writer and a reader: it needs nothing.
fn is_answered(topics: &BTreeSet<&UntrustedText>, all: &[Discovered]) -> bool {
    let has = |topic: &UntrustedText, is_writer: bool| {
        let is_it = |end: &Discovered| end.dds_endpoint().is_some_and(|it| it.is_writer == is_writer);
        all.iter().any(|end| end.name == *topic && is_it(end))
    };
    topics.iter().any(|topic| has(topic, true) && has(topic, false))
}

/// Returns the open questions which topics other participants have that were looked for as all of DDS: each node of ROS has some.
pub(super) fn without_topics(judgement: &Judgement<'_>, here: &[&Discovered]) -> Vec<OpenQuestion> {
    let has_some = |participant: &Discovered| {
        let mut ends = here.iter().filter(|end| end.dds_endpoint().is_some());
        ends.any(|end| is_of(end, participant))
    };
    let is_silent = |entry: &&&Discovered| {
        entry.kind == DiscoveredKind::Participant && !judgement.is_own(entry) && !has_some(entry)
    };
    let question = |entry: &&Discovered| {
        let what = format!("which topics {} at {} has", title(entry), entry.source);
        let why = "it did not announce any while the doctor listened, and programs may not get them either";
        OpenQuestion::new(what, why).with_effect(Effect::NoAnswer)
    };
    let is_asked = judgement.search.target.is_dds();
    here.iter().filter(|_| is_asked).filter(is_silent).map(question).collect()
}

/// Returns the open question what the programs of this machine announce that were not heard: Cyclone DDS announces itself every 8 s,
/// or every 30 s.
pub(super) fn unheard(judgement: &Judgement<'_>) -> Option<OpenQuestion> {
    let search = judgement.search;
    let is_open = search.own.is_empty() && !search.own_programs.is_empty() && !search.is_own_restricted;
    let what = format!("what {} of this machine announces", list(&search.own_programs));
    let why = format!(
        "it has ports of the domain open, and did not announce itself in {:.1} s; listen longer, with `-W 30s`",
        search.listened.as_secs_f64()
    );
    is_open.then(|| OpenQuestion::new(what, why).with_effect(Effect::NoAnswer))
}

/// Returns the open question which topics participants with a domain tag have, where a topic is looked for.
pub(super) fn tagged(judgement: &Judgement<'_>) -> Option<OpenQuestion> {
    let search = judgement.search;
    let mut tags = search.others.iter().chain(&search.own).filter_map(|entry| Some(&entry.dds()?.tag));
    let tag = tags.find(|tag| !tag.is_empty())?;
    let what = format!("which topics the participants with the domain tag \"{tag}\" have");
    let why = "they answer only those with the same tag, which the doctor does not have";
    let question = OpenQuestion::new(what, why).with_effect(Effect::NoAnswer);
    Some(question).filter(|_| search.target.is_of_dds())
}

/// Only this machine announces what is looked for.
fn alone(
    judgement: &Judgement<'_>,
    entry: &Discovered,
    looked_for: &[&Discovered],
    all: &[Discovered],
    topics: &BTreeSet<&UntrustedText>,
) -> Vec<Finding> {
    let is_other = |other: &&Discovered| {
        other.kind == DiscoveredKind::Participant
            && other.key.protocol == DiscoveryProtocol::Rtps
            && looked_for.iter().any(|own| own.key.place == other.key.place && own.key.id != other.key.id)
    };
    let others: BTreeMap<_, _> = all.iter().filter(is_other).map(|other| (&other.key, other)).collect();
    let is_looked_for = |other: &Discovered| looked_for.iter().any(|own| own.key == other.key);
    let (mut found, mut judged) = (Vec::new(), 0);
    for other in others.values() {
        // Of two that are looked for, one is judged.
        let is_apart =
            |own: &&&Discovered| own.key.id != other.key.id && (own.key < other.key || !is_looked_for(other));
        let apart: Vec<_> = looked_for.iter().filter(is_apart).copied().collect();
        if apart.is_empty() {
            continue;
        }
        judged += 1;
        found.extend(between(judgement, other, &apart, all, topics));
        if !judgement.is_own(other) {
            found.extend(judgement.reachability(other));
            found.extend(unanswered(judgement, other));
        }
    }
    let is_of_domain = |finding: &Finding| finding.id == Id::DifferentDdsDomain;
    // Those of other domains are at fault only where nobody is in this one.
    if found.iter().filter(|finding| is_of_domain(finding)).count() < judged {
        found.retain(|finding| !is_of_domain(finding));
    }
    let is_answered = if topics.is_empty() { !others.is_empty() } else { is_answered(topics, all) };
    if found.is_empty() && !is_answered {
        found.push(not_answered(judgement, entry, &others.into_values().collect::<Vec<_>>(), all));
    }
    found
}

/// No other participant has what belongs to what is looked for.
fn not_answered(
    judgement: &Judgement<'_>,
    entry: &Discovered,
    others: &[&Discovered],
    all: &[Discovered],
) -> Finding {
    if let Some(other) = all.iter().find(|other| are_in_other_namespaces(entry, other)) {
        return other_namespace(judgement, entry, other);
    }
    let lacking = match entry.dds_endpoint().map(|endpoint| endpoint.is_writer) {
        Some(true) => "reader",
        Some(false) => "writer",
        None => "other participant",
    };
    let interface = judgement.name(entry.key.place.interface);
    let seconds = judgement.search.listened.as_secs_f64();
    let is_shared = others.iter().any(|other| other.name == entry.name);
    let who = if is_shared { "This machine and others announce" } else { "Only this machine announces" };
    let cause =
        format!("{who} {} on {interface}: no {lacking} was announced in {seconds:.1} s.", title(entry));
    let finding = judgement.about(Id::NotAnnounced, Severity::Fault, entry, cause);
    let finding = finding.with_all_evidence(judgement.announcements(others.iter().copied()));
    let similar = judgement.similar();
    let finding = match similar.is_empty() {
        true => finding,
        false => finding.advise(
            Tool::Program,
            format!(
                "Compare the names of the topics, with their namespaces. Similar names: {}.",
                list(similar)
            ),
        ),
    };
    finding.advise(
        Tool::Program,
        "Run this examination on the other host, too. Programs there announce nothing to this network if they are restricted to their host (ROS_LOCALHOST_ONLY=1, ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST or OFF) or to another interface, may not use multicast (AllowMulticast in the CYCLONEDDS_URI), use IPv6 only, or use a discovery server or Zenoh instead.",
    )
}

/// Returns whether one writes and the other one reads samples of one type by topics that differ in the namespace only.
fn are_in_other_namespaces(entry: &Discovered, other: &Discovered) -> bool {
    let last = |end: &Discovered| end.name.to_string().rsplit('/').next().map(str::to_owned);
    let roles = entry.dds_endpoint().zip(other.dds_endpoint());
    roles.is_some_and(|(own, other)| own.is_writer != other.is_writer)
        && entry.key.place == other.key.place
        && (entry.name != other.name && entry.service == other.service)
        && last(entry) == last(other)
}

fn other_namespace(judgement: &Judgement<'_>, entry: &Discovered, other: &Discovered) -> Finding {
    let named = |end: &Discovered| {
        let name = UntrustedText::new(end.ros_topic().unwrap_or(end.name.as_bytes()));
        format!("{} of \"{name}\"", end.dds_endpoint().map_or("end", DdsEndpoint::role))
    };
    let cause = format!(
        "This machine has a {}, and {} has a {} of the same type: the topics differ by the namespace, so they do not match.",
        named(entry),
        other.source,
        named(other)
    );
    judgement
        .about(Id::DdsMismatch, Severity::Fault, other, cause)
        .evidence(EvidenceKind::Packet, "announcement", named(other))
        .advise(
            Tool::Program,
            "Start both with one namespace (in ROS, `--ros-args -r __ns:=/NAMESPACE`), or remap the topic (`-r scan:=/NAMESPACE/scan`).",
        )
}

/// A participant that announces itself by multicast, and does not send what is requested of it.
fn unanswered(judgement: &Judgement<'_>, remote: &Discovered) -> Option<Finding> {
    let what = remote.dds()?.unanswered?;
    let cause = format!(
        "{} announces itself by multicast, and does not answer {what}: nodes list it, and none of its topics.",
        title(remote)
    );
    let finding = judgement.about(Id::ServiceSilent, Severity::Fault, remote, cause);
    let finding =
        finding.evidence(EvidenceKind::Answer, remote.source.to_string(), format!("unanswered: {what}"));
    Some(finding.advise(
        Tool::Network,
        "Let the firewalls of its host and between the two pass UDP in both directions to ports 7400 to 7500 of domain 0, 250 higher for each further domain; announcements alone need the first only. Cyclone DDS has ports of these only with `<Discovery><ParticipantIndex>auto`, otherwise any. Client isolation of an access point does the same.",
    ))
}

/// The packet filter of this machine drops what others send to its participants.
fn dropped_answers(judgement: &Judgement<'_>, remote: &Discovered, own: &Discovered) -> Option<Finding> {
    let interface = remote.key.place.interface;
    let is_unicast = |usage| matches!(usage, RtpsLocatorUse::Unicast | RtpsLocatorUse::DiscoveryUnicast);
    let locators = own.dds()?.locators.iter().filter(|(usage, _)| is_unicast(*usage));
    let locators = locators.filter_map(|(_, locator)| locator.udp());
    let mut reached = locators.filter(|locator| judgement.is_own_in(interface, locator.ip()));
    let (to, (finding, rule)) = reached
        .find_map(|locator| Some((locator, judgement.dropped_answers(remote, locator, Severity::Fault)?)))?;
    let port = AnswerPort::To(to.port());
    let now = remedies::admit_answers(&judgement.name(interface), to, port, Some(&rule)).into_iter().take(1);
    Some(finding.with_remedies(now).advise(
        Tool::Nft,
        "Permanently: admit UDP to ports 7400 to 7500 (domain 0; 250 higher for each further domain) where the rules are configured. A second program of this machine has other ports of these.",
    ))
}

/// Returns the participant that a reader or writer is part of.
fn participant_of<'a>(entry: &'a Discovered, all: &'a [Discovered]) -> Option<&'a Discovered> {
    if entry.kind == DiscoveredKind::Participant {
        return Some(entry);
    }
    let is_it = |other: &&Discovered| {
        other.kind == DiscoveredKind::Participant && is_of(entry, other) && other.key.place == entry.key.place
    };
    all.iter().find(is_it)
}

/// Returns whether an entry is a participant, or a part of it.
fn is_of(entry: &Discovered, participant: &Discovered) -> bool {
    let of = |entry: &Discovered| entry.dds().map(|dds| dds.participant);
    of(entry).is_some() && of(entry) == of(participant)
}

/// Returns what keeps another participant and those of this machine on the same network apart, of these topics; none means all.
fn between(
    judgement: &Judgement<'_>,
    remote: &Discovered,
    own: &[&Discovered],
    all: &[Discovered],
    topics: &BTreeSet<&UntrustedText>,
) -> Vec<Finding> {
    let reaches = |from: &Discovered, address: IpAddr| match judgement.is_own(from) {
        true => judgement.reach(remote, address).is_good(),
        // The other host reaches the addresses of this machine in its own network.
        false => judgement.is_own_in(remote.key.place.interface, address),
    };
    let apart: Vec<(&Discovered, Vec<DdsObstacle>)> =
        own.iter().map(|own| (*own, dds_obstacles(remote, own, all, reaches))).collect();
    let is_of_domain = |obstacle: &DdsObstacle| {
        matches!(obstacle, DdsObstacle::Domain { .. } | DdsObstacle::DomainTag { .. })
    };
    let same: Vec<_> = apart.iter().filter(|(_, obstacles)| !obstacles.iter().any(is_of_domain)).collect();
    if same.is_empty() {
        let obstacle = apart.iter().flat_map(|(_, obstacles)| obstacles).find(|each| is_of_domain(each));
        return obstacle.map(|obstacle| domain(judgement, remote, obstacle)).into_iter().collect();
    }
    let mut found = Vec::new();
    let mut named = BTreeSet::new();
    found.extend(same.iter().find_map(|(own, _)| dropped_answers(judgement, remote, own)));
    for (own, obstacles) in same {
        for obstacle in obstacles {
            match obstacle {
                DdsObstacle::Topic { topic, reason }
                    if (topics.is_empty() || topics.contains(topic)) && named.insert(obstacle) =>
                {
                    found.push(mismatch(judgement, remote, topic, reason));
                }
                DdsObstacle::Family if named.insert(obstacle) => found.push(family(judgement, remote, own)),
                DdsObstacle::Unreachable { participant, .. }
                    if own.dds().is_some_and(|dds| dds.participant == *participant)
                        && named.insert(obstacle) =>
                {
                    found.push(own_address(judgement, remote, own));
                }
                _ => {}
            }
        }
    }
    found
}

fn domain(judgement: &Judgement<'_>, remote: &Discovered, obstacle: &DdsObstacle) -> Finding {
    let (cause, advice) = match obstacle {
        DdsObstacle::DomainTag { first, second } => (
            format!(
                "{} has the domain tag \"{first}\", and the participants of this machine \"{second}\": they do not see each other.",
                title(remote)
            ),
            "Give both the same tag: `<Discovery><Tag>` in the CYCLONEDDS_URI of both.".to_owned(),
        ),
        DdsObstacle::Domain { first, second } => (
            format!(
                "{} is in DDS domain {first}, and the participants of this machine are in domain {second}: they do not see each other.",
                title(remote)
            ),
            format!(
                "Start the programs here with `ROS_DOMAIN_ID={first}`, or the domain {first} of their own settings, or those there with {second}."
            ),
        ),
        _ => (title(remote), String::new()),
    };
    let number = remote.dds().and_then(|dds| dds.domain);
    let announced = number.map_or_else(String::new, |domain| format!("domain {domain}"));
    judgement
        .about(Id::DifferentDdsDomain, Severity::Fault, remote, cause)
        .evidence(EvidenceKind::Packet, "announcement", announced)
        .advise(Tool::Program, advice)
}

fn mismatch(
    judgement: &Judgement<'_>,
    remote: &Discovered,
    topic: &UntrustedText,
    reason: &DdsMismatch,
) -> Finding {
    let names = |partitions: &[UntrustedText]| match partitions {
        [] => "none".to_owned(),
        [unnamed] if unnamed.is_empty() => "none".to_owned(),
        named => list(named.iter().map(|name| format!("\"{name}\""))),
    };
    let (why, advice) = match reason {
        DdsMismatch::Reliability => (
            "the writer is best-effort, but the reader requests reliable delivery".to_owned(),
            "Make the reader accept best effort (in ROS, the profile `SensorDataQoS`), or the writer reliable.".to_owned(),
        ),
        DdsMismatch::Policy { writer, reader } => {
            let name = writer.name();
            (
                format!("the {name} of the writer is {writer}, but the reader requests {reader}"),
                format!("Set the {name} of the writer to {reader}, or that of the reader to {writer}."),
            )
        }
        DdsMismatch::Type { writer, reader } => (
            format!("the type of the writer is {writer}, but that of the reader is {reader}"),
            "Build both with the same message definition.".to_owned(),
        ),
        DdsMismatch::Partition { writer, reader } => (
            format!("they have no partition in common: {} and {}", names(writer), names(reader)),
            "Give both a partition in common.".to_owned(),
        ),
        _ => ("their settings do not match".to_owned(), "Compare their settings.".to_owned()),
    };
    let cause = format!("Writer and reader of \"{topic}\" discover each other but do not match: {why}.");
    judgement
        .about(Id::DdsMismatch, Severity::Fault, remote, cause)
        .evidence(EvidenceKind::Packet, "announcement", format!("{} announces {topic}", title(remote)))
        .advise(Tool::Program, advice)
}

/// One uses IPv4 only, and the other one IPv6 only.
fn family(judgement: &Judgement<'_>, remote: &Discovered, own: &Discovered) -> Finding {
    let version = |entry: &Discovered| if entry.addresses.iter().any(IpAddr::is_ipv4) { 4 } else { 6 };
    let (there, here) = (version(remote), version(own));
    let cause = format!(
        "{} receives by IPv{there} only, and {} of this machine by IPv{here} only: they find each other at most, and exchange nothing.",
        title(remote),
        title(own)
    );
    let finding = judgement.about(Id::UnreachableAddress, Severity::Fault, remote, cause);
    let finding = [remote, own].into_iter().fold(finding, |finding, entry| {
        finding.evidence(EvidenceKind::Packet, title(entry), format!("address {}", list(&entry.addresses)))
    });
    finding.advise(
        Tool::Program,
        format!(
            "Let both use IPv{here}: for Cyclone DDS, `<Transport>{}</Transport>` in `<General>`; for Fast DDS, a transport of the type UDPv{here}.",
            if here == 4 { "udp" } else { "udp6" }
        ),
    )
}

/// A participant of this machine announces addresses that the other host does not reach.
fn own_address(judgement: &Judgement<'_>, remote: &Discovered, own: &Discovered) -> Finding {
    let addresses = match own.addresses.as_slice() {
        [] => "no address".to_owned(),
        addresses => list(addresses),
    };
    let interface = judgement.name(remote.key.place.interface);
    let cause = format!(
        "{} of this machine announces {addresses}, which {} cannot reach on {interface}.",
        title(own),
        title(remote)
    );
    let finding = judgement.about(Id::UnreachableAddress, Severity::Fault, own, cause).evidence(
        EvidenceKind::Packet,
        "announcement",
        format!("address {addresses}"),
    );
    with_setting(finding, own)
}

/// The participants of this machine use another network.
fn elsewhere(judgement: &Judgement<'_>, remote: &Discovered, own: &[&Discovered]) -> Finding {
    let places: BTreeSet<String> = own.iter().map(|own| judgement.name(own.key.place.interface)).collect();
    let interface = judgement.name(remote.key.place.interface);
    let cause = format!(
        "{} is announced on {interface}, and the participants of this machine announce themselves on {} only.",
        title(remote),
        list(places)
    );
    let finding = judgement.about(Id::AnnouncedElsewhere, Severity::Fault, remote, cause);
    let finding = finding.with_all_evidence(judgement.announcements(own.iter().copied()));
    let address = judgement.own_addresses_on(remote.key.place.interface).find(IpAddr::is_ipv4);
    match own.first().zip(address).and_then(|(own, address)| DdsSetting::of(own, address)) {
        Some(setting) => advise(finding, setting),
        None => finding.advise(
            Tool::Program,
            format!("Make the program use {interface}, in the settings of its DDS implementation."),
        ),
    }
}

/// Programs of this machine have ports of the domain open, and announce themselves on no network.
fn nowhere(judgement: &Judgement<'_>, remote: &Discovered) -> Finding {
    let programs = list(&judgement.search.own_programs);
    let interface = judgement.name(remote.key.place.interface);
    let cause = format!(
        "{} is announced on {interface}, and {programs} of this machine has ports of its domain open, and announces itself on no network: it is restricted to this host.",
        title(remote)
    );
    let finding = judgement.about(Id::AnnouncedElsewhere, Severity::Fault, remote, cause);
    finding.evidence(EvidenceKind::Socket, programs, "not announced").advise(
        Tool::Program,
        format!(
            "Start it without ROS_LOCALHOST_ONLY=1, without ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST or OFF, and without settings of its DDS implementation that name an interface other than {interface}."
        ),
    )
}

/// Advises the setting of the implementation of a participant, by which it announces the address that it sends from.
pub(super) fn with_setting(finding: Finding, participant: &Discovered) -> Finding {
    let finding = match participant.source.ip().and_then(|address| DdsSetting::of(participant, address)) {
        Some(setting) => advise(finding, setting),
        None => finding.advise(
            Tool::Program,
            "Restrict the program to the interface of this network, in the settings of its DDS implementation.",
        ),
    };
    match participant.source.ip() {
        Some(source) if !participant.addresses.contains(&source) => finding.advise(
            Tool::Container,
            format!(
                "If {source} is a relay, or the host of a container, run the container in the network of its host (docker run --network host), or give it a macvlan interface: DDS exchanges data by the addresses that it announces."
            ),
        ),
        _ => finding,
    }
}

fn advise(finding: Finding, setting: DdsSetting) -> Finding {
    let advice = match setting {
        DdsSetting::Cyclone(_) => {
            format!("Start the program with this variable, which restricts it to this network: {setting}")
        }
        DdsSetting::FastDds(_) => format!(
            "Start the program with FASTDDS_DEFAULT_PROFILES_FILE (FASTRTPS_DEFAULT_PROFILES_FILE before Fast DDS 3) set to a file with this profile, which restricts it to this network: {setting}"
        ),
    };
    finding.advise(Tool::Program, advice)
}

impl Judgement<'_> {
    pub(super) fn is_own(&self, entry: &Discovered) -> bool {
        entry.source.ip().is_some_and(|source| self.observation.after.is_own(source))
    }

    pub(super) fn own_addresses_on(
        &self,
        interface: mcast::InterfaceIndex,
    ) -> impl Iterator<Item = IpAddr> + '_ {
        let link = self.observation.after.link(interface).into_iter();
        link.flat_map(|link| &link.interface.addresses).map(|own| own.address)
    }

    fn is_own_in(&self, interface: mcast::InterfaceIndex, address: IpAddr) -> bool {
        self.own_addresses_on(interface).any(|own| own == address)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use mcast::InterfaceIndex;
    use mcast_packet::payload::{RtpsLocator, RtpsPrefix, RtpsVendor};
    use mcast_watch::Time;
    use mcast_watch::discovery::{
        DdsFacts, DdsPolicy, DiscoveredFacts, DiscoveryKey, DiscoveryPlace, DiscoverySource,
    };

    use super::*;
    use crate::causes::fixtures::{ETH0, ETH1, ruleset};
    use crate::causes::services::{host, report, search};
    use crate::netfilter::{Hook, RuleEffect};
    use crate::service::ServiceSearch;

    const ROBOT: &str = "10.9.0.77";
    const PC: &str = "10.9.0.2";

    fn entry(on: InterfaceIndex, kind: DiscoveredKind, id: &str, name: &str, from: &str) -> Discovered {
        let place = DiscoveryPlace { interface: on, vlan: None };
        let key = DiscoveryKey { protocol: DiscoveryProtocol::Rtps, place, id: id.into() };
        let source = DiscoverySource::Ip((from.parse::<IpAddr>().unwrap(), 40_000).into());
        let mut entry = Discovered::new(key, kind, source, Time::from_secs(1));
        entry.name = name.into();
        entry
    }

    fn with(mut entry: Discovered, change: impl FnOnce(&mut DdsFacts)) -> Discovered {
        let mut facts = entry.dds().unwrap().clone();
        change(&mut facts);
        entry.facts = Some(DiscoveredFacts::Dds(facts).into());
        entry
    }

    fn in_domain(entry: Discovered, domain: u32) -> Discovered {
        with(entry, |facts| facts.domain = Some(domain))
    }

    /// Returns the facts of what the participant with this name has.
    fn facts_of(name: &str) -> DdsFacts {
        let mut prefix = [0; 12];
        prefix.iter_mut().zip(name.bytes()).for_each(|(to, byte)| *to = byte);
        let mut facts = DdsFacts::default();
        (facts.participant, facts.domain) = (RtpsPrefix(prefix), Some(0));
        facts
    }

    /// Returns a participant of domain 0 that receives at these addresses.
    fn participant(on: InterfaceIndex, name: &str, from: &str, addresses: &[&str]) -> Discovered {
        let mut found = entry(on, DiscoveredKind::Participant, name, name, from);
        found.addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let mut facts = facts_of(name);
        let locators = found.addresses.iter().map(|address| SocketAddr::new(*address, 7_411));
        facts.locators = locators.map(|at| (RtpsLocatorUse::Unicast, RtpsLocator::Udp(at))).collect();
        found.facts = Some(DiscoveredFacts::Dds(facts).into());
        found
    }

    fn robot() -> Discovered {
        participant(ETH0, "robot", ROBOT, &[ROBOT])
    }

    fn pc() -> Discovered {
        participant(ETH0, "pc", PC, &[PC])
    }

    fn end(of: &str, topic: &str, endpoint: DdsEndpoint) -> Discovered {
        let from = if of == "robot" { ROBOT } else { PC };
        let id = format!("{of}:{}:{topic}", endpoint.role());
        let mut found = entry(ETH0, DiscoveredKind::Endpoint, &id, topic, from);
        let mut facts = facts_of(of);
        facts.endpoint = Some(endpoint);
        found.facts = Some(DiscoveredFacts::Dds(facts).into());
        found
    }

    fn writer() -> DdsEndpoint {
        let mut writer = reader();
        writer.is_writer = true;
        writer
    }

    fn reliable(is_reliable: bool, mut endpoint: DdsEndpoint) -> DdsEndpoint {
        endpoint.is_reliable = is_reliable;
        endpoint
    }

    fn reader() -> DdsEndpoint {
        reliable(true, DdsEndpoint::default())
    }

    /// Looks for the robot, or for what of it has this kind.
    fn searched(kind: DiscoveredKind, there: Vec<Discovered>, own: Vec<Discovered>) -> ServiceSearch {
        let (found, others) = there.into_iter().partition(|entry| entry.kind == kind);
        ServiceSearch { own, others, ..search(found) }
    }

    fn judged(there: Vec<Discovered>, own: Vec<Discovered>) -> Vec<Id> {
        let report = report(&host(), &searched(DiscoveredKind::Participant, there, own));
        report.findings.iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn participants_of_one_domain_that_reach_each_other_are_healthy() {
        assert_eq!(judged(vec![robot()], vec![pc()]), []);
        assert_eq!(judged(vec![robot()], Vec::new()), [], "no participant here");
        let there = vec![robot(), end("robot", "rt/scan", writer())];
        let own = vec![pc(), end("pc", "rt/scan", reader())];
        assert_eq!(judged(there, own), []);
    }

    #[test]
    fn a_reader_without_a_writer_in_its_network_is_named_if_another_network_has_one() {
        let on_eth1 = |mut entry: Discovered| {
            entry.key.place.interface = ETH1;
            entry
        };
        let writes = |place: fn(Discovered) -> Discovered| place(end("robot", "rt/scan", writer()));
        let on_eth0 = |entry| entry;
        let reads = || {
            let mut end = on_eth1(end("third", "rt/scan", reader()));
            end.source = DiscoverySource::Ip("172.17.0.3:40000".parse().unwrap());
            end
        };
        let outcome = |remote: Vec<Discovered>, own: Vec<Discovered>| {
            let others = vec![robot(), participant(ETH1, "third", "172.17.0.3", &["172.17.0.3"])];
            let mut found = remote;
            found.extend(own.iter().filter(|entry| entry.dds_endpoint().is_some()).cloned());
            let wanted = [ETH0, ETH1].into();
            let report = report(&host(), &ServiceSearch { own, others, wanted, ..search(found) });
            let found = report.findings.iter().map(|finding| (finding.id, finding.severity));
            found.collect::<Vec<_>>()
        };
        assert_eq!(
            outcome(vec![writes(on_eth0), reads()], Vec::new()),
            [(Id::AnnouncedElsewhere, Severity::Fault)]
        );
        assert_eq!(outcome(vec![writes(on_eth1), reads()], Vec::new()), [], "beside it");
        assert_eq!(outcome(vec![writes(on_eth0), writes(on_eth1), reads()], Vec::new()), [], "in both");
        let own_there = participant(ETH1, "pc", "172.17.0.1", &["172.17.0.1"]);
        let own = vec![pc(), own_there, on_eth1(end("pc", "rt/scan", writer()))];
        assert_eq!(outcome(vec![writes(on_eth0), reads()], own), [], "here");
    }

    /// What public reports describe: the robot, the participants of this machine, and what is wrong.
    #[test]
    fn each_obstacle_between_participants_is_named() {
        let at = |addresses: &[&str]| participant(ETH0, "robot", ROBOT, addresses);
        let pc_at = |addresses: &[&str]| participant(ETH0, "pc", PC, addresses);
        let shared_memory = |name, from| {
            let locator = (RtpsLocatorUse::Unicast, RtpsLocator::SharedMemory);
            with(participant(ETH0, name, from, &[]), |facts| facts.locators = vec![locator])
        };
        for (what, robot, pc, expected) in [
            ("the numbers of the domains", in_domain(robot(), 42), pc(), Id::DifferentDdsDomain),
            ("a tag", with(robot(), |facts| facts.tag = "alpha".into()), pc(), Id::DifferentDdsDomain),
            ("a container", at(&["172.17.0.5"]), pc(), Id::UnreachableAddress),
            ("a container here", robot(), pc_at(&["172.18.0.5"]), Id::UnreachableAddress),
            ("loopback", at(&["127.0.0.1"]), pc(), Id::UnreachableAddress),
            ("loopback here", robot(), pc_at(&["127.0.0.1"]), Id::UnreachableAddress),
            ("shared memory", shared_memory("robot", ROBOT), pc(), Id::UnreachableAddress),
            ("shared memory here", robot(), shared_memory("pc", PC), Id::UnreachableAddress),
            ("IPv6", at(&["fd09::77"]), pc(), Id::UnreachableAddress),
            ("link-local", at(&["fe80::77"]), pc_at(&[PC, "fe80::2"]), Id::LinkLocalOnly),
            ("another network", robot(), participant(ETH1, "pc", PC, &[PC]), Id::AnnouncedElsewhere),
            (
                "no answer",
                with(robot(), |facts| facts.unanswered = Some("requests")),
                pc(),
                Id::ServiceSilent,
            ),
        ] {
            let found = judged(vec![robot], vec![pc]);
            assert!(found.contains(&expected), "{what}: {found:?}");
            assert!(found.iter().all(|id| *id == expected), "{what}: {found:?}");
        }
    }

    #[test]
    fn each_mismatch_of_a_topic_is_named_for_the_topic_that_is_looked_for() {
        let in_partition = |name: &str, mut endpoint: DdsEndpoint| {
            endpoint.partitions = vec![name.into()];
            endpoint
        };
        let keeping = |number, mut endpoint: DdsEndpoint| {
            endpoint.policies = vec![DdsPolicy::Durability(number)];
            endpoint
        };
        for (writer_there, reader_here) in [
            (reliable(false, writer()), reader()),
            (keeping(0, writer()), keeping(1, reader())),
            (in_partition("left", writer()), in_partition("right", reader())),
        ] {
            let there = || vec![robot(), end("robot", "rt/scan", writer_there.clone())];
            let own = vec![pc(), end("pc", "rt/scan", reader_here)];
            assert_eq!(judged(there(), own.clone()), [Id::DdsMismatch], "{own:?}");
            // Another topic of the same two, which match.
            let other = [there(), vec![end("robot", "rt/odometry", writer())]].concat();
            let mut search = searched(DiscoveredKind::Endpoint, other, own);
            search.found.retain(|entry| entry.name == "rt/odometry".into());
            assert_eq!(report(&host(), &search).findings, [], "{writer_there:?}");
        }
    }

    /// Returns what is found where only this machine has the topic, beside these others.
    fn alone(own: Vec<Discovered>, others: Vec<Discovered>) -> Vec<Id> {
        let is_of_topic = |entry: &&Discovered| entry.kind == DiscoveredKind::Endpoint;
        let found = own.iter().filter(is_of_topic).cloned().collect();
        let report = report(&host(), &ServiceSearch { own, others, ..search(found) });
        report.findings.iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn topic_that_only_this_machine_has_is_no_all_clear() {
        let reader = || vec![pc(), end("pc", "rt/scan", reader())];
        assert_eq!(alone(reader(), Vec::new()), [Id::NotAnnounced]);
        assert_eq!(alone(reader(), vec![robot()]), [Id::NotAnnounced], "a node without the topic");
        assert_eq!(alone(reader(), vec![in_domain(robot(), 5)]), [Id::DifferentDdsDomain]);
        let third = participant(ETH0, "third", "10.9.0.78", &["10.9.0.78"]);
        assert_eq!(
            alone(reader(), vec![in_domain(robot(), 5), third]),
            [Id::NotAnnounced],
            "one of its domain"
        );
        // Two programs of this machine.
        let second = || participant(ETH0, "second", PC, &[PC]);
        let writer = |is_reliable| end("second", "rt/scan", reliable(is_reliable, writer()));
        let beside = |second, writer| [reader(), vec![second, writer]].concat();
        assert_eq!(alone(beside(second(), writer(true)), Vec::new()), []);
        assert_eq!(alone(beside(second(), writer(false)), Vec::new()), [Id::DdsMismatch]);
        assert_eq!(
            alone([reader(), vec![in_domain(second(), 5)]].concat(), Vec::new()),
            [Id::DifferentDdsDomain]
        );
    }

    #[test]
    fn one_address_that_the_other_host_reaches_is_enough() {
        let several = |name, from, own| participant(ETH0, name, from, &["127.0.0.1", "fe80::7", own]);
        let found = judged(vec![several("robot", ROBOT, ROBOT)], vec![several("pc", PC, PC)]);
        // A program may try the wrong ones first.
        assert!(found.iter().all(|id| *id == Id::UnreachableAddress), "{found:?}");
        let report = report(
            &host(),
            &searched(DiscoveredKind::Participant, vec![several("robot", ROBOT, ROBOT)], vec![pc()]),
        );
        assert!(report.findings.iter().all(|finding| finding.severity < Severity::Fault), "{report:#?}");
    }

    #[test]
    fn participants_with_one_name_are_distinguished() {
        let mut there = participant(ETH0, "robot", ROBOT, &["172.17.0.5"]);
        let mut own = pc();
        (there.name, own.name) = ("talker".into(), "talker".into());
        let report = report(&host(), &searched(DiscoveredKind::Participant, vec![there], vec![own]));
        assert_eq!(report.findings.len(), 1, "{report:#?}");
        assert!(!report.findings[0].cause.contains("of this machine announces"), "{report:#?}");
    }

    #[test]
    fn a_domain_hides_every_other_obstacle() {
        let there = vec![in_domain(robot(), 7), end("robot", "rt/scan", reliable(false, writer()))];
        let own = vec![pc(), end("pc", "rt/scan", reader())];
        assert_eq!(judged(there, own), [Id::DifferentDdsDomain]);
    }

    #[test]
    fn programs_with_ports_of_the_domain_that_announce_nothing_are_named() {
        let searched = |own| ServiceSearch {
            own_programs: ["talker (7)".to_owned()].into(),
            ..searched(DiscoveredKind::Participant, vec![robot()], own)
        };
        let report_of = |own| report(&host(), &searched(own));
        let report = report_of(Vec::new());
        assert_eq!(report.findings[0].id, Id::AnnouncedElsewhere);
        assert!(report.findings[0].cause.contains("talker (7) of this machine"), "{report:#?}");
        assert_eq!(report_of(vec![pc()]).findings, []);
        let unheard = ServiceSearch { is_own_restricted: false, ..searched(Vec::new()) };
        let report = super::super::services::report(&host(), &unheard);
        assert_eq!(
            (report.findings.as_slice(), report.verdict()),
            (&[][..], crate::Verdict::Unknown),
            "{report:#?}"
        );
    }

    #[test]
    fn rules_that_drop_what_is_sent_to_a_participant_are_named_unless_they_drop_announcements_too() {
        let mut observation = host();
        observation.after.ruleset = ruleset(Hook::Input, RuleEffect::Drop, None);
        let search = searched(DiscoveredKind::Participant, vec![robot()], vec![pc()]);
        assert_eq!(report(&observation, &search).findings, [], "announcements are dropped, too");
    }

    #[test]
    fn the_setting_that_is_advised_is_that_of_the_implementation_and_of_the_network() {
        let advice = |vendor| {
            let own = participant(ETH1, "pc", "172.17.0.1", &["172.17.0.1"]);
            let own = with(own, |facts| facts.vendor = Some(vendor));
            let found = report(&host(), &searched(DiscoveredKind::Participant, vec![robot()], vec![own]));
            format!("{:?}", found.findings[0].remedies)
        };
        let of_cyclone = advice(RtpsVendor::CYCLONE);
        assert!(of_cyclone.contains("CYCLONEDDS_URI"), "{of_cyclone}");
        assert!(of_cyclone.contains(PC), "the address of this machine there");
        assert!(advice(RtpsVendor::FAST_DDS).contains("FASTDDS_DEFAULT_PROFILES_FILE"));
        assert!(advice(RtpsVendor(0x0101)).contains("the program use eth0"));
    }
}
