//! Decoding a frame layer by layer.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::ArpPacketSlice;

use crate::checksum::{ChecksumStatus, Checksums};
use crate::cooked::{Cooked, CookedKind, Wireless, WirelessKind};
use crate::gmp::{Address, GmpError, GmpMessage};
use crate::ip::{Ip, protocol};
use crate::link::{Ethernet, LinkType, MacAddress, Ppp, Vlan, ether_type, nflog_packet};
use crate::payload::Service;
use crate::pim::{PimError, PimMessage};
use crate::udp::Udp;

/// The layers of one frame. Decoding stops at the first malformed layer and keeps the layers before it.
///
/// [`fmt::Display`] writes a one-line summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The Ethernet header, if there is one.
    pub ethernet: Option<Ethernet>,
    /// The header of a Linux cooked capture, if there is one instead.
    pub cooked: Option<Cooked>,
    /// The header of an IEEE 802.11 frame, if there is one instead.
    pub wireless: Option<Wireless>,
    /// The network layer; `None` if the frame ends before it, or carries no data.
    pub network: Option<Network<'a>>,
    /// The transport layer; `None` if the network layer is not IP.
    pub transport: Option<Transport<'a>>,
    /// The bytes after the packet. Ethernet pads its frames to 60 bytes.
    pub padding: &'a [u8],
    /// Where decoding stopped, and why.
    pub malformed: Option<DecodeError>,
    /// The length of the headers before the network layer.
    link_length: usize,
}

/// The network layer of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Network<'a> {
    /// IPv4 or IPv6.
    Ip(Ip<'a>),
    /// ARP.
    Arp(Arp),
    /// Another protocol.
    Other {
        /// The protocol number: see [`ether_type`].
        ether_type: u16,
        /// The payload, including padding.
        payload: &'a [u8],
    },
}

/// An ARP packet for IPv4 over Ethernet (RFC 826).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Arp {
    /// The operation: 1 for a request, 2 for a reply.
    pub operation: u16,
    /// The sender protocol address.
    pub sender: Ipv4Addr,
    /// The sender hardware address.
    pub sender_mac: MacAddress,
    /// The target protocol address: the one requested, or the one replied to.
    pub target: Ipv4Addr,
}

/// The transport layer of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport<'a> {
    /// UDP.
    Udp(Udp<'a>),
    /// IGMP.
    Igmp(Gmp<'a, Ipv4Addr>),
    /// MLD.
    Mld(Gmp<'a, Ipv6Addr>),
    /// PIM version 2.
    Pim(Pim<'a>),
    /// A fragment other than the first, which has no transport header: see [`Ip::fragment`].
    Fragment(&'a [u8]),
    /// Another protocol: see [`Ip::protocol`].
    Other(&'a [u8]),
}

/// An IGMP or MLD message with the status of its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gmp<'a, A: Address> {
    /// The message.
    pub message: GmpMessage<'a, A>,
    /// The status of the checksum.
    pub checksum: ChecksumStatus,
}

/// A PIM message with the status of its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pim<'a> {
    /// The message.
    pub message: PimMessage<'a>,
    /// The status of the checksum.
    pub checksum: ChecksumStatus,
}

/// Why a packet could not be decoded completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The malformed layer.
    pub layer: Layer,
    /// What is wrong, as the predicate of a sentence whose subject is the layer.
    pub reason: DecodeErrorKind,
}

mcast_group::named! {
    /// A layer of a packet.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[non_exhaustive]
    pub enum Layer {
        /// Ethernet with VLAN tags.
        Ethernet = "Ethernet",
        /// The header of a Linux cooked capture.
        Cooked = "cooked capture",
        /// The address family that precedes packets of a loopback interface.
        Loopback = "loopback capture",
        /// IEEE 802.11, with or without radiotap.
        Wireless = "IEEE 802.11",
        /// The point-to-point protocol.
        Ppp = "PPP",
        /// A message of netfilter's log.
        Nflog = "NFLOG",
        /// ARP.
        Arp = "ARP",
        /// IPv4 or IPv6.
        Ip = "IP",
        /// UDP.
        Udp = "UDP",
        /// IGMP.
        Igmp = "IGMP",
        /// MLD.
        Mld = "MLD",
        /// PIM.
        Pim = "PIM",
    }
}

/// Why a layer could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// A description.
    Text(&'static str),
    /// An error in an IGMP or MLD message.
    Gmp(GmpError),
    /// An error in a PIM message.
    Pim(PimError),
}

impl<'a> Packet<'a> {
    /// Decodes an Ethernet frame without its frame check sequence.
    #[must_use]
    pub fn ethernet(bytes: &'a [u8]) -> Self {
        Self::decode(bytes, LinkType::Ethernet, Checksums::Computed)
    }

    /// Decodes an IPv4 or IPv6 packet without a link layer.
    #[must_use]
    pub fn ip(bytes: &'a [u8]) -> Self {
        Self::decode(bytes, LinkType::Ip, Checksums::Computed)
    }

    /// Decodes captured bytes.
    #[must_use]
    pub fn decode(bytes: &'a [u8], link_type: LinkType, checksums: Checksums) -> Self {
        let mut packet = Self {
            ethernet: None,
            cooked: None,
            wireless: None,
            network: None,
            transport: None,
            padding: &[],
            malformed: None,
            link_length: 0,
        };
        match link_type {
            LinkType::Ethernet => packet.decode_ethernet(bytes, checksums),
            LinkType::Ip => packet.decode_ip(bytes, checksums),
            LinkType::LinuxCooked => packet.decode_cooked(Cooked::decode_sll(bytes), bytes, checksums),
            LinkType::LinuxCooked2 => packet.decode_cooked(Cooked::decode_sll2(bytes), bytes, checksums),
            LinkType::Loopback => packet.decode_loopback(bytes, checksums),
            LinkType::Wireless => packet.decode_wireless(Wireless::decode(bytes), bytes, checksums),
            LinkType::Radiotap => packet.decode_wireless(Wireless::decode_radiotap(bytes), bytes, checksums),
            LinkType::Ppp => packet.decode_ppp(bytes, checksums),
            LinkType::Nflog => packet.decode_nflog(bytes, checksums),
        }
        packet
    }

    /// Returns the IP layer, if there is one.
    #[must_use]
    pub const fn ip_layer(&self) -> Option<&Ip<'a>> {
        match &self.network {
            Some(Network::Ip(ip)) => Some(ip),
            _ => None,
        }
    }

    /// Returns the UDP layer, if there is one.
    #[must_use]
    pub const fn udp(&self) -> Option<&Udp<'a>> {
        match &self.transport {
            Some(Transport::Udp(udp)) => Some(udp),
            _ => None,
        }
    }

    /// Returns the status of the transport checksum; `None` for protocols other than UDP, IGMP, MLD and PIM.
    #[must_use]
    pub const fn checksum(&self) -> Option<ChecksumStatus> {
        match &self.transport {
            Some(Transport::Udp(udp)) => Some(udp.checksum),
            Some(Transport::Igmp(control)) => Some(control.checksum),
            Some(Transport::Mld(control)) => Some(control.checksum),
            Some(Transport::Pim(pim)) => Some(pim.checksum),
            _ => None,
        }
    }

    /// Returns whether the link-layer destination is a group or broadcast address, regardless of the payload.
    #[must_use]
    pub fn is_group_addressed(&self) -> bool {
        let by_ethernet = self.ethernet.is_some_and(|ethernet| ethernet.destination.is_multicast())
            || self.wireless.is_some_and(|frame| frame.destination.is_multicast());
        let kinds = [CookedKind::Broadcast, CookedKind::Multicast];
        by_ethernet || self.cooked.is_some_and(|cooked| kinds.contains(&cooked.kind))
    }

    /// Returns whether the frame is a broadcast: its link-layer destination is the broadcast address, or its
    /// IPv4 destination is 255.255.255.255. (The broadcast address of a subnet cannot be distinguished from a
    /// host's.)
    #[must_use]
    pub fn is_broadcast(&self) -> bool {
        self.ethernet.is_some_and(|ethernet| ethernet.destination == MacAddress::BROADCAST)
            || self.wireless.is_some_and(|frame| frame.destination == MacAddress::BROADCAST)
            || self.cooked.is_some_and(|cooked| cooked.kind == CookedKind::Broadcast)
            || self.ip_layer().is_some_and(|ip| ip.destination == IpAddr::V4(Ipv4Addr::BROADCAST))
    }

    /// Returns the length in bytes of the headers before the network layer.
    #[must_use]
    pub const fn link_length(&self) -> usize {
        self.link_length
    }

    /// Returns the hardware addresses of destination and source, if the frame has both.
    #[must_use]
    pub fn hardware_addresses(&self) -> Option<(MacAddress, MacAddress)> {
        let ethernet = self.ethernet.map(|ethernet| (ethernet.destination, ethernet.source));
        ethernet.or_else(|| self.wireless.and_then(|frame| Some((frame.destination, frame.source?))))
    }

    /// Returns whether decoding stopped at the link layer: it is too short, not what its link type says, or encrypted.
    #[must_use]
    pub const fn is_unreadable(&self) -> bool {
        self.network.is_none()
            && matches!(&self.malformed, Some(DecodeError { layer, .. }) if !matches!(layer, Layer::Arp | Layer::Ip))
    }

    /// Returns the VLAN tags, outermost first.
    pub fn vlans(&self) -> impl Iterator<Item = Vlan> + '_ {
        let ethernet = self.ethernet.iter().flat_map(Ethernet::vlans);
        ethernet.chain(self.cooked.iter().flat_map(Cooked::vlans))
    }

    fn decode_ethernet(&mut self, bytes: &'a [u8], checksums: Checksums) {
        let Some(ethernet) = Ethernet::decode(bytes) else {
            return self.stop(Layer::Ethernet, DecodeErrorKind::Text("is shorter than its header"));
        };
        (self.ethernet, self.link_length) = (Some(ethernet), ethernet.length());
        let payload = bytes.get(ethernet.length()..).unwrap_or_default();
        self.decode_network(ethernet.ether_type, payload, checksums);
    }

    fn decode_cooked(&mut self, cooked: Option<Cooked>, bytes: &'a [u8], checksums: Checksums) {
        let Some(cooked) = cooked else {
            return self.stop(Layer::Cooked, DecodeErrorKind::Text("is shorter than its header"));
        };
        (self.cooked, self.link_length) = (Some(cooked), cooked.length());
        let payload = bytes.get(cooked.length()..).unwrap_or_default();
        self.decode_network(cooked.ether_type, payload, checksums);
    }

    /// Decodes a loopback frame. The address family is ignored: its value depends on the operating system and
    /// its byte order on the machine, and the IP version follows from the packet.
    fn decode_loopback(&mut self, bytes: &'a [u8], checksums: Checksums) {
        match bytes.get(LinkType::LOOPBACK_LENGTH..) {
            Some(payload) => {
                self.link_length = LinkType::LOOPBACK_LENGTH;
                self.decode_ip(payload, checksums);
            }
            None => self.stop(Layer::Loopback, DecodeErrorKind::Text("is shorter than its header")),
        }
    }

    fn decode_wireless(
        &mut self,
        header: Result<Wireless, &'static str>,
        bytes: &'a [u8],
        checksums: Checksums,
    ) {
        let header = match header {
            Ok(header) => header,
            Err(reason) => return self.stop(Layer::Wireless, DecodeErrorKind::Text(reason)),
        };
        (self.wireless, self.link_length) = (Some(header), header.length);
        if let WirelessKind::Data(ether_type) = header.kind {
            let payload = bytes.get(header.length..header.end).unwrap_or_default();
            self.decode_network(ether_type, payload, checksums);
        }
    }

    fn decode_ppp(&mut self, bytes: &'a [u8], checksums: Checksums) {
        match Ppp::decode(bytes) {
            Ok(Ppp::Ip(offset)) => {
                self.link_length = offset;
                self.decode_ip(bytes.get(offset..).unwrap_or_default(), checksums);
            }
            Ok(Ppp::Control) => {}
            Err(reason) => self.stop(Layer::Ppp, DecodeErrorKind::Text(reason)),
        }
    }

    fn decode_nflog(&mut self, bytes: &'a [u8], checksums: Checksums) {
        match nflog_packet(bytes) {
            Ok(packet) => {
                self.link_length = packet.start;
                self.decode_ip(bytes.get(packet).unwrap_or_default(), checksums);
            }
            Err(reason) => self.stop(Layer::Nflog, DecodeErrorKind::Text(reason)),
        }
    }

    fn decode_network(&mut self, ether_type: u16, payload: &'a [u8], checksums: Checksums) {
        match ether_type {
            ether_type::IPV4 | ether_type::IPV6 => self.decode_ip(payload, checksums),
            ether_type::ARP => self.decode_arp(payload),
            ether_type => self.network = Some(Network::Other { ether_type, payload }),
        }
    }

    fn decode_arp(&mut self, bytes: &'a [u8]) {
        let packet = ArpPacketSlice::from_slice(bytes).ok();
        let Some(arp) = packet.and_then(|slice| slice.to_packet().try_eth_ipv4().ok()) else {
            return self.stop(Layer::Arp, DecodeErrorKind::Text("is not for IPv4 over Ethernet"));
        };
        self.network = Some(Network::Arp(Arp {
            operation: arp.operation.0,
            sender: arp.sender_ipv4.into(),
            sender_mac: MacAddress(arp.sender_mac),
            target: arp.target_ipv4.into(),
        }));
        self.padding = bytes.get(Arp::LENGTH..).unwrap_or_default();
    }

    fn decode_ip(&mut self, bytes: &'a [u8], checksums: Checksums) {
        let (ip, fault) = match Ip::decode(bytes) {
            Ok(decoded) => decoded,
            Err(reason) => return self.stop(Layer::Ip, DecodeErrorKind::Text(reason)),
        };
        self.network = Some(Network::Ip(ip));
        self.padding = bytes.get(ip.length()..).unwrap_or_default();
        match fault {
            Some(reason) => self.stop(Layer::Ip, DecodeErrorKind::Text(reason)),
            None => self.decode_transport(&ip, checksums),
        }
    }

    fn decode_transport(&mut self, ip: &Ip<'a>, checksums: Checksums) {
        if ip.fragment.is_some_and(|fragment| fragment.offset > 0) {
            self.transport = Some(Transport::Fragment(ip.payload));
            return;
        }
        self.transport = match (ip.protocol, ip.source, ip.destination) {
            (protocol::UDP, _, _) => match Udp::decode(ip, checksums) {
                Ok(udp) => Some(Transport::Udp(udp)),
                Err(reason) => return self.stop(Layer::Udp, DecodeErrorKind::Text(reason)),
            },
            // Other protocols share the number of IGMP.
            (protocol::IGMP, ..) if Service::of_packet(ip.protocol, ip.payload).is_some() => {
                Some(Transport::Other(ip.payload))
            }
            (protocol::IGMP, IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.decode_control(ip, source, destination, Layer::Igmp, checksums).map(Transport::Igmp)
            }
            (protocol::ICMPV6, IpAddr::V6(source), IpAddr::V6(destination)) if is_mld(ip.payload) => {
                self.decode_control(ip, source, destination, Layer::Mld, checksums).map(Transport::Mld)
            }
            (protocol::PIM, _, _) => self.decode_pim(ip, checksums).map(Transport::Pim),
            _ => Some(Transport::Other(ip.payload)),
        };
    }

    fn decode_pim(&mut self, ip: &Ip<'a>, checksums: Checksums) -> Option<Pim<'a>> {
        let message = match PimMessage::parse(ip.payload) {
            Ok(message) => message,
            Err(error) => {
                self.stop(Layer::Pim, DecodeErrorKind::Pim(error));
                return None;
            }
        };
        let checksum =
            control_checksum(ip, checksums, || PimMessage::checksum(ip.payload, ip.source, ip.destination));
        Some(Pim { message, checksum })
    }

    fn decode_control<A: Address>(
        &mut self,
        ip: &Ip<'a>,
        source: A,
        destination: A,
        layer: Layer,
        checksums: Checksums,
    ) -> Option<Gmp<'a, A>> {
        let message = match GmpMessage::parse(ip.payload) {
            Ok(message) => message,
            Err(error) => {
                self.stop(layer, DecodeErrorKind::Gmp(error));
                return None;
            }
        };
        let checksum =
            control_checksum(ip, checksums, || GmpMessage::checksum(ip.payload, source, destination));
        Some(Gmp { message, checksum })
    }

    const fn stop(&mut self, layer: Layer, reason: DecodeErrorKind) {
        self.malformed = Some(DecodeError { layer, reason });
    }
}

/// Returns the result of `check` if all bytes and the checksum are present.
fn control_checksum(
    ip: &Ip<'_>,
    checksums: Checksums,
    check: impl FnOnce() -> ChecksumStatus,
) -> ChecksumStatus {
    match checksums {
        Checksums::LeftToDevice => ChecksumStatus::NotComputed,
        Checksums::Computed if ip.truncated || ip.fragment.is_some() => ChecksumStatus::NotComputable,
        Checksums::Computed => check(),
    }
}

impl Arp {
    const LENGTH: usize = 28;
}

/// Returns whether an ICMPv6 message is an MLD or multicast router discovery message.
fn is_mld(payload: &[u8]) -> bool {
    payload.first().is_some_and(|kind| {
        let groups = [Ipv6Addr::QUERY, Ipv6Addr::REPORT, Ipv6Addr::LEAVE, Ipv6Addr::V3_REPORT];
        let routers =
            [Ipv6Addr::ROUTER_ADVERTISEMENT, Ipv6Addr::ROUTER_SOLICITATION, Ipv6Addr::ROUTER_TERMINATION];
        groups.contains(kind) || routers.contains(kind)
    })
}

impl core::error::Error for DecodeError {}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.layer, self.reason)
    }
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Gmp(error) => error.fmt(f),
            Self::Pim(error) => error.fmt(f),
        }
    }
}
