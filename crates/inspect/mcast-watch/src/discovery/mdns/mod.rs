//! mDNS and DNS-SD (RFC 6762, RFC 6763): services and hosts.
//!
//! Only responses from port 5353 count. The known answers in questions of others, and the records that probes propose, are not
//! announcements. An instance of a service is listed as long as a PTR record points to it, with what is known of it, as
//! browsers list it; a host is listed as long as it has addresses.

mod ask;
mod cache;
mod name;
mod record;
mod service;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use mcast_packet::payload::{Dns, DnsSection};

use super::registry::Registry;
use super::{DepartureReason, DiscoveryDatagram, DiscoveryQuestion, DiscoveryRequest, Observer};
use crate::clock::Time;
use ask::Asker;
use cache::{Cache, Learned};
use name::{NameKey, OwnedName};
use record::Data;

/// What is known by mDNS.
#[derive(Debug)]
pub(super) struct Mdns {
    cache: Cache,
    asker: Asker,
    /// Hosts whose addresses have changed, each with the latest service whose entry was revised. A host may have any number
    /// of services, so a change reaches them a few at a time.
    changed_hosts: BTreeMap<NameKey, Option<OwnedName>>,
    /// When to continue with them.
    continues: Option<Time>,
}

impl Mdns {
    /// Entries that are revised at a time, with those of a datagram and at each timeout.
    const REVISIONS: [usize; 2] = [32, 512];
    const MAX_CHANGED_HOSTS: usize = 4_096;
    const CONTINUE_AFTER: std::time::Duration = std::time::Duration::from_millis(20);

    pub(super) fn new() -> Self {
        Self { cache: Cache::new(), asker: Asker::default(), changed_hosts: BTreeMap::new(), continues: None }
    }

    fn learn(&mut self, now: Time, datagram: &DiscoveryDatagram<'_>, dns: &Dns<'_>, registry: &mut Registry) {
        let place = datagram.place;
        let mut announced = BTreeSet::new();
        for (section, record) in dns.records() {
            if record.class != 1 || section == DnsSection::Authority {
                continue;
            }
            if record.time_to_live > 0 {
                self.asker.note_type(now, place, &record);
            }
            let Some((name, data)) = Data::read(&record) else { continue };
            let key = NameKey { place, name };
            let learned = self.cache.learn(now, &key, datagram.source.ip(), &record, data, registry);
            if let Learned::Announced { is_new_address } = learned {
                if is_new_address {
                    self.note_changed(&key, registry);
                }
                self.cache.set_hop_limit(&key, datagram.hop_limit);
                announced.insert(key);
            }
        }
        while let Some(key) = self.cache.evict() {
            announced.remove(&key);
            registry.depart(&service::discovery_key(&key), DepartureReason::Evicted);
        }
        for key in announced {
            let Some(entry) = service::announced(now, &key, &self.cache, datagram.source) else { continue };
            registry.announce(now, entry);
            self.asker.want_missing(now, &key, &self.cache);
        }
        self.revise_services(now, Self::REVISIONS[0], registry);
    }

    /// Notes that a host has other addresses now. During a flood, services learn that when they are announced again.
    fn note_changed(&mut self, host: &NameKey, registry: &mut Registry) {
        if self.cache.linked(host, None).next().is_none() {
            return;
        }
        if self.changed_hosts.len() < Self::MAX_CHANGED_HOSTS {
            self.changed_hosts.insert(host.clone(), None);
        } else {
            registry.counts.truncated += 1;
        }
    }

    /// Revises the entries of services whose hosts have other addresses now.
    fn revise_services(&mut self, now: Time, limit: usize, registry: &mut Registry) {
        let mut left = limit;
        while let Some((host, after)) = self.changed_hosts.pop_first() {
            let instances: Vec<_> = self.cache.linked(&host, after.as_ref()).take(left).cloned().collect();
            for name in &instances {
                self.revise(now, &NameKey { place: host.place, name: name.clone() }, registry);
            }
            left -= instances.len();
            if left == 0 {
                self.changed_hosts.insert(host, instances.last().cloned().or(after));
                break;
            }
        }
        self.continues = (!self.changed_hosts.is_empty()).then(|| now.after(Self::CONTINUE_AFTER));
    }

    fn revise(&self, now: Time, key: &NameKey, registry: &mut Registry) -> Option<()> {
        let entry = service::announced(now, key, &self.cache, service::no_source())?;
        registry.revise(now, entry);
        Some(())
    }

    /// Returns whether an instance, or one of a host, is asked for.
    fn is_asked_for(&self, key: &NameKey) -> bool {
        const MAX_INSTANCES: usize = 16;
        let mut instances = self.cache.linked(key, None).take(MAX_INSTANCES);
        self.asker.is_asked_for(key)
            || instances
                .any(|name| self.asker.is_asked_for(&NameKey { place: key.place, name: name.clone() }))
    }

    fn lapse(&mut self, now: Time, registry: &mut Registry) {
        while let Some(lapsed) = self.cache.lapse(now) {
            if lapsed.addresses {
                self.note_changed(&lapsed.key, registry);
            }
            if self.revise(now, &lapsed.key, registry).is_none() {
                let reason =
                    if lapsed.is_goodbye { DepartureReason::Goodbye } else { DepartureReason::Expired };
                registry.depart(&service::discovery_key(&lapsed.key), reason);
            }
            if !lapsed.stale.is_empty() && self.is_asked_for(&lapsed.key) {
                lapsed.stale.iter().for_each(|kind| self.asker.want(now, &lapsed.key, *kind, 1));
            }
        }
    }
}

impl Observer for Mdns {
    fn handle_datagram(&mut self, now: Time, datagram: &DiscoveryDatagram<'_>, registry: &mut Registry) {
        let is_to_group = Dns::is_mdns_group(datagram.destination.ip());
        // A response by unicast counts only if it cannot come from another network (RFC 6762 section 11).
        let is_accepted = is_to_group || datagram.hop_limit == Some(255);
        if datagram.destination.port() != Dns::MDNS_PORT || !is_accepted {
            return;
        }
        self.lapse(now, registry);
        let Some(dns) = Dns::parse(datagram.payload) else {
            registry.counts.malformed += 1;
            return;
        };
        let is_answer = dns.is_response && dns.response_code == 0;
        if is_answer && datagram.source.port() != Dns::MDNS_PORT {
            registry.counts.wrong_ports += 1;
        } else if is_answer {
            registry.counts.malformed += u64::from(dns.records().count() < dns.record_count() as usize);
            self.learn(now, datagram, &dns, registry);
        }
    }

    fn handle_timeout(&mut self, now: Time, registry: &mut Registry) {
        self.lapse(now, registry);
        self.revise_services(now, Self::REVISIONS[1], registry);
    }

    fn poll_timeout(&self) -> Option<Time> {
        [self.cache.poll_timeout(), self.continues, self.asker.poll_timeout()].into_iter().flatten().min()
    }

    fn ask(&mut self, now: Time, request: &DiscoveryRequest) {
        self.cache.start_refreshing();
        self.asker.start(now, request);
    }

    fn poll_transmit(&mut self, now: Time, _registry: &Registry) -> Option<DiscoveryQuestion> {
        self.asker.poll_transmit(now, &self.cache)
    }
}
