//! Waiting for many sockets, or to be woken, behind one descriptor (kqueue).

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use super::socket::Socket;
use crate::sys::readable::wait_for;
use crate::sys::ready::{READY_AT_ONCE, Ready, Roused};

/// Every socket is waited for in the poller.
pub(crate) const WAITS_BESIDE: bool = false;

/// The token by which a wake-up is told from a socket.
const WAKE: usize = usize::MAX;
/// The token of the interface watch.
const WATCH: usize = usize::MAX - 1;

/// Waits for sockets, a wake-up, and changes of the interfaces.
#[derive(Debug)]
pub(crate) struct Poller {
    queue: OwnedFd,
}

impl Poller {
    /// A poller without sockets.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: it takes no pointers; its result is checked.
        let descriptor = unsafe { libc::kqueue() };
        if descriptor == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is fresh, and nobody else's.
        let poller = Self { queue: unsafe { OwnedFd::from_raw_fd(descriptor) } };
        // SAFETY: sets a flag of a descriptor of ours.
        if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
            return Err(io::Error::last_os_error());
        }
        // Cleared when it is taken, so that of several threads one gets the wake-up.
        poller.change(WAKE, libc::EVFILT_USER, libc::EV_ADD | libc::EV_CLEAR, 0, WAKE)?;
        Ok(poller)
    }

    /// Watches a socket under this token.
    pub(crate) fn add(&self, socket: &Socket, token: usize) -> io::Result<()> {
        self.add_descriptor(socket.as_fd(), token)
    }

    /// Watches no longer.
    pub(crate) fn remove(&self, socket: &Socket) -> io::Result<()> {
        self.change(identity(socket.as_fd()), libc::EVFILT_READ, libc::EV_DELETE, 0, 0)
    }

    /// Watches the descriptor that tells of changed interfaces.
    pub(crate) fn add_watch(&self, watch: &impl AsFd) -> io::Result<()> {
        self.add_descriptor(watch.as_fd(), WATCH)
    }

    /// Waits until something is ready or the time is over; says which.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        wait_for(self.queue.as_fd(), libc::POLLIN, timeout)
    }

    /// Waits as [`wait`](Self::wait) does: no socket is beside the poller.
    pub(crate) fn wait_beside(&self, _socket: &Socket, timeout: Option<Duration>) -> io::Result<Roused> {
        Ok(if self.wait(timeout)? { Roused::Poller } else { Roused::Nothing })
    }

    /// Looks, without waiting, at no more than `limit` sockets that are ready. The kernel takes
    /// turns among them from call to call.
    pub(crate) fn ready(&self, limit: usize, found: &mut Ready) -> io::Result<()> {
        let no_time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        found.clear();
        // SAFETY: `kevent` is plain data, for which zeroes are a value.
        let mut events: [libc::kevent; READY_AT_ONCE] = unsafe { zeroed() };
        // SAFETY: no changes are passed, and `events` is live and as long as is said.
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

    /// Ends a wait, now or the next one.
    pub(crate) fn wake(&self) -> io::Result<()> {
        self.change(WAKE, libc::EVFILT_USER, 0, libc::NOTE_TRIGGER, WAKE)
    }

    fn add_descriptor(&self, descriptor: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        self.change(identity(descriptor), libc::EVFILT_READ, libc::EV_ADD, 0, token)
    }

    fn change(&self, identity: usize, filter: i16, flags: u16, wishes: u32, token: usize) -> io::Result<()> {
        // SAFETY: `kevent` is plain data, for which zeroes are a value.
        let mut change: libc::kevent = unsafe { zeroed() };
        change.ident = identity;
        change.filter = filter;
        change.flags = flags;
        change.fflags = wishes;
        change.udata = ptr::without_provenance_mut(token);
        // SAFETY: one live change is passed, and no room for events.
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

/// Waits until the socket takes another datagram.
pub(crate) fn wait_writable(socket: &Socket, timeout: Option<Duration>) -> io::Result<bool> {
    wait_for(socket.as_fd(), libc::POLLOUT, timeout)
}

/// Waits until the socket has a datagram.
pub(crate) fn wait_readable(socket: &Socket, timeout: Option<Duration>) -> io::Result<bool> {
    wait_for(socket.as_fd(), libc::POLLIN, timeout)
}

/// What kqueue calls a descriptor. An open one is never negative.
fn identity(descriptor: BorrowedFd<'_>) -> usize {
    descriptor.as_raw_fd() as usize
}
