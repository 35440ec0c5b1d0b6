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

/// Gives the calling thread, or process that has one thread, a host name of its own. Allocates nothing.
pub(crate) fn set_host_name(name: &str) -> io::Result<()> {
    // SAFETY: no pointers; only the calling thread changes.
    check(unsafe { libc::unshare(libc::CLONE_NEWUTS) })?;
    // SAFETY: the pointer and the length are those of a text.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len() as _) }).map(drop)
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

/// Whether the calling thread has `CAP_SYS_ADMIN`, which making namespaces needs.
pub(crate) fn is_administrator() -> io::Result<bool> {
    const CAP_SYS_ADMIN: u64 = 21;
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
    Ok(bits >> CAP_SYS_ADMIN & 1 == 1)
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
