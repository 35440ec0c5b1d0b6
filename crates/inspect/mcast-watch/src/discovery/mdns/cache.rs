//! The records that are known, as RFC 6762 section 10 keeps them, in bounded memory.
//!
//! Records are kept with the name that they describe. A PTR record describes the instance that it points to: so a type with
//! 5,000 instances is no long list, and what is known of an instance is in one place.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use mcast_packet::payload::{DnsKind, DnsRecord, DnsValue};

use super::name::{NameRole, OwnedName};
use crate::clock::Time;
use crate::discovery::DiscoveryPlace;
use crate::discovery::registry::Registry;
use crate::lru::Lru;

/// A name on a network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NameKey {
    pub(super) place: DiscoveryPlace,
    pub(super) name: OwnedName,
}

/// What is known of a name.
#[derive(Debug)]
pub(super) struct Node {
    /// The name as it was first announced.
    pub(super) name: OwnedName,
    pub(super) records: Vec<Record>,
    /// Whether a PTR record has pointed to it. If so, it is listed as long as one does.
    pub(super) was_pointed_to: bool,
    /// The hop limit of the latest response with a record of it.
    pub(super) hop_limit: Option<u8>,
    first_seen: Time,
    /// When its place in `due` comes.
    due: Option<Time>,
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) data: Data,
    /// The time to live, limited, in seconds.
    pub(super) time_to_live: u32,
    pub(super) received: Time,
    pub(super) expires: Time,
    pub(super) leaving: Option<Leaving>,
    /// The latest sender by IPv4, and by IPv6.
    sources: [Option<IpAddr>; 2],
    /// How many questions to keep it were due.
    refreshes: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Data {
    /// A PTR record of this name, a type or subtype, points here.
    Pointer(OwnedName),
    /// SRV.
    Service { host: OwnedName, port: u16 },
    /// TXT, undecoded.
    Text(Box<[u8]>),
    /// A and AAAA.
    Address(IpAddr),
    /// NSEC: whether there are records of each of these.
    Only { v4: bool, v6: bool, service: bool, text: bool },
}

/// Why a record lapses before its time to live ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    Goodbye,
    /// Another record has taken its place.
    Flushed,
}

/// What a record has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learned {
    /// Nothing yet: it was withdrawn, or there is no room.
    Nothing,
    /// The record was announced; whether it is a new address.
    Announced { is_new_address: bool },
}

#[derive(Debug)]
pub(super) struct Cache {
    nodes: Lru<NameKey, Node>,
    bytes: usize,
    due: BTreeSet<(Time, NameKey)>,
    /// From types, subtypes and hosts to the instances whose records have them.
    links: BTreeSet<(NameKey, OwnedName)>,
    /// Whether records are refreshed by questions.
    pub(super) refreshes: bool,
}

/// A node that was due.
#[derive(Debug)]
pub(super) struct Lapsed {
    pub(super) key: NameKey,
    /// Whether a record of it was withdrawn.
    pub(super) is_goodbye: bool,
    /// Whether addresses of it have lapsed.
    pub(super) addresses: bool,
    /// The types of records to ask for, lest they lapse.
    pub(super) stale: Vec<DnsKind>,
}

impl Cache {
    const MAX_NODES: usize = 24_000;
    const MAX_BYTES: usize = 12 << 20;
    const MAX_RECORDS: usize = 32;
    const MAX_TEXT: usize = 2_048;
    /// The longest time to live that is believed, in seconds. RFC 6762 section 10 recommends 75 minutes and less.
    pub(super) const MAX_TIME_TO_LIVE: u32 = 7_200;
    /// How long a record stays after a goodbye (RFC 6762 section 10.1) or a flush (section 10.2).
    pub(super) const GRACE: Duration = Duration::from_secs(1);

    pub(super) fn new() -> Self {
        Self {
            nodes: Lru::new(usize::MAX),
            bytes: 0,
            due: BTreeSet::new(),
            links: BTreeSet::new(),
            refreshes: false,
        }
    }

    pub(super) fn get(&self, key: &NameKey) -> Option<&Node> {
        self.nodes.get(key)
    }

    /// Returns the instances whose records have this type, subtype or host.
    pub(super) fn linked<'a>(
        &'a self,
        key: &NameKey,
        after: Option<&OwnedName>,
    ) -> impl Iterator<Item = &'a OwnedName> + use<'a> {
        let start = after.cloned().unwrap_or_else(|| OwnedName::from_labels(std::iter::empty()));
        let key = key.clone();
        let is_later = after.is_some();
        self.links
            .range((key.clone(), start.clone())..)
            .take_while(move |(owner, _)| *owner == key)
            .map(|(_, name)| name)
            .filter(move |name| !is_later || **name != start)
    }

    /// Returns the addresses of a host.
    pub(super) fn addresses(&self, key: &NameKey) -> impl Iterator<Item = IpAddr> + use<'_> {
        let records = self.get(key).map(|node| node.records.as_slice()).unwrap_or_default();
        records.iter().filter_map(Record::address)
    }

    /// Takes over a record of a response.
    pub(super) fn learn(
        &mut self,
        now: Time,
        key: &NameKey,
        source: IpAddr,
        record: &DnsRecord<'_>,
        data: Data,
        registry: &mut Registry,
    ) -> Learned {
        if record.time_to_live == 0 {
            self.goodbye(now, key, source, &data, registry);
            return Learned::Nothing;
        }
        if self.nodes.get(key).is_none() {
            if !self.has_room() && !self.nodes.has_newcomers() {
                registry.counts.refused += 1;
                return Learned::Nothing;
            }
            self.nodes.touch(key.clone(), || Node::new(now, key.name.clone()));
        }
        let Some(node) = self.nodes.get_mut(key) else { return Learned::Nothing };
        let time_to_live = record.time_to_live.min(Self::MAX_TIME_TO_LIVE);
        let is_unique = record.cache_flush && !matches!(data, Data::Pointer(_));
        let is_new_address = matches!(data, Data::Address(_)) && !node.has(&data);
        node.was_pointed_to |= matches!(data, Data::Pointer(_));
        if is_unique {
            for other in
                node.records.iter_mut().filter(|other| other.data.kind() == data.kind() && other.data != data)
            {
                // Those of the latest second are of the same announcement, or of a host that claims the same name.
                if now.since(other.received) > Self::GRACE {
                    other.leave(now, Leaving::Flushed);
                }
            }
        }
        let link = data.link().cloned();
        if !node.renew(now, source, time_to_live, data) {
            registry.counts.truncated += 1;
        } else if let Some(link) = link {
            self.links.insert((NameKey { place: key.place, name: link }, key.name.clone()));
        }
        let is_lasting = now.since(node.first_seen) >= Registry::LASTING;
        let bytes = node.count_bytes(key);
        self.bytes = self.bytes + bytes - std::mem::replace(&mut node.bytes, bytes);
        self.schedule(key);
        if is_lasting {
            self.nodes.prove(key);
        }
        self.nodes.promote(key);
        Learned::Announced { is_new_address }
    }

    /// Withdraws a record. A goodbye from a sender that has not announced the record, and has no address of its host, is
    /// ignored: any host can send one.
    fn goodbye(&mut self, now: Time, key: &NameKey, source: IpAddr, data: &Data, registry: &mut Registry) {
        let is_of_host = self.is_address_of(key, source);
        let node = self.nodes.get_mut(key);
        let Some(record) = node.and_then(|node| node.records.iter_mut().find(|record| record.data == *data))
        else {
            return;
        };
        if is_of_host || record.sources.contains(&Some(source)) {
            record.leave(now, Leaving::Goodbye);
            self.schedule(key);
        } else {
            registry.counts.foreign_goodbyes += 1;
        }
    }

    fn is_address_of(&self, key: &NameKey, source: IpAddr) -> bool {
        let Some(node) = self.get(key) else { return false };
        node.records.iter().any(|record| match &record.data {
            Data::Address(address) => *address == source,
            Data::Service { host, .. } => {
                let host = NameKey { place: key.place, name: host.clone() };
                self.addresses(&host).any(|address| address == source)
            }
            _ => false,
        })
    }

    pub(super) fn set_hop_limit(&mut self, key: &NameKey, hop_limit: Option<u8>) {
        if let Some(node) = self.nodes.get_mut(key) {
            node.hop_limit = hop_limit;
        }
    }

    /// Returns the next node that is due, without what has lapsed of it.
    pub(super) fn lapse(&mut self, now: Time) -> Option<Lapsed> {
        let (due, key) = self.due.first().cloned().filter(|(due, _)| *due <= now)?;
        self.due.remove(&(due, key.clone()));
        let node = self.nodes.get_mut(&key)?;
        node.due = None;
        let mut lapsed = Lapsed { key: key.clone(), is_goodbye: false, addresses: false, stale: Vec::new() };
        let (gone, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut node.records).into_iter().partition(|record| record.expires <= now);
        node.records = left;
        lapsed.is_goodbye = gone.iter().any(|record| record.leaving == Some(Leaving::Goodbye));
        lapsed.addresses = gone.iter().any(|record| matches!(record.data, Data::Address(_)));
        if self.refreshes {
            for record in &mut node.records {
                let refreshes = record.refreshes;
                while record.refresh_due().is_some_and(|due| due <= now) {
                    record.refreshes += 1;
                }
                lapsed.stale.extend(record.data.kind().filter(|_| record.refreshes > refreshes));
            }
        }
        let links: Vec<_> = gone.iter().filter_map(|record| record.data.link()).cloned().collect();
        let unlinked: Vec<_> = links
            .into_iter()
            .filter(|link| node.records.iter().all(|left| left.data.link() != Some(link)))
            .collect();
        let bytes = node.count_bytes(&key);
        self.bytes = self.bytes + bytes - std::mem::replace(&mut node.bytes, bytes);
        let is_empty = node.records.is_empty();
        for link in unlinked {
            self.links.remove(&(NameKey { place: key.place, name: link }, key.name.clone()));
        }
        if is_empty {
            self.remove(&key);
        } else {
            self.schedule(&key);
        }
        Some(lapsed)
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Removes and returns a node that must make room.
    pub(super) fn evict(&mut self) -> Option<NameKey> {
        if self.bytes <= Self::MAX_BYTES && self.nodes.len() <= Self::MAX_NODES {
            return None;
        }
        let key = self.nodes.first_to_evict().cloned()?;
        self.remove(&key);
        Some(key)
    }

    /// Schedules the refreshing of all records.
    pub(super) fn start_refreshing(&mut self) {
        self.refreshes = true;
        let keys: Vec<_> = self.nodes.iter().map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|key| self.schedule(key));
    }

    fn has_room(&self) -> bool {
        self.bytes < Self::MAX_BYTES && self.nodes.len() < Self::MAX_NODES
    }

    fn remove(&mut self, key: &NameKey) {
        let Some(node) = self.nodes.remove(key) else { return };
        self.bytes -= node.bytes;
        if let Some(due) = node.due {
            self.due.remove(&(due, key.clone()));
        }
        for link in node.records.iter().filter_map(|record| record.data.link()) {
            self.links.remove(&(NameKey { place: key.place, name: link.clone() }, key.name.clone()));
        }
    }

    /// Keeps `due` at the time at which something of the node lapses or is refreshed first.
    fn schedule(&mut self, key: &NameKey) {
        let refreshes = self.refreshes;
        let Some(node) = self.nodes.get_mut(key) else { return };
        let refresh = |record: &Record| record.refresh_due().filter(|_| refreshes);
        let next =
            node.records.iter().flat_map(|record| [Some(record.expires), refresh(record)]).flatten().min();
        if node.due != next {
            let before = std::mem::replace(&mut node.due, next);
            if let Some(before) = before {
                self.due.remove(&(before, key.clone()));
            }
            if let Some(next) = next {
                self.due.insert((next, key.clone()));
            }
        }
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.nodes.len(), self.bytes)
    }
}

impl Node {
    fn new(now: Time, name: OwnedName) -> Self {
        // Its bytes are counted once it has records.
        Self {
            name,
            records: Vec::with_capacity(1),
            was_pointed_to: false,
            hop_limit: None,
            first_seen: now,
            due: None,
            bytes: 0,
        }
    }

    /// Adds a record, or begins its time to live again. Returns whether there was room.
    fn renew(&mut self, now: Time, source: IpAddr, time_to_live: u32, data: Data) -> bool {
        let expires = now.after(Duration::from_secs(time_to_live.into()));
        let known = self.records.iter().position(|record| record.data == data);
        let position = match known {
            Some(position) => position,
            None if self.records.len() >= Cache::MAX_RECORDS => return false,
            None => {
                self.records.push(Record {
                    data,
                    time_to_live,
                    received: now,
                    expires,
                    leaving: None,
                    sources: [None; 2],
                    refreshes: 0,
                });
                self.records.len() - 1
            }
        };
        if let Some(record) = self.records.get_mut(position) {
            (record.time_to_live, record.received, record.expires) = (time_to_live, now, expires);
            (record.leaving, record.refreshes) = (None, 0);
            record.sources[usize::from(source.is_ipv6())] = Some(source);
        }
        true
    }

    fn has(&self, data: &Data) -> bool {
        self.records.iter().any(|record| record.data == *data)
    }

    /// Returns until when an instance is listed unless it is withdrawn; `None` if it is not.
    pub(super) fn listed_until(&self) -> Option<Time> {
        let decides = |record: &&Record| match record.data {
            Data::Pointer(_) => true,
            Data::Service { .. } => !self.was_pointed_to,
            _ => false,
        };
        self.records.iter().filter(decides).map(Record::stated_end).max()
    }

    /// Returns the records of one type that have not been replaced.
    pub(super) fn current(&self, kind: DnsKind) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| {
            record.data.kind() == Some(kind) && record.leaving != Some(Leaving::Flushed)
        })
    }

    /// Returns whether the host has stated that it has no records of this type.
    pub(super) fn denies(&self, kind: DnsKind) -> bool {
        self.records.iter().any(|record| match (&record.data, kind) {
            (Data::Only { v4, .. }, DnsKind::A) => !v4,
            (Data::Only { v6, .. }, DnsKind::AAAA) => !v6,
            (Data::Only { service, .. }, DnsKind::SRV) => !service,
            (Data::Only { text, .. }, DnsKind::TXT) => !text,
            _ => false,
        })
    }

    /// Returns the bytes that the node needs, with its places in the tables.
    fn count_bytes(&self, key: &NameKey) -> usize {
        const TABLES: usize = size_of::<(NameKey, Node)>() + 3 * size_of::<(Time, NameKey)>();
        const LINK: usize = size_of::<(NameKey, OwnedName)>();
        let records = self.records.iter().map(|record| {
            let data = match &record.data {
                Data::Pointer(name) | Data::Service { host: name, .. } => name.len() + LINK,
                Data::Text(text) => text.len(),
                Data::Address(_) | Data::Only { .. } => 0,
            };
            size_of::<Record>() + data
        });
        TABLES + key.name.len() + records.sum::<usize>()
    }
}

impl Record {
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self.data {
            Data::Address(address) if self.leaving != Some(Leaving::Flushed) => Some(address),
            _ => None,
        }
    }

    /// Returns when its time to live ends.
    pub(super) fn stated_end(&self) -> Time {
        self.received.after(Duration::from_secs(self.time_to_live.into()))
    }

    /// Returns whether others sent this record than another one. Hosts may send by IPv4 and IPv6.
    pub(super) fn is_from_others(&self, other: &Self) -> bool {
        let families = || self.sources.iter().zip(&other.sources);
        let differs = |(a, b): (&Option<IpAddr>, &Option<IpAddr>)| a.is_some() && b.is_some() && a != b;
        families().any(differs) && !families().any(|(a, b)| a.is_some() && a == b)
    }

    /// Returns its latest sender.
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.sources.into_iter().flatten().next()
    }

    /// Returns whether the time to live is more than half over, so that an answer is of use (RFC 6762 section 7.1).
    pub(super) fn is_half_over(&self, now: Time) -> bool {
        self.leaving.is_some()
            || now.since(self.received) * 2 >= Duration::from_secs(self.time_to_live.into())
    }

    /// Returns whether its refreshing has begun.
    pub(super) const fn is_stale(&self) -> bool {
        self.refreshes > 0
    }

    /// Returns when a question is due to keep the record: at 80, 85, 90 and 95 % of its time to live, and up to 2 % later
    /// (RFC 6762 section 5.2).
    fn refresh_due(&self) -> Option<Time> {
        const PER_MILLE: [u64; 4] = [800, 850, 900, 950];
        let is_refreshed =
            self.leaving.is_none() && !matches!(self.data, Data::Pointer(_) | Data::Only { .. });
        let per_mille = PER_MILLE.get(usize::from(self.refreshes)).filter(|_| is_refreshed)?;
        let later = self.received.as_nanos() / 1_000 % 20;
        Some(self.received.after(Duration::from_millis(u64::from(self.time_to_live) * (per_mille + later))))
    }

    fn leave(&mut self, now: Time, leaving: Leaving) {
        self.expires = self.expires.min(now.after(Cache::GRACE));
        self.leaving = Some(leaving);
    }
}

impl Data {
    /// Reads what is kept of a record of this name, and the name that it describes.
    pub(super) fn read(record: &DnsRecord<'_>) -> Option<(OwnedName, Self)> {
        let owner = OwnedName::new(record.name);
        let data = match record.value() {
            DnsValue::Name(target) if record.kind == DnsKind::PTR.0 => {
                let target = OwnedName::new(target);
                let is_instance = matches!(owner.role(), NameRole::Type | NameRole::Subtype)
                    && target.role() == NameRole::Instance
                    && target.service_type() == owner.service_type();
                return is_instance.then_some((target, Self::Pointer(owner)));
            }
            DnsValue::Service { target, port } => Self::Service { host: OwnedName::new(target), port },
            DnsValue::Texts(_) => {
                Self::Text(record.data.get(..Cache::MAX_TEXT).unwrap_or(record.data).into())
            }
            DnsValue::Address(address) => Self::Address(address),
            DnsValue::OnlyTypes(types) => Self::Only {
                v4: types.contains(DnsKind::A.0),
                v6: types.contains(DnsKind::AAAA.0),
                service: types.contains(DnsKind::SRV.0),
                text: types.contains(DnsKind::TXT.0),
            },
            _ => return None,
        };
        let is_known = match (&data, owner.role()) {
            (Self::Address(address), NameRole::Host) => !address.is_unspecified() && !address.is_multicast(),
            (Self::Service { .. } | Self::Text(_), NameRole::Instance) => true,
            (Self::Only { .. }, NameRole::Instance | NameRole::Host) => true,
            _ => false,
        };
        is_known.then_some((owner, data))
    }

    /// Returns the type of the record, if its name has one set of this type.
    fn kind(&self) -> Option<DnsKind> {
        Some(match self {
            Self::Pointer(_) => return None,
            Self::Service { .. } => DnsKind::SRV,
            Self::Text(_) => DnsKind::TXT,
            Self::Address(IpAddr::V4(_)) => DnsKind::A,
            Self::Address(IpAddr::V6(_)) => DnsKind::AAAA,
            Self::Only { .. } => DnsKind::NSEC,
        })
    }

    fn link(&self) -> Option<&OwnedName> {
        match self {
            Self::Pointer(name) | Self::Service { host: name, .. } => Some(name),
            _ => None,
        }
    }
}
