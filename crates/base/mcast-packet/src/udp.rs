//! UDP (RFC 768), and splitting a large captured packet into the datagrams that are on the wire.

use core::net::IpAddr;

use etherparse::UdpHeaderSlice;

use crate::EmitError;
use crate::checksum::{ChecksumStatus, Checksums, InternetChecksum};
use crate::ip::{Ip, protocol};
use crate::link::LinkType;
use crate::list::{Writer, u16_at};
use crate::packet::Packet;
use crate::payload::AmtMessage;

/// A UDP header and the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp<'a> {
    /// The source port.
    pub source_port: u16,
    /// The destination port.
    pub destination_port: u16,
    /// The length field of the header: the length of header and payload in bytes.
    pub length: u16,
    /// The status of the checksum.
    pub checksum: ChecksumStatus,
    /// The payload, as far as it was captured.
    pub payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// The length of the header in bytes.
    pub const HEADER_LENGTH: usize = 8;

    const CHECKSUM_OFFSET: usize = 6;

    /// Returns the port by which the payload is recognized: the destination port, or that of AMT if a relay sends from it
    /// to the port of a gateway.
    #[must_use]
    pub const fn recognized_port(&self) -> u16 {
        if self.source_port == AmtMessage::PORT { self.source_port } else { self.destination_port }
    }

    pub(crate) fn decode(ip: &Ip<'a>, checksums: Checksums) -> Result<Self, &'static str> {
        let header = UdpHeaderSlice::from_slice(ip.payload).map_err(|_| "is shorter than its header")?;
        let stated = usize::from(header.length());
        let bytes = match stated {
            // RFC 2675: a jumbogram has the length of the IP payload.
            0 if ip.source.is_ipv6() => ip.payload,
            0..Self::HEADER_LENGTH => return Err("states a length shorter than its header"),
            _ => ip.payload.get(..stated).unwrap_or(ip.payload),
        };
        let is_complete = ip.fragment.is_none() && !ip.truncated && stated <= ip.payload.len();
        Ok(Self {
            source_port: header.source_port(),
            destination_port: header.destination_port(),
            length: header.length(),
            checksum: checksum_status(ip, bytes, is_complete, checksums),
            payload: bytes.get(Self::HEADER_LENGTH..).unwrap_or_default(),
        })
    }

    /// Computes the checksum of a datagram, regardless of its checksum field. A checksum of zero, which would
    /// mean that there is none, is sent as all ones.
    pub(crate) fn checksum_of(source: IpAddr, destination: IpAddr, datagram: &[u8]) -> Option<u16> {
        match sum_without_field(pseudo_header(source, destination, datagram)?, datagram)?.finish() {
            0 => Some(0xffff),
            checksum => Some(checksum),
        }
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

fn checksum_status(ip: &Ip<'_>, datagram: &[u8], is_complete: bool, checksums: Checksums) -> ChecksumStatus {
    if checksums == Checksums::LeftToDevice {
        return ChecksumStatus::NotComputed;
    }
    let (Some(found), Some(pseudo)) =
        (u16_at(datagram, Udp::CHECKSUM_OFFSET), pseudo_header(ip.source, ip.destination, datagram))
    else {
        return ChecksumStatus::NotComputable;
    };
    let compared = match (found, sum_without_field(pseudo, datagram)) {
        // Over IPv6 only tunnels may omit it (RFC 6935); other receivers drop the datagram.
        (0, _) => return ChecksumStatus::Absent,
        (_, Some(others)) if is_complete => ChecksumStatus::compare(found, others),
        _ => return ChecksumStatus::NotComputable,
    };
    // A kernel that offloads the checksum stores the sum of the pseudo-header in its place. Capture files do
    // not mark such packets. One damaged packet in 65,536 has the same value by chance.
    match compared {
        ChecksumStatus::Invalid { .. } if found == !pseudo.finish() => ChecksumStatus::NotComputed,
        compared => compared,
    }
}

fn pseudo_header(source: IpAddr, destination: IpAddr, datagram: &[u8]) -> Option<InternetChecksum> {
    let length = u32::try_from(datagram.len()).ok()?;
    InternetChecksum::pseudo_header(source, destination, protocol::UDP, length)
}

fn sum_without_field(pseudo: InternetChecksum, datagram: &[u8]) -> Option<InternetChecksum> {
    Some(pseudo.bytes(datagram.get(..Udp::CHECKSUM_OFFSET)?).bytes(datagram.get(Udp::HEADER_LENGTH..)?))
}

// Splitting a large captured packet into the datagrams that are on the wire.
//
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_zero_is_sent_as_all_ones() {
        let (source, destination) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([239, 1, 2, 3]));
        let mut datagram = [0, 1, 0, 2, 0, 10, 0, 0, 0, 0];
        let sum = Udp::checksum_of(source, destination, &datagram).unwrap();
        datagram[8..].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(Udp::checksum_of(source, destination, &datagram), Some(0xffff));
    }
}
