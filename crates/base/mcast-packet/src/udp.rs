//! UDP (RFC 768).

use core::net::IpAddr;

use etherparse::UdpHeaderSlice;

use crate::checksum::{ChecksumStatus, Checksums, InternetChecksum};
use crate::ip::{Ip, protocol};
use crate::list::u16_at;

/// The port of AMT (RFC 7450), whose datagrams are recognized by either of their ports.
pub(crate) const AMT_PORT: u16 = 2268;

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

    pub(crate) const CHECKSUM_OFFSET: usize = 6;

    /// Returns the port by which the payload is recognized: the destination port, or that of AMT if a relay sends from it
    /// to the port of a gateway.
    #[must_use]
    pub const fn recognized_port(&self) -> u16 {
        if self.source_port == AMT_PORT { self.source_port } else { self.destination_port }
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
