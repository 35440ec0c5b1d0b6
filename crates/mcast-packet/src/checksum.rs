//! The Internet checksum (RFC 1071), and what is known about one that was received.

use core::net::IpAddr;

/// What is known about a checksum in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChecksumStatus {
    /// It agrees with the bytes.
    Valid,
    /// It does not: the packet was damaged, or built wrongly.
    Invalid {
        /// What the packet says.
        found: u16,
        /// What it should say.
        expected: u16,
    },
    /// There is none: a UDP checksum of zero (RFC 768; over IPv6, RFC 6935 allows it to tunnels
    /// only), and every IPv6 header.
    Absent,
    /// It was left to the network device, so the captured bytes do not have it yet.
    NotComputed,
    /// Not all of the bytes that it covers are here: a fragment, or a truncated capture.
    NotComputable,
}

impl ChecksumStatus {
    /// Whether the checksum is known to be wrong.
    #[must_use]
    pub const fn is_invalid(self) -> bool {
        matches!(self, Self::Invalid { .. })
    }

    /// Compares `found` with the sum of all other bytes that it covers.
    pub(crate) const fn compare(found: u16, others: InternetChecksum) -> Self {
        match others.word(found).finish() {
            0 => Self::Valid,
            _ => Self::Invalid { found, expected: others.finish() },
        }
    }
}

/// Whether the transport checksums in captured bytes can be trusted to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Checksums {
    /// The bytes are as they were on a wire, or will be.
    #[default]
    Computed,
    /// The kernel left the transport checksum to the device (`CHECKSUM_PARTIAL` on Linux).
    LeftToDevice,
}

/// The running sum of RFC 1071. Only the last piece added may have an odd length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InternetChecksum {
    sum: u64,
}

impl InternetChecksum {
    /// The sum of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { sum: 0 }
    }

    /// The pseudo-header that UDP (RFC 768) and every transport over IPv6 (RFC 8200 section 8.1)
    /// put before their own bytes. `None` when the addresses are of two families.
    #[must_use]
    pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: u32) -> Option<Self> {
        let addresses = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Self::new().bytes(&source.octets()).bytes(&destination.octets())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                Self::new().bytes(&source.octets()).bytes(&destination.octets())
            }
            _ => return None,
        };
        Some(addresses.bytes(&length.to_be_bytes()).word(u16::from(protocol)))
    }

    /// Adds bytes; an odd last byte is followed by a zero.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let (pairs, last) = bytes.as_chunks::<2>();
        let words = pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum::<u64>();
        let odd = last.first().map_or(0, |byte| u64::from(*byte) << 8);
        Self { sum: self.sum + words + odd }
    }

    /// Adds one 16-bit word.
    #[must_use]
    pub const fn word(self, word: u16) -> Self {
        Self { sum: self.sum + word as u64 }
    }

    /// The checksum: the complement of the folded sum.
    #[must_use]
    pub const fn finish(self) -> u16 {
        let mut sum = self.sum;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum_of_the_example_in_rfc_1071() {
        let sum = InternetChecksum::new().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.finish(), !0xddf2);
    }

    #[test]
    fn an_odd_last_byte_counts_as_the_high_half_of_a_word() {
        assert_eq!(InternetChecksum::new().bytes(&[0x12]).finish(), !0x1200);
    }

    #[test]
    fn a_wrong_checksum_is_shown_beside_the_right_one() {
        let others = InternetChecksum::new().bytes(&[0x12, 0x34]);
        assert_eq!(ChecksumStatus::compare(!0x1234, others), ChecksumStatus::Valid);
        assert_eq!(
            ChecksumStatus::compare(7, others),
            ChecksumStatus::Invalid { found: 7, expected: !0x1234 }
        );
    }

    #[test]
    fn addresses_of_two_families_have_no_pseudo_header() {
        let v4 = IpAddr::from([10, 0, 0, 1]);
        let v6 = IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(InternetChecksum::pseudo_header(v4, v6, 17, 8), None);
    }
}
