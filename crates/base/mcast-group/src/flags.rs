//! The flags of an IPv6 group.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

use crate::Group;

/// The four flag bits of an IPv6 group, `ff` followed by `XRPT` (RFC 4291 section 2.7, RFC 7371).
///
/// `Display` writes the letters of the bits that are set, such as `RPT`, or `none`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupFlags(u8);

impl Group {
    /// Returns the flags of an IPv6 group; `None` for IPv4.
    #[must_use]
    pub const fn flags(self) -> Option<GroupFlags> {
        match self.addr() {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(GroupFlags::of(address)),
        }
    }
}

impl GroupFlags {
    pub(crate) const fn of(address: Ipv6Addr) -> Self {
        Self(address.octets()[1] >> 4)
    }

    /// Returns the four bits as in the address: X 8, R 4, P 2, T 1.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Returns flag X: reserved; parsers ignore it (RFC 7371).
    #[must_use]
    pub const fn reserved(self) -> bool {
        self.0 & 8 != 0
    }

    /// Returns flag R: the address of the rendezvous point is embedded (RFC 3956).
    #[must_use]
    pub const fn embedded_rp(self) -> bool {
        self.0 & 4 != 0
    }

    /// Returns flag P: the group is based on a unicast prefix (RFC 3306).
    #[must_use]
    pub const fn prefix_based(self) -> bool {
        self.0 & 2 != 0
    }

    /// Returns flag T: the group is transient, not permanently assigned by IANA (RFC 4291 section 2.7).
    #[must_use]
    pub const fn transient(self) -> bool {
        self.0 & 1 != 0
    }
}

impl fmt::Display for GroupFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("none");
        }
        for (set, letter) in [
            (self.reserved(), "X"),
            (self.embedded_rp(), "R"),
            (self.prefix_based(), "P"),
            (self.transient(), "T"),
        ] {
            if set {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for GroupFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupFlags({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn display_writes_the_letters_of_the_set_bits() {
        for (group, letters) in [
            ("ff02::1", "none"),
            ("ff15::1", "T"),
            ("ff3e::1", "PT"),
            ("ff7e::1", "RPT"),
            ("fffe::1", "XRPT"),
        ] {
            let flags = group.parse::<Group>().unwrap().flags().unwrap();
            assert_eq!(flags.to_string(), letters, "{group}");
        }
        assert_eq!("224.0.0.1".parse::<Group>().unwrap().flags(), None);
    }
}
