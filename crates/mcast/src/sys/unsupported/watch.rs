//! Watching interfaces is not supported.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use mcast_group::InterfaceIndex;

use crate::interface::{Interface, Notice};

/// An uninhabited type, because opening a watch fails.
pub(crate) enum Watch {}

impl Watch {
    pub(crate) fn open() -> io::Result<Self> {
        super::unsupported()
    }

    pub(crate) fn wait(&self, _timeout: Option<Duration>) -> io::Result<Option<Notice>> {
        match *self {}
    }

    pub(crate) fn list(&self) -> io::Result<Vec<Interface>> {
        match *self {}
    }

    pub(crate) fn interface_towards(&self, _address: IpAddr) -> io::Result<Option<InterfaceIndex>> {
        match *self {}
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Watch {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match *self {}
    }
}
