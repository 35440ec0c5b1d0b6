//! Building frames and packets: UDP datagrams, IGMP, MLD and PIM messages; and splitting a large captured packet into the
//! datagrams that are on the wire.

use core::net::{IpAddr, SocketAddr};

use mcast_group::Group;

use crate::checksum::{ChecksumStatus, Checksums, InternetChecksum};
use crate::gmp::{Address, GmpMessage};
use crate::ip::{Ip, protocol};
use crate::link::{Ethernet, LinkType, MacAddress, ether_type};
use crate::list::{EmitError, Writer, u16_at};
use crate::packet::Packet;
use crate::pim::{self, PimMessage};
use crate::udp::Udp;

/// A UDP datagram in an Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpFrame<'a> {
    /// The Ethernet address of the sender.
    pub mac: MacAddress,
    /// The source address.
    pub source: IpAddr,
    /// The source port.
    pub source_port: u16,
    /// The group.
    pub group: Group,
    /// The destination port.
    pub destination_port: u16,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// The payload.
    pub payload: &'a [u8],
}

impl UdpFrame<'_> {
    /// Writes the frame to the start of the buffer and returns its length.
    ///
    /// # Errors
    /// Returns [`EmitError`] if the frame cannot be written. The content of the buffer is then unspecified.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, EmitError> {
        let destination = self.group.addr();
        let length = Udp::HEADER_LENGTH + self.payload.len();
        let header = IpHeader {
            source: self.source,
            destination,
            hop_limit: self.hop_limit,
            traffic_class: 0,
            router_alert: false,
        };
        let mut writer = Writer::new(buffer);
        put_ethernet(&mut writer, self.mac, self.group)?;
        header.put(&mut writer, protocol::UDP, length)?;
        let (source, destination) = (
            SocketAddr::new(self.source, self.source_port),
            SocketAddr::new(destination, self.destination_port),
        );
        put_udp(&mut writer, source, destination, self.payload)?;
        Ok(writer.position())
    }
}

/// A UDP datagram in an IP packet without a link header. Used for datagrams received from a socket, which
/// have lost their headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpPacket<'a> {
    /// The source address and port.
    pub source: SocketAddr,
    /// The destination address and port.
    pub destination: SocketAddr,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// DSCP in the upper six bits, ECN in the lower two.
    pub traffic_class: u8,
    /// The payload.
    pub payload: &'a [u8],
}

impl UdpPacket<'_> {
    /// Writes the packet to the start of the buffer and returns its length.
    ///
    /// # Errors
    /// Returns [`EmitError`] if the frame cannot be written. The content of the buffer is then unspecified.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, EmitError> {
        let header = IpHeader {
            source: self.source.ip(),
            destination: self.destination.ip(),
            hop_limit: self.hop_limit,
            traffic_class: self.traffic_class,
            router_alert: false,
        };
        let mut writer = Writer::new(buffer);
        header.put(&mut writer, protocol::UDP, Udp::HEADER_LENGTH + self.payload.len())?;
        put_udp(&mut writer, self.source, self.destination, self.payload)?;
        Ok(writer.position())
    }
}

/// An IGMP or MLD message in an Ethernet frame, with hop limit 1, router alert, and the destination that the
/// RFC defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlFrame<'a, A: Address> {
    /// The Ethernet address of the sender.
    pub mac: MacAddress,
    /// The source address. For MLD it must be link-local, otherwise receivers drop the message.
    pub source: A,
    /// The message.
    pub message: GmpMessage<'a, A>,
}

impl<A: Address> ControlFrame<'_, A> {
    /// Writes the frame to the start of the buffer and returns its length.
    ///
    /// # Errors
    /// Returns [`EmitError`] if the frame cannot be written. The content of the buffer is then unspecified.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, EmitError> {
        let group = Group::new(self.message.destination().into()).map_err(|_| EmitError::NoSuchMessage)?;
        let mut writer = Writer::new(buffer);
        put_ethernet(&mut writer, self.mac, group)?;
        let Self { source, message, .. } = *self;
        let length = ControlPacket { source, message }.emit(writer.rest())?;
        writer.skip(length);
        Ok(writer.position())
    }
}

/// An IGMP or MLD message in an IP packet without a link header, with hop limit 1, router alert, and the destination
/// that the RFC defines. AMT carries such packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlPacket<'a, A: Address> {
    /// The source address.
    pub source: A,
    /// The message.
    pub message: GmpMessage<'a, A>,
}

impl<A: Address> ControlPacket<'_, A> {
    /// Writes the packet to the start of the buffer and returns its length.
    ///
    /// # Errors
    /// Returns [`EmitError`] if the packet cannot be written. The content of the buffer is then unspecified.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, EmitError> {
        let destination = self.message.destination();
        let header = IpHeader {
            source: self.source.into(),
            destination: destination.into(),
            hop_limit: 1,
            traffic_class: A::DSCP << 2,
            router_alert: true,
        };
        let mut writer = Writer::new(buffer);
        header.put(&mut writer, A::PROTOCOL, self.message.length())?;
        let length = self.message.emit(writer.rest(), self.source, destination)?;
        writer.skip(length);
        Ok(writer.position())
    }
}

/// A PIM message in an Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PimFrame<'a> {
    /// The Ethernet address of the sender.
    pub mac: MacAddress,
    /// The source address. For IPv6 messages between neighbors it must be link-local.
    pub source: IpAddr,
    /// The Ethernet address of the receiver.
    pub destination_mac: MacAddress,
    /// The destination address: [`pim::all_routers`], except for register, register-stop, graft and
    /// candidate-RP messages.
    pub destination: IpAddr,
    /// TTL or hop limit: 1 between neighbors.
    pub hop_limit: u8,
    /// The message.
    pub message: PimMessage<'a>,
}

impl<'a> PimFrame<'a> {
    /// Creates a frame from a router to all its neighbors.
    #[must_use]
    pub fn to_neighbors(mac: MacAddress, source: IpAddr, message: PimMessage<'a>) -> Self {
        let destination = pim::all_routers(source);
        let destination_mac = MacAddress::of_multicast(destination);
        Self { mac, source, destination_mac, destination, hop_limit: 1, message }
    }

    /// Writes the frame to the start of the buffer and returns its length.
    ///
    /// # Errors
    /// Returns [`EmitError`] if the frame cannot be written. The content of the buffer is then unspecified.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, EmitError> {
        let header = IpHeader {
            source: self.source,
            destination: self.destination,
            hop_limit: self.hop_limit,
            traffic_class: IpHeader::INTERNETWORK_CONTROL << 2,
            router_alert: false,
        };
        let start = Ethernet::LENGTH + header.length();
        let body = buffer.get_mut(start..).ok_or(EmitError::BufferTooShort)?;
        let length = self.message.emit(body, self.source, self.destination)?;
        let mut writer = Writer::new(buffer);
        put_link(&mut writer, self.destination_mac, self.mac, self.destination)?;
        header.put(&mut writer, protocol::PIM, length)?;
        Ok(start + length)
    }
}

fn put_udp(
    writer: &mut Writer<'_>,
    source: SocketAddr,
    destination: SocketAddr,
    payload: &[u8],
) -> Result<(), EmitError> {
    let length = u16::try_from(Udp::HEADER_LENGTH + payload.len()).map_err(|_| EmitError::TooMany)?;
    let start = writer.position();
    writer.put_u16(source.port())?;
    writer.put_u16(destination.port())?;
    writer.put_u16(length)?;
    writer.put_u16(0)?;
    writer.put(payload)?;
    let checksum = Udp::checksum_of(source.ip(), destination.ip(), writer.written(start))
        .ok_or(EmitError::MixedFamilies)?;
    writer.patch_u16(start + 6, checksum)
}

fn put_ethernet(writer: &mut Writer<'_>, source: MacAddress, group: Group) -> Result<(), EmitError> {
    put_link(writer, MacAddress::of_group(group), source, group.addr())
}

fn put_link(
    writer: &mut Writer<'_>,
    destination: MacAddress,
    source: MacAddress,
    address: IpAddr,
) -> Result<(), EmitError> {
    writer.put(&destination.0)?;
    writer.put(&source.0)?;
    writer.put_u16(if address.is_ipv4() { ether_type::IPV4 } else { ether_type::IPV6 })
}

/// The fields of an IPv4 or IPv6 header.
struct IpHeader {
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    traffic_class: u8,
    router_alert: bool,
}

impl IpHeader {
    /// DSCP CS6.
    const INTERNETWORK_CONTROL: u8 = 0x30;

    const fn length(&self) -> usize {
        match (self.source.is_ipv4(), self.router_alert) {
            (true, false) => 20,
            (true, true) => 24,
            (false, false) => 40,
            (false, true) => 48,
        }
    }

    fn put(&self, writer: &mut Writer<'_>, protocol: u8, payload_length: usize) -> Result<(), EmitError> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.put_v4(writer, protocol, payload_length, source.octets(), destination.octets())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.put_v6(writer, protocol, payload_length, source.octets(), destination.octets())
            }
            _ => Err(EmitError::MixedFamilies),
        }
    }

    fn put_v4(
        &self,
        writer: &mut Writer<'_>,
        protocol: u8,
        payload_length: usize,
        source: [u8; 4],
        destination: [u8; 4],
    ) -> Result<(), EmitError> {
        const DONT_FRAGMENT: u16 = 0x4000;
        const ROUTER_ALERT: [u8; 4] = [148, 4, 0, 0];
        let option: &[u8] = if self.router_alert { &ROUTER_ALERT } else { &[] };
        let header_length = 20 + option.len();
        let total = u16::try_from(header_length + payload_length).map_err(|_| EmitError::TooMany)?;
        let start = writer.position();
        writer.put(&[0x40 | (header_length / 4) as u8, self.traffic_class])?;
        writer.put_u16(total)?;
        writer.put_u16(0)?;
        writer.put_u16(DONT_FRAGMENT)?;
        writer.put(&[self.hop_limit, protocol, 0, 0])?;
        writer.put(&source)?;
        writer.put(&destination)?;
        writer.put(option)?;
        let checksum = InternetChecksum::new().bytes(writer.written(start)).finish();
        writer.patch_u16(start + 10, checksum)
    }

    fn put_v6(
        &self,
        writer: &mut Writer<'_>,
        protocol: u8,
        payload_length: usize,
        source: [u8; 16],
        destination: [u8; 16],
    ) -> Result<(), EmitError> {
        const HOP_BY_HOP: u8 = 0;
        // Router alert with value 0, which means MLD (RFC 2711), and two bytes of padding.
        const OPTIONS: [u8; 6] = [5, 2, 0, 0, 1, 0];
        let extension = if self.router_alert { 8 } else { 0 };
        let length = u16::try_from(extension + payload_length).map_err(|_| EmitError::TooMany)?;
        let next_header = if self.router_alert { HOP_BY_HOP } else { protocol };
        writer.put(&[0x60 | self.traffic_class >> 4, self.traffic_class << 4, 0, 0])?;
        writer.put_u16(length)?;
        writer.put(&[next_header, self.hop_limit])?;
        writer.put(&source)?;
        writer.put(&destination)?;
        if self.router_alert {
            writer.put(&[protocol, 0])?;
            writer.put(&OPTIONS)?;
        }
        Ok(())
    }
}

/// Computes the checksum of the UDP datagram in a frame and writes it into the frame, as a device with
/// checksum offload does. Returns whether it did: only complete UDP datagrams are changed.
pub fn fill_udp_checksum(frame: &mut [u8], link_type: LinkType) -> bool {
    let packet = Packet::decode(frame, link_type, Checksums::LeftToDevice);
    let (Some(ip), Some(udp)) = (packet.ip_layer(), packet.udp()) else { return false };
    let is_complete = ip.fragment.is_none() && !ip.truncated && usize::from(udp.length) == ip.payload.len();
    let offset = packet.link_length() + ip.header.len() + Udp::CHECKSUM_OFFSET;
    let checksum = Udp::checksum_of(ip.source, ip.destination, ip.payload);
    match (checksum, frame.get_mut(offset..offset + 2)) {
        (Some(checksum), Some(field)) if is_complete => {
            field.copy_from_slice(&checksum.to_be_bytes());
            true
        }
        _ => false,
    }
}

// A kernel can handle many UDP datagrams of equal length as one packet with one header: when sending, the
// device segments the packet (GSO); when receiving, the kernel coalesces the datagrams (GRO). Such a packet
// is never on the wire. Its segments are.

/// The UDP datagrams in a GSO or GRO packet.
#[derive(Clone, Copy, Debug)]
pub struct Segments<'a> {
    /// All headers, up to and including the UDP header.
    headers: &'a [u8],
    payload: &'a [u8],
    ip: Ip<'a>,
    ip_offset: usize,
    udp_offset: usize,
    size: usize,
    has_checksum: bool,
}

impl<'a> Segments<'a> {
    /// Splits a packet into datagrams with `size` bytes of payload each; the last one may be shorter. Returns
    /// `None` if the bytes are not an unfragmented UDP packet, or if `size` is 0.
    #[must_use]
    pub fn new(bytes: &'a [u8], link_type: LinkType, checksums: Checksums, size: u16) -> Option<Self> {
        let packet = Packet::decode(bytes, link_type, checksums);
        let (ip, udp) = (packet.ip_layer()?, packet.udp()?);
        let ip_offset = packet.link_length();
        let udp_offset = ip_offset + ip.header.len();
        if size == 0 || ip.fragment.is_some() {
            return None;
        }
        Some(Self {
            headers: bytes.get(..udp_offset + Udp::HEADER_LENGTH)?,
            payload: ip.payload.get(Udp::HEADER_LENGTH..)?,
            ip: *ip,
            ip_offset,
            udp_offset,
            size: usize::from(size),
            has_checksum: udp.checksum != ChecksumStatus::Absent,
        })
    }

    /// Returns the number of datagrams; at least one.
    #[must_use]
    pub const fn len(&self) -> usize {
        if self.payload.is_empty() { 1 } else { self.payload.len().div_ceil(self.size) }
    }

    /// Returns `false`: a packet without payload is one empty datagram.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Writes the frame of datagram `number`, counted from 0, with its own lengths, identification and
    /// checksums, to the start of the buffer and returns its length.
    ///
    /// # Errors
    /// Returns [`EmitError::BufferTooShort`] if the frame does not fit, and [`EmitError::TooMany`] if there
    /// is no datagram with this number.
    pub fn emit(&self, number: usize, buffer: &mut [u8]) -> Result<usize, EmitError> {
        if number >= self.len() {
            return Err(EmitError::TooMany);
        }
        let start = number * self.size;
        let end = self.payload.len().min(start + self.size);
        let payload = self.payload.get(start..end).ok_or(EmitError::TooMany)?;
        let mut writer = Writer::new(buffer);
        writer.put(self.headers)?;
        writer.put(payload)?;
        self.patch_ip(&mut writer, number, payload.len())?;
        self.patch_udp(&mut writer, payload.len())?;
        Ok(writer.position())
    }

    fn patch_ip(&self, writer: &mut Writer<'_>, number: usize, payload: usize) -> Result<(), EmitError> {
        let length = self.ip.header.len() + Udp::HEADER_LENGTH + payload;
        if self.ip.source.is_ipv6() {
            return writer.patch_u16(self.ip_offset + 4, length_field(length.saturating_sub(40))?);
        }
        let identification = u16_at(self.ip.header, 4).unwrap_or(0).wrapping_add(number as u16);
        writer.patch_u16(self.ip_offset + 2, length_field(length)?)?;
        writer.patch_u16(self.ip_offset + 4, identification)?;
        writer.patch_u16(self.ip_offset + 10, 0)?;
        let header = writer.written(self.ip_offset).get(..self.ip.header.len()).unwrap_or_default();
        let checksum = InternetChecksum::new().bytes(header).finish();
        writer.patch_u16(self.ip_offset + 10, checksum)
    }

    fn patch_udp(&self, writer: &mut Writer<'_>, payload: usize) -> Result<(), EmitError> {
        writer.patch_u16(self.udp_offset + 4, length_field(Udp::HEADER_LENGTH + payload)?)?;
        if !self.has_checksum {
            return Ok(());
        }
        let datagram = writer.written(self.udp_offset);
        let checksum = Udp::checksum_of(self.ip.source, self.ip.destination, datagram)
            .ok_or(EmitError::MixedFamilies)?;
        writer.patch_u16(self.udp_offset + 6, checksum)
    }
}

fn length_field(length: usize) -> Result<u16, EmitError> {
    u16::try_from(length).map_err(|_| EmitError::TooMany)
}
