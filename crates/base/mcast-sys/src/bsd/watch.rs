//! Reports interface changes from a routing socket (route(4)).

use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use mcast_group::InterfaceIndex;
use socket2::Socket;

use super::{interface, os, route};
use crate::readable::readable;
use crate::{Interface, Notice};

/// Watches this machine (FreeBSD: this jail's network stack).
#[derive(Debug)]
pub struct InterfaceWatch {
    notices: Socket,
}

impl InterfaceWatch {
    /// Starts watching.
    pub fn open() -> io::Result<Self> {
        route::open_socket().map(|notices| Self { notices })
    }

    /// Waits until something may have changed; returns `None` on timeout. Routing sockets also
    /// report route changes, which do not end the wait.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<Notice>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if !readable(self.as_fd(), left)? {
                return Ok(None);
            }
            if let Some(notice) = self.read_all()? {
                return Ok(Some(notice));
            }
        }
    }

    /// Returns all interfaces, ordered by index.
    pub fn list(&self) -> io::Result<Vec<Interface>> {
        interface::list()
    }

    /// Returns the interface that the routing table selects for an address; `None` without a route.
    pub fn interface_towards(&self, address: IpAddr) -> io::Result<Option<InterfaceIndex>> {
        route::interface_towards(address)
    }

    fn read_all(&self) -> io::Result<Option<Notice>> {
        let mut notice: Option<Notice> = None;
        let mut buffer = [0; 2048];
        loop {
            match (&self.notices).read(&mut buffer) {
                Ok(length) => {
                    let message = buffer.get(..length).unwrap_or_default();
                    if message.get(3).is_some_and(|kind| os::is_change((*kind).into())) {
                        notice.get_or_insert_default().deleted.extend(os::deleted(message));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(notice),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The kernel dropped notices, so the listing must show what changed.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    notice.get_or_insert_default().overrun = true;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for InterfaceWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notices.as_fd()
    }
}
