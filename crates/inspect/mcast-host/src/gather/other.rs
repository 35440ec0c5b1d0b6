//! Systems other than Linux: interfaces with their addresses, the routes of groups, and what the system's own
//! tools report.

use std::collections::BTreeMap;
use std::process::Command;

#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
use super::bsd as tools;
#[cfg(windows)]
use super::windows as tools;
use crate::kernel_drops::KernelDrops;
use crate::snapshot::{HostSnapshot, JoinedGroup, Link};
use crate::{ExaminedPart, Result};

/// Takes a snapshot of this machine.
///
/// # Errors
/// If the interfaces cannot be listed.
pub fn snapshot() -> Result<HostSnapshot> {
    let part = ExaminedPart::new("joined groups");
    let (holdings, part) = match mcast::joined::memberships() {
        Ok(all) => (all.holdings, part),
        Err(error) => (Vec::new(), part.without(error)),
    };
    let joined = holdings
        .iter()
        .map(|holding| JoinedGroup { group: holding.group.addr(), interface: holding.interface });
    Ok(HostSnapshot {
        parts: vec![part],
        group_routes: super::group_routes(),
        joined: joined.collect(),
        links: mcast::interface::list()?.into_iter().map(Link::from).collect(),
        ..tools::query(output)
    })
}

/// Returns an empty snapshot: what these systems have instead of rules is not known.
///
/// # Errors
/// None on these systems.
#[allow(clippy::unnecessary_wraps, reason = "it fails on Linux")]
pub fn sending_snapshot() -> Result<HostSnapshot> {
    Ok(HostSnapshot::default())
}

/// Returns no counts: these systems do not count what their IP layer accepts for groups.
pub fn accepted_packets() -> BTreeMap<mcast::Family, u64> {
    BTreeMap::new()
}

/// Returns no counts: the tools that report them are slow.
pub fn refused_frames() -> BTreeMap<mcast::InterfaceIndex, u64> {
    BTreeMap::new()
}

/// Keeps the counters: the tools that report them are slow.
pub fn refresh_counters(_machine: &mut HostSnapshot) {}

/// Returns no counts, because no tool reports them cheaply.
pub fn host_drops() -> mcast_measure::DropCounts {
    mcast_measure::DropCounts::default()
}

/// Counts nothing: these systems report no reasons for drops.
#[derive(Debug)]
pub struct DropCounter;

impl DropCounter {
    /// Prepares nothing.
    pub fn prepare() -> Self {
        Self
    }

    /// Starts nothing.
    pub fn start(&mut self) {}

    /// Returns no drops, and no reason: these systems report none.
    pub fn finish(self) -> KernelDrops {
        KernelDrops::default()
    }
}

/// Returns an empty map: these systems do not report the queues of sockets.
pub fn queues() -> BTreeMap<u64, u64> {
    BTreeMap::new()
}

/// Returns no drops, because no tool reports them cheaply.
pub fn socket_drops() -> BTreeMap<u64, u64> {
    BTreeMap::new()
}

/// Returns the standard output of a program; empty if the program does not exist.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// Counting rules at the hooks of a packet filter, which these systems do not have.
pub(super) mod counting_rules {
    use std::io;

    use crate::netfilter::{CountingPlan, HookCounts};

    /// There are no such rules.
    #[derive(Debug)]
    pub struct CountingRules {
        /// The number of rules.
        pub rules: usize,
    }

    impl CountingRules {
        /// Adds nothing.
        ///
        /// # Errors
        /// Always [`io::ErrorKind::Unsupported`].
        pub fn add(_plan: &CountingPlan) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        /// Returns no name.
        pub fn table(&self) -> &str {
            ""
        }

        /// Reads nothing.
        ///
        /// # Errors
        /// Always [`io::ErrorKind::Unsupported`].
        pub fn read(&mut self) -> io::Result<HookCounts> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

/// The owners of sockets, which these systems do not report without extra tools.
pub mod processes {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    use mcast_sys::{SendAnswer, SocketOptions};

    use crate::snapshot::SocketOwners;
    use crate::{Error, ProcessState};

    /// Returns an empty map: the options of other programs' sockets are unknown.
    pub fn socket_options() -> BTreeMap<u64, SocketOptions> {
        BTreeMap::new()
    }

    /// Returns `None`: other programs' sockets cannot be borrowed.
    pub fn answer_to_send(_pid: u32, _inode: u64, _to: SocketAddr) -> Option<SendAnswer> {
        None
    }

    /// Returns `None`: the state of a process is unknown.
    pub fn state(_pid: u32) -> Option<ProcessState> {
        None
    }

    /// Returns an empty map: the owners are unknown.
    pub fn owners() -> SocketOwners {
        SocketOwners::new()
    }

    /// The variable that marks the environment of a program that the doctor has started.
    pub const MARK: &str = "MCAST_DOCTOR_PROGRAM";

    /// Returns an empty list: the environments of processes are unknown.
    pub fn marked(_mark: &str) -> Vec<u32> {
        Vec::new()
    }

    /// Returns an empty list: descendants are unknown.
    pub fn family(_pid: u32) -> Vec<u32> {
        Vec::new()
    }

    /// Returns a process as `process PID`, because its name is unknown.
    pub fn name(pid: u32) -> String {
        format!("process {pid}")
    }

    /// Returns `None`: these systems have no network namespaces.
    pub fn elsewhere(_port: u16) -> Option<Error> {
        None
    }

    /// Returns the error for a process whose UDP sockets were not found.
    pub fn not_found_error(_pid: u32, _family: &[u32]) -> Error {
        Error::Unsupported(
            "this system does not report the owners of sockets; examine the membership instead",
        )
    }
}
