//! Saying something oneself in IGMP and MLD: what a querier does.

use std::io;
use std::net::IpAddr;

use mcast_group::InterfaceIndex;
use mcast_packet::gmp::{Address, Message};

use crate::sys::{self, ControlHandle};
use crate::{Error, Result};

/// Sends messages of IGMP (`A` is `Ipv4Addr`) or MLD (`A` is `Ipv6Addr`) by one interface, as the RFCs ask:
/// hop limit 1, router alert, for IGMP the DSCP CS6. This host hears them, too, so that its own memberships
/// are reported like everybody's.
///
/// Linux only; needs `CAP_NET_RAW` in the network namespace, but only to be opened.
#[derive(Debug)]
pub struct ControlSender<A> {
    handle: ControlHandle,
    interface: InterfaceIndex,
    source: A,
}

impl<A: Address> ControlSender<A> {
    /// No message of a querier is longer.
    const LONGEST: usize = 1500;

    /// Opens a sender by this interface, from this address of it: for MLD its link-local one, or nobody will
    /// listen.
    ///
    /// # Errors
    /// [`ErrorKind::Permission`](crate::ErrorKind::Permission) without the right to it,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) except on Linux, and what else the system
    /// refuses, such as an address that is not the interface's.
    pub fn open(interface: InterfaceIndex, source: A) -> Result<Self> {
        let handle = ControlHandle::open(interface, source.into()).map_err(|os| failed(interface, os))?;
        Ok(Self { handle, interface, source })
    }

    /// Sends a message to where its RFC has it sent.
    ///
    /// # Errors
    /// [`ErrorKind::InterfaceDown`](crate::ErrorKind::InterfaceDown), and what else the system refuses.
    pub fn send(&self, message: &Message<'_, A>) -> Result<()> {
        let to = message.destination();
        let mut buffer = vec![0; Self::LONGEST];
        let emitted = message.emit(&mut buffer, self.source, to).map_err(io::Error::other);
        let sent = emitted.and_then(|length| {
            let message = buffer.get(..length).unwrap_or_default();
            self.handle.send(message, to.into(), self.interface)
        });
        sent.map_err(|os| failed(self.interface, os))
    }

    /// The address that is sent from.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        self.source.into()
    }
}

fn failed(interface: InterfaceIndex, os: io::Error) -> Error {
    let name = sys::interface_name(interface).unwrap_or_else(|_| format!("interface {interface}"));
    Error::from_os("send IGMP or MLD", name, os)
}
