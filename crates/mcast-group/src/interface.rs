//! Naming an interface without knowing the system it is on.

use alloc::string::String;
use core::fmt;
use core::net::IpAddr;
use core::num::NonZeroU32;
use core::str::FromStr;

use crate::ParseError;

/// The system's number for an interface. Never zero: zero means "any" to a kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceIndex(NonZeroU32);

impl InterfaceIndex {
    /// The index with this number; `None` for zero.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for InterfaceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for InterfaceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which interface is meant: by name, index or address, the one the routing table takes, or all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InterfaceSelector {
    /// The interface of this name (`eth0`; on Windows the friendly name).
    Name(String),
    /// The interface with this index.
    Index(InterfaceIndex),
    /// The interface that has this address.
    Address(IpAddr),
    /// The interface that the routing table gives for the group. Text form: `default`.
    Default,
    /// Every interface that is up, can multicast, is not loopback and is no port of a bridge or
    /// bond. Text form: `all`.
    All,
}

impl FromStr for InterfaceSelector {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.is_empty() {
            return Err(ParseError::new(text, "names no interface"));
        }
        if text == "default" {
            return Ok(Self::Default);
        }
        if text == "all" {
            return Ok(Self::All);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        match text.parse().map(InterfaceIndex::new) {
            Ok(Some(index)) => Ok(Self::Index(index)),
            Ok(None) => Err(ParseError::new(text, "is no interface index: indexes start at 1")),
            Err(_) => Ok(Self::Name(text.into())),
        }
    }
}

impl fmt::Display for InterfaceSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Index(index) => index.fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::Default => f.write_str("default"),
            Self::All => f.write_str("all"),
        }
    }
}
