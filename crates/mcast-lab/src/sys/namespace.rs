//! Leaving for new namespaces.

use std::{
    fs::{self, File},
    io,
    os::fd::OwnedFd,
};

use super::check;

/// Moves the calling thread into a new, empty network namespace.
pub(crate) fn unshare_network() -> io::Result<()> {
    // SAFETY: no pointers; only the calling thread changes.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// Moves the calling process, which must have one thread, into a new user namespace.
pub(crate) fn unshare_user() -> io::Result<()> {
    // SAFETY: no pointers; the kernel refuses when other threads are alive.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER) }).map(drop)
}

/// Names the only user of a fresh user namespace `root`. `user` and `group` are its ids outside.
pub(crate) fn map_to_root(user: u32, group: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

/// The effective ids of the calling process.
pub(crate) fn effective_ids() -> (u32, u32) {
    // SAFETY: neither takes arguments nor fails.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// The calling thread's network namespace.
pub(crate) fn network() -> io::Result<OwnedFd> {
    File::open("/proc/thread-self/ns/net").map(OwnedFd::from)
}

/// The calling process's user namespace.
pub(crate) fn user() -> io::Result<OwnedFd> {
    File::open("/proc/self/ns/user").map(OwnedFd::from)
}
