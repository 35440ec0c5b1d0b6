//! A process that outlives this one by a moment, to kill what it has left running.
//!
//! A program that a lab starts dies with this process (`PR_SET_PDEATHSIG`), but what that program has started
//! does not. When this process is killed it cannot see to that itself any more.

use std::{
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, RawFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process, ptr,
};

use super::check;

/// More process groups than a lab has programs.
const MOST_GROUPS: usize = 1 << 16;

/// Forks the guardian: it takes orders until the other end of `orders` is closed everywhere, then kills the
/// process groups it was told of and ends. Returns its process id.
pub(crate) fn fork(orders: &UnixStream) -> io::Result<libc::pid_t> {
    // Memory must be had before: the child of a process with many threads may not allocate.
    let mut groups = vec![0; MOST_GROUPS];
    let mask = block_signals()?;
    // SAFETY: the child calls nothing but what is safe in a signal handler, and never returns.
    let child = check(unsafe { libc::fork() });
    if let Ok(0) = child {
        guard(orders.as_raw_fd(), &mut groups);
    }
    restore_signals(&mask)?;
    child
}

/// Has `command`, which leads a process group of its own, tell the guardian of it between fork and exec, so
/// that there is no moment in which it goes unguarded.
///
/// `orders` must stay open until the command has been spawned.
pub(crate) fn announce_before_exec(command: &mut process::Command, orders: RawFd) {
    // SAFETY: between fork and exec only system calls are made, and the descriptor is open.
    let announce = move || unsafe { send(BorrowedFd::borrow_raw(orders), libc::getpid()) };
    // SAFETY: as above: no allocation, no locks.
    unsafe { command.pre_exec(announce) };
}

/// Has the guardian forget a process group, whose id may soon be another's.
pub(crate) fn forget(orders: BorrowedFd<'_>, group: u32) -> io::Result<()> {
    send(orders, -(group as libc::pid_t))
}

/// Waits until a guardian whose orders have been closed has ended. To be called by a thread of the process that
/// forked it.
pub(crate) fn wait(guardian: libc::pid_t) -> io::Result<()> {
    // SAFETY: no pointers but null.
    check(unsafe { libc::waitpid(guardian, ptr::null_mut(), 0) }).map(drop)
}

fn send(orders: BorrowedFd<'_>, order: libc::pid_t) -> io::Result<()> {
    let bytes = order.to_ne_bytes();
    // SAFETY: the buffer is as long as it is said to be. No signal, should the guardian be gone.
    let sent =
        unsafe { libc::send(orders.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The guardian's life. Positive orders are groups to guard, negative ones groups to forget.
fn guard(orders: RawFd, groups: &mut [libc::pid_t]) -> ! {
    keep_only(orders);
    while let Some(order) = next_order() {
        let (sought, becomes) = if order > 0 { (0, order) } else { (-order, 0) };
        if let Some(slot) = groups.iter_mut().find(|group| **group == sought) {
            *slot = becomes;
        }
    }
    for group in groups.iter().filter(|group| **group > 0) {
        // SAFETY: no pointers.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
    // SAFETY: ends this process without running what belongs to its parent.
    unsafe { libc::_exit(0) }
}

/// Makes `orders` standard input and closes everything else: pipes and namespaces must not live on here.
fn keep_only(orders: RawFd) {
    // SAFETY: descriptors of this process alone, which nobody else in it uses; the name ends with a zero.
    unsafe {
        libc::setsid();
        libc::prctl(libc::PR_SET_NAME, c"mcast-lab guard".as_ptr());
        libc::dup2(orders, 0);
        if libc::syscall(libc::SYS_close_range, 1, libc::c_uint::MAX, 0) < 0 {
            // Linux before 5.9.
            (1..MOST_GROUPS as RawFd).for_each(|descriptor| {
                libc::close(descriptor);
            });
        }
    }
}

fn next_order() -> Option<libc::pid_t> {
    let mut bytes = [0; size_of::<libc::pid_t>()];
    // SAFETY: the buffer is as long as it is said to be.
    let read = unsafe { libc::read(0, bytes.as_mut_ptr().cast(), bytes.len()) };
    (read == bytes.len() as isize).then(|| libc::pid_t::from_ne_bytes(bytes))
}

/// Blocks all signals in this thread, as the guardian will have them: Ctrl-C is not for it. Returns the mask
/// there was before.
fn block_signals() -> io::Result<libc::sigset_t> {
    // SAFETY: both sets are initialised before they are read; only this thread's mask changes.
    let (result, before) = unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        (libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before), before)
    };
    if result == 0 { Ok(before) } else { Err(io::Error::from_raw_os_error(result)) }
}

fn restore_signals(mask: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: a mask that the kernel gave; only this thread's mask changes.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}
