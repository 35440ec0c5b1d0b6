//! Sending IGMP and MLD messages, as a querier does.

use std::io;
use std::net::IpAddr;

use mcast_group::InterfaceIndex;
use mcast_packet::gmp::{Address, GmpMessage};
use mcast_sys::capture::MembershipSocket;
use mcast_sys::interface;

use crate::{Error, Result};

/// Sends IGMP (`A` is `Ipv4Addr`) or MLD (`A` is `Ipv6Addr`) messages on one interface, as the RFCs require:
/// with hop limit 1, router alert, and for IGMP the DSCP CS6. Messages are looped back to this host, so that
/// it reports its own memberships like any other host.
///
/// Linux only. Opening it needs `CAP_NET_RAW` in the network namespace; sending does not.
#[derive(Debug)]
pub struct ControlSender<A> {
    socket: MembershipSocket,
    interface: InterfaceIndex,
    source: A,
}

impl<A: Address> ControlSender<A> {
    /// Maximum length of a querier's message, in bytes.
    const MAX_LENGTH: usize = 1500;

    /// Opens a sender on this interface, with `source` as one of its addresses. For MLD it must be the
    /// link-local address, otherwise hosts ignore the messages.
    ///
    /// # Errors
    /// [`ErrorKind::Permission`](crate::ErrorKind::Permission) without `CAP_NET_RAW`,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) except on Linux, and errors of the system,
    /// for example if the address does not belong to the interface.
    pub fn open(interface: InterfaceIndex, source: A) -> Result<Self> {
        let socket = MembershipSocket::open(interface, source.into()).map_err(|os| failed(interface, os))?;
        Ok(Self { socket, interface, source })
    }

    /// Sends a message to the destination that its RFC defines.
    ///
    /// # Errors
    /// [`ErrorKind::InterfaceDown`](crate::ErrorKind::InterfaceDown), and other errors of the system.
    pub fn send(&self, message: &GmpMessage<'_, A>) -> Result<()> {
        let to = message.destination();
        let mut buffer = vec![0; Self::MAX_LENGTH];
        let emitted = message.emit(&mut buffer, self.source, to).map_err(io::Error::other);
        let sent = emitted.and_then(|length| {
            let message = buffer.get(..length).unwrap_or_default();
            self.socket.send(message, to.into(), self.interface)
        });
        sent.map_err(|os| failed(self.interface, os))
    }

    /// Returns the source address.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        self.source.into()
    }
}

fn failed(interface: InterfaceIndex, os: io::Error) -> Error {
    let name = interface::name_of(interface).unwrap_or_else(|_| format!("interface {interface}"));
    Error::from_os("send IGMP or MLD", name, os)
}
