//! What identifies packets: their flow, and the VLAN tags of their frames.

use std::net::{IpAddr, SocketAddr};

use mcast::InterfaceIndex;
use mcast_packet::Vlan;

/// The datagrams from one source to one group and port, which arrive on an interface or leave by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// The interface that they arrive on or leave by.
    pub interface: InterfaceIndex,
    /// Whether this machine sent them.
    pub outgoing: bool,
    /// The address and port of the sender.
    pub source: SocketAddr,
    /// The group that they are sent to.
    pub group: IpAddr,
    /// The destination port.
    pub port: u16,
    /// The VLAN tags of the frames; `None` for frames without.
    pub vlan: Option<Tagging>,
}

/// The VLAN tags of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tagging {
    /// The VLAN id in the outermost tag, 0 to 4095.
    pub id: u16,
    /// The EtherType of the outermost tag: 802.1Q or 802.1ad.
    pub protocol: u16,
    /// The VLAN id in the next tag, if there is one.
    pub inner: Option<u16>,
}

impl Tagging {
    /// Returns the first two of these tags, outermost first; `None` if there are none.
    pub fn of(mut vlans: impl Iterator<Item = Vlan>) -> Option<Self> {
        let outer = vlans.next()?;
        Some(Self { id: outer.id, protocol: outer.protocol, inner: vlans.next().map(|inner| inner.id) })
    }
}
