//! Selection of the frames to capture.

use mcast_packet::{Checksums, LinkType, Network, Packet, Transport, protocol};

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
