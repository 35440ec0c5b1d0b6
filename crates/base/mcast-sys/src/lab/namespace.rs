//! Creating and entering namespaces.

use std::{
    fs::{self, File},
    io,
    os::fd::OwnedFd,
};

use super::check;

/// Moves the calling thread into a new, empty network namespace.
pub fn unshare_network() -> io::Result<()> {
    // SAFETY: no pointers; only the calling thread changes.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// Moves the calling thread into a new UTS namespace and sets the host name there. Does not allocate, so that it can
/// be called between fork and exec.
pub fn set_host_name(name: &str) -> io::Result<()> {
    // SAFETY: no pointers; only the calling thread changes.
    check(unsafe { libc::unshare(libc::CLONE_NEWUTS) })?;
    // SAFETY: the pointer and the length are those of a string.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len() as _) }).map(drop)
}

/// Moves the calling process, which must have one thread, into a new user namespace.
pub fn unshare_user() -> io::Result<()> {
    // SAFETY: no pointers; the kernel refuses when other threads are alive.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER) }).map(drop)
}

/// Maps a user and a group to root in the new user namespace of the calling process.
pub fn map_to_root(user: u32, group: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

/// Returns whether the calling thread has `CAP_SYS_ADMIN`, which creating namespaces needs.
pub fn is_administrator() -> io::Result<bool> {
    const CAP_SYS_ADMIN: u64 = 21;
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
    Ok(bits >> CAP_SYS_ADMIN & 1 == 1)
}

/// Returns the effective user and group id of the calling process.
pub fn effective_ids() -> (u32, u32) {
    // SAFETY: neither takes arguments nor fails.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// Opens the network namespace of the calling thread.
pub fn network() -> io::Result<OwnedFd> {
    File::open("/proc/thread-self/ns/net").map(OwnedFd::from)
}

/// Opens the user namespace of the calling process.
pub fn user() -> io::Result<OwnedFd> {
    File::open("/proc/self/ns/user").map(OwnedFd::from)
}
