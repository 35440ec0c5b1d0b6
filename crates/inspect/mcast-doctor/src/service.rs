//! Things that announce themselves, which a person looks for by name: a printer, a speaker, a node.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use mcast::{InterfaceIndex, InterfaceSelector};
use mcast_watch::discovery::Discovered;

/// What to look for: the name of a service, a device or a host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceTarget {
    /// The name, or a part of it, in any case: `Office printer`, `office`, `printer.local`.
    pub name: String,
    /// The interfaces of the programs that look for it; none means all.
    pub interfaces: Vec<InterfaceSelector>,
}

impl ServiceTarget {
    /// Looks for a name on all interfaces.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), interfaces: Vec::new() }
    }

    /// Sets the interfaces.
    #[must_use]
    pub fn on(self, interfaces: impl IntoIterator<Item = InterfaceSelector>) -> Self {
        Self { interfaces: interfaces.into_iter().collect(), ..self }
    }
}

/// Writes the name in quotes.
impl fmt::Display for ServiceTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name)
    }
}

/// What was observed of a name.
#[derive(Clone, Debug)]
pub(crate) struct ServiceSearch {
    pub(crate) target: ServiceTarget,
    /// The interfaces of the programs that look for it.
    pub(crate) wanted: BTreeSet<InterfaceIndex>,
    /// What has the name, on any interface.
    pub(crate) found: Vec<Discovered>,
    /// What else was announced by other hosts.
    pub(crate) others: Vec<Discovered>,
    /// What this machine announces by DDS.
    pub(crate) own: Vec<Discovered>,
    /// The interfaces that were listened on.
    pub(crate) listened_on: Vec<InterfaceIndex>,
    pub(crate) listened: Duration,
    /// Why some announcements could not be seen.
    pub(crate) gaps: Vec<String>,
    /// The results of connecting to the addresses of what was found.
    pub(crate) connections: BTreeMap<SocketAddr, Connection>,
}

/// What became of a TCP connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    Accepted,
    /// A host is there, and nothing listens on the port.
    Refused,
    /// No answer arrived.
    Silent,
    /// The system reports that it cannot get there.
    Unreachable(String),
}
