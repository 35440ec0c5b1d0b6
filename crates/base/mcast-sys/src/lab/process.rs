//! Starting and killing programs; and a child process that outlives this process briefly, to kill the programs that it leaves
//! running.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::{io, process, ptr};

use super::check;
use super::namespace::set_host_name;

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

/// The maximum number of process groups, more than a lab has programs.
const MAX_GROUPS: usize = 1 << 16;

/// Forks the watchdog and returns its process id. It serves requests until the other end of `requests` is closed
/// everywhere, then kills the process groups that it watches, and ends.
pub fn fork_watchdog(requests: &UnixStream) -> io::Result<libc::pid_t> {
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
pub fn wait_for_watchdog(watchdog: libc::pid_t) -> io::Result<()> {
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
