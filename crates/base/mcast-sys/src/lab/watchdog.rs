//! A child process that outlives this process briefly, to kill the programs that it leaves running.
//!
//! The kernel kills the programs that a lab started when this process ends (`PR_SET_PDEATHSIG`), but not the programs
//! that those have started. When this process is killed it cannot do that itself.

use std::{
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, RawFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process, ptr,
};

use super::check;

/// The maximum number of process groups, more than a lab has programs.
const MAX_GROUPS: usize = 1 << 16;

/// Forks the watchdog and returns its process id. It serves requests until the other end of `requests` is closed
/// everywhere, then kills the process groups that it watches, and ends.
pub fn fork(requests: &UnixStream) -> io::Result<libc::pid_t> {
    // Allocated before the fork, because the child of a process with several threads must not allocate.
    let mut groups = vec![0; MAX_GROUPS];
    let mask = block_signals()?;
    // SAFETY: the child calls only async-signal-safe functions, and never returns.
    let child = check(unsafe { libc::fork() });
    if let Ok(0) = child {
        watch(requests.as_raw_fd(), &mut groups);
    }
    restore_signals(&mask)?;
    child
}

/// Makes the programs that `command` starts, which lead process groups of their own, announce their groups to the
/// watchdog between fork and exec, so that they are watched from the start.
///
/// `requests` must stay open until the program has been spawned.
pub fn announce_before_exec(command: &mut process::Command, requests: BorrowedFd<'_>) {
    // A number, because the closure outlives the borrow: a duplicate would keep the watchdog running.
    let requests = requests.as_raw_fd();
    // SAFETY: between fork and exec only system calls are made, and the descriptor is open.
    let announce = move || unsafe { send(BorrowedFd::borrow_raw(requests), libc::getpid()) };
    // SAFETY: as above: no allocation, no locks.
    unsafe { command.pre_exec(announce) };
}

/// Makes the watchdog forget a process group, because its id may be reused soon.
pub fn forget(requests: BorrowedFd<'_>, group: u32) -> io::Result<()> {
    send(requests, -(group as libc::pid_t))
}

/// Waits until a watchdog whose requests have been closed has ended. Call it in the process that forked it.
pub fn wait(watchdog: libc::pid_t) -> io::Result<()> {
    // SAFETY: no pointers but null.
    check(unsafe { libc::waitpid(watchdog, ptr::null_mut(), 0) }).map(drop)
}

fn send(requests: BorrowedFd<'_>, request: libc::pid_t) -> io::Result<()> {
    let bytes = request.to_ne_bytes();
    // SAFETY: the length is that of the buffer. MSG_NOSIGNAL: no SIGPIPE if the watchdog has ended.
    let sent =
        unsafe { libc::send(requests.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Runs the watchdog. Positive requests are groups to watch, negative ones are groups to forget.
fn watch(requests: RawFd, groups: &mut [libc::pid_t]) -> ! {
    keep_only(requests);
    while let Some(request) = next_request() {
        // Free slots are 0.
        let (old, new) = if request > 0 { (0, request) } else { (-request, 0) };
        if let Some(slot) = groups.iter_mut().find(|group| **group == old) {
            *slot = new;
        }
    }
    for group in groups.iter().filter(|group| **group > 0) {
        // SAFETY: no pointers.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
    // SAFETY: ends this process without running the exit handlers of its parent.
    unsafe { libc::_exit(0) }
}

/// Makes `requests` standard input and closes all other descriptors, which would keep pipes and namespaces open.
fn keep_only(requests: RawFd) {
    // SAFETY: the descriptors belong to this process, and no other code in it uses them; the name ends with a zero.
    unsafe {
        libc::setsid();
        libc::prctl(libc::PR_SET_NAME, c"mcast-lab guard".as_ptr());
        libc::dup2(requests, 0);
        if libc::syscall(libc::SYS_close_range, 1, libc::c_uint::MAX, 0) < 0 {
            // Linux before 5.9 has no close_range.
            (1..MAX_GROUPS as RawFd).for_each(|descriptor| {
                libc::close(descriptor);
            });
        }
    }
}

fn next_request() -> Option<libc::pid_t> {
    let mut bytes = [0; size_of::<libc::pid_t>()];
    // SAFETY: the length is that of the buffer.
    let read = unsafe { libc::read(0, bytes.as_mut_ptr().cast(), bytes.len()) };
    (read == bytes.len() as isize).then(|| libc::pid_t::from_ne_bytes(bytes))
}

/// Blocks all signals in this thread, so that the watchdog inherits the mask and ignores Ctrl-C. Returns the previous
/// mask.
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
    // SAFETY: the mask comes from the kernel; only this thread's mask changes.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}
