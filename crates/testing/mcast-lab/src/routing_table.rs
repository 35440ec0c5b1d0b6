//! The forwarding rules of a router, and the kernel's cache of routes.
//!
//! The kernel's multicast forwarding cache has an entry for each source and group. When it has none for a datagram,
//! it reports a cache miss, holds the datagram, and forwards it when an entry has been added. A rule for all sources
//! therefore becomes an entry for each source when its first datagram arrives.

use std::{collections::HashMap, io, net::IpAddr, sync::Arc};

use mcast_sys::lab::multicast_routing::{CacheEntry, CacheMiss, MAX_INTERFACES, RoutingSocket};

/// A forwarding rule with interface indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) source: Option<IpAddr>,
    pub(crate) group: IpAddr,
    pub(crate) from: u32,
    pub(crate) to: Vec<u32>,
    pub(crate) threshold: u8,
}

/// A forwarding rule with the interface numbers of the kernel's multicast routing.
#[derive(Debug)]
struct NumberedRule {
    source: Option<IpAddr>,
    group: IpAddr,
    from: u16,
    to: Vec<(u16, u8)>,
}

/// The rules and cache entries of one IP version.
#[derive(Debug)]
pub(crate) struct RoutingTable {
    socket: Arc<RoutingSocket>,
    /// The number of each interface in the kernel's multicast routing, by index.
    numbers: HashMap<u32, u16>,
    /// Rules for one source come before rules for all sources.
    rules: Vec<NumberedRule>,
    /// The entries that were added to the kernel's cache.
    entries: Vec<CacheEntry>,
}

impl RoutingTable {
    pub(crate) fn new(socket: RoutingSocket) -> Self {
        Self { socket: Arc::new(socket), numbers: HashMap::new(), rules: Vec::new(), entries: Vec::new() }
    }

    pub(crate) fn add(&mut self, rule: &Rule) -> io::Result<()> {
        let from = self.number(rule.from)?;
        let to = rule.to.iter().map(|index| Ok((self.number(*index)?, rule.threshold)));
        let to = to.collect::<io::Result<_>>()?;
        self.rules.push(NumberedRule { source: rule.source, group: rule.group, from, to });
        self.rules.sort_by_key(|rule| rule.source.is_none());
        self.remove_entries(rule.group)
    }

    pub(crate) fn remove(&mut self, group: IpAddr) -> io::Result<()> {
        self.rules.retain(|rule| rule.group != group);
        self.remove_entries(group)
    }

    /// Adds entries for all cache misses that the kernel has reported.
    pub(crate) fn resolve_misses(&mut self) {
        while let Ok(Some(miss)) = self.socket.next_cache_miss() {
            let entry = self.entry(&miss);
            // If the kernel refuses the entry, for instance because the interface has just gone, it reports the miss
            // again.
            if self.socket.add_entry(&entry).is_ok() {
                self.entries.retain(|old| (old.source, old.group) != (entry.source, entry.group));
                self.entries.push(entry);
            }
        }
    }

    pub(crate) fn socket(&self) -> Arc<RoutingSocket> {
        Arc::clone(&self.socket)
    }

    /// Returns the entry for a new source. Without a rule the entry has no outgoing interface. It is needed all the
    /// same, because the kernel holds at most ten unresolved sources.
    fn entry(&self, miss: &CacheMiss) -> CacheEntry {
        let CacheMiss { source, group, from } = *miss;
        let matches =
            |rule: &&NumberedRule| rule.group == group && rule.source.is_none_or(|only| only == source);
        let by_interface = self.rules.iter().filter(matches).find(|rule| rule.from == from);
        // The first datagram may arrive on another interface than that of the rule. The entry still names the
        // interface of the rule, so that later datagrams are forwarded from there.
        match by_interface.or_else(|| self.rules.iter().find(matches)) {
            Some(rule) => CacheEntry { source, group, from: rule.from, to: rule.to.clone() },
            None => CacheEntry { source, group, from, to: Vec::new() },
        }
    }

    /// Removes the kernel's entries for a group, so that it reports a miss for the next datagram.
    fn remove_entries(&mut self, group: IpAddr) -> io::Result<()> {
        let (stale, kept) = self.entries.drain(..).partition(|entry| entry.group == group);
        self.entries = kept;
        let stale: Vec<CacheEntry> = stale;
        for entry in stale {
            match self.socket.delete_entry(&entry) {
                Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the number of an interface, adding it to the kernel's multicast routing if needed.
    fn number(&mut self, index: u32) -> io::Result<u16> {
        if let Some(number) = self.numbers.get(&index) {
            return Ok(*number);
        }
        let number = self.numbers.len() as u16;
        if number >= MAX_INTERFACES {
            return Err(io::Error::from_raw_os_error(libc::ENFILE));
        }
        self.socket.add_interface(number, index)?;
        self.numbers.insert(index, number);
        Ok(number)
    }
}
