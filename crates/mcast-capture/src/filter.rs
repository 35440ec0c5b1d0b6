//! Which frames are wanted.

use mcast_packet::{Checksums, LinkType, Network, Packet, Transport, protocol};

/// Two addresses and a type.
const ETHERNET_HEADER: usize = 14;

/// Which frames are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Filter {
    /// Every frame.
    #[default]
    All,
    /// IPv4 and IPv6 packets to a group, whatever they carry.
    Multicast,
    /// What [`Self::Multicast`] admits, and besides every frame whose Ethernet address is broadcast or a
    /// group's, whatever it carries: ARP, spanning tree, LLDP.
    GroupAddressed,
    /// UDP from or to this port. The later fragments of a datagram have no port and are left out.
    UdpPort(u16),
    /// UDP whose payload begins with these two bytes, to groups and to hosts. The later fragments of a datagram are left
    /// out.
    UdpBeginsWith([u8; 2]),
    /// What groups are managed with: IGMP, MLD, multicast router discovery, and PIM.
    Control,
}

impl Filter {
    /// Whether the filter admits a frame. Every frame is asked about here, because a filter in the
    /// kernel sees neither through a second VLAN tag nor through IPv6 extension headers.
    pub(crate) fn admits(self, bytes: &[u8], link_type: LinkType) -> bool {
        if self == Self::All {
            return true;
        }
        // The first byte tells of most.
        let is_ethernet = link_type == LinkType::Ethernet && bytes.len() >= ETHERNET_HEADER;
        if self == Self::GroupAddressed && is_ethernet && bytes.first().is_some_and(|byte| byte & 1 == 1) {
            return true;
        }
        // Nobody looks at the checksums here, so they need not be computed.
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
            (Self::UdpBeginsWith(bytes), _, Some(Transport::Udp(udp))) => udp.payload.starts_with(&bytes),
            (Self::Control, Some(Network::Ip(ip)), transport) => {
                let igmp = ip.source.is_ipv4() && ip.protocol == protocol::IGMP;
                igmp || ip.protocol == protocol::PIM || matches!(transport, Some(Transport::Mld(_)))
            }
            _ => false,
        }
    }
}
