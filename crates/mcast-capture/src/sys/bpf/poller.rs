//! Waits for several devices through one descriptor (`kqueue(2)`).

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use super::device::Socket;

/// A descriptor that is readable when one of the devices is.
#[derive(Debug)]
pub(crate) struct Poller {
    queue: OwnedFd,
}

impl Poller {
    pub(crate) fn new<'a>(sockets: impl Iterator<Item = &'a Socket>) -> io::Result<Self> {
        // SAFETY: the call takes no pointers; its result is checked.
        let queue = check(unsafe { libc::kqueue() })?;
        // SAFETY: the descriptor is new and has no other owner.
        let poller = Self { queue: unsafe { OwnedFd::from_raw_fd(queue) } };
        // SAFETY: sets a flag of our own descriptor.
        check(unsafe { libc::fcntl(queue, libc::F_SETFD, libc::FD_CLOEXEC) })?;
        for socket in sockets {
            poller.add(socket.as_fd())?;
        }
        Ok(poller)
    }

    fn add(&self, device: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: `kevent` is plain data, for which zeros are valid.
        let mut change: libc::kevent = unsafe { zeroed() };
        change.ident = device.as_raw_fd() as _;
        change.filter = libc::EVFILT_READ;
        change.flags = libc::EV_ADD;
        // SAFETY: passes one change, and requests no events.
        check(unsafe {
            libc::kevent(self.queue.as_raw_fd(), &raw const change, 1, ptr::null_mut(), 0, ptr::null())
        })?;
        Ok(())
    }

    /// Waits for at most `timeout`, and returns whether a device has something.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let time = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or_else(|_| i32::MAX.into()),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: `kevent` is plain data, for which zeros are valid.
        let mut event: libc::kevent = unsafe { zeroed() };
        // SAFETY: passes no changes and room for one event; the time, if any, outlives the call.
        let count =
            check(unsafe { libc::kevent(self.queue.as_raw_fd(), ptr::null(), 0, &raw mut event, 1, time) })?;
        Ok(count > 0)
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
