//! Where a packet is from.

use std::net::IpAddr;

use mcast_group::InterfaceIndex;

use crate::clock::Time;

/// Time, place and sender of a control message or datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketOrigin {
    pub(crate) time: Time,
    pub(crate) interface: InterfaceIndex,
    pub(crate) vlan: Option<u16>,
    pub(crate) source: IpAddr,
    pub(crate) outgoing: bool,
}
