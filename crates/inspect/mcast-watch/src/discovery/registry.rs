//! What is known now: entries with their lifetimes, in bounded memory.
//!
//! Every protocol has a shelf of its own, with its own limits, so a flood of one kind of announcement takes no
//! room from another. On a full shelf, an entry that was announced again after [`Registry::LASTING`] stays; a newcomer takes
//! the place of the oldest newcomer. What was evicted or refused is counted.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::entry::{
    Discovered, DiscoveredField, DiscoveredKind, DiscoveryKey, DiscoveryProtocol, DiscoverySource,
    UntrustedText,
};
use crate::clock::Time;
use crate::lru::Lru;

/// What one announcement states.
#[derive(Clone, Debug)]
pub(crate) struct Announced {
    pub(crate) key: DiscoveryKey,
    pub(crate) kind: DiscoveredKind,
    pub(crate) name: UntrustedText,
    pub(crate) service: UntrustedText,
    pub(crate) host: UntrustedText,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) port: Option<u16>,
    pub(crate) url: UntrustedText,
    pub(crate) source: DiscoverySource,
    pub(crate) fields: Vec<DiscoveredField>,
    /// How long it holds; `None` if its protocol states no lifetime.
    pub(crate) lifetime: Option<Duration>,
}

/// A change of what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiscoveryEvent {
    /// Something was announced for the first time.
    Appeared(Discovered),
    /// Something was announced with other content.
    Changed {
        /// What was known before.
        before: Discovered,
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

/// Why something is no longer listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DepartureReason {
    /// It said goodbye.
    Goodbye,
    /// It was not announced again within its lifetime.
    Expired,
    /// It made room for others. It may still be there.
    Evicted,
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
}

/// The entries of one protocol.
#[derive(Debug)]
struct Shelf {
    entries: Lru<Arc<DiscoveryKey>, Held>,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Held {
    entry: Discovered,
    bytes: usize,
    /// When its place in `lapses` is due.
    due: Option<Time>,
}

impl Registry {
    /// An entry that is announced again after this time is lasting.
    pub(crate) const LASTING: Duration = Duration::from_secs(1);
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
        }
    }

    /// Records an announcement.
    pub(crate) fn announce(&mut self, now: Time, mut announced: Announced) {
        self.counts.announcements += 1;
        self.counts.truncated += u64::from(announced.limit());
        let expires = announced.lifetime.map(|lifetime| now.after(lifetime));
        let bytes = announced.bytes();
        let Some(shelf) = self.shelves.get_mut(announced.key.protocol as usize) else { return };
        let key = Arc::new(announced.key.clone());
        if let Some(held) = shelf.entries.get_mut(&key) {
            let before = held.entry.clone();
            announced.apply(&mut held.entry, now, expires);
            shelf.bytes = shelf.bytes + bytes - held.bytes;
            held.bytes = bytes;
            // A shorter lifetime takes effect at once; a longer one when the earlier time comes.
            if let Some(expires) = expires
                && held.due.is_none_or(|due| expires < due)
            {
                if let Some(due) = held.due.replace(expires) {
                    self.lapses.remove(&(due, Arc::clone(&key)));
                }
                self.lapses.insert((expires, Arc::clone(&key)));
            }
            let is_lasting = now.since(held.entry.first_seen) >= Self::LASTING;
            let changed = (!same_content(&before, &held.entry))
                .then(|| DiscoveryEvent::Changed { before, now: held.entry.clone() });
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
        let mut entry = announced.entry(now);
        entry.expires = expires;
        shelf.bytes += bytes;
        shelf.entries.touch(Arc::clone(&key), || Held { entry: entry.clone(), bytes, due: expires });
        if let Some(expires) = expires {
            self.lapses.insert((expires, Arc::clone(&key)));
        }
        self.push(DiscoveryEvent::Appeared(entry));
        self.make_room(&key);
    }

    /// Records that an entry was withdrawn. A goodbye from an address that has not announced the entry is ignored: any host can
    /// send one.
    pub(crate) fn goodbye(&mut self, key: &DiscoveryKey, source: DiscoverySource) {
        let Some(held) = self.held(key) else { return };
        let is_own = match (held.entry.source, source) {
            (DiscoverySource::Ip(known), DiscoverySource::Ip(from)) => {
                known.ip() == from.ip() || held.entry.addresses.contains(&from.ip())
            }
            (known, from) => known == from,
        };
        if is_own {
            self.remove(&Arc::new(key.clone()), DepartureReason::Goodbye);
        } else {
            self.counts.foreign_goodbyes += 1;
        }
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

    fn held(&self, key: &DiscoveryKey) -> Option<&Held> {
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

impl Announced {
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

    fn entry(self, now: Time) -> Discovered {
        Discovered {
            key: self.key,
            kind: self.kind,
            name: self.name,
            service: self.service,
            host: self.host,
            addresses: self.addresses,
            port: self.port,
            url: self.url,
            source: self.source,
            fields: self.fields,
            first_seen: now,
            last_seen: now,
            expires: None,
            announcements: 1,
        }
    }

    fn apply(self, to: &mut Discovered, now: Time, expires: Option<Time>) {
        let (first_seen, announcements) = (to.first_seen, to.announcements);
        *to = Discovered { first_seen, expires, announcements: announcements + 1, ..self.entry(now) };
    }
}

impl DiscoveredField {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.name.as_bytes().len() + self.value.as_bytes().len()
    }
}

/// Returns whether two announcements state the same. The sender may have several addresses, and order is not content.
fn same_content(a: &Discovered, b: &Discovered) -> bool {
    let addresses = |entry: &Discovered| entry.addresses.iter().copied().collect::<BTreeSet<_>>();
    a.kind == b.kind
        && a.name == b.name
        && a.service == b.service
        && a.host == b.host
        && a.port == b.port
        && a.url == b.url
        && a.fields == b.fields
        && addresses(a) == addresses(b)
}
