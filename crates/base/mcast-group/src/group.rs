//! A group: an IP address known to be multicast; the flags of an IPv6 group; and why text cannot be parsed.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// An IPv4 or IPv6 multicast address: 224.0.0.0/4 (RFC 5771) or ff00::/8 (RFC 4291 section 2.7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(pub(crate) IpAddr);

impl Group {
    /// Creates a group from an address.
    ///
    /// # Errors
    /// Returns [`NotMulticast`] if the address is a unicast or broadcast address.
    pub const fn new(address: IpAddr) -> Result<Self, NotMulticast> {
        if address.is_multicast() { Ok(Self(address)) } else { Err(NotMulticast(address)) }
    }

    /// Returns the address of the group.
    #[must_use]
    pub const fn addr(self) -> IpAddr {
        self.0
    }

    /// Returns the address family of the group.
    #[must_use]
    pub const fn family(self) -> Family {
        match self.0 {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// Returns the address as a number.
    pub(crate) fn bits(self) -> u128 {
        match self.0 {
            IpAddr::V4(address) => address.to_bits().into(),
            IpAddr::V6(address) => address.to_bits(),
        }
    }

    /// Creates a group from a number. Returns `None` if it is not a multicast address of the family.
    pub(crate) fn from_bits(family: Family, bits: u128) -> Option<Self> {
        let address = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).ok()?)),
            Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        };
        Self::new(address).ok()
    }

    /// Returns the group `offset` addresses after this one; `None` beyond the last one of the family.
    pub(crate) fn plus(self, offset: u128) -> Option<Self> {
        Self::from_bits(self.family(), self.bits().checked_add(offset)?)
    }
}

impl TryFrom<IpAddr> for Group {
    type Error = NotMulticast;

    fn try_from(address: IpAddr) -> Result<Self, NotMulticast> {
        Self::new(address)
    }
}

impl From<Group> for IpAddr {
    fn from(group: Group) -> Self {
        group.0
    }
}

impl FromStr for Group {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let address: IpAddr = text.parse().map_err(|_| ParseError::new(text, "is not an IP address"))?;
        Self::new(address).map_err(|_| {
            ParseError::new(text, "is not a multicast address")
                .with_remedy("one from 224.0.0.0 to 239.255.255.255, or one that begins with ff")
        })
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An address that is not a multicast address where one is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a multicast address (IPv4: 224.0.0.0 to 239.255.255.255, IPv6: ff00::/8)")]
pub struct NotMulticast(pub IpAddr);

/// An address family. As a value it lets both families share code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4, with IGMP.
    V4,
    /// IPv6, with MLD.
    V6,
}

impl Family {
    /// Returns the family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

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

/// Why a text could not be parsed: the text, what is wrong with it, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    text: String,
    part: Option<String>,
    problem: &'static str,
    remedy: Option<String>,
}

impl ParseError {
    pub(crate) fn new(text: &str, problem: &'static str) -> Self {
        Self { text: text.into(), part: None, problem, remedy: None }
    }

    /// Adds what to write instead.
    pub(crate) fn with_remedy(self, form: impl fmt::Display) -> Self {
        Self { remedy: Some(format!("write {form}")), ..self }
    }

    /// Extends the error to the whole text. The text reported so far becomes the part.
    pub(crate) fn within(self, whole: &str) -> Self {
        if self.text == whole {
            return self;
        }
        Self { part: Some(self.part.unwrap_or(self.text)), text: whole.into(), ..self }
    }

    /// Returns the text that was parsed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the invalid part of the text, if that is not the whole text.
    #[must_use]
    pub fn part(&self) -> Option<&str> {
        self.part.as_deref()
    }

    /// Returns what is wrong, as the predicate of a sentence whose subject is the text.
    #[must_use]
    pub fn problem(&self) -> &'static str {
        self.problem
    }

    /// Returns what to write instead, if known.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" {}", self.text, self.problem)?;
        if let Some(part) = self.part.as_ref().filter(|part| !part.is_empty()) {
            write!(f, " (\"{part}\")")?;
        }
        match &self.remedy {
            Some(remedy) => write!(f, ": {remedy}"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for ParseError {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

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
