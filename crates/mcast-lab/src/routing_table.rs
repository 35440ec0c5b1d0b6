//! Which groups a router forwards, and what the kernel has been told of them.
//!
//! The kernel's cache has an entry for each source and group. It asks when it has none for a datagram, holds
//! that datagram back, and forwards it when it has been told. So a rule for all sources becomes an entry for
//! each source when that is first heard.

use std::{collections::HashMap, io, net::IpAddr, sync::Arc};

use crate::sys::multicast_routing::{Entry, MOST_INTERFACES, Miss, RoutingSocket};

/// A rule, with interfaces by index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) source: Option<IpAddr>,
    pub(crate) group: IpAddr,
    pub(crate) from: u32,
    pub(crate) to: Vec<u32>,
    pub(crate) threshold: u8,
}

/// A rule, with interfaces by the numbers that the kernel's routing knows them by.
#[derive(Debug)]
struct Numbered {
    source: Option<IpAddr>,
    group: IpAddr,
    from: u16,
    to: Vec<(u16, u8)>,
}

/// The rules and entries of one IP version.
#[derive(Debug)]
pub(crate) struct Table {
    socket: Arc<RoutingSocket>,
    numbers: HashMap<u32, u16>,
    rules: Vec<Numbered>,
    entries: Vec<Entry>,
}

impl Table {
    pub(crate) fn new(socket: RoutingSocket) -> Self {
        Self { socket: Arc::new(socket), numbers: HashMap::new(), rules: Vec::new(), entries: Vec::new() }
    }

    pub(crate) fn add(&mut self, rule: &Rule) -> io::Result<()> {
        let from = self.number(rule.from)?;
        let to = rule.to.iter().map(|index| Ok((self.number(*index)?, rule.threshold)));
        let to = to.collect::<io::Result<_>>()?;
        self.rules.push(Numbered { source: rule.source, group: rule.group, from, to });
        // Rules for one source go before rules for all.
        self.rules.sort_by_key(|rule| rule.source.is_none());
        self.forget(rule.group)
    }

    pub(crate) fn remove(&mut self, group: IpAddr) -> io::Result<()> {
        self.rules.retain(|rule| rule.group != group);
        self.forget(group)
    }

    /// Answers all questions that the kernel has.
    pub(crate) fn answer(&mut self) {
        while let Ok(Some(miss)) = self.socket.next_miss() {
            let entry = self.entry(&miss);
            // The kernel asks again should it not take the entry, as when the interface has just gone.
            if self.socket.add_entry(&entry).is_ok() {
                self.entries.retain(|known| (known.source, known.group) != (entry.source, entry.group));
                self.entries.push(entry);
            }
        }
    }

    pub(crate) fn socket(&self) -> Arc<RoutingSocket> {
        Arc::clone(&self.socket)
    }

    /// What becomes of a source that is heard for the first time. Without a rule it goes nowhere, and the
    /// kernel must be told even that: it asks about ten sources at most until it is answered.
    fn entry(&self, miss: &Miss) -> Entry {
        let Miss { source, group, arrived } = *miss;
        let fits = |rule: &&Numbered| rule.group == group && rule.source.is_none_or(|only| only == source);
        let by_arrival = self.rules.iter().filter(fits).find(|rule| rule.from == arrived);
        // Heard first where it is not to be taken from, it still must be taken from where it is.
        match by_arrival.or_else(|| self.rules.iter().find(fits)) {
            Some(rule) => Entry { source, group, from: rule.from, to: rule.to.clone() },
            None => Entry { source, group, from: arrived, to: Vec::new() },
        }
    }

    /// Removes the kernel's entries for a group, so that it asks again.
    fn forget(&mut self, group: IpAddr) -> io::Result<()> {
        let (stale, kept) = self.entries.drain(..).partition(|entry| entry.group == group);
        self.entries = kept;
        let stale: Vec<Entry> = stale;
        for entry in stale {
            match self.socket.delete_entry(&entry) {
                Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn number(&mut self, index: u32) -> io::Result<u16> {
        if let Some(number) = self.numbers.get(&index) {
            return Ok(*number);
        }
        let number = self.numbers.len() as u16;
        if number >= MOST_INTERFACES {
            return Err(io::Error::from_raw_os_error(libc::ENFILE));
        }
        self.socket.add_interface(number, index)?;
        self.numbers.insert(index, number);
        Ok(number)
    }
}
