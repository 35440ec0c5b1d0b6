//! Kills the processes that programs of a lab have left in it: in the background, in sessions of their own.

use std::{
    fs, io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::MetadataExt,
    },
    sync::Arc,
};

use mcast_sys::lab::process as sys;

use crate::namespace::LiveNamespace;

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
