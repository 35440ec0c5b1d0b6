//! Starting and killing programs.

use std::{
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    process,
};

use super::{check, namespace::set_host_name};

/// Makes the programs that `command` starts enter the namespaces between fork and exec and set the host name. They
/// are killed when the thread that started them ends.
///
/// The descriptors must stay open until the program has been spawned.
pub fn enter_before_exec(
    command: &mut process::Command,
    user: Option<BorrowedFd<'_>>,
    network: BorrowedFd<'_>,
    host_name: &str,
) {
    let host_name = host_name.to_owned();
    // Numbers, because the closure outlives the borrow: duplicates would keep the namespaces alive.
    let (user, network) = (user.map(|user| user.as_raw_fd()), network.as_raw_fd());
    let enter = move || {
        if let Some(user) = user {
            set_namespace(user, libc::CLONE_NEWUSER)?;
        }
        set_namespace(network, libc::CLONE_NEWNET)?;
        set_host_name(&host_name)?;
        // After entering the user namespace, because changing credentials clears the setting.
        die_with_parent()
    };
    // SAFETY: between fork and exec the closure makes only system calls: no allocation, no locks.
    unsafe { command.pre_exec(enter) };
}

fn set_namespace(descriptor: RawFd, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::setns(descriptor, kind) }).map(drop)
}

/// Makes the kernel kill the calling process when the thread that started it ends (`PR_SET_PDEATHSIG`).
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }).map(drop)
}

/// Opens a descriptor that becomes readable when the process ends. The process must not have been reaped yet.
pub fn pidfd_open(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the result is checked.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, id as libc::pid_t, 0) };
    let descriptor = check(descriptor as libc::c_int)?;
    // SAFETY: the descriptor is new and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Sends a signal to a process that has not been reaped yet.
pub fn signal(id: u32, signal: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::kill(id as libc::pid_t, signal) }).map(drop)
}

/// Sends a signal to a whole process group.
pub fn signal_group(id: u32, signal: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::kill(-(id as libc::pid_t), signal) }).map(drop)
}

/// Kills the process of a descriptor, and no other process, even if its id has been reused.
pub fn kill(process: BorrowedFd<'_>) -> io::Result<()> {
    let no_details = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: no pointers but null.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), libc::SIGKILL, no_details, 0)
    };
    check(result as libc::c_int).map(drop)
}
