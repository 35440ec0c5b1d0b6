//! Configuration of a live capture, and selection of its frames.

use std::fmt;
use std::time::Duration;

use mcast_group::{Group, InterfaceIndex};
use mcast_packet::{Checksums, LinkType, Network, Packet, Transport, protocol};

/// Configuration of a capture: one interface or several, and by default all frames that they receive or send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureOptions {
    pub(crate) interfaces: Vec<InterfaceName>,
    pub(crate) filter: Filter,
    pub(crate) outgoing: bool,
    pub(crate) loopback_once: bool,
    pub(crate) promiscuous: bool,
    pub(crate) all_multicast: bool,
    pub(crate) groups: Vec<Group>,
    pub(crate) buffer_size: usize,
    pub(crate) in_blocks: bool,
}

/// The interface, as the caller named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InterfaceName {
    Index(InterfaceIndex),
    Name(String),
}

impl CaptureOptions {
    /// The default of [`Self::buffer_size`]: 8 MiB.
    pub const DEFAULT_BUFFER_SIZE: usize = 8 << 20;

    /// Maximum delay of a frame when frames are delivered [in blocks](Self::in_blocks): 100 ms. Every 20 ms,
    /// the kernel releases the current block if it is the same as 20 ms before.
    pub const MAX_BLOCK_DELAY: Duration = Duration::from_millis(100);

    /// Creates options for the interface with this index.
    #[must_use]
    pub fn on(interface: InterfaceIndex) -> Self {
        Self::on_interfaces(vec![InterfaceName::Index(interface)])
    }

    /// Creates options for the interface with this name.
    #[must_use]
    pub fn on_name(interface: impl Into<String>) -> Self {
        Self::on_names([interface])
    }

    /// Creates options for the interfaces with these names. A capture on no interface returns no frames.
    #[must_use]
    pub fn on_names(interfaces: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::on_interfaces(interfaces.into_iter().map(|name| InterfaceName::Name(name.into())).collect())
    }

    /// Adds the interface with this index.
    #[must_use]
    pub fn and_on(mut self, interface: InterfaceIndex) -> Self {
        self.interfaces.push(InterfaceName::Index(interface));
        self
    }

    /// Adds the interface with this name.
    #[must_use]
    pub fn and_on_name(mut self, interface: impl Into<String>) -> Self {
        self.interfaces.push(InterfaceName::Name(interface.into()));
        self
    }

    fn on_interfaces(interfaces: Vec<InterfaceName>) -> Self {
        Self {
            interfaces,
            filter: Filter::All,
            outgoing: true,
            loopback_once: false,
            promiscuous: false,
            all_multicast: false,
            groups: Vec::new(),
            buffer_size: Self::DEFAULT_BUFFER_SIZE,
            in_blocks: false,
        }
    }

    /// Captures only the frames that the filter accepts. Where the system supports it, the kernel discards
    /// the others before they cost anything.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Self {
        Self { filter, ..self }
    }

    /// Sets whether frames that this machine sends are captured. Default: yes.
    #[must_use]
    pub fn outgoing(self, outgoing: bool) -> Self {
        Self { outgoing, ..self }
    }

    /// Sets whether a frame on a loopback interface is captured once, as received. By default it is also
    /// captured as sent, where the system distinguishes the two (Linux).
    #[must_use]
    pub fn loopback_once(self, loopback_once: bool) -> Self {
        Self { loopback_once, ..self }
    }

    /// Sets whether the interface receives frames addressed to other machines. Default: no.
    #[must_use]
    pub fn promiscuous(self, promiscuous: bool) -> Self {
        Self { promiscuous, ..self }
    }

    /// Sets whether the interface receives the frames of all groups, joined or not. Without it the hardware
    /// may discard groups that are not joined on this machine. Default: no.
    #[must_use]
    pub fn all_multicast(self, all_multicast: bool) -> Self {
        Self { all_multicast, ..self }
    }

    /// Makes the interface receive the frames of this group, without joining it by IGMP or MLD. May be called
    /// for several groups.
    #[must_use]
    pub fn group(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    /// Sets the receive buffer size in bytes to request from the system; [`Capture::buffer_size`] returns the
    /// size that was granted.
    ///
    /// [`Capture::buffer_size`]: crate::Capture::buffer_size
    #[must_use]
    pub fn buffer_size(self, buffer_size: usize) -> Self {
        Self { buffer_size, ..self }
    }

    /// Sets whether frames may be delivered late and in groups, at a fraction of the cost. This suits
    /// programs that write them to a file. Default: no.
    ///
    /// Linux: the kernel fills blocks of 256 KiB in shared memory (`TPACKET_V3`) and releases a block when it
    /// is full or after some time. A frame may be delayed by [`Self::MAX_BLOCK_DELAY`], and frames of several
    /// interfaces may be out of order by as much. The buffer is then allocated in full, and at least 512 KiB;
    /// packets that the kernel cannot deliver count as dropped. If blocks are not available, as on other
    /// systems, frames are delivered one by one, and [`Capture::block_error`] returns the reason.
    ///
    /// [`Capture::block_error`]: crate::Capture::block_error
    #[must_use]
    pub fn in_blocks(self, in_blocks: bool) -> Self {
        Self { in_blocks, ..self }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "interface {index}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The length of two addresses and a type.
const ETHERNET_HEADER: usize = 14;

/// Selects the frames to capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Filter {
    /// All frames.
    #[default]
    All,
    /// All IPv4 and IPv6 packets to a group.
    Multicast,
    /// The frames of [`Self::Multicast`], and all frames whose Ethernet destination is broadcast or a group,
    /// including ARP, spanning tree and LLDP.
    GroupAddressed,
    /// UDP from or to this port. Later fragments of a datagram have no port and are omitted.
    UdpPort(u16),
    /// The datagrams of [`Self::UdpPort`] that are not sent to a group.
    UnicastUdpPort(u16),
    /// UDP whose payload starts with these two bytes, unicast included. Later fragments of a datagram are
    /// omitted.
    UdpBeginsWith([u8; 2]),
    /// Multicast control protocols: IGMP, MLD, multicast router discovery, and PIM.
    Control,
    /// Frames that are neither IPv4, IPv6 nor ARP.
    OtherProtocols,
}

impl Filter {
    /// Returns whether the filter accepts a frame. This is checked for every frame, because a filter in the
    /// kernel cannot look past a second VLAN tag or IPv6 extension headers.
    pub(crate) fn admits(self, bytes: &[u8], link_type: LinkType) -> bool {
        if self == Self::All {
            return true;
        }
        // The first byte decides for most frames.
        let is_ethernet = link_type == LinkType::Ethernet && bytes.len() >= ETHERNET_HEADER;
        if self == Self::GroupAddressed && is_ethernet && bytes.first().is_some_and(|byte| byte & 1 == 1) {
            return true;
        }
        if self == Self::Multicast && is_ethernet && is_plain_ipv4_to_group(bytes) {
            return true;
        }
        // The filter ignores checksums, so they need not be computed.
        let packet = Packet::decode(bytes, link_type, Checksums::LeftToDevice);
        match (self, packet.network, packet.transport) {
            (Self::Multicast, Some(Network::Ip(ip)), _) => ip.destination.is_multicast(),
            (Self::GroupAddressed, network, _) => {
                packet.is_group_addressed()
                    || matches!(network, Some(Network::Ip(ip)) if ip.destination.is_multicast())
            }
            (Self::UdpPort(port), _, Some(Transport::Udp(udp))) => {
                udp.source_port == port || udp.destination_port == port
            }
            (Self::UnicastUdpPort(port), Some(Network::Ip(ip)), Some(Transport::Udp(udp))) => {
                !ip.destination.is_multicast() && (udp.source_port == port || udp.destination_port == port)
            }
            (Self::UdpBeginsWith(bytes), _, Some(Transport::Udp(udp))) => udp.payload.starts_with(&bytes),
            (Self::OtherProtocols, Some(Network::Other { .. }), _) => true,
            (Self::Control, Some(Network::Ip(ip)), transport) => {
                let igmp = ip.source.is_ipv4() && ip.protocol == protocol::IGMP;
                igmp || ip.protocol == protocol::PIM || matches!(transport, Some(Transport::Mld(_)))
            }
            _ => false,
        }
    }
}

/// Returns whether an Ethernet frame is certainly IPv4 to a group, without tags and options: then it need not be decoded.
fn is_plain_ipv4_to_group(frame: &[u8]) -> bool {
    const HEADER: u16 = 20;
    matches!(frame, [_, _, _, _, _, _, _, _, _, _, _, _, 0x08, 0x00, 0x45, _, high, low,
        _, _, _, _, _, _, _, _, _, _, _, _, 224..=239, _, _, _, ..]
        if u16::from_be_bytes([*high, *low]) >= HEADER)
}

#[cfg(test)]
mod tests {
    use mcast_packet::{MacAddress, UdpFrame};

    use super::*;

    #[test]
    fn what_need_not_be_decoded_would_be_admitted() {
        let datagram = UdpFrame {
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            source: "10.0.0.7".parse().unwrap(),
            source_port: 4000,
            group: "239.1.2.3".parse().unwrap(),
            destination_port: 5000,
            hop_limit: 1,
            payload: b"hello",
        };
        let mut buffer = [0; 128];
        let length = datagram.emit(&mut buffer).unwrap();
        let frame = &buffer[..length];
        assert!(is_plain_ipv4_to_group(frame));
        let decoded = |frame: &[u8]| {
            let packet = Packet::decode(frame, LinkType::Ethernet, Checksums::LeftToDevice);
            matches!(packet.network, Some(Network::Ip(ip)) if ip.destination.is_multicast())
        };
        for length in 0..=frame.len() {
            for position in 0..length {
                for value in [0, 1, 0x45, 0x46, 0x60, 19, 20, 223, 224, 240, 255] {
                    let mut changed = frame[..length].to_vec();
                    changed[position] = value;
                    assert!(!is_plain_ipv4_to_group(&changed) || decoded(&changed), "{changed:?}");
                }
            }
        }
    }
}
