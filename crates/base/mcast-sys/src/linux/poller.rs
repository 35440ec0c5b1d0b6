//! Waiting for many sockets, or a wake-up, through one descriptor (epoll).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::socket::Socket;
use crate::readable::{poll, polled};
use crate::ready::{READY_AT_ONCE, Ready, WakeReason};

/// A socket may be waited for directly, beside the poller.
pub const WAITS_BESIDE: bool = true;

/// The token of the wake-up event.
const WAKE: u64 = u64::MAX;
/// The token of the interface watch.
const WATCH: u64 = u64::MAX - 1;

/// What a descriptor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// For nothing: only errors are reported.
    Nothing,
    /// For bytes or datagrams to read.
    Readable,
    /// Also for room to write.
    ReadableOrWritable,
}

/// Waits for sockets, wake-ups and interface changes.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    wake: OwnedFd,
}

impl Poller {
    /// Creates a poller without sockets.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the calls take no pointers, and their results are checked.
        let (epoll, wake) = unsafe {
            let epoll = owned(libc::epoll_create1(libc::EPOLL_CLOEXEC))?;
            (epoll, owned(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?)
        };
        let poller = Self { epoll, wake };
        poller.control(libc::EPOLL_CTL_ADD, poller.wake.as_fd(), libc::EPOLLIN, WAKE)?;
        Ok(poller)
    }

    /// Registers a socket under this token.
    pub fn add(&self, socket: &Socket, token: usize) -> io::Result<()> {
        self.add_descriptor(socket.as_fd(), token)
    }

    /// Registers any other descriptor under this token, such as that of another poller. Closing it removes it.
    pub fn add_descriptor(&self, descriptor: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, descriptor, libc::EPOLLIN, token as u64)
    }

    /// Changes what a descriptor is waited for, which first is that it is readable.
    pub fn set_interest(
        &self,
        descriptor: BorrowedFd<'_>,
        token: usize,
        interest: Interest,
    ) -> io::Result<()> {
        let events = match interest {
            Interest::Nothing => 0,
            Interest::Readable => libc::EPOLLIN,
            Interest::ReadableOrWritable => libc::EPOLLIN | libc::EPOLLOUT,
        };
        self.control(libc::EPOLL_CTL_MOD, descriptor, events, token as u64)
    }

    /// Removes a socket.
    pub fn remove(&self, socket: &Socket) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, socket.as_fd(), 0, 0)
    }

    /// Removes any other descriptor.
    pub fn remove_descriptor(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, descriptor, 0, 0)
    }

    /// Registers the descriptor that reports interface changes.
    pub fn add_watch(&self, watch: &impl AsFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, watch.as_fd(), libc::EPOLLIN, WATCH)
    }

    /// Waits until something is ready or the timeout has passed; returns whether something is
    /// ready. A signal handler that runs in this thread ends the wait with an error.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        wait_for(self.epoll.as_fd(), libc::POLLIN, timeout)
    }

    /// Waits for an unregistered socket and for everything registered; returns which is ready.
    pub fn wait_beside(&self, socket: &Socket, timeout: Option<Duration>) -> io::Result<WakeReason> {
        let mut both = [polled(socket.as_fd(), libc::POLLIN), polled(self.epoll.as_fd(), libc::POLLIN)];
        poll(&mut both, timeout)?;
        Ok(match both.map(|each| each.revents != 0) {
            [_, true] => WakeReason::Poller,
            [true, false] => WakeReason::Socket,
            [false, false] => WakeReason::Nothing,
        })
    }

    /// Polls for at most `limit` ready sockets without waiting. The kernel rotates among them from
    /// call to call.
    pub fn ready(&self, limit: usize, found: &mut Ready) -> io::Result<()> {
        found.clear();
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; READY_AT_ONCE];
        // SAFETY: `events` is live and has the given length.
        let count = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                events.as_mut_ptr(),
                limit.clamp(1, READY_AT_ONCE) as libc::c_int,
                0,
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for event in &events[..count] {
            match event.u64 {
                WAKE if event.events & libc::EPOLLIN as u32 == 0 => {}
                // Reported even if another thread consumed the wake-up first: its event took a slot
                // of the list.
                WAKE => {
                    self.take_wake();
                    found.woken = true;
                }
                WATCH => found.interfaces_changed = true,
                token => {
                    found.push(token as usize);
                }
            }
        }
        Ok(())
    }

    /// Ends the current wait, or the next one.
    pub fn wake(&self) -> io::Result<()> {
        let one = 1_u64;
        // SAFETY: eight bytes are read from `one`.
        match unsafe { libc::write(self.wake.as_raw_fd(), (&raw const one).cast(), 8) } {
            -1 => match io::Error::last_os_error() {
                // The counter is full, so the wake-up is already pending.
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                error => Err(error),
            },
            _ => Ok(()),
        }
    }

    /// Keeps the poller's descriptor readable for as long as this is set, for datagrams that were
    /// received and not delivered yet.
    pub fn set_pending(&self, pending: bool) -> io::Result<()> {
        // The descriptor of wake-ups is always writable.
        let events = if pending { libc::EPOLLIN | libc::EPOLLOUT } else { libc::EPOLLIN };
        self.control(libc::EPOLL_CTL_MOD, self.wake.as_fd(), events, WAKE)
    }

    /// Consumes the wake-up, if it is still pending.
    fn take_wake(&self) {
        let mut count = 0_u64;
        // SAFETY: eight bytes are written to `count`.
        let _ = unsafe { libc::read(self.wake.as_raw_fd(), (&raw mut count).cast(), 8) };
    }

    fn control(
        &self,
        operation: libc::c_int,
        descriptor: BorrowedFd<'_>,
        events: libc::c_int,
        token: u64,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events.cast_unsigned(), u64: token };
        // SAFETY: both descriptors are open, and `event` is live.
        match unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), operation, descriptor.as_raw_fd(), &raw mut event)
        } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
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

fn wait_for(
    descriptor: BorrowedFd<'_>,
    events: libc::c_short,
    timeout: Option<Duration>,
) -> io::Result<bool> {
    Ok(poll(&mut [polled(descriptor, events)], timeout)? > 0)
}

/// Takes ownership of a descriptor returned by a system call.
///
/// # Safety
/// `descriptor` must be -1 or a new descriptor without another owner.
unsafe fn owned(descriptor: libc::c_int) -> io::Result<OwnedFd> {
    if descriptor == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller guarantees that it is new.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
