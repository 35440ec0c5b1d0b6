//! Waits for several sockets through one descriptor (`epoll(7)`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use super::socket::{Socket, check};

/// A descriptor that is readable when one of the sockets is.
#[derive(Debug)]
pub(crate) struct Poller {
    fd: OwnedFd,
}

impl Poller {
    pub(crate) fn new<'a>(sockets: impl Iterator<Item = &'a Socket>) -> io::Result<Self> {
        // SAFETY: a plain system call.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor is new and has no other owner.
        let poller = Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } };
        for socket in sockets {
            poller.add(socket)?;
        }
        Ok(poller)
    }

    fn add(&self, socket: &Socket) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        let (poller, socket) = (self.fd.as_raw_fd(), socket.as_fd().as_raw_fd());
        // SAFETY: `event` outlives the call, which only reads it.
        check(unsafe { libc::epoll_ctl(poller, libc::EPOLL_CTL_ADD, socket, &raw mut event) })?;
        Ok(())
    }

    /// Waits for at most `timeout`, and returns whether a socket has something.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let mut poll = libc::pollfd { fd: self.fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let time = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or_else(|_| i32::MAX.into()),
            tv_nsec: timeout.subsec_nanos() as _,
        });
        let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: passes one `pollfd`; the time, if any, outlives the call.
        let ready = check(unsafe { libc::ppoll(&raw mut poll, 1, time, ptr::null()) })?;
        Ok(ready > 0)
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
