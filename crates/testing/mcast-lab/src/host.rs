//! A virtual host: a network namespace and the threads and programs in it, its interfaces, and the access of its programs to
//! other hosts.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::panic::resume_unwind;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::{env, fmt};

use mcast_sys::lab as sys;
use mcast_sys::lab::scoped;

use crate::command::Children;
use crate::error::ErrorContext;
use crate::namespace::Namespace;
use crate::{CidrAddress, Command, LabError, LabErrorKind, address};

/// A virtual host of a [`Lab`](crate::Lab). Clones are the same host.
///
/// A host starts with only the loopback interface, which is up. It does not forward, does not filter by reverse
/// path, and does no duplicate address detection, so that its addresses are usable at once. Removing the first
/// address of an interface keeps the others, which is the setting of most distributions.
#[derive(Clone)]
pub struct Host {
    pub(crate) node: Arc<Node>,
}

/// The common part of hosts, switches and routers.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) namespace: Namespace,
    pub(crate) children: Arc<Children>,
    /// The number of the node in the lab, part of its hardware addresses.
    pub(crate) number: u16,
    /// Whether switches mark the ports that lead to this node as multicast router ports.
    pub(crate) routes_multicast: bool,
    interfaces: Mutex<HashMap<String, u16>>,
    /// How many interface names [`next_interface_name`](Self::next_interface_name) has returned.
    generated_names: AtomicU32,
}

impl Host {
    /// Returns the name of the host.
    #[must_use]
    pub fn name(&self) -> &str {
        self.node.namespace.name()
    }

    /// Runs a closure in this host, on a thread of its own, and waits for it.
    ///
    /// Sockets opened in the closure belong to the host until they are closed and may be used anywhere. The
    /// closure may borrow. A panic in it is resumed in the caller. Several closures may run at the same time.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Gone`] when the lab was dropped; the system's error when it refuses a thread.
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

    /// Starts a closure in this host on a thread of its own, and returns without waiting for it.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Gone`] when the lab was dropped; the system's error when it refuses a thread.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, LabError> {
        let name = self.name();
        let started =
            self.node.namespace.call(|| thread::Builder::new().name(name.to_owned()).spawn(work))?;
        started.context(|| format!("start a thread on '{name}'"))
    }

    /// Returns a command that starts a program in this host.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Gone`] when the lab was dropped.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command, LabError> {
        Command::new(program.as_ref(), self.node.namespace.live()?, Arc::clone(&self.node.children))
    }

    /// Sets a sysctl of this host by its path, such as `net/ipv4/conf/all/rp_filter`.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Invalid`] for a path outside `net`, whose sysctls apply to the whole machine. The system's
    /// error when there is no such sysctl, or when it does not belong to a namespace (such as `net/core/rmem_max`).
    pub fn sysctl(&self, path: &str, value: &str) -> Result<(), LabError> {
        self.node.namespace.set_sysctl(path, value)
    }

    /// Reads a sysctl of this host, without the newline.
    ///
    /// # Errors
    ///
    /// The system's error, for instance when there is no such sysctl.
    pub fn read_sysctl(&self, path: &str) -> Result<String, LabError> {
        let text = self.node.namespace.read(&format!("/proc/sys/{path}"))?;
        Ok(text.trim_end().to_owned())
    }

    /// Reads one of the tables in `/proc/net`, such as `igmp` or `udp6`, as this host sees it.
    ///
    /// # Errors
    ///
    /// The system's error, for instance when there is no such table.
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
            generated_names: AtomicU32::new(0),
        }
    }

    /// Checks the name of an interface that is about to be created, and returns its hardware address.
    pub(crate) fn new_hardware_address(&self, name: &str) -> Result<[u8; 6], LabError> {
        if address::is_interface_name(name) {
            return Ok(self.hardware_address(name));
        }
        let operation = format!("create an interface '{name}' on '{}'", self.namespace.name());
        let problem =
            "the name of an interface must have 1 to 15 bytes, without spaces, '/' and ':'".to_owned();
        Err(LabError::new(operation, LabErrorKind::Invalid(problem)))
    }

    /// Returns the hardware address for an interface of this name: locally administered (`02`), then `m`, the
    /// number of the node in the lab and the number of the interface in the node. A name keeps its address.
    pub(crate) fn hardware_address(&self, interface: &str) -> [u8; 6] {
        let mut interfaces = self.interfaces.lock().unwrap_or_else(PoisonError::into_inner);
        let next = u16::try_from(interfaces.len() + 1).unwrap_or(u16::MAX);
        let interface = *interfaces.entry(interface.to_owned()).or_insert(next);
        let ([a, b], [c, d]) = (self.number.to_be_bytes(), interface.to_be_bytes());
        [0x02, 0x6d, a, b, c, d]
    }

    /// Returns an interface name that is unused in this node.
    pub(crate) fn next_interface_name(&self) -> String {
        format!("w{}", self.generated_names.fetch_add(1, Relaxed))
    }
}

/// An interface of a host, in its state right after it was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostInterface {
    /// The name of the host.
    pub host: String,
    /// The name of the interface.
    pub name: String,
    /// The index of the interface in the host.
    pub index: u32,
    /// The Ethernet address: locally administered, and the same whenever the lab is built the same way.
    pub hardware_address: [u8; 6],
    /// The assigned addresses, without the IPv6 link-local address that every interface has.
    pub addresses: Vec<CidrAddress>,
}

impl HostInterface {
    /// Returns the first assigned IPv4 address.
    #[must_use]
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        self.addresses.iter().find_map(|address| match address.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    }

    /// Returns the first assigned IPv6 address.
    #[must_use]
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        self.addresses.iter().find_map(|address| match address.address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        })
    }

    /// Returns the link-local address that the kernel derives from the hardware address (RFC 4291, appendix A).
    #[must_use]
    pub fn link_local(&self) -> Ipv6Addr {
        link_local(self.hardware_address)
    }
}

pub(crate) fn link_local([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// The environment variable that lists the accessible hosts: `NAME=DESCRIPTOR`, separated by commas.
const VARIABLE: &str = "MCAST_LAB_HOSTS";

impl Command {
    /// Allows the program, and the programs that it starts, to enter these hosts of the same lab with [`enter_host`].
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Gone`] when the lab was dropped.
    pub fn grant_access_to<'a>(
        &mut self,
        hosts: impl IntoIterator<Item = &'a Host>,
    ) -> Result<&mut Self, LabError> {
        let mut entries = Vec::new();
        for host in hosts {
            let live = host.node.namespace.live()?;
            entries.push(format!("{}={}", host.name(), live.as_fd().as_raw_fd()));
            sys::host_access::keep_open_in_child(&mut self.command, live);
        }
        Ok(self.env(VARIABLE, entries.join(",")))
    }
}

/// Moves the calling thread to another host of the lab in which this program was started.
///
/// # Errors
///
/// [`LabErrorKind::Unsupported`] in a program without [access](Command::grant_access_to) to any host,
/// [`LabErrorKind::Missing`] for a host to which it has no access, or the system's error.
pub fn enter_host(name: &str) -> Result<(), LabError> {
    let failed = |kind| LabError::new(format!("enter the host '{name}'"), kind);
    let no_lab =
        || failed(LabErrorKind::Unsupported("this program was not started in a lab's shell".to_owned()));
    let entries = env::var(VARIABLE).map_err(|_| no_lab())?;
    let hosts: Vec<(&str, RawFd)> = entries.split(',').filter_map(parse_entry).collect();
    let Some((_, descriptor)) = hosts.iter().find(|(host, _)| *host == name) else {
        let names: Vec<&str> = hosts.iter().map(|(host, _)| *host).collect();
        let missing = format!("there is no such host; the hosts are {}", names.join(", "));
        return Err(failed(LabErrorKind::Missing(missing)));
    };
    sys::host_access::enter(*descriptor, name).context(|| format!("enter the host '{name}'"))
}

/// Returns the names of the hosts that [`enter_host`] can enter; none in a program that was not started in a lab's shell.
#[must_use]
pub fn accessible_hosts() -> Vec<String> {
    let entries = env::var(VARIABLE).unwrap_or_default();
    entries.split(',').filter_map(parse_entry).map(|(host, _)| host.to_owned()).collect()
}

fn parse_entry(text: &str) -> Option<(&str, RawFd)> {
    let (host, descriptor) = text.rsplit_once('=')?;
    Some((host, descriptor.parse().ok()?))
}
