//! Waiting for many sockets, or a wake-up, through one descriptor (kqueue).

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::{Duration, Instant};

use super::socket::Socket;
use crate::readable::{wait_for, wait_once};
use crate::ready::{READY_AT_ONCE, Ready, WakeReason};

/// Every socket is registered with the poller.
pub const WAITS_BESIDE: bool = false;

/// The token of the wake-up event.
const WAKE: usize = usize::MAX;
/// The token of the interface watch.
const WATCH: usize = usize::MAX - 1;

/// Waits for sockets, wake-ups and interface changes.
#[derive(Debug)]
pub struct Poller {
    queue: OwnedFd,
}

impl Poller {
    /// Creates a poller without sockets.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointers, and its result is checked.
        let descriptor = unsafe { libc::kqueue() };
        if descriptor == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and has no other owner.
        let poller = Self { queue: unsafe { OwnedFd::from_raw_fd(descriptor) } };
        // SAFETY: sets a flag of a descriptor that this function owns.
        if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
            return Err(io::Error::last_os_error());
        }
        // The event is cleared when it is read, so that only one of several threads gets the
        // wake-up.
        poller.change(WAKE, libc::EVFILT_USER, libc::EV_ADD | libc::EV_CLEAR, 0, WAKE)?;
        Ok(poller)
    }

    /// Registers a socket under this token.
    pub fn add(&self, socket: &Socket, token: usize) -> io::Result<()> {
        self.add_descriptor(socket.as_fd(), token)
    }

    /// Removes a socket.
    pub fn remove(&self, socket: &Socket) -> io::Result<()> {
        self.change(identity(socket.as_fd()), libc::EVFILT_READ, libc::EV_DELETE, 0, 0)
    }

    /// Registers the descriptor that reports interface changes.
    pub fn add_watch(&self, watch: &impl AsFd) -> io::Result<()> {
        self.add_descriptor(watch.as_fd(), WATCH)
    }

    /// Waits until something is ready or the timeout has passed; returns whether something is
    /// ready. A signal handler that runs in this thread ends the wait with an error.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let ready = wait_once(self.queue.as_fd(), libc::POLLIN, deadline)?;
            if ready || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(ready);
            }
        }
    }

    /// Waits as [`wait`](Self::wait) does, because every socket is registered.
    pub fn wait_beside(&self, _socket: &Socket, timeout: Option<Duration>) -> io::Result<WakeReason> {
        Ok(if self.wait(timeout)? { WakeReason::Poller } else { WakeReason::Nothing })
    }

    /// Polls for at most `limit` ready sockets without waiting. The kernel rotates among them from
    /// call to call.
    pub fn ready(&self, limit: usize, found: &mut Ready) -> io::Result<()> {
        let no_time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        found.clear();
        // SAFETY: `kevent` is plain data, for which zeroes are valid.
        let mut events: [libc::kevent; READY_AT_ONCE] = unsafe { zeroed() };
        // SAFETY: no changes are passed, and `events` is live and has the given length.
        let count = unsafe {
            libc::kevent(
                self.queue.as_raw_fd(),
                ptr::null(),
                0,
                events.as_mut_ptr(),
                limit.clamp(1, READY_AT_ONCE) as libc::c_int,
                &raw const no_time,
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for event in &events[..count] {
            match event.udata.addr() {
                WAKE => found.woken = true,
                WATCH => found.interfaces_changed = true,
                token => {
                    found.push(token);
                }
            }
        }
        Ok(())
    }

    /// Ends the current wait, or the next one.
    pub fn wake(&self) -> io::Result<()> {
        self.change(WAKE, libc::EVFILT_USER, 0, libc::NOTE_TRIGGER, WAKE)
    }

    pub(crate) fn add_descriptor(&self, descriptor: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        self.change(identity(descriptor), libc::EVFILT_READ, libc::EV_ADD, 0, token)
    }

    fn change(
        &self,
        identity: usize,
        filter: i16,
        flags: u16,
        filter_flags: u32,
        token: usize,
    ) -> io::Result<()> {
        // SAFETY: `kevent` is plain data, for which zeroes are valid.
        let mut change: libc::kevent = unsafe { zeroed() };
        change.ident = identity;
        change.filter = filter;
        change.flags = flags;
        change.fflags = filter_flags;
        change.udata = ptr::without_provenance_mut(token);
        // SAFETY: one live change is passed, and no space for events.
        let result = unsafe {
            libc::kevent(self.queue.as_raw_fd(), &raw const change, 1, ptr::null_mut(), 0, ptr::null())
        };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

/// Waits until the socket accepts another datagram.
pub fn wait_writable(socket: &Socket, timeout: Option<Duration>) -> io::Result<bool> {
    wait_for(socket.as_fd(), libc::POLLOUT, timeout)
}

/// Waits until the socket has a datagram.
pub fn wait_readable(socket: &Socket, timeout: Option<Duration>) -> io::Result<bool> {
    wait_for(socket.as_fd(), libc::POLLIN, timeout)
}

/// Returns the kqueue identifier of a descriptor. An open descriptor is never negative.
fn identity(descriptor: BorrowedFd<'_>) -> usize {
    descriptor.as_raw_fd() as usize
}
