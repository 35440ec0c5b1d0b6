//! UDP (RFC 768).

use core::net::IpAddr;

use etherparse::UdpHeaderSlice;

use crate::bytes::u16_at;
use crate::checksum::{ChecksumStatus, Checksums, InternetChecksum};
use crate::ip::{Ip, protocol};
use crate::link::LinkType;
use crate::packet::Packet;

/// A UDP header, and the payload behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp<'a> {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// What the header says is the length of header and payload.
    pub length: u16,
    /// Whether the checksum agrees.
    pub checksum: ChecksumStatus,
    /// The payload, as much of it as is here.
    pub payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// The length of the header in bytes.
    pub const HEADER_LENGTH: usize = 8;

    const CHECKSUM_OFFSET: usize = 6;

    pub(crate) fn decode(ip: &Ip<'a>, checksums: Checksums) -> Result<Self, &'static str> {
        let header = UdpHeaderSlice::from_slice(ip.payload).map_err(|_| "is shorter than its header")?;
        let stated = usize::from(header.length());
        let bytes = match stated {
            // RFC 2675: the length of a jumbogram is that of its IP payload.
            0 if ip.source.is_ipv6() => ip.payload,
            0..Self::HEADER_LENGTH => return Err("says that it is shorter than its own header"),
            _ => ip.payload.get(..stated).unwrap_or(ip.payload),
        };
        let complete = ip.fragment.is_none() && !ip.truncated && stated <= ip.payload.len();
        Ok(Self {
            source_port: header.source_port(),
            destination_port: header.destination_port(),
            length: header.length(),
            checksum: checksum_status(ip, bytes, complete, checksums),
            payload: bytes.get(Self::HEADER_LENGTH..).unwrap_or_default(),
        })
    }

    /// The checksum that a datagram of these bytes should carry, whatever its own field says; zero,
    /// which would mean that there is none, is sent as all ones.
    pub(crate) fn checksum_of(source: IpAddr, destination: IpAddr, datagram: &[u8]) -> Option<u16> {
        match sum_without_field(source, destination, datagram)?.finish() {
            0 => Some(0xffff),
            checksum => Some(checksum),
        }
    }
}

/// Computes the checksum of the UDP datagram in a frame and writes it into the frame, as a device does
/// to which the kernel has left it. Says whether it did: not in anything else than whole UDP datagrams.
pub fn fill_udp_checksum(frame: &mut [u8], link_type: LinkType) -> bool {
    let packet = Packet::decode(frame, link_type, Checksums::LeftToDevice);
    let (Some(ip), Some(udp)) = (packet.ip_layer(), packet.udp()) else { return false };
    let whole = ip.fragment.is_none() && !ip.truncated && usize::from(udp.length) == ip.payload.len();
    let field = packet.link_length(link_type) + ip.header.len() + Udp::CHECKSUM_OFFSET;
    let checksum = Udp::checksum_of(ip.source, ip.destination, ip.payload);
    match (checksum, frame.get_mut(field..field + 2)) {
        (Some(checksum), Some(place)) if whole => {
            place.copy_from_slice(&checksum.to_be_bytes());
            true
        }
        _ => false,
    }
}

fn checksum_status(ip: &Ip<'_>, datagram: &[u8], complete: bool, checksums: Checksums) -> ChecksumStatus {
    if checksums == Checksums::LeftToDevice {
        return ChecksumStatus::NotComputed;
    }
    let (Some(found), Some(others)) =
        (u16_at(datagram, Udp::CHECKSUM_OFFSET), sum_without_field(ip.source, ip.destination, datagram))
    else {
        return ChecksumStatus::NotComputable;
    };
    match found {
        // Over IPv6 only tunnels may go without (RFC 6935); everybody else's receiver drops it.
        0 => ChecksumStatus::Absent,
        _ if !complete => ChecksumStatus::NotComputable,
        _ => ChecksumStatus::compare(found, others),
    }
}

fn sum_without_field(source: IpAddr, destination: IpAddr, datagram: &[u8]) -> Option<InternetChecksum> {
    let length = u32::try_from(datagram.len()).ok()?;
    let pseudo = InternetChecksum::pseudo_header(source, destination, protocol::UDP, length)?;
    Some(pseudo.bytes(datagram.get(..Udp::CHECKSUM_OFFSET)?).bytes(datagram.get(Udp::HEADER_LENGTH..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_of_zero_is_sent_as_all_ones() {
        let (source, destination) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([239, 1, 2, 3]));
        let mut datagram = [0, 1, 0, 2, 0, 10, 0, 0, 0, 0];
        let sum = Udp::checksum_of(source, destination, &datagram).unwrap();
        datagram[8..].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(Udp::checksum_of(source, destination, &datagram), Some(0xffff));
    }
}
