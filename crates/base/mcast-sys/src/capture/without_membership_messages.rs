//! Systems for which sending IGMP and MLD is not implemented.

use std::io;
use std::net::IpAddr;

use mcast_group::InterfaceIndex;

/// A sender, which cannot exist here.
#[derive(Debug)]
pub enum MembershipSocket {}

impl MembershipSocket {
    /// Fails: not implemented for this system.
    pub fn open(_interface: InterfaceIndex, _source: IpAddr) -> io::Result<Self> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "sending IGMP and MLD is not implemented for this system",
        ))
    }

    /// Sends a message; the system adds the IP header.
    pub fn send(&self, _message: &[u8], _to: IpAddr, _interface: InterfaceIndex) -> io::Result<()> {
        match *self {}
    }
}
