//! Namespace descriptors that started programs inherit.

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd, RawFd},
        unix::process::CommandExt,
    },
    process,
};

use super::{check, namespace::set_host_name};

/// Makes the programs that `command` starts inherit the descriptor of `owner`, which is dropped with the command.
pub fn keep_open_in_child(command: &mut process::Command, owner: impl AsFd + Send + Sync + 'static) {
    let clear_close_on_exec = move || {
        // SAFETY: no pointers; in the child, whose descriptors are its own.
        check(unsafe { libc::fcntl(owner.as_fd().as_raw_fd(), libc::F_SETFD, 0) }).map(drop)
    };
    // SAFETY: between fork and exec the closure makes a single system call: no allocation, no locks.
    unsafe { command.pre_exec(clear_close_on_exec) };
}

/// Moves the calling thread to the network namespace of an inherited descriptor with this number, and sets its host
/// name.
pub fn enter(number: RawFd, host_name: &str) -> io::Result<()> {
    // SAFETY: no pointers; the kernel rejects descriptors of anything but a network namespace.
    check(unsafe { libc::setns(number, libc::CLONE_NEWNET) })?;
    set_host_name(host_name)
}
