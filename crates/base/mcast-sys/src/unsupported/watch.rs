//! Watching interfaces is not supported.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use mcast_group::InterfaceIndex;

use crate::{Interface, Notice};

/// An uninhabited type, because opening a watch fails.
pub enum InterfaceWatch {}

impl InterfaceWatch {
    /// Starts watching.
    pub fn open() -> io::Result<Self> {
        super::unsupported()
    }

    pub fn wait(&self, _timeout: Option<Duration>) -> io::Result<Option<Notice>> {
        match *self {}
    }

    /// Returns all interfaces, ordered by index.
    pub fn list(&self) -> io::Result<Vec<Interface>> {
        match *self {}
    }

    /// Returns the interface that the routing table selects for an address; `None` without a route.
    pub fn interface_towards(&self, _address: IpAddr) -> io::Result<Option<InterfaceIndex>> {
        match *self {}
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for InterfaceWatch {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match *self {}
    }
}
