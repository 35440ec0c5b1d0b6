//! Splitting a large captured packet into the datagrams that are on the wire.
//!
//! A kernel can handle many UDP datagrams of equal length as one packet with one header: when sending, the
//! device segments the packet (GSO); when receiving, the kernel coalesces the datagrams (GRO). Such a packet
//! is never on the wire. Its segments are.

use crate::EmitError;
use crate::bytes::{Writer, u16_at};
use crate::checksum::{ChecksumStatus, Checksums, InternetChecksum};
use crate::ip::Ip;
use crate::link::LinkType;
use crate::packet::Packet;
use crate::udp::Udp;

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
