//! The records that are known, as RFC 6762 section 10 keeps them, in bounded memory.
//!
//! Records are kept with the name that they describe. A PTR record describes the instance that it points to: so a type with
//! 5,000 instances needs no list, and what is known of an instance is in one place.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mcast_packet::payload::{DnsKind, DnsRecord};

use super::name::{NameKey, OwnedName};
use super::record::{Data, GRACE, Leaving, Node, Record};
use crate::clock::Time;
use crate::discovery::registry::Registry;
use crate::lru::Lru;

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
    /// The longest time to live that is believed, in seconds. RFC 6762 section 10 recommends 75 minutes and less.
    pub(super) const MAX_TIME_TO_LIVE: u32 = 7_200;

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
                if now.since(other.received) > GRACE {
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
        if is_of_host || record.is_from(source) {
            record.withdraw(now, source);
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
