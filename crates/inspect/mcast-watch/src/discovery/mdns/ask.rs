//! Questions (RFC 6762 section 5.2): for the types of services, for their instances, and for what is missing of those.
//!
//! What others announce determines what is asked, so questions are limited: in messages per second, in types, and in number.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mcast_packet::payload::{Dns, DnsKind, DnsQuestion, DnsRecord, DnsSection, DnsWriter};

use super::cache::Cache;
use super::name::{NameKey, NameRole, OwnedName};
use super::record::{Data, Record};
use super::service::KNOWN;
use crate::clock::Time;
use crate::discovery::{DiscoveryPlace, DiscoveryProtocol, DiscoveryQuestion, DiscoveryRequest};
use crate::lru::Lru;

/// What is asked, and when.
#[derive(Debug)]
pub(super) struct Asker {
    /// Types that occur, each with when it was first seen.
    types: Lru<NameKey, Time>,
    /// Where and for what to ask; `None` until asked to.
    request: Option<Request>,
    schedules: HashMap<Question, Schedule>,
    due: BTreeSet<(Time, Question)>,
    /// Messages that are ready.
    ready: VecDeque<DiscoveryQuestion>,
    /// The time of all messages so far, at the limit of messages per second. It may be up to [`Self::BURST`] in the future.
    paid_until: Time,
    random: u64,
}

#[derive(Debug)]
struct Request {
    /// `None` stands for all places.
    places: Vec<Option<DiscoveryPlace>>,
    subject: Subject,
}

#[derive(Debug)]
enum Subject {
    Everything,
    Type(OwnedName),
    Name(OwnedName),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Question {
    place: Option<DiscoveryPlace>,
    name: OwnedName,
    kind: u16,
}

#[derive(Debug)]
struct Schedule {
    /// Whether it follows from the request, not from an announcement.
    is_requested: bool,
    interval: Duration,
    /// How many times it is still asked; `None` if as long as asking lasts.
    left: Option<u8>,
}

impl Default for Asker {
    fn default() -> Self {
        Self {
            types: Lru::new(Self::MAX_TYPES),
            request: None,
            schedules: HashMap::new(),
            due: BTreeSet::new(),
            ready: VecDeque::new(),
            paid_until: Time::default(),
            random: 0,
        }
    }
}

impl Asker {
    pub(super) const MAX_TYPES: usize = 256;
    const MAX_QUESTIONS: usize = 8_192;
    const MAX_QUESTIONS_PER_MESSAGE: usize = 64;
    /// The longest payload of a message: that of a packet on Ethernet, with IPv6.
    const MAX_MESSAGE: usize = 1_440;
    /// Known answers beyond this many messages are omitted: they are answered again.
    const MAX_PARTS: usize = 16;
    /// The time of one message, to each family, at the limit of 10 per second.
    const MESSAGE: Duration = Duration::from_millis(100);
    /// How much time for messages can be saved: 20 messages.
    const BURST: Duration = Duration::from_secs(2);
    const FIRST_INTERVAL: Duration = Duration::from_secs(1);
    const LONGEST_INTERVAL: Duration = Duration::from_secs(3_600);
    /// How many times a missing record is asked for.
    pub(super) const TRIES: u8 = 3;
    /// Questions that are due this soon are asked in the same message.
    const TOGETHER: Duration = Duration::from_millis(20);
    const TYPES: &str = "_services._dns-sd._udp.local";

    /// Starts to ask, or starts again, after a random delay of 20 to 120 ms: others may have been started by the same event.
    pub(super) fn start(&mut self, now: Time, request: &DiscoveryRequest) {
        self.random = now.as_nanos() | 1;
        self.schedules.clear();
        self.due.clear();
        let places = match request.places.as_slice() {
            [] => vec![None],
            places => places.iter().copied().map(Some).collect(),
        };
        let text = request.name.as_deref().unwrap_or_default();
        let absolute = |text: &str| {
            let text = text.strip_suffix('.').unwrap_or(text);
            let is_local = text.to_ascii_lowercase().ends_with(".local");
            OwnedName::from_text(&if is_local { text.to_owned() } else { format!("{text}.local") })
        };
        let name = absolute(text).filter(|_| !text.is_empty());
        let role = name.as_ref().map(OwnedName::role);
        let is_whole = text.to_ascii_lowercase().trim_end_matches('.').ends_with(".local");
        let addresses = [DnsKind::A, DnsKind::AAAA];
        let mut first = Vec::new();
        let subject = match (name, role) {
            (Some(name), Some(NameRole::Type | NameRole::Subtype)) => {
                first.push((name.clone(), DnsKind::PTR));
                Subject::Type(name.service_type().unwrap_or(name))
            }
            (Some(name), Some(NameRole::Instance)) => {
                first.extend([DnsKind::SRV, DnsKind::TXT].map(|kind| (name.clone(), kind)));
                // It may be typed in another way than it is announced.
                let service = name.service_type().unwrap_or(name);
                first.push((service.clone(), DnsKind::PTR));
                Subject::Type(service)
            }
            (Some(name), Some(NameRole::Host)) if is_whole => {
                first.extend(addresses.map(|kind| (name.clone(), kind)));
                Subject::Name(name)
            }
            (name, role) => {
                // A name without a domain may be that of a host, or of an instance of any type.
                if let (Some(name), Some(NameRole::Host)) = (name, role) {
                    first.extend(addresses.map(|kind| (name.clone(), kind)));
                }
                let known = KNOWN.iter().map(|(service, _)| format!("{service}.local"));
                let types = std::iter::once(Self::TYPES.to_owned()).chain(known);
                first.extend(types.filter_map(|text| Some((OwnedName::from_text(&text)?, DnsKind::PTR))));
                Subject::Everything
            }
        };
        let seen: Vec<_> = self.types.iter().map(|(key, _)| key.clone()).collect();
        self.request = Some(Request { places: places.clone(), subject });
        for place in places {
            let delay = self.delay();
            for (name, kind) in &first {
                self.schedule(
                    now.after(delay),
                    Question { place, name: name.clone(), kind: kind.0 },
                    None,
                    true,
                );
            }
        }
        seen.into_iter().for_each(|key| self.ask_type(now, &key));
    }

    /// Notes the type of service that a record is about.
    pub(super) fn note_type(&mut self, now: Time, place: DiscoveryPlace, record: &DnsRecord<'_>) {
        let owner = OwnedName::new(record.name);
        let name = match owner.role() {
            NameRole::Type => owner,
            NameRole::Subtype | NameRole::Instance => match owner.service_type() {
                Some(name) => name,
                None => return,
            },
            // Only the list of types points to types.
            NameRole::Other => match record.target.map(OwnedName::new) {
                Some(name) if name.role() == NameRole::Type => name,
                _ => return,
            },
            NameRole::Host => return,
        };
        let key = NameKey { place, name };
        let first_seen = *self.types.touch(key.clone(), || now).0;
        if first_seen == now {
            self.ask_type(now, &key);
        } else if now.since(first_seen) >= Duration::from_secs(1) {
            self.types.prove(&key);
        }
    }

    /// Asks for the instances of a type, if everything is asked for.
    fn ask_type(&mut self, now: Time, key: &NameKey) {
        let Some(Request { subject: Subject::Everything, .. }) = &self.request else { return };
        let question = |place| Question { place, name: key.name.clone(), kind: DnsKind::PTR.0 };
        if self.is_asked_at(key.place) && !self.schedules.contains_key(&question(None)) {
            let due = now.after(self.delay());
            self.schedule(due, question(Some(key.place)), None, false);
        }
    }

    /// Asks for the records of an instance that are missing: of itself, and of its host.
    pub(super) fn want_missing(&mut self, now: Time, key: &NameKey, cache: &Cache) {
        let Some(node) =
            cache.get(key).filter(|_| self.is_asked_for(key) && key.name.role() == NameRole::Instance)
        else {
            return;
        };
        let mut host = None;
        for record in node.current(DnsKind::SRV) {
            if let Data::Service { host: name, .. } = &record.data {
                host = Some(NameKey { place: key.place, name: name.clone() });
            }
        }
        let missing = |key: &NameKey, kind: DnsKind| {
            cache.get(key).is_none_or(|node| node.current(kind).next().is_none() && !node.denies(kind))
        };
        for (key, kinds) in
            [(Some(key), [DnsKind::SRV, DnsKind::TXT]), (host.as_ref(), [DnsKind::A, DnsKind::AAAA])]
        {
            let Some(key) = key else { continue };
            kinds
                .into_iter()
                .filter(|kind| missing(key, *kind))
                .for_each(|kind| self.want(now, key, kind, Self::TRIES));
        }
    }

    /// Asks for a record that is missing or about to lapse, up to this many times.
    pub(super) fn want(&mut self, now: Time, key: &NameKey, kind: DnsKind, tries: u8) {
        if self.is_asked_at(key.place) {
            let question = Question { place: Some(key.place), name: key.name.clone(), kind: kind.0 };
            let due = now.after(self.delay());
            self.schedule(due, question, Some(tries), false);
        }
    }

    pub(super) fn is_asked_for(&self, key: &NameKey) -> bool {
        self.request.as_ref().is_some_and(|request| match &request.subject {
            Subject::Everything => true,
            Subject::Type(name) => key.name.service_type().as_ref() == Some(name),
            Subject::Name(name) => key.name == *name,
        })
    }

    fn is_asked_at(&self, place: DiscoveryPlace) -> bool {
        let is_here = |asked: &Option<DiscoveryPlace>| asked.is_none_or(|asked| asked == place);
        self.request.as_ref().is_some_and(|request| request.places.iter().any(is_here))
    }

    fn schedule(&mut self, due: Time, question: Question, left: Option<u8>, is_requested: bool) {
        if self.schedules.len() >= Self::MAX_QUESTIONS || self.schedules.contains_key(&question) {
            return;
        }
        self.due.insert((due, question.clone()));
        self.schedules.insert(question, Schedule { is_requested, interval: Self::FIRST_INTERVAL, left });
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        match self.ready.is_empty() {
            true => self.due.first().map(|(due, _)| (*due).max(self.may_send())),
            false => Some(Time::default()),
        }
    }

    pub(super) fn poll_transmit(&mut self, now: Time, cache: &Cache) -> Option<DiscoveryQuestion> {
        while self.ready.is_empty()
            && self.due.first().is_some_and(|(due, _)| *due <= now)
            && self.may_send() <= now
        {
            self.prepare(now, cache);
        }
        self.ready.pop_front()
    }

    /// Returns when the next message may be sent.
    fn may_send(&self) -> Time {
        Time::from_nanos(self.paid_until.as_nanos().saturating_sub(Self::BURST.as_nanos() as u64))
    }

    /// Writes the questions of one place that are due, with the answers that are known, as messages to both groups.
    fn prepare(&mut self, now: Time, cache: &Cache) {
        let Some(place) = self.due.first().map(|(_, question)| question.place) else { return };
        let soon = now.after(Self::TOGETHER);
        let due = self.due.iter().take_while(|(due, _)| *due <= soon);
        let due = due.filter(|(_, question)| question.place == place);
        let due: Vec<_> = due.take(Self::MAX_QUESTIONS_PER_MESSAGE).cloned().collect();
        let mut buffer = [0; Self::MAX_MESSAGE];
        let Some(mut writer) = DnsWriter::new(&mut buffer, 0, 0) else { return };
        let mut asked = Vec::new();
        // Up to 2 %, the same for all, so that they stay together.
        let more = (self.random() % 20) as u32;
        for (time, question) in due {
            let is_wanted = self.is_wanted(&question, cache);
            let is_written = is_wanted
                && question.name.name().is_some_and(|name| {
                    let kind = question.kind;
                    writer.question(&DnsQuestion { name, kind, class: 1, unicast_response: false })
                });
            if is_wanted && !is_written {
                break;
            }
            self.due.remove(&(time, question.clone()));
            self.reschedule(now, &question, is_written, more);
            if is_written {
                asked.push(question);
            }
        }
        if asked.is_empty() {
            return;
        }
        let mut messages = Vec::new();
        for record in asked.iter().flat_map(|question| known_answers(now, question, cache)) {
            let (Some(owner), Some(target)) = (record.owner.name(), record.instance.name()) else { continue };
            let record = DnsRecord {
                name: owner,
                kind: DnsKind::PTR.0,
                class: 1,
                cache_flush: false,
                time_to_live: record.seconds,
                data: &[],
                target: Some(target),
            };
            if !writer.record(DnsSection::Answer, &record) {
                if messages.len() + 1 == Self::MAX_PARTS {
                    break;
                }
                writer.set_flags(DnsWriter::TRUNCATED);
                messages.push(writer.as_bytes().to_vec());
                let Some(next) = DnsWriter::new(&mut buffer, 0, 0) else { return };
                writer = next;
                // An answer fits into an empty message.
                let _fits = writer.record(DnsSection::Answer, &record);
            }
        }
        messages.push(writer.as_bytes().to_vec());
        let cost = Self::MESSAGE * messages.len() as u32;
        self.paid_until = self.paid_until.max(now).after(cost);
        let groups =
            [Ipv4Addr::new(224, 0, 0, 251).into(), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb).into()];
        self.ready.extend(messages.into_iter().flat_map(|payload| {
            groups.map(|group: IpAddr| DiscoveryQuestion {
                protocol: DiscoveryProtocol::Mdns,
                place,
                destination: SocketAddr::new(group, Dns::MDNS_PORT),
                payload: payload.clone(),
            })
        }));
    }

    /// Returns whether a question is still of use: a record has not arrived since, a type has not been forgotten.
    fn is_wanted(&self, question: &Question, cache: &Cache) -> bool {
        let Some(schedule) = self.schedules.get(question) else { return false };
        let Some(place) = question.place else { return true };
        let key = NameKey { place, name: question.name.clone() };
        match schedule.left {
            Some(_) => cache.get(&key).is_none_or(|node| {
                let kind = DnsKind(question.kind);
                !node.denies(kind) && node.current(kind).all(Record::is_stale)
            }),
            None => schedule.is_requested || self.types.get(&key).is_some(),
        }
    }

    /// Schedules a question that was asked for the next time: after the interval and this many thousandths of it. Then the
    /// interval doubles.
    fn reschedule(&mut self, now: Time, question: &Question, was_asked: bool, more: u32) {
        let Some(schedule) = self.schedules.get_mut(question) else { return };
        schedule.left = schedule.left.map(|left| left.saturating_sub(1));
        if !was_asked || schedule.left == Some(0) {
            self.schedules.remove(question);
            return;
        }
        let interval = schedule.interval;
        schedule.interval = (interval * 2).min(Self::LONGEST_INTERVAL);
        self.due.insert((now.after(interval + interval * more / 1_000), question.clone()));
    }

    /// Returns 20 to 120 ms.
    fn delay(&mut self) -> Duration {
        Duration::from_millis(20 + self.random() % 101)
    }

    /// Returns the next number of a xorshift generator (Marsaglia 2003): delays need no secrets.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

struct KnownAnswer<'a> {
    owner: &'a OwnedName,
    instance: OwnedName,
    seconds: u32,
}

/// Returns the instances of a type that need not be answered again: more than half of their time to live is left
/// (RFC 6762 section 7.1).
fn known_answers<'a>(
    now: Time,
    question: &'a Question,
    cache: &'a Cache,
) -> impl Iterator<Item = KnownAnswer<'a>> + use<'a> {
    let place = question.place.filter(|_| question.kind == DnsKind::PTR.0);
    let keys = place.map(|place| NameKey { place, name: question.name.clone() });
    keys.into_iter().flat_map(move |key| {
        cache.linked(&key, None).filter_map(move |instance| {
            let node = cache.get(&NameKey { place: key.place, name: instance.clone() })?;
            let is_of_question =
                |record: &&Record| matches!(&record.data, Data::Pointer(owner) if *owner == question.name);
            let record =
                node.records.iter().find(is_of_question).filter(|record| !record.is_half_over(now))?;
            let seconds = record.expires.since(now).as_secs() as u32;
            Some(KnownAnswer { owner: &question.name, instance: instance.clone(), seconds })
        })
    })
}
