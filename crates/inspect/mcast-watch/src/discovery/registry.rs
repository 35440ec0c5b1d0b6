//! What is known now: entries with their lifetimes, in bounded memory.
//!
//! Every protocol has a shelf of its own, with its own limits, so a flood of one kind of announcement takes no
//! room from another. On a full shelf, an entry that was announced again after [`Registry::LASTING`] stays; a newcomer takes
//! the place of the oldest newcomer. What was evicted or refused is counted.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mcast_group::InterfaceIndex;

use super::entry::{
    Discovered, DiscoveredField, DiscoveryKey, DiscoveryProtocol, DiscoverySource, UntrustedText,
};
use super::own::{OwnMemberships, SentQuestions};
use crate::clock::Time;
use crate::lru::Lru;

/// A change of what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiscoveryEvent {
    /// Something was announced for the first time.
    Appeared(Discovered),
    /// Something was announced with other content.
    Changed {
        /// What was known before.
        before: Box<Discovered>,
        /// What is known now.
        now: Discovered,
    },
    /// Something is no longer announced.
    Departed {
        /// What was known of it.
        entry: Discovered,
        /// Why it is no longer listed.
        reason: DepartureReason,
    },
    /// This many events were not reported, because the caller did not poll for them in time.
    Omitted(u64),
}

mcast_group::named! {
    /// Why something is no longer listed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[non_exhaustive]
    pub enum DepartureReason {
        /// It said goodbye.
        Goodbye = "goodbye",
        /// It was not announced again within its lifetime.
        Expired = "expired",
        /// It made room for others. It may still be there.
        Evicted = "evicted",
        /// The interface on which it was announced does not exist any more.
        InterfaceGone = "interface-gone",
    }
    /// Returns its name, as in JSON.
    fn name;
}

impl DiscoveryEvent {
    /// Returns what is known of the entry now, or was known last; `None` if the event is not about one.
    #[must_use]
    pub const fn entry(&self) -> Option<&Discovered> {
        match self {
            Self::Appeared(entry) | Self::Changed { now: entry, .. } | Self::Departed { entry, .. } => {
                Some(entry)
            }
            Self::Omitted(_) => None,
        }
    }
}

/// What was dropped to keep memory bounded, and what could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiscoveryCounts {
    /// Announcements that were read.
    pub announcements: u64,
    /// Datagrams of a known protocol that could not be read.
    pub malformed: u64,
    /// Announcements of which a part was left out: more text, fields or addresses than are kept.
    pub truncated: u64,
    /// Entries that made room for others.
    pub evicted: u64,
    /// Announcements that were refused, because only lasting entries were left to evict.
    pub refused: u64,
    /// Goodbyes that were ignored, because they came from an address that had not announced the entry.
    pub foreign_goodbyes: u64,
    /// Answers by mDNS that programs ignore, because they came from another port than 5353 (RFC 6762 section 6).
    pub wrong_ports: u64,
    /// Events that were not reported.
    pub events_omitted: u64,
}

/// The entries of all protocols.
#[derive(Debug)]
pub(crate) struct Registry {
    shelves: Vec<Shelf>,
    /// The next time at which an entry may lapse; an entry that was announced again is put back when its old time comes.
    lapses: BTreeSet<(Time, Arc<DiscoveryKey>)>,
    events: VecDeque<DiscoveryEvent>,
    /// Events omitted since the latest one that was polled.
    omitted: u64,
    pub(crate) counts: DiscoveryCounts,
    pub(super) own: OwnMemberships,
    /// Whether they have changed since they were last regarded.
    pub(super) is_own_new: bool,
    pub(super) questions: SentQuestions,
    /// Whether questions are repeated.
    pub(super) is_asking: bool,
}

/// The entries of one protocol.
#[derive(Debug)]
struct Shelf {
    entries: Lru<Arc<DiscoveryKey>, HeldEntry>,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct HeldEntry {
    entry: Discovered,
    bytes: usize,
    /// When its place in `lapses` is due.
    due: Option<Time>,
}

impl Registry {
    /// An entry that is announced again after this time is lasting.
    pub(crate) const LASTING: Duration = Duration::from_secs(1);
    /// How long an answer holds in a protocol that states no lifetime: of the questions, one in 60 s, two may be lost.
    const UNSTATED: Duration = Duration::from_secs(150);
    pub(crate) const MAX_FIELDS: usize = 64;
    pub(crate) const MAX_ADDRESSES: usize = 16;
    /// The longest text of one entry, in bytes.
    pub(crate) const MAX_ENTRY_BYTES: usize = 4_096;
    const MAX_EVENTS: usize = 4_096;

    pub(crate) fn new() -> Self {
        Self {
            shelves: DiscoveryProtocol::ALL.iter().map(|protocol| Shelf::new(*protocol)).collect(),
            lapses: BTreeSet::new(),
            events: VecDeque::new(),
            omitted: 0,
            counts: DiscoveryCounts::default(),
            own: OwnMemberships::default(),
            is_own_new: false,
            questions: SentQuestions::default(),
            is_asking: false,
        }
    }

    /// Records an announcement. Its own times are not those of the entry, but for the end of its lifetime.
    pub(crate) fn announce(&mut self, now: Time, announced: Discovered) {
        self.counts.announcements += 1;
        self.record(now, announced, true);
    }

    /// Records what is known of an entry after a part of it has changed, such as the address of its host. The entry is not
    /// announced by that, and one that is not known stays unknown.
    pub(crate) fn revise(&mut self, now: Time, announced: Discovered) {
        if self.get(&announced.key).is_some() {
            self.record(now, announced, false);
        }
    }

    fn record(&mut self, now: Time, mut announced: Discovered, is_announcement: bool) {
        self.counts.truncated += u64::from(announced.limit());
        (announced.first_seen, announced.last_seen, announced.announcements) = (now, now, 1);
        let of_facts = announced.facts.as_ref().map_or(0, |facts| facts.bytes());
        let (expires, bytes) = (announced.expires, announced.bytes() + of_facts);
        let Some(shelf) = self.shelves.get_mut(announced.key.protocol as usize) else { return };
        let key = Arc::new(announced.key.clone());
        if let Some(held) = shelf.entries.get_mut(&key) {
            let before = std::mem::replace(&mut held.entry, announced);
            held.entry.first_seen = before.first_seen;
            if is_announcement {
                held.entry.announcements += before.announcements;
            } else {
                (held.entry.announcements, held.entry.last_seen, held.entry.source) =
                    (before.announcements, before.last_seen, before.source);
            }
            shelf.bytes = shelf.bytes + bytes - held.bytes;
            held.bytes = bytes;
            held.schedule(&key, &mut self.lapses);
            let is_lasting = is_announcement && now.since(held.entry.first_seen) >= Self::LASTING;
            let changed = (!before.differences(&held.entry).is_empty())
                .then(|| DiscoveryEvent::Changed { before: Box::new(before), now: held.entry.clone() });
            if is_lasting {
                shelf.entries.prove(&key);
            }
            shelf.entries.promote(&key);
            if let Some(event) = changed {
                self.push(event);
            }
            return self.make_room(&key);
        }
        if !shelf.has_room(bytes) && !shelf.entries.has_newcomers() {
            self.counts.refused += 1;
            return;
        }
        shelf.bytes += bytes;
        let held = HeldEntry { entry: announced.clone(), bytes, due: expires };
        shelf.entries.touch(Arc::clone(&key), || held);
        if let Some(expires) = expires {
            self.lapses.insert((expires, Arc::clone(&key)));
        }
        self.push(DiscoveryEvent::Appeared(announced));
        self.make_room(&key);
    }

    /// Returns until when an answer holds of a protocol that states no lifetime: unlimited unless questions are repeated.
    pub(super) fn answer_holds_until(&self, now: Time) -> Option<Time> {
        self.is_asking.then(|| now.after(Self::UNSTATED))
    }

    /// Records that an entry is still there, by something else than an announcement of it.
    pub(crate) fn renew(&mut self, now: Time, key: &DiscoveryKey, lifetime: Option<Duration>) {
        let shelf = self.shelves.get_mut(key.protocol as usize);
        let Some(held) = shelf.and_then(|shelf| shelf.entries.get_mut(&Arc::new(key.clone()))) else {
            return;
        };
        held.entry.last_seen = now;
        // The place in `lapses` is put back when its time comes.
        held.entry.expires = lifetime.map(|lifetime| now.after(lifetime));
    }

    /// Ends the lifetime of an entry at this time at the latest.
    pub(crate) fn end_by(&mut self, key: &DiscoveryKey, time: Time) {
        let key = Arc::new(key.clone());
        let shelf = self.shelves.get_mut(key.protocol as usize);
        if let Some(held) = shelf.and_then(|shelf| shelf.entries.get_mut(&key)) {
            held.entry.expires = held.entry.expires.or(Some(time)).min(Some(time));
            held.schedule(&key, &mut self.lapses);
        }
    }

    /// Sets a field of an entry, or removes it.
    pub(crate) fn set_field(
        &mut self,
        now: Time,
        key: &DiscoveryKey,
        name: &str,
        value: Option<UntrustedText>,
    ) {
        let differs = |known: &&Discovered| known.field(name) != value.as_ref();
        if let Some(mut changed) = self.get(key).filter(differs).cloned() {
            changed.set(name, value);
            self.revise(now, changed);
        }
    }

    /// Records that an entry was withdrawn. A goodbye from an address that has not announced the entry is ignored: any host can
    /// send one.
    pub(crate) fn goodbye(&mut self, key: &DiscoveryKey, source: DiscoverySource) {
        let Some(held) = self.held(key) else { return };
        let is_own = match (held.entry.source, source) {
            (DiscoverySource::Ip(_), DiscoverySource::Ip(from)) => held.entry.is_at(from.ip()),
            (known, from) => known == from,
        };
        if is_own {
            self.remove(&Arc::new(key.clone()), DepartureReason::Goodbye);
        } else {
            self.counts.foreign_goodbyes += 1;
        }
    }

    /// Removes an entry for a reason that its observer knows.
    pub(crate) fn depart(&mut self, key: &DiscoveryKey, reason: DepartureReason) {
        if self.get(key).is_some() {
            self.counts.evicted += u64::from(reason == DepartureReason::Evicted);
            self.remove(&Arc::new(key.clone()), reason);
        }
    }

    /// Removes what was announced on interfaces that do not exist any more.
    pub(crate) fn retain_interfaces(&mut self, exists: impl Fn(InterfaceIndex) -> bool) {
        let keys = self.shelves.iter().flat_map(|shelf| shelf.entries.iter()).map(|(key, _)| key);
        let gone: Vec<_> = keys.filter(|key| !exists(key.place.interface)).cloned().collect();
        gone.iter().for_each(|key| self.remove(key, DepartureReason::InterfaceGone));
    }

    pub(crate) fn get(&self, key: &DiscoveryKey) -> Option<&Discovered> {
        self.held(key).map(|held| &held.entry)
    }

    /// Returns all entries, in no particular order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Discovered> {
        self.shelves.iter().flat_map(|shelf| shelf.entries.iter()).map(|(_, held)| &held.entry)
    }

    /// Removes what has lapsed.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        while let Some((due, key)) = self.lapses.first().cloned().filter(|(due, _)| *due <= now) {
            self.lapses.remove(&(due, Arc::clone(&key)));
            let shelf = self.shelves.get_mut(key.protocol as usize);
            let Some(held) = shelf.and_then(|shelf| shelf.entries.get_mut(&key)) else { continue };
            match held.entry.expires {
                Some(expires) if expires > now => {
                    held.due = Some(expires);
                    self.lapses.insert((expires, key));
                }
                Some(_) => self.remove(&key, DepartureReason::Expired),
                None => held.due = None,
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.lapses.first().map(|(due, _)| *due)
    }

    pub(crate) fn poll_event(&mut self) -> Option<DiscoveryEvent> {
        if self.events.is_empty() && self.omitted > 0 {
            return Some(DiscoveryEvent::Omitted(std::mem::take(&mut self.omitted)));
        }
        self.events.pop_front()
    }

    fn held(&self, key: &DiscoveryKey) -> Option<&HeldEntry> {
        self.shelves.get(key.protocol as usize)?.entries.get(&Arc::new(key.clone()))
    }

    fn push(&mut self, event: DiscoveryEvent) {
        // The events up to the gap are reported before it.
        if self.omitted > 0 || self.events.len() >= Self::MAX_EVENTS {
            self.omitted += 1;
            self.counts.events_omitted += 1;
        } else {
            self.events.push_back(event);
        }
    }

    fn remove(&mut self, key: &Arc<DiscoveryKey>, reason: DepartureReason) {
        let Some(shelf) = self.shelves.get_mut(key.protocol as usize) else { return };
        let Some(held) = shelf.entries.remove(key) else { return };
        shelf.bytes -= held.bytes;
        if let Some(due) = held.due {
            self.lapses.remove(&(due, Arc::clone(key)));
        }
        self.push(DiscoveryEvent::Departed { entry: held.entry, reason });
    }

    /// Evicts newcomers, the oldest first, until the shelf of `key` is within its limits.
    fn make_room(&mut self, key: &DiscoveryKey) {
        while let Some(shelf) = self.shelves.get_mut(key.protocol as usize)
            && shelf.is_over_limit()
        {
            let Some(oldest) = shelf.entries.first_to_evict().cloned() else { return };
            self.counts.evicted += 1;
            self.remove(&oldest, DepartureReason::Evicted);
        }
    }
}

impl HeldEntry {
    /// Sees to it that a shorter lifetime takes effect at once; a longer one does when the earlier time comes.
    fn schedule(&mut self, key: &Arc<DiscoveryKey>, lapses: &mut BTreeSet<(Time, Arc<DiscoveryKey>)>) {
        if let Some(expires) = self.entry.expires
            && self.due.is_none_or(|due| expires < due)
        {
            if let Some(due) = self.due.replace(expires) {
                lapses.remove(&(due, Arc::clone(key)));
            }
            lapses.insert((expires, Arc::clone(key)));
        }
    }
}

impl Shelf {
    /// With the names of 5,000 services, each with its text, mDNS needs the most. All shelves together hold at most 56 MiB of
    /// text.
    fn new(protocol: DiscoveryProtocol) -> Self {
        let (max_entries, max_bytes) = match protocol {
            DiscoveryProtocol::Mdns => (10_000, 16 << 20),
            DiscoveryProtocol::Rtps => (8_000, 8 << 20),
            _ => (2_000, 3 << 19),
        };
        // Eviction is by bytes, too, so it is left to the registry.
        Self { entries: Lru::new(usize::MAX), bytes: 0, max_entries, max_bytes }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.entries.len() < self.max_entries && self.bytes + bytes <= self.max_bytes
    }

    fn is_over_limit(&self) -> bool {
        self.entries.len() > self.max_entries || self.bytes > self.max_bytes
    }
}

impl Discovered {
    /// Cuts what is longer than an entry may be; returns whether anything was cut.
    fn limit(&mut self) -> bool {
        let before = (self.fields.len(), self.addresses.len());
        self.addresses.truncate(Registry::MAX_ADDRESSES);
        self.fields.truncate(Registry::MAX_FIELDS);
        let fixed = self.bytes() - self.fields.iter().map(DiscoveredField::bytes).sum::<usize>();
        let mut room = Registry::MAX_ENTRY_BYTES.saturating_sub(fixed);
        let fitting = self.fields.iter().take_while(|field| {
            let fits = field.bytes() <= room;
            room = room.saturating_sub(field.bytes());
            fits
        });
        let fitting = fitting.count();
        self.fields.truncate(fitting);
        before != (self.fields.len(), self.addresses.len())
    }

    fn bytes(&self) -> usize {
        const ENTRY: usize = size_of::<Discovered>() + size_of::<DiscoveryKey>();
        let texts = [&self.key.id, &self.key.id, &self.name, &self.service, &self.host, &self.url];
        ENTRY
            + texts.iter().map(|text| text.as_bytes().len()).sum::<usize>()
            + self.addresses.len() * size_of::<IpAddr>()
            + self.fields.iter().map(DiscoveredField::bytes).sum::<usize>()
    }
}

impl DiscoveredField {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.name.as_bytes().len() + self.value.as_bytes().len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::discovery::{DiscoveredKind, DiscoveryPlace};

    const SECOND: Duration = Duration::from_secs(1);

    fn at(second: u64) -> Time {
        Time::from_secs(1_000 + second)
    }

    fn from(last: u8) -> DiscoverySource {
        DiscoverySource::Ip(([10, 0, 0, last], 5353).into())
    }

    fn key(protocol: DiscoveryProtocol, id: &str) -> DiscoveryKey {
        let place = DiscoveryPlace { interface: InterfaceIndex::new(2).unwrap(), vlan: None };
        DiscoveryKey { protocol, place, id: id.into() }
    }

    /// An announcement with a lifetime in seconds.
    fn announced(now: Time, id: &str, lifetime: Option<u64>) -> Discovered {
        Discovered {
            addresses: vec![[10, 0, 0, 1].into()],
            port: Some(80),
            expires: lifetime.map(|seconds| now.after(Duration::from_secs(seconds))),
            ..Discovered::new(key(DiscoveryProtocol::Ssdp, id), DiscoveredKind::Device, from(1), now)
        }
    }

    fn names(registry: &Registry) -> Vec<String> {
        let mut names: Vec<String> = registry.entries().map(|entry| entry.name.to_string()).collect();
        names.sort_unstable();
        names
    }

    fn events(registry: &mut Registry) -> Vec<String> {
        let polled = std::iter::from_fn(|| registry.poll_event());
        let text = |event| match event {
            DiscoveryEvent::Appeared(entry) => format!("+{}", entry.name),
            DiscoveryEvent::Changed { now, .. } => format!("~{}", now.name),
            DiscoveryEvent::Departed { entry, reason } => format!("-{} {reason:?}", entry.name),
            DiscoveryEvent::Omitted(number) => format!("omitted {number}"),
        };
        polled.map(text).collect()
    }

    #[test]
    fn an_entry_appears_once_changes_with_its_content_and_lapses_after_its_latest_lifetime() {
        let mut registry = Registry::new();
        registry.announce(at(0), announced(at(0), "a", Some(10)));
        registry.announce(at(8), announced(at(8), "a", Some(10)));
        assert_eq!(events(&mut registry), ["+a"]);
        registry.handle_timeout(at(10));
        assert_eq!(registry.poll_timeout(), Some(at(18)));
        registry.announce(at(12), Discovered { port: Some(81), ..announced(at(12), "a", Some(2)) });
        assert_eq!(registry.poll_timeout(), Some(at(14)));
        registry.handle_timeout(at(14));
        assert_eq!(events(&mut registry), ["~a", "-a Expired"]);
        assert_eq!((names(&registry).len(), registry.poll_timeout()), (0, None));
    }

    #[test]
    fn the_order_of_addresses_is_no_change() {
        let mut registry = Registry::new();
        let [first, second] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        registry
            .announce(at(0), Discovered { addresses: vec![first, second], ..announced(at(0), "a", None) });
        registry
            .announce(at(1), Discovered { addresses: vec![second, first], ..announced(at(0), "a", None) });
        assert_eq!(events(&mut registry), ["+a"]);
    }

    #[test]
    fn only_a_sender_of_the_announcement_or_one_of_its_addresses_can_withdraw_it() {
        let mut registry = Registry::new();
        registry.announce(
            at(0),
            Discovered { addresses: vec![[10, 0, 0, 2].into()], ..announced(at(0), "a", None) },
        );
        registry.goodbye(&key(DiscoveryProtocol::Ssdp, "a"), from(9));
        assert_eq!((names(&registry).len(), registry.counts.foreign_goodbyes), (1, 1));
        registry.goodbye(&key(DiscoveryProtocol::Ssdp, "a"), from(2));
        assert_eq!(events(&mut registry), ["+a", "-a Goodbye"]);
        registry.goodbye(&key(DiscoveryProtocol::Ssdp, "never announced"), from(2));
        assert_eq!(registry.counts.foreign_goodbyes, 1);
    }

    #[test]
    fn a_flood_displaces_neither_lasting_entries_nor_those_of_another_protocol() {
        let mut registry = Registry::new();
        let clock =
            || Discovered { key: key(DiscoveryProtocol::Ptp, "clock"), ..announced(at(0), "clock", None) };
        registry.announce(at(0), clock());
        for second in 0..2 {
            registry.announce(at(second), announced(at(second), "printer", None));
        }
        for number in 0..10_000 {
            registry.announce(at(3), announced(at(3), &format!("forged {number}"), Some(4_000_000_000)));
        }
        let names = names(&registry);
        assert!(names.contains(&"clock".into()) && names.contains(&"printer".into()));
        assert_eq!(names.len(), 2_000 + 1);
        assert_eq!(registry.counts.evicted, 10_001 - 2_000);
        assert!(names.contains(&"forged 9999".into()), "the latest newcomer has a place");
    }

    #[test]
    fn an_entry_is_cut_to_its_limits_and_counted() {
        let mut registry = Registry::new();
        let long = "x".repeat(2_000);
        let field = DiscoveredField::new("text", &long);
        let fields = vec![field; 100];
        registry.announce(at(0), Discovered { fields, name: long.into(), ..announced(at(0), "a", None) });
        let entry = registry.entries().next().unwrap();
        assert!((1..Registry::MAX_FIELDS).contains(&entry.fields.len()));
        assert_eq!(entry.name.as_bytes().len(), UntrustedText::MAX_LENGTH);
        assert_eq!(registry.counts.truncated, 1);
    }

    #[test]
    fn events_that_nobody_polls_are_counted_and_reported_in_their_place() {
        let mut registry = Registry::new();
        for number in 0..Registry::MAX_EVENTS + 10 {
            registry.announce(at(0), Discovered { port: Some(number as u16), ..announced(at(0), "a", None) });
        }
        let events = events(&mut registry);
        assert_eq!(events.len(), Registry::MAX_EVENTS + 1);
        assert_eq!(events.last().unwrap(), "omitted 10");
        assert_eq!(registry.counts.events_omitted, 10);
    }

    /// What may arrive.
    #[derive(Clone, Debug)]
    enum Input {
        Announce { id: u8, port: u16, lifetime: Option<u64> },
        Goodbye { id: u8 },
        Wait(u64),
    }

    fn input() -> impl Strategy<Value = Input> {
        prop_oneof![
            (0..6_u8, 80..83_u16, proptest::option::of(1..20_u64))
                .prop_map(|(id, port, lifetime)| Input::Announce { id, port, lifetime }),
            (0..6_u8).prop_map(|id| Input::Goodbye { id }),
            (0..15_u64).prop_map(Input::Wait),
        ]
    }

    proptest! {
        #[test]
        fn entries_and_events_equal_a_map_with_lifetimes(inputs in proptest::collection::vec(input(), 0..80)) {
            let mut registry = Registry::new();
            let mut model: HashMap<String, (u16, Option<Time>)> = HashMap::new();
            let mut from_events: HashMap<String, u16> = HashMap::new();
            let mut now = at(0);
            for input in inputs {
                match input {
                    Input::Announce { id, port, lifetime } => {
                        let name = id.to_string();
                        registry.announce(now, Discovered { port: Some(port), ..announced(now, &name, lifetime) });
                        model.insert(name, (port, lifetime.map(|lifetime| now.after(SECOND * lifetime as u32))));
                    }
                    Input::Goodbye { id } => {
                        registry.goodbye(&key(DiscoveryProtocol::Ssdp, &id.to_string()), from(1));
                        model.remove(&id.to_string());
                    }
                    Input::Wait(seconds) => {
                        now = now.after(SECOND * seconds as u32);
                        registry.handle_timeout(now);
                        model.retain(|_, (_, expires)| expires.is_none_or(|expires| expires > now));
                    }
                }
                while let Some(event) = registry.poll_event() {
                    match event {
                        DiscoveryEvent::Appeared(entry) => {
                            prop_assert_eq!(from_events.insert(entry.name.to_string(), entry.port.unwrap()), None);
                        }
                        DiscoveryEvent::Changed { before, now } => {
                            let known = from_events.insert(now.name.to_string(), now.port.unwrap());
                            prop_assert_eq!(known, before.port);
                            prop_assert_ne!(before.port, now.port);
                        }
                        DiscoveryEvent::Departed { entry, .. } => {
                            prop_assert_eq!(from_events.remove(&entry.name.to_string()), entry.port);
                        }
                        DiscoveryEvent::Omitted(_) => prop_assert!(false, "all events were polled"),
                    }
                }
                let listed: HashMap<String, u16> =
                    registry.entries().map(|entry| (entry.name.to_string(), entry.port.unwrap())).collect();
                let expected: HashMap<String, u16> =
                    model.iter().map(|(name, (port, _))| (name.clone(), *port)).collect();
                prop_assert_eq!(&listed, &expected);
                prop_assert_eq!(&listed, &from_events);
                let due = model.values().filter_map(|(_, expires)| *expires).min();
                prop_assert!(registry.poll_timeout() <= due || due.is_none());
            }
        }
    }
}
