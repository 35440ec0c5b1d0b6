//! What ends the programs of a lab: a process that kills them when this process has been killed, and a search for those that
//! they left in the background.

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::{fs, io, process};

use mcast_sys::lab::process as sys;

use crate::namespace::LiveNamespace;

/// A process that kills the process groups of a lab's programs when this process has ended.
#[derive(Debug)]
pub(crate) struct Watchdog {
    id: i32,
    /// The watchdog ends, and kills the groups it watches, when this end of the connection is closed.
    requests: Option<UnixStream>,
}

impl Watchdog {
    /// Forks the watchdog. It must be dropped by a thread of the same process, which waits for it then.
    pub(crate) fn start() -> io::Result<Self> {
        let (requests, inbox) = UnixStream::pair()?;
        let id = sys::fork_watchdog(&inbox)?;
        Ok(Self { id, requests: Some(requests) })
    }

    /// Makes the watchdog watch the process group that `command` will lead, from before the program starts.
    pub(crate) fn watch(&self, command: &mut process::Command) {
        if let Some(requests) = &self.requests {
            sys::announce_before_exec(command, requests.as_fd());
        }
    }

    /// Makes the watchdog forget a group that has just been killed, because its id may be reused.
    pub(crate) fn forget(&self, group: u32) -> io::Result<()> {
        self.requests.as_ref().map_or(Ok(()), |requests| sys::forget(requests.as_fd(), group))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.requests.take();
        let _ = sys::wait_for_watchdog(self.id);
    }
}

/// Processes that start while others are being killed are killed in a further round.
const MAX_ROUNDS: usize = 16;

/// The device and inode number that identify a namespace.
type Identity = (u64, u64);

/// Kills every other process that is in one of these namespaces.
pub(crate) fn kill_all(namespaces: &[Arc<LiveNamespace>]) {
    let ours: Vec<Identity> = namespaces.iter().filter_map(|live| identity(live).ok()).collect();
    for _ in 0..MAX_ROUNDS {
        let killed = processes().filter(|process| kill_if_in(*process, &ours).unwrap_or(false)).count();
        if killed == 0 {
            return;
        }
    }
}

fn identity(namespace: &LiveNamespace) -> io::Result<Identity> {
    identity_at(&format!("/proc/self/fd/{}", namespace.as_fd().as_raw_fd()))
}

fn identity_at(path: &str) -> io::Result<Identity> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Returns the ids of all processes except this one, whose own threads are in the namespaces of its labs.
fn processes() -> impl Iterator<Item = u32> {
    mcast_sys::process::ids().into_iter().flatten().filter(|id| *id != std::process::id())
}

/// Kills a process if it is in one of the namespaces, and returns whether it was.
///
/// The namespace is checked again after the process descriptor was opened, so that a process which has taken over
/// the id in between is not killed.
fn kill_if_in(process: u32, namespaces: &[Identity]) -> io::Result<bool> {
    let is_ours =
        || identity_at(&format!("/proc/{process}/ns/net")).map(|identity| namespaces.contains(&identity));
    if !is_ours()? {
        return Ok(false);
    }
    let descriptor = sys::pidfd_open(process)?;
    let is_ours = is_ours()?;
    if is_ours {
        sys::kill(descriptor.as_fd())?;
    }
    Ok(is_ours)
}
