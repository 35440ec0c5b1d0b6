//! Descriptors of namespaces that programs take along.

use std::{
    io,
    os::{fd::RawFd, unix::process::CommandExt},
    process,
};

use super::{check, namespace::set_host_name};

/// Has `command` keep a descriptor over exec. `owner` keeps it open as long as the command may be spawned.
pub(crate) fn hand_over(
    command: &mut process::Command,
    descriptor: RawFd,
    owner: impl Send + Sync + 'static,
) {
    let keep = move || {
        let _ = &owner;
        // SAFETY: no pointers; in the child, whose descriptors are its own.
        check(unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) }).map(drop)
    };
    // SAFETY: between fork and exec a single system call is made: no allocation, no locks.
    unsafe { command.pre_exec(keep) };
}

/// Moves the calling thread to the network namespace behind a descriptor, under this host name.
pub(crate) fn enter(descriptor: RawFd, host_name: &str) -> io::Result<()> {
    // SAFETY: no pointers; the kernel refuses what is no network namespace.
    check(unsafe { libc::setns(descriptor, libc::CLONE_NEWNET) })?;
    set_host_name(host_name)
}
