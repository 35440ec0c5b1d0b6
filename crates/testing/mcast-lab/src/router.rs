//! A virtual router for unicast and multicast.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, PipeReader, PipeWriter};
use std::net::IpAddr;
use std::ops::Deref;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use mcast_group::Family;
use mcast_sys::lab::multicast_routing::{CacheEntry, CacheMiss, MAX_INTERFACES, RoutingSocket};
use mcast_sys::readable::{is_readable, wait_for_any};

use crate::error::ErrorContext;
use crate::host::Node;
use crate::{Host, LabError, LabErrorKind};

/// A host that forwards. Clones are the same router.
///
/// It routes unicast by its addresses and routes, and groups by the rules of [`route_group`](Self::route_group),
/// through the kernel's multicast routing. The ports of switches that lead to it are marked as multicast router
/// ports, as queries or PIM would mark them. The kernel holds the first datagram of a source until it has the route
/// from this process; the second datagram may overtake it.
#[derive(Clone)]
pub struct Router {
    host: Host,
    routing: Arc<MulticastRouting>,
}

/// A rule for forwarding a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteGroup<'a> {
    /// The only source that is forwarded; all sources if `None`.
    pub source: Option<IpAddr>,
    /// The group.
    pub group: IpAddr,
    /// The name of the incoming interface.
    pub from: &'a str,
    /// The names of the outgoing interfaces.
    pub to: &'a [&'a str],
    /// The hop limit that a datagram must exceed, usually 1. IPv6 supports only 1.
    pub ttl_threshold: u8,
}

/// The multicast routing of a router.
#[derive(Debug)]
pub(crate) struct MulticastRouting {
    /// The tables for IPv4 and IPv6.
    tables: Arc<[Mutex<RoutingTable>; 2]>,
    thread: Mutex<Option<RoutingThread>>,
}

/// The thread that resolves the kernel's cache misses. It ends when the pipe is closed.
#[derive(Debug)]
struct RoutingThread {
    thread: JoinHandle<()>,
    stop: PipeWriter,
}

impl Router {
    pub(crate) fn new(node: Arc<Node>) -> Result<Self, LabError> {
        let operation = || format!("start multicast routing on '{}'", node.namespace.name());
        let open = |family| {
            let socket = node.namespace.call(|| RoutingSocket::open(family))?.context(operation)?;
            Ok::<_, LabError>(Mutex::new(RoutingTable::new(socket)))
        };
        let tables = Arc::new([open(Family::V4)?, open(Family::V6)?]);
        let thread = RoutingThread::start(node.namespace.name(), Arc::clone(&tables)).context(operation)?;
        let routing = Arc::new(MulticastRouting { tables, thread: Mutex::new(Some(thread)) });
        Ok(Self { host: Host { node }, routing })
    }

    /// Adds a rule for forwarding a group. A rule for one source takes precedence over a rule for all sources.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Invalid`] for an address that is not a multicast group, or a source of the other IP version;
    /// [`LabErrorKind::Missing`] for an interface that does not exist; [`LabErrorKind::Unsupported`] for an IPv6
    /// threshold other than 1; the system's error for more than 32 interfaces.
    pub fn route_group(&self, route: RouteGroup<'_>) -> Result<(), LabError> {
        let operation = || format!("route {} on '{}'", route.group, self.name());
        let fail = |kind| Err(LabError::new(operation(), kind));
        if !route.group.is_multicast() {
            return fail(LabErrorKind::Invalid(format!("{} is not a multicast group", route.group)));
        }
        if route.source.is_some_and(|source| source.is_ipv4() != route.group.is_ipv4()) {
            return fail(LabErrorKind::Invalid("the source and the group differ in IP version".to_owned()));
        }
        if route.group.is_ipv6() && route.ttl_threshold != 1 {
            return fail(LabErrorKind::Unsupported("the kernel has no TTL thresholds for IPv6".to_owned()));
        }
        let from = self.interface_index(route.from)?;
        let to = route.to.iter().map(|name| self.interface_index(name)).collect::<Result<Vec<_>, _>>()?;
        let rule =
            Rule { source: route.source, group: route.group, from, to, threshold: route.ttl_threshold };
        let mut table = self.routing.table(route.group).lock().unwrap_or_else(PoisonError::into_inner);
        table.add(&rule).context(operation)
    }

    /// Removes all rules for a group.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn unroute_group(&self, group: IpAddr) -> Result<(), LabError> {
        let mut table = self.routing.table(group).lock().unwrap_or_else(PoisonError::into_inner);
        table.remove(group).context(|| format!("stop routing {group} on '{}'", self.name()))
    }

    /// Returns the multicast routing, which the lab stops when it is dropped.
    pub(crate) fn routing(&self) -> Arc<MulticastRouting> {
        Arc::clone(&self.routing)
    }
}

impl Deref for Router {
    type Target = Host;

    /// Returns the router as a host.
    fn deref(&self) -> &Host {
        &self.host
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Router").field(&self.name()).finish()
    }
}

impl MulticastRouting {
    fn table(&self, group: IpAddr) -> &Mutex<RoutingTable> {
        &self.tables[usize::from(group.is_ipv6())]
    }

    /// Stops the thread.
    pub(crate) fn stop(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(RoutingThread { thread, stop }) = thread {
            drop(stop);
            let _ = thread.join();
        }
    }
}

impl Drop for MulticastRouting {
    fn drop(&mut self) {
        self.stop();
    }
}

impl RoutingThread {
    fn start(name: &str, tables: Arc<[Mutex<RoutingTable>; 2]>) -> io::Result<Self> {
        let (stop_signal, stop) = io::pipe()?;
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || resolve_misses(&tables, &stop_signal))?;
        Ok(Self { thread, stop })
    }
}

/// Adds the kernel's route for each new source, until the pipe is closed.
fn resolve_misses(tables: &[Mutex<RoutingTable>; 2], stop_signal: &PipeReader) {
    let sockets =
        tables.each_ref().map(|table| table.lock().unwrap_or_else(PoisonError::into_inner).socket());
    let watched = [sockets[0].as_fd(), sockets[1].as_fd(), stop_signal.as_fd()];
    while !is_readable(stop_signal).unwrap_or(true) && wait_for_any(&watched, None).is_ok() {
        for table in tables {
            table.lock().unwrap_or_else(PoisonError::into_inner).resolve_misses();
        }
    }
}

// The forwarding rules of a router, and the kernel's cache of routes.
//
// The kernel's multicast forwarding cache has an entry for each source and group. When it has none for a datagram,
// it reports a cache miss, holds the datagram, and forwards it when an entry has been added. A rule for all sources
// therefore becomes an entry for each source when its first datagram arrives.

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
