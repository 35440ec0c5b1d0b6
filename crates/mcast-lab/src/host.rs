//! A virtual host: a network namespace, and what runs in it.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fmt,
    panic::resume_unwind,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use crate::{
    Command, LabError, LabErrorKind, command::Children, error::Doing, name, namespace::Namespace, sys::scoped,
};

/// A virtual host of a [`Lab`](crate::Lab). Clones are the same host.
///
/// A host starts with the loopback interface up and nothing else. It does not forward, does not filter by
/// reverse path, and does no duplicate address detection, so that its addresses are usable at once. Removing an
/// interface's first address keeps the others, as most distributions have it.
#[derive(Clone)]
pub struct Host {
    pub(crate) node: Arc<Node>,
}

/// What a host, a switch and a router have in common.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) namespace: Namespace,
    pub(crate) children: Arc<Children>,
    /// The place in the lab, for hardware addresses.
    pub(crate) number: u16,
    /// Ports of switches that lead to it are marked as leading to a multicast router.
    pub(crate) routes_multicast: bool,
    interfaces: Mutex<HashMap<String, u16>>,
    names: AtomicU32,
}

impl Host {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.node.namespace.name()
    }

    /// Runs a closure in this host, on a thread of its own, and waits for it.
    ///
    /// Sockets opened in it belong to the host for as long as they live and may be used anywhere. The closure
    /// may borrow. A panic in it goes on in the caller. Several may run at once.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Gone`] when the lab was dropped; the system's error when it has no more threads.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let mut started = Ok(());
        let result = scoped::run_elsewhere(work, |job| started = self.spawn(job).map(drop));
        started?;
        match result {
            Some(Ok(value)) => Ok(value),
            Some(Err(panic)) => resume_unwind(panic),
            None => Err(LabError::new(format!("run a closure on '{}'", self.name()), LabErrorKind::Gone)),
        }
    }

    /// Starts a closure in this host on a thread of its own, and goes on.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Gone`] when the lab was dropped; the system's error when it has no more threads.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, LabError> {
        let name = self.name();
        let started =
            self.node.namespace.call(|| thread::Builder::new().name(name.to_owned()).spawn(work))?;
        started.doing(|| format!("start a thread on '{name}'"))
    }

    /// A program to be started in this host.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Gone`] when the lab was dropped.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command, LabError> {
        Command::new(program.as_ref(), self.node.namespace.alive()?, Arc::clone(&self.node.children))
    }

    /// Sets a sysctl of this host by its path, such as `net/ipv4/conf/all/rp_filter`.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Invalid`] for what is not below `net`, which would be the whole machine's. The system's error: no such sysctl, or one that is not a namespace's own (as `net/core/rmem_max`).
    pub fn sysctl(&self, path: &str, value: &str) -> Result<(), LabError> {
        self.node.namespace.set_sysctl(path, value)
    }

    /// Reads a sysctl of this host, without the newline.
    ///
    /// # Errors
    ///
    /// The system's error, as when there is no such sysctl.
    pub fn read_sysctl(&self, path: &str) -> Result<String, LabError> {
        let text = self.node.namespace.read(&format!("/proc/sys/{path}"))?;
        Ok(text.trim_end().to_owned())
    }

    /// Reads one of the tables in `/proc/net`, such as `igmp` or `udp6`, as this host sees it.
    ///
    /// # Errors
    ///
    /// The system's error, as when there is no such table.
    pub fn read_proc_net(&self, table: &str) -> Result<String, LabError> {
        self.node.namespace.read(&format!("/proc/thread-self/net/{table}"))
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.name()).finish()
    }
}

impl Node {
    pub(crate) fn new(
        namespace: Namespace,
        children: Arc<Children>,
        number: u16,
        routes_multicast: bool,
    ) -> Self {
        Self {
            namespace,
            children,
            number,
            routes_multicast,
            interfaces: Mutex::default(),
            names: AtomicU32::new(0),
        }
    }

    /// The hardware address for an interface that is about to be made.
    pub(crate) fn new_interface(&self, name: &str) -> Result<[u8; 6], LabError> {
        if name::is_interface_name(name) {
            return Ok(self.hardware_address(name));
        }
        let operation = format!("make an interface '{name}' on '{}'", self.namespace.name());
        let problem = "an interface's name has 1 to 15 letters, no space, '/' or ':' among them".to_owned();
        Err(LabError::new(operation, LabErrorKind::Invalid(problem)))
    }

    /// The hardware address for an interface of this name: locally administered (`02`), then `m`, the node's
    /// place in the lab and the interface's in the node. A name keeps its address.
    pub(crate) fn hardware_address(&self, interface: &str) -> [u8; 6] {
        let mut interfaces = self.interfaces.lock().unwrap_or_else(PoisonError::into_inner);
        let next = u16::try_from(interfaces.len() + 1).unwrap_or(u16::MAX);
        let interface = *interfaces.entry(interface.to_owned()).or_insert(next);
        let ([a, b], [c, d]) = (self.number.to_be_bytes(), interface.to_be_bytes());
        [0x02, 0x6d, a, b, c, d]
    }

    /// A name for an interface that nobody else asks for.
    pub(crate) fn next_name(&self) -> String {
        format!("w{}", self.names.fetch_add(1, Relaxed))
    }
}
