//! Systems for which sending IGMP and MLD is not implemented.

use std::io;
use std::net::IpAddr;

use mcast_group::InterfaceIndex;

/// A sender, which cannot exist here.
#[derive(Debug)]
pub(crate) enum ControlHandle {}

impl ControlHandle {
    pub(crate) fn open(_interface: InterfaceIndex, _source: IpAddr) -> io::Result<Self> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "sending IGMP and MLD is not implemented for this system",
        ))
    }

    pub(crate) fn send(&self, _message: &[u8], _to: IpAddr, _interface: InterfaceIndex) -> io::Result<()> {
        match *self {}
    }
}
