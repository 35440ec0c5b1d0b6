//! The Internet checksum (RFC 1071), and the status of a received one.

use core::net::IpAddr;

/// The status of a checksum in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChecksumStatus {
    /// The checksum matches the bytes.
    Valid,
    /// The checksum does not match: the packet was damaged or built incorrectly.
    Invalid {
        /// The checksum in the packet.
        found: u16,
        /// The correct checksum.
        expected: u16,
    },
    /// There is no checksum: a UDP checksum of zero (RFC 768; over IPv6, RFC 6935 allows it for tunnels
    /// only), or an IPv6 header.
    Absent,
    /// The checksum is offloaded to the network device, so the captured bytes do not contain it yet. Either
    /// the capture reports this, or the UDP header holds the sum of its pseudo-header, which the device
    /// completes. This occurs in captures on the sender, on a virtual link or in a container. The receiver's
    /// kernel accepts it.
    NotComputed,
    /// Some of the covered bytes are missing: the packet is a fragment or was truncated by the capture.
    NotComputable,
}

impl ChecksumStatus {
    /// All names.
    pub const NAMES: [&'static str; 5] = ["valid", "invalid", "absent", "not-computed", "not-computable"];

    /// Returns the name, as JSON and Python have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        let [valid, invalid, absent, not_computed, not_computable] = Self::NAMES;
        match self {
            Self::Valid => valid,
            Self::Invalid { .. } => invalid,
            Self::Absent => absent,
            Self::NotComputed => not_computed,
            Self::NotComputable => not_computable,
        }
    }

    /// Returns whether the checksum is known to be wrong.
    #[must_use]
    pub const fn is_invalid(self) -> bool {
        matches!(self, Self::Invalid { .. })
    }

    /// Compares `found` with the sum of all other covered bytes.
    pub(crate) const fn compare(found: u16, others: InternetChecksum) -> Self {
        match others.word(found).finish() {
            0 => Self::Valid,
            _ => Self::Invalid { found, expected: others.finish() },
        }
    }
}

/// Whether captured bytes contain computed transport checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Checksums {
    /// The checksums are computed, as on the wire.
    #[default]
    Computed,
    /// The kernel offloaded the transport checksum to the device (`CHECKSUM_PARTIAL` on Linux).
    LeftToDevice,
}

/// The running sum of RFC 1071. Only the last slice added may have an odd length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InternetChecksum {
    sum: u64,
}

impl InternetChecksum {
    /// Creates a sum of zero bytes.
    #[must_use]
    pub const fn new() -> Self {
        Self { sum: 0 }
    }

    /// Creates the sum of the pseudo-header of UDP (RFC 768) or of any transport over IPv6 (RFC 8200 section
    /// 8.1). Returns `None` if the addresses are of different families.
    #[inline]
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

    /// Adds bytes. An odd number of bytes is padded with a zero.
    #[inline]
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        // Two words at a time: the upper one is folded onto the lower one at the end (RFC 1071, section 2).
        let (fours, rest) = bytes.as_chunks::<4>();
        let words = fours.iter().map(|four| u64::from(u32::from_be_bytes(*four))).sum::<u64>();
        let (pairs, last) = rest.as_chunks::<2>();
        let word = pairs.first().map_or(0, |pair| u64::from(u16::from_be_bytes(*pair)));
        let odd = last.first().map_or(0, |byte| u64::from(*byte) << 8);
        Self { sum: self.sum + words + word + odd }
    }

    /// Adds one 16-bit word.
    #[must_use]
    pub const fn word(self, word: u16) -> Self {
        Self { sum: self.sum + word as u64 }
    }

    /// Returns the checksum: the complement of the folded sum.
    #[inline]
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
    fn sum_matches_the_example_of_rfc_1071() {
        let sum = InternetChecksum::new().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.finish(), !0xddf2);
    }

    #[test]
    fn odd_last_byte_is_the_high_byte_of_a_word() {
        assert_eq!(InternetChecksum::new().bytes(&[0x12]).finish(), !0x1200);
    }

    #[test]
    fn invalid_status_contains_the_correct_checksum() {
        let others = InternetChecksum::new().bytes(&[0x12, 0x34]);
        assert_eq!(ChecksumStatus::compare(!0x1234, others), ChecksumStatus::Valid);
        assert_eq!(
            ChecksumStatus::compare(7, others),
            ChecksumStatus::Invalid { found: 7, expected: !0x1234 }
        );
    }

    #[test]
    fn addresses_of_different_families_have_no_pseudo_header() {
        let v4 = IpAddr::from([10, 0, 0, 1]);
        let v6 = IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(InternetChecksum::pseudo_header(v4, v6, 17, 8), None);
    }
}
