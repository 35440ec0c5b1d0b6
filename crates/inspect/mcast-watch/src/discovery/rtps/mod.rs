//! DDS: participants, and the topics that they read and write, as they announce them by RTPS.

mod asking;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mcast_packet::payload::{Rtps, RtpsData, RtpsGuid, RtpsLocatorUse, RtpsParameter, RtpsPrefix};

use self::asking::RtpsAsking;
use super::entry::{
    Discovered, DiscoveredKind, DiscoveryKey, DiscoveryPlace, DiscoveryProtocol, DiscoverySource,
    UntrustedText,
};
use super::facts::{DdsEndpoint, DdsFacts, DdsPolicy, DiscoveredFacts};
use super::registry::{DepartureReason, Registry};
use super::{DiscoveryDatagram, DiscoveryQuestion, DiscoveryRequest, Observer};
use crate::clock::Time;
use crate::lru::Lru;

/// The field of a participant that announces itself, and does not answer what is sent to it alone.
const UNANSWERED: &str = "unanswered";

/// Reads what participants announce.
#[derive(Debug)]
pub(super) struct RtpsObserver {
    participants: Lru<ParticipantPlace, Participant>,
    /// When a participant may have lapsed.
    due: Option<Time>,
    asking: RtpsAsking,
}

type ParticipantPlace = (DiscoveryPlace, RtpsPrefix);

/// A participant, by what it has sent so far.
#[derive(Debug)]
struct Participant {
    first_seen: Time,
    last_seen: Time,
    lease: Option<Duration>,
    domain: Option<u32>,
    /// Where it receives discovery at the address that it sends from: some implementations send from other ports.
    discovery: Option<SocketAddr>,
    /// The bytes that it has sent since it announced itself to this host's own address, less those of the requests that this pays for.
    /// It does so once it knows of the participant that asks.
    credit: Option<usize>,
    /// The readers and writers that are listed.
    endpoints: BTreeSet<u32>,
}

/// What the announcement of a participant, a reader or a writer states.
#[derive(Debug, Default)]
struct Description<'a> {
    guid: Option<RtpsGuid>,
    is_gone: bool,
    facts: DdsFacts,
    lease: Option<Option<Duration>>,
    name: &'a [u8],
    topic: &'a [u8],
    type_name: &'a [u8],
    is_reliable: Option<bool>,
    endpoint: DdsEndpoint,
    properties: Vec<(&'a [u8], &'a [u8])>,
    version: Option<(u8, u8)>,
}

impl RtpsObserver {
    const MAX_PARTICIPANTS: usize = 2_000;
    /// The readers and writers of one participant that are listed.
    const MAX_ENDPOINTS: usize = 512;
    /// The lease of a participant that states none (RTPS 2.5, table 9.14).
    const LEASE: Duration = Duration::from_secs(100);
    /// Participants with a longer lease are forgotten after this time without a message.
    const MAX_LEASE: Duration = Duration::from_secs(3_600);
    const MAX_CREDIT: usize = 1_000;
    /// Messages that follow sooner after another one renew nothing.
    const RENEWAL: Duration = Duration::from_millis(500);

    pub(super) fn new() -> Self {
        Self { participants: Lru::new(usize::MAX), due: None, asking: RtpsAsking::new() }
    }

    /// Returns what is known of a participant. If there are too many, the oldest newcomer is forgotten.
    fn participant(
        &mut self,
        now: Time,
        place: ParticipantPlace,
        registry: &mut Registry,
    ) -> &mut Participant {
        if self.participants.get(&place).is_none()
            && self.participants.len() >= Self::MAX_PARTICIPANTS
            && let Some(oldest) = self.participants.first_to_evict().copied()
        {
            self.forget(&oldest, registry, DepartureReason::Evicted);
        }
        let new = || Participant {
            first_seen: now,
            last_seen: now,
            lease: Some(Self::LEASE),
            domain: None,
            discovery: None,
            credit: None,
            endpoints: BTreeSet::new(),
        };
        let (participant, _) = self.participants.touch(place, new);
        participant
    }

    /// Removes the readers and writers of a participant that is gone.
    fn forget(&mut self, place: &ParticipantPlace, registry: &mut Registry, reason: DepartureReason) {
        let Some(participant) = self.participants.remove(place) else { return };
        self.asking.note_departure(*place);
        for entity in participant.endpoints {
            registry.depart(&key(place.0, RtpsGuid { prefix: place.1, entity }.to_string()), reason);
        }
    }

    /// Any message shows that its participant is there.
    fn renew(&mut self, now: Time, place: ParticipantPlace, registry: &mut Registry) {
        let Some(participant) = self.participants.get_mut(&place) else { return };
        if now.since(participant.last_seen) < Self::RENEWAL {
            return;
        }
        participant.last_seen = now;
        let is_lasting = now.since(participant.first_seen) >= Registry::LASTING;
        let key = key(place.0, place.1.to_string());
        registry.renew(now, &key, participant.lease);
        let unanswered = self.asking.unanswered(now, place);
        let differs = |known: &&Discovered| known.dds().is_some_and(|dds| dds.unanswered != unanswered);
        if let Some(mut changed) = registry.get(&key).filter(differs).cloned() {
            note_unanswered(&mut changed, unanswered);
            registry.revise(now, changed);
        }
        if is_lasting {
            self.participants.prove(&place);
        }
    }

    fn announce_participant(
        &mut self,
        now: Time,
        datagram: &DiscoveryDatagram<'_>,
        prefix: RtpsPrefix,
        description: Description<'_>,
        registry: &mut Registry,
    ) {
        let place = (datagram.place, prefix);
        let key = key(datagram.place, prefix.to_string());
        let source = DiscoverySource::Ip(datagram.source);
        if description.is_gone {
            let was_there = registry.get(&key).is_some();
            registry.goodbye(&key, source);
            if was_there && registry.get(&key).is_none() {
                self.forget(&place, registry, DepartureReason::Goodbye);
            }
            return;
        }
        let domain = description.domain(datagram);
        if registry.get(&key).is_none() {
            self.asking.note_appearance(place);
            domain.into_iter().for_each(|domain| self.asking.add_newcomer(domain, now));
        }
        domain.into_iter().for_each(|domain| self.asking.add_domain(domain, now));
        let facts = DdsFacts { participant: prefix, domain, ..description.facts };
        let lease = description.lease.unwrap_or(Some(Self::LEASE));
        let lease = lease.unwrap_or(Self::MAX_LEASE).min(Self::MAX_LEASE);
        let participant = self.participant(now, place, registry);
        (participant.last_seen, participant.lease) = (now, Some(lease));
        participant.domain = domain;
        if !datagram.destination.ip().is_multicast() {
            participant.credit.get_or_insert(datagram.payload.len());
        }
        let usage = RtpsLocatorUse::DiscoveryUnicast;
        let locators = facts.locators.iter().filter(|(found, _)| *found == usage);
        let locators: Vec<SocketAddr> = locators.filter_map(|(_, locator)| locator.udp()).collect();
        let sender = datagram.source.ip();
        let own = locators.iter().find(|locator| locator.ip() == sender).or_else(|| locators.first());
        // Requests to the address of another host would be sent on behalf of an attacker.
        participant.discovery = own.map(|locator| SocketAddr::new(sender, locator.port()));
        let due = now.after(lease);
        self.due = Some(self.due.map_or(due, |known| known.min(due)));

        let property =
            |name: &str| description.properties.iter().find(|(known, _)| *known == name.as_bytes());
        let named =
            |names: &[&str]| names.iter().find_map(|name| property(name)).map_or(&[][..], |(_, value)| value);
        let host = named(&["__Hostname", "fastdds.physical_data.host", "dds.sys_info.hostname"]);
        let process =
            named(&["__ProcessName", "fastdds.physical_data.process", "dds.sys_info.executable_filepath"]);
        let pid = named(&["__Pid", "dds.sys_info.process_id"]);
        let mut announced = Discovered::new(key, DiscoveredKind::Participant, source, now);
        if let Some(name) = [description.name, process].into_iter().find(|name| !name.is_empty()) {
            announced.name = UntrustedText::new(name);
        }
        announced.host = UntrustedText::new(host);
        if let Some(domain) = domain {
            announced.service = format!("domain {domain}").into();
        }
        announced.expires = Some(now.after(lease));
        let unicast = facts.locators.iter().filter(|(usage, _)| *usage == RtpsLocatorUse::Unicast);
        let unicast: Vec<SocketAddr> = unicast.filter_map(|(_, locator)| locator.udp()).collect();
        announced.addresses = unicast.iter().map(SocketAddr::ip).collect();
        announced.port = unicast.first().map(SocketAddr::port);
        announced.add_some("domain", domain);
        announced.add_text("domain tag", facts.tag.as_bytes());
        announced.add_some("vendor", facts.vendor);
        if let Some((major, minor)) = description.version {
            announced.add("version", format_args!("{major}.{minor}"));
        }
        announced.add("participant", prefix);
        announced.add_text("process", process);
        announced.add_text("pid", pid);
        for (usage, locator) in &facts.locators {
            announced.add(locator_name(*usage), locator);
        }
        announced.add("lease", format_args!("{} s", lease.as_secs_f64()));
        announced.facts = Some(DiscoveredFacts::Dds(facts).into());
        note_unanswered(&mut announced, self.asking.unanswered(now, place));
        registry.announce(now, announced);
    }

    fn announce_endpoint(
        &mut self,
        now: Time,
        datagram: &DiscoveryDatagram<'_>,
        guid: RtpsGuid,
        is_writer: bool,
        description: Description<'_>,
        registry: &mut Registry,
    ) {
        let key = key(datagram.place, guid.to_string());
        let source = DiscoverySource::Ip(datagram.source);
        let place = (datagram.place, guid.prefix);
        if description.is_gone {
            registry.goodbye(&key, source);
            if registry.get(&key).is_none()
                && let Some(participant) = self.participants.get_mut(&place)
            {
                participant.endpoints.remove(&guid.entity);
            }
            return;
        }
        let participant = self.participant(now, place, registry);
        if participant.endpoints.len() >= Self::MAX_ENDPOINTS && !participant.endpoints.contains(&guid.entity)
        {
            registry.counts.refused += 1;
            return;
        }
        participant.endpoints.insert(guid.entity);
        let domain = description.domain(datagram).or(participant.domain);
        let mut facts = DdsFacts { participant: guid.prefix, domain, ..description.facts };
        let due = now.after(participant.lease.unwrap_or(Self::MAX_LEASE));
        self.due = Some(self.due.map_or(due, |known| known.min(due)));

        let mut announced = Discovered::new(key, DiscoveredKind::Endpoint, source, now);
        announced.name = UntrustedText::new(description.topic);
        announced.service = UntrustedText::new(description.type_name);
        let addresses = facts.locators.iter().filter_map(|(_, locator)| locator.udp());
        let addresses: Vec<SocketAddr> = addresses.filter(|address| !address.ip().is_multicast()).collect();
        announced.addresses = addresses.iter().map(SocketAddr::ip).collect();
        announced.port = addresses.first().map(SocketAddr::port);
        // What is not stated has the default: readers are best-effort, writers reliable (DDS 1.4 section 2.2.3).
        let is_reliable = description.is_reliable.unwrap_or(is_writer);
        let endpoint = DdsEndpoint { is_writer, is_reliable, ..description.endpoint };
        announced.add("role", endpoint.role());
        announced.add("participant", guid.prefix);
        announced.add_some("domain", domain);
        if let Some((kind, name)) = ros_name(description.topic) {
            announced.add_text(kind, name);
        }
        announced.add("reliability", if endpoint.is_reliable { "reliable" } else { "best effort" });
        if !endpoint.policies.iter().any(|policy| matches!(policy, DdsPolicy::Durability(_))) {
            announced.add("durability", DdsPolicy::Durability(0));
        }
        endpoint.policies.iter().for_each(|policy| announced.add(policy.name(), policy));
        endpoint.partitions.iter().for_each(|name| announced.add_text("partition", name.as_bytes()));
        for (usage, locator) in &facts.locators {
            announced.add(locator_name(*usage), locator);
        }
        facts.endpoint = Some(endpoint);
        announced.facts = Some(DiscoveredFacts::Dds(facts).into());
        registry.announce(now, announced);
    }
}

impl Observer for RtpsObserver {
    fn handle_datagram(&mut self, now: Time, datagram: &DiscoveryDatagram<'_>, registry: &mut Registry) {
        let Some(message) = Rtps::parse(datagram.payload).filter(|message| !self.asking.is_own(message))
        else {
            return;
        };
        let (mut to, mut credit) = (datagram.source, &mut 0);
        if let Some(Participant { discovery: Some(discovery), credit: own, .. }) =
            self.participants.get_mut(&(datagram.place, message.participant))
        {
            to = *discovery;
            if let Some(own) = own.as_mut().filter(|_| to.ip() == datagram.source.ip()) {
                *own = own.saturating_add(datagram.payload.len()).min(Self::MAX_CREDIT);
                credit = own;
            }
        }
        self.asking.answer(now, &message, datagram, to, credit, registry);
        self.renew(now, (datagram.place, message.participant), registry);
        for data in message.data() {
            let kind = match data.writer.entity {
                RtpsGuid::PARTICIPANT_WRITER => None,
                RtpsGuid::PUBLICATIONS_WRITER => Some(true),
                RtpsGuid::SUBSCRIPTIONS_WRITER => Some(false),
                _ => continue,
            };
            let is_new = self.asking.received(datagram.place, &data);
            let description = Description::of(&message, &data);
            let Some(guid) = description.guid else {
                registry.counts.malformed += 1;
                continue;
            };
            match kind {
                None if RtpsAsking::is_question(guid.prefix, description.facts.vendor, description.name) => {}
                None => self.announce_participant(now, datagram, guid.prefix, description, registry),
                Some(_) if !is_new => {}
                Some(is_writer) => {
                    self.announce_endpoint(now, datagram, guid, is_writer, description, registry);
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Time, registry: &mut Registry) {
        const AT_LEAST: Duration = Duration::from_millis(100);
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let lapses = |participant: &Participant| {
            participant.last_seen.after(participant.lease.unwrap_or(Self::MAX_LEASE))
        };
        let lapsed: Vec<ParticipantPlace> = self
            .participants
            .iter()
            .filter(|(_, participant)| lapses(participant) <= now)
            .map(|(place, _)| *place)
            .collect();
        for place in lapsed {
            self.forget(&place, registry, DepartureReason::Expired);
        }
        let next = self.participants.iter().map(|(_, participant)| lapses(participant)).min();
        self.due = next.map(|due| due.max(now.after(AT_LEAST)));
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.due.into_iter().chain(self.asking.due()).min()
    }

    fn ask(&mut self, now: Time, request: &DiscoveryRequest) {
        request.domains.iter().for_each(|domain| self.asking.add_domain((*domain).into(), now));
        self.asking.start(now);
    }

    fn poll_transmit(&mut self, now: Time, _registry: &Registry) -> Option<DiscoveryQuestion> {
        self.asking.poll(now)
    }
}

impl<'a> Description<'a> {
    const MAX_LOCATORS: usize = 24;
    const MAX_PARTITIONS: usize = 8;
    const MAX_PROPERTIES: usize = 64;
    const MAX_POLICIES: usize = 12;

    fn of(message: &Rtps<'_>, data: &RtpsData<'a>) -> Self {
        let mut description = Self { version: Some(message.version), ..Self::default() };
        description.facts.vendor = Some(message.vendor);
        for parameter in data.inline_qos.chain(data.parameters) {
            description.set(parameter);
        }
        description
    }

    fn set(&mut self, parameter: RtpsParameter<'a>) {
        match parameter {
            RtpsParameter::Lease(lease) => self.lease = Some(lease),
            RtpsParameter::Domain(domain) => self.facts.domain = Some(domain),
            RtpsParameter::DomainTag(tag) => self.facts.tag = UntrustedText::new(tag),
            RtpsParameter::Version(major, minor) => self.version = Some((major, minor)),
            RtpsParameter::Vendor(vendor) => self.facts.vendor = Some(vendor),
            RtpsParameter::Participant(guid) | RtpsParameter::KeyHash(guid) => {
                self.guid.get_or_insert(guid);
            }
            RtpsParameter::Endpoint(guid) => self.guid = Some(guid),
            RtpsParameter::EntityName(name) => self.name = name,
            RtpsParameter::Locator(usage, locator)
                if self.facts.locators.len() < Self::MAX_LOCATORS
                    && !self.facts.locators.contains(&(usage, locator)) =>
            {
                self.facts.locators.push((usage, locator));
            }
            RtpsParameter::Topic(topic) => self.topic = topic,
            RtpsParameter::Type(name) => self.type_name = name,
            RtpsParameter::IsReliable(is_reliable) => self.is_reliable = Some(is_reliable),
            RtpsParameter::Durability(kind) => self.offer(DdsPolicy::Durability, kind),
            RtpsParameter::Liveliness(kind, lease) => {
                self.offer(DdsPolicy::Liveliness, kind);
                self.add_policy(lease.map(DdsPolicy::LivelinessLease));
            }
            RtpsParameter::Order(kind) => self.offer(DdsPolicy::Order, kind),
            RtpsParameter::IsExclusive(is_exclusive) => self.offer(DdsPolicy::Ownership, is_exclusive.into()),
            RtpsParameter::Deadline(deadline) => self.add_policy(deadline.map(DdsPolicy::Deadline)),
            RtpsParameter::Encodings(encodings) => {
                let encodings = encodings.into_iter().flatten();
                encodings.for_each(|kind| self.offer(DdsPolicy::Encoding, kind.into()));
            }
            RtpsParameter::Partitions(names) => {
                let names = names.take(Self::MAX_PARTITIONS).map(UntrustedText::new).collect();
                self.endpoint.partitions = names;
            }
            RtpsParameter::Properties(mut texts) => {
                let pairs = std::iter::from_fn(|| Some((texts.next()?, texts.next()?)));
                self.properties = pairs.take(Self::MAX_PROPERTIES).collect();
            }
            RtpsParameter::IsGone(is_gone) => self.is_gone = is_gone,
            _ => {}
        }
    }

    fn offer(&mut self, policy: fn(u8) -> DdsPolicy, kind: u32) {
        let policy = DdsPolicy::numbered(policy, kind);
        // Most have the default.
        let is_listed = kind != 0 || matches!(policy, DdsPolicy::Durability(_) | DdsPolicy::Encoding(_));
        self.add_policy(is_listed.then_some(policy));
    }

    fn add_policy(&mut self, policy: Option<DdsPolicy>) {
        if self.endpoint.policies.len() < Self::MAX_POLICIES {
            self.endpoint.policies.extend(policy);
        }
    }

    /// Returns the domain: as stated, or by the ports, which older implementations rely on.
    fn domain(&self, datagram: &DiscoveryDatagram<'_>) -> Option<u32> {
        let of_group = |address: SocketAddr| match Rtps::domain_of_port(address.port()) {
            // Answers to a question arrive at no group, and have its port.
            Some((domain, true)) if address.ip().is_multicast() || address.ip().is_unspecified() => {
                Some(domain)
            }
            _ => None,
        };
        let of_locator = |usage| {
            let locators = self.facts.locators.iter().filter(move |(found, _)| *found == usage);
            locators.filter_map(|(_, locator)| locator.udp())
        };
        let of_unicast = || {
            of_locator(RtpsLocatorUse::DiscoveryUnicast)
                .find_map(|address| Rtps::domain_of_port(address.port()).map(|(domain, _)| domain))
        };
        self.facts
            .domain
            .or_else(|| of_group(datagram.destination))
            .or_else(|| of_locator(RtpsLocatorUse::DiscoveryMulticast).find_map(of_group))
            .or_else(of_unicast)
            // Without multicast, announcements are sent to the ports of the first participants of each host.
            .or_else(|| Rtps::domain_of_port(datagram.destination.port()).map(|(domain, _)| domain))
    }
}

/// Notes what a participant does not answer.
fn note_unanswered(participant: &mut Discovered, unanswered: Option<&'static str>) {
    if let Some(DiscoveredFacts::Dds(facts)) = participant.facts.as_mut().map(Arc::make_mut) {
        facts.unanswered = unanswered;
        participant.set(UNANSWERED, unanswered.map(UntrustedText::from));
    }
}

fn key(place: DiscoveryPlace, id: String) -> DiscoveryKey {
    DiscoveryKey { protocol: DiscoveryProtocol::Rtps, place, id: id.into() }
}

const fn locator_name(usage: RtpsLocatorUse) -> &'static str {
    match usage {
        RtpsLocatorUse::Unicast => "unicast",
        RtpsLocatorUse::Multicast => "multicast",
        RtpsLocatorUse::DiscoveryUnicast => "discovery unicast",
        RtpsLocatorUse::DiscoveryMulticast => "discovery multicast",
    }
}

/// Returns what a topic is in ROS 2, and its name there (ROS 2 design, "Topic and Service name mapping to DDS").
fn ros_name(topic: &[u8]) -> Option<(&'static str, &[u8])> {
    let name = topic.get(2..).filter(|name| name.starts_with(b"/"))?;
    match topic.first_chunk()? {
        b"rt" => Some(("ROS topic", name)),
        b"rq" => Some(("ROS service", name.strip_suffix(b"Request").unwrap_or(name))),
        b"rr" => Some(("ROS service", name.strip_suffix(b"Reply").unwrap_or(name))),
        _ => None,
    }
}
