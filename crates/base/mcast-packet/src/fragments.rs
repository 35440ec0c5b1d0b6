//! The parts of a fragment (RFC 791 section 3.2, RFC 8200 section 4.5): what a reassembler puts together.

use core::net::IpAddr;

use crate::checksum::InternetChecksum;
use crate::ip::{FRAGMENT, Ip, protocol};
use crate::list::{u8_at, u16_at};

/// A fragment, divided into the headers of the whole datagram and its part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentParts<'a> {
    /// The headers before the data, without the fragment header of IPv6.
    pub headers: &'a [u8],
    /// The part of the data, as far as it was captured: two pieces that follow one another.
    pub data: [&'a [u8]; 2],
    /// The length of the part as stated, which is more than was captured if the packet is truncated.
    pub length: usize,
    /// What the headers have to state once the datagram is whole.
    pub shape: DatagramShape,
}

/// What the headers of a datagram have to state once it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramShape {
    /// The length of the headers.
    headers: usize,
    /// The protocol of the data: in IPv6, of the first header in it.
    protocol: u8,
    /// The position of the field that states this protocol.
    protocol_at: usize,
}

impl<'a> Ip<'a> {
    /// Divides a fragment; returns `None` for other packets, and for those whose stated length is too short.
    #[must_use]
    pub fn fragment_parts(&self) -> Option<FragmentParts<'a>> {
        self.fragment?;
        match self.source {
            IpAddr::V4(_) => self.v4_parts(),
            IpAddr::V6(_) => self.v6_parts(),
        }
    }

    fn v4_parts(&self) -> Option<FragmentParts<'a>> {
        const PROTOCOL: usize = 9;
        let length = usize::from(u8_at(self.header, 0)? & 0x0f) * 4;
        let (headers, rest) = self.header.split_at_checked(length)?;
        Some(FragmentParts {
            headers,
            data: [rest, self.payload],
            length: usize::from(u16_at(self.header, 2)?).checked_sub(length)?,
            shape: DatagramShape {
                headers: length,
                protocol: u8_at(self.header, PROTOCOL)?,
                protocol_at: PROTOCOL,
            },
        })
    }

    fn v6_parts(&self) -> Option<FragmentParts<'a>> {
        const FIXED: usize = 40;
        const NEXT_HEADER: usize = 6;
        const FRAGMENT_LENGTH: usize = 8;
        let (mut at, mut protocol_at) = (FIXED, NEXT_HEADER);
        // The headers before the fragment header all have the same form, and the chain is shorter than the packet.
        while u8_at(self.header, protocol_at)? != FRAGMENT {
            protocol_at = at;
            at += (usize::from(u8_at(self.header, at + 1)?) + 1) * 8;
        }
        let end = at + FRAGMENT_LENGTH;
        let stated = FIXED + usize::from(u16_at(self.header, 4)?);
        Some(FragmentParts {
            headers: self.header.get(..at)?,
            data: [self.header.get(end..)?, self.payload],
            length: stated.checked_sub(end)?,
            shape: DatagramShape { headers: at, protocol: u8_at(self.header, at)?, protocol_at },
        })
    }
}

impl DatagramShape {
    /// The maximum length of the data of a datagram.
    pub const MAX_DATA: usize = 65_535;

    /// Changes `packet`, which starts with the [headers](FragmentParts::headers) of the first fragment, to the whole datagram
    /// with `length` bytes of data. A datagram that is longer than its header can state keeps the greatest length.
    pub fn complete(&self, packet: &mut [u8], length: usize) {
        const V6_HEADER: usize = 40;
        let Some(bytes) = packet.get_mut(..self.headers) else { return };
        if bytes.first().is_some_and(|first| first >> 4 == 4) {
            let total = u16::try_from(self.headers + length).unwrap_or(u16::MAX);
            put(bytes, 2, total.to_be_bytes());
            put(bytes, 6, [0; 2]);
            put(bytes, 10, [0; 2]);
            let checksum = InternetChecksum::new().bytes(bytes).finish();
            put(bytes, 10, checksum.to_be_bytes());
        } else {
            let total = u16::try_from(self.headers.saturating_sub(V6_HEADER) + length).unwrap_or(u16::MAX);
            put(bytes, 4, total.to_be_bytes());
            put(bytes, self.protocol_at, [self.protocol]);
        }
    }

    /// Returns whether the data is that of UDP or of a protocol that carries packets, or begins with a header of IPv6 behind
    /// which one of these may be.
    #[must_use]
    pub const fn may_carry_datagrams(&self) -> bool {
        const ROUTING: u8 = 43;
        const AUTHENTICATION: u8 = 51;
        const DESTINATION_OPTIONS: u8 = 60;
        matches!(
            self.protocol,
            protocol::UDP
                | protocol::IPV4
                | protocol::IPV6
                | protocol::GRE
                | protocol::ETHER_IP
                | protocol::MPLS
                | protocol::ETHERNET
                | protocol::L2TP
                | ROUTING
                | AUTHENTICATION
                | DESTINATION_OPTIONS
        )
    }
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(field) = bytes.get_mut(at..at + N) {
        field.copy_from_slice(&value);
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::packet::Packet;

    /// Returns the fragment of IPv6 with a hop-by-hop header and this part of the data.
    fn v6(offset: u16, more: bool, part: &[u8]) -> Vec<u8> {
        let mut bytes = [0x60, 0, 0, 0, 0, 0, 0, 8].to_vec();
        bytes[4..6].copy_from_slice(&(16 + part.len() as u16).to_be_bytes());
        bytes.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        bytes.extend([0xff, 0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        bytes.extend([FRAGMENT, 0, 1, 4, 0, 0, 0, 0]);
        bytes.extend([protocol::UDP, 0]);
        bytes.extend((offset | u16::from(more)).to_be_bytes());
        bytes.extend([0, 0, 0, 7]);
        bytes.extend(part);
        bytes
    }

    #[test]
    fn fragments_of_both_families_become_the_whole_datagram() {
        let data = [&[0x0f, 0xa0, 0x13, 0x88, 0, 24, 0, 0][..], &[5; 16]].concat();
        let v4 = |offset: u16, part: &[u8]| {
            let mut bytes = [0x45, 0, 0, 20 + part.len() as u8, 0, 7, 0, 0, 1, 17, 0, 0].to_vec();
            bytes[6..8].copy_from_slice(&((offset / 8) | if offset == 0 { 0x2000 } else { 0 }).to_be_bytes());
            bytes.extend([10, 0, 0, 1, 239, 1, 2, 3]);
            bytes.extend(part);
            bytes
        };
        let families = [
            [v4(0, &data[..16]), v4(16, &data[16..])],
            [v6(0, true, &data[..16]), v6(16, false, &data[16..])],
        ];
        for fragments in families {
            let mut whole = Vec::new();
            let mut shape = None;
            for bytes in &fragments {
                let packet = Packet::ip(bytes);
                let parts = packet.ip_layer().unwrap().fragment_parts().unwrap();
                assert_eq!(parts.length, parts.data.concat().len());
                if shape.is_none() {
                    whole.extend(parts.headers);
                    shape = Some(parts.shape);
                }
                whole.extend(parts.data.concat());
            }
            shape.unwrap().complete(&mut whole, data.len());
            let packet = Packet::ip(&whole);
            assert_eq!(packet.malformed, None, "{packet}");
            let ip = packet.ip_layer().unwrap();
            assert!(ip.fragment.is_none() && !ip.truncated && !ip.header_checksum.is_invalid(), "{packet}");
            assert_eq!(packet.udp().unwrap().payload, [5; 16]);
        }
    }
}
