//! Systems on which nobody sends IGMP or MLD himself yet.

use std::io;
use std::net::IpAddr;

use mcast_group::InterfaceIndex;

/// A sender that cannot be had.
#[derive(Debug)]
pub(crate) enum ControlHandle {}

impl ControlHandle {
    pub(crate) fn open(_interface: InterfaceIndex, _source: IpAddr) -> io::Result<Self> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "sending IGMP and MLD has yet to be written for this system",
        ))
    }

    pub(crate) fn send(&self, _message: &[u8], _to: IpAddr, _interface: InterfaceIndex) -> io::Result<()> {
        match *self {}
    }
}
