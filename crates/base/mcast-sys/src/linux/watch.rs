//! Reports interface changes from rtnetlink notifications.

use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcast_group::InterfaceIndex;
use socket2::Socket;

use super::netlink::{Netlink, NetlinkProtocol, listen, messages};
use super::{interface, route};
use crate::readable::readable;
use crate::{HardwareAddress, Interface, Notice};

/// `RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR` (`linux/rtnetlink.h`).
const GROUPS: u32 = 0x001 | 0x010 | 0x100;

/// Watches the network namespace that it was opened in, whichever thread calls it.
#[derive(Debug)]
pub struct InterfaceWatch {
    notices: Socket,
    requests: Mutex<Netlink>,
}

impl InterfaceWatch {
    /// Starts watching.
    pub fn open() -> io::Result<Self> {
        Ok(Self { notices: listen(GROUPS)?, requests: Mutex::new(Netlink::open(NetlinkProtocol::Route)?) })
    }

    /// Waits until something may have changed; returns `None` on timeout.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<Notice>> {
        if !readable(self.as_fd(), timeout)? {
            return Ok(None);
        }
        self.read_all().map(Some)
    }

    /// Returns all interfaces, ordered by index.
    pub fn list(&self) -> io::Result<Vec<Interface>> {
        interface::list_through(&mut self.requests())
    }

    /// Returns the interface that the routing table selects for an address; `None` without a route.
    pub fn interface_towards(&self, address: IpAddr) -> io::Result<Option<InterfaceIndex>> {
        route::interface_towards_through(&mut self.requests(), address)
    }

    /// Returns the hardware address of a host on an interface, if this machine has resolved it.
    pub fn neighbour(
        &self,
        interface: InterfaceIndex,
        address: IpAddr,
    ) -> io::Result<Option<HardwareAddress>> {
        route::hardware_address_through(&mut self.requests(), interface, address)
    }

    fn requests(&self) -> MutexGuard<'_, Netlink> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_all(&self) -> io::Result<Notice> {
        let mut notice = Notice::default();
        let mut buffer = vec![0; 32 * 1024];
        loop {
            match (&self.notices).read(&mut buffer) {
                Ok(length) => read_into(&mut notice, &buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(notice),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The kernel dropped notices, so the listing must show what changed.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => notice.overrun = true,
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

fn read_into(notice: &mut Notice, bytes: &[u8]) {
    let deletions = messages(bytes).filter(|message| message.kind == libc::RTM_DELLINK);
    notice.deleted.extend(deletions.filter_map(|message| interface::deleted(message.payload)));
}
