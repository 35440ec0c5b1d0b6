//! A virtual router, for unicast and for groups.

use std::{
    fmt,
    net::IpAddr,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use crate::{
    Host, LabError, LabErrorKind,
    error::Doing,
    host::Node,
    routing_table::{Rule, Table},
    sys::{
        multicast_routing::{Family, RoutingSocket},
        poll,
    },
};

/// A host that forwards. Clones are the same router.
///
/// It routes unicast by its addresses and routes, and groups by the rules given with
/// [`route_group`](Self::route_group), through the kernel's multicast routing. Ports of switches that lead to it
/// are marked as leading to a multicast router, as a querier or PIM would have them marked. The first datagram of
/// a source waits in the kernel until the router has been asked; the second may overtake it.
#[derive(Clone)]
pub struct Router {
    host: Host,
    routing: Arc<Routing>,
}

/// Where a group goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteGroup<'a> {
    /// The only source that is forwarded; all of them if `None`.
    pub source: Option<IpAddr>,
    /// The group.
    pub group: IpAddr,
    /// The interface that it must come in by.
    pub from: &'a str,
    /// The interfaces that it goes out by.
    pub to: &'a [&'a str],
    /// The hop limit that a datagram must exceed, 1 where nothing speaks for more. IPv6 knows no other.
    pub ttl_threshold: u8,
}

/// The routing of groups in a router, answered by a thread.
#[derive(Debug)]
pub(crate) struct Routing {
    tables: Arc<[Mutex<Table>; 2]>,
    answering: Mutex<Option<Answering>>,
}

/// The thread that answers the kernel's questions; it ends when the pipe is closed.
#[derive(Debug)]
struct Answering {
    thread: JoinHandle<()>,
    stop: std::io::PipeWriter,
}

impl Router {
    pub(crate) fn new(node: Arc<Node>) -> Result<Self, LabError> {
        let operation = || format!("start multicast routing on '{}'", node.namespace.name());
        let open = |family| {
            let socket = node.namespace.call(|| RoutingSocket::open(family))?.doing(operation)?;
            Ok::<_, LabError>(Mutex::new(Table::new(socket)))
        };
        let tables = Arc::new([open(Family::V4)?, open(Family::V6)?]);
        let answering = Answering::start(node.namespace.name(), Arc::clone(&tables)).doing(operation)?;
        let routing = Arc::new(Routing { tables, answering: Mutex::new(Some(answering)) });
        Ok(Self { host: Host { node }, routing })
    }

    /// Forwards a group. A rule for one source goes before a rule for all of them.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Invalid`] for an address that is no group, or a source of the other IP version;
    /// [`LabErrorKind::Missing`] for an interface that is not there; [`LabErrorKind::Unsupported`] for an IPv6
    /// threshold other than 1; the system's error for more than 32 interfaces.
    pub fn route_group(&self, route: RouteGroup<'_>) -> Result<(), LabError> {
        let operation = || format!("route {} on '{}'", route.group, self.name());
        let fail = |kind| Err(LabError::new(operation(), kind));
        if !route.group.is_multicast() {
            return fail(LabErrorKind::Invalid(format!("{} is no group", route.group)));
        }
        if route.source.is_some_and(|source| source.is_ipv4() != route.group.is_ipv4()) {
            return fail(LabErrorKind::Invalid("the source is of the other IP version".to_owned()));
        }
        if route.group.is_ipv6() && route.ttl_threshold != 1 {
            return fail(LabErrorKind::Unsupported("the kernel has no thresholds for IPv6".to_owned()));
        }
        let from = self.interface_index(route.from)?;
        let to = route.to.iter().map(|name| self.interface_index(name)).collect::<Result<Vec<_>, _>>()?;
        let rule =
            Rule { source: route.source, group: route.group, from, to, threshold: route.ttl_threshold };
        let mut table = self.routing.table(route.group).lock().unwrap_or_else(PoisonError::into_inner);
        table.add(&rule).doing(operation)
    }

    /// Forwards a group no longer.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn unroute_group(&self, group: IpAddr) -> Result<(), LabError> {
        let mut table = self.routing.table(group).lock().unwrap_or_else(PoisonError::into_inner);
        table.remove(group).doing(|| format!("stop routing {group} on '{}'", self.name()))
    }

    /// What has to be stopped when the lab ends.
    pub(crate) fn routing(&self) -> Arc<Routing> {
        Arc::clone(&self.routing)
    }
}

impl Deref for Router {
    type Target = Host;

    /// A router is a host too.
    fn deref(&self) -> &Host {
        &self.host
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Router").field(&self.name()).finish()
    }
}

impl Routing {
    fn table(&self, group: IpAddr) -> &Mutex<Table> {
        &self.tables[usize::from(group.is_ipv6())]
    }

    /// Stops answering.
    pub(crate) fn end(&self) {
        let answering = self.answering.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Answering { thread, stop }) = answering {
            drop(stop);
            let _ = thread.join();
        }
    }
}

impl Drop for Routing {
    fn drop(&mut self) {
        self.end();
    }
}

impl Answering {
    fn start(name: &str, tables: Arc<[Mutex<Table>; 2]>) -> std::io::Result<Self> {
        let (stopped, stop) = std::io::pipe()?;
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || answer(&tables, &stopped))?;
        Ok(Self { thread, stop })
    }
}

/// Tells the kernel what to do with each new source, until the pipe is closed.
fn answer(tables: &[Mutex<Table>; 2], stopped: &std::io::PipeReader) {
    use std::os::fd::AsFd;
    let sockets =
        tables.each_ref().map(|table| table.lock().unwrap_or_else(PoisonError::into_inner).socket());
    let watched = [sockets[0].as_fd(), sockets[1].as_fd(), stopped.as_fd()];
    while !is_closed(stopped) && poll::wait_readable(&watched, None).is_ok() {
        for table in tables {
            table.lock().unwrap_or_else(PoisonError::into_inner).answer();
        }
    }
}

fn is_closed(stopped: &std::io::PipeReader) -> bool {
    use std::os::fd::AsFd;
    poll::wait_readable(&[stopped.as_fd()], Some(std::time::Duration::ZERO)).unwrap_or(true)
}
