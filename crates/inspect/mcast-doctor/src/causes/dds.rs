//! Judges why the participants of DDS on this machine and another one, such as two nodes of ROS, do not find each other, or find
//! each other and exchange nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mcast_watch::discovery::{
    DdsMismatch, DdsObstacle, DdsSetting, Discovered, DiscoveredKind, DiscoveryProtocol, UntrustedText,
    dds_obstacles,
};

use super::services::{Judgement, Reach, title};
use super::{Cause, Check};
use crate::finding::list;
use crate::{EvidenceKind, Finding, Id, Severity, Tool};

const RTPS: &[&str] = &["RTPS 2.5 section 9.6.1.1"];
const MATCHING: &[&str] = &["DDS 1.4 section 2.2.3"];

/// The participants are in different domains, or kept apart by a tag.
pub(super) const DIFFERENT_DDS_DOMAIN: Cause = Cause::new(Check::Protocol, RTPS).without_loss();

/// The writer and the reader of a topic never match.
pub(super) const DDS_MISMATCH: Cause = Cause::new(Check::Protocol, MATCHING).without_loss();

/// Returns what keeps the participants of this machine from what was found.
pub(super) fn findings(judgement: &Judgement<'_>, here: &[&Discovered]) -> Vec<Finding> {
    let search = judgement.search;
    let all: Vec<Discovered> =
        search.found.iter().chain(&search.others).chain(&search.own).cloned().collect();
    let is_participant = |entry: &&Discovered| entry.kind == DiscoveredKind::Participant;
    let own: Vec<&Discovered> = search.own.iter().filter(is_participant).collect();
    let mut found = Vec::new();
    let mut judged = BTreeSet::new();
    let is_remote =
        |entry: &&&Discovered| entry.key.protocol == DiscoveryProtocol::Rtps && !judgement.is_own(entry);
    for entry in here.iter().filter(is_remote) {
        let Some(participant) = participant_of(entry, &all) else { continue };
        if !judged.insert((&participant.key, topic_of(entry))) {
            continue;
        }
        if entry.kind == DiscoveredKind::Endpoint {
            found.extend(judgement.reachability(participant));
        }
        let is_beside = |own: &&&Discovered| own.key.place == participant.key.place;
        let beside: Vec<&Discovered> = own.iter().filter(is_beside).copied().collect();
        match (beside.is_empty(), own.is_empty()) {
            (false, _) => found.extend(between(judgement, entry, participant, &beside, &all)),
            (true, false) => found.push(elsewhere(judgement, participant, &own)),
            (true, true) => {}
        }
    }
    found
}

/// Returns the participant that a reader or writer is part of.
fn participant_of<'a>(entry: &'a Discovered, all: &'a [Discovered]) -> Option<&'a Discovered> {
    if entry.kind == DiscoveredKind::Participant {
        return Some(entry);
    }
    let id = entry.field("participant")?;
    let is_it = |other: &&Discovered| {
        other.kind == DiscoveredKind::Participant && other.key.id == *id && other.key.place == entry.key.place
    };
    all.iter().find(is_it)
}

/// Returns the topic that is looked for, if one is.
fn topic_of(entry: &Discovered) -> Option<&UntrustedText> {
    (entry.kind == DiscoveredKind::Endpoint).then_some(&entry.name)
}

/// Returns what keeps a remote participant and those of this machine on the same network apart.
fn between(
    judgement: &Judgement<'_>,
    entry: &Discovered,
    remote: &Discovered,
    own: &[&Discovered],
    all: &[Discovered],
) -> Vec<Finding> {
    let reaches = |from: &Discovered, address: IpAddr| match judgement.is_own(from) {
        true => judgement.is_reached(remote, address),
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
    for (own, obstacles) in same {
        for obstacle in obstacles {
            match obstacle {
                DdsObstacle::Topic { topic, reason }
                    if topic_of(entry).is_none_or(|wanted| wanted == topic) && named.insert(obstacle) =>
                {
                    found.push(mismatch(judgement, remote, topic, reason));
                }
                DdsObstacle::LocalOnly { participant } | DdsObstacle::LinkLocalOnly { participant }
                    if *participant == own.name && named.insert(obstacle) =>
                {
                    found.push(own_address(judgement, remote, own));
                }
                DdsObstacle::Unreachable { participant, .. }
                    if *participant == own.name && named.insert(obstacle) =>
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
    let announced = remote.field("domain").map_or_else(String::new, |domain| format!("domain {domain}"));
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
        named => list(named.iter().map(|name| format!("\"{name}\""))),
    };
    let (why, advice) = match reason {
        DdsMismatch::Reliability => (
            "the writer is best-effort, but the reader requests reliable delivery".to_owned(),
            "Make the reader accept best effort (in ROS, the profile `SensorDataQoS`), or the writer reliable.".to_owned(),
        ),
        DdsMismatch::Durability { writer, reader } => (
            format!("the durability of the writer is {writer}, but the reader requests {reader}"),
            format!("Set the durability of the writer to {reader}, or that of the reader to {writer}."),
        ),
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
    let finding = own.iter().take(3).fold(finding, |finding, own| {
        let place = judgement.name(own.key.place.interface);
        finding.evidence(EvidenceKind::Packet, place, format!("{} announced by {}", title(own), own.source))
    });
    let address = judgement.own_address_on(remote.key.place.interface);
    let setting = own.first().and_then(|own| DdsSetting::of(own)).zip(address);
    match setting {
        Some((setting, address)) => advise(finding, setting.at(address)),
        None => finding.advise(
            Tool::Program,
            format!("Make the program use {interface}, in the settings of its DDS implementation."),
        ),
    }
}

/// Advises the setting of the implementation of a participant, by which it announces the address that it sends from.
pub(super) fn with_setting(finding: Finding, participant: &Discovered) -> Finding {
    match DdsSetting::of(participant) {
        Some(setting) => advise(finding, setting),
        None => finding.advise(
            Tool::Program,
            "Restrict the program to the interface of this network, in the settings of its DDS implementation.",
        ),
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
    fn is_own(&self, entry: &Discovered) -> bool {
        entry.source.ip().is_some_and(|source| self.observation.after.is_own(source))
    }

    fn is_reached(&self, announced_by: &Discovered, address: IpAddr) -> bool {
        let reach = self.reach(announced_by, address);
        matches!(reach, Reach::OnLink | Reach::LinkLocal | Reach::Routed(_) | Reach::Unknown)
    }

    fn own_addresses_on(&self, interface: mcast::InterfaceIndex) -> impl Iterator<Item = IpAddr> + '_ {
        let links = self.observation.after.links.iter().filter(move |link| link.index() == interface);
        links.flat_map(|link| &link.interface.addresses).map(|own| own.address)
    }

    fn is_own_in(&self, interface: mcast::InterfaceIndex, address: IpAddr) -> bool {
        self.own_addresses_on(interface).any(|own| own == address)
    }

    fn own_address_on(&self, interface: mcast::InterfaceIndex) -> Option<IpAddr> {
        self.own_addresses_on(interface).find(IpAddr::is_ipv4)
    }
}
