//! Interface selectors, independent of the operating system.

use alloc::string::String;
use core::fmt::{self, Write};
use core::net::IpAddr;
use core::num::NonZeroU32;
use core::str::FromStr;

use crate::ParseError;
use crate::text::quoted_length;

/// The interface index assigned by the operating system. It is never zero, which means "any" to kernels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceIndex(NonZeroU32);

impl InterfaceIndex {
    /// Creates an index; `None` for zero.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Returns the index as a number.
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

/// Selects an interface by name, index, address or route, or all interfaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InterfaceSelector {
    /// The interface with this name (`eth0`; on Windows the friendly name). Text form: the name, in double
    /// quotes if it could be parsed as something else (`"all"`, `"7"`, `"a:b"`).
    Name(String),
    /// The interface with this index.
    Index(InterfaceIndex),
    /// The interface that has this address.
    Address(IpAddr),
    /// The interface of the route to the group. Text form: `default`.
    Default,
    /// Every interface that is up, can multicast, is not loopback and is not a port of a bridge or bond. Text
    /// form: `all`.
    All,
}

impl FromStr for InterfaceSelector {
    type Err = ParseError;

    /// Parses a name, an index, an address, `default` or `all`. Text in double quotes is always a name, with
    /// `\"` and `\\` for a quote and a backslash.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.starts_with('"') {
            return quoted_name(text);
        }
        if text.is_empty() {
            return Err(ParseError::new(text, "is an empty interface name")
                .with_remedy("a name, an index or an address"));
        }
        if is_number(text) {
            let index = text.parse().ok().and_then(InterfaceIndex::new);
            let error = || {
                ParseError::new(text, "is not a valid interface index")
                    .with_remedy("a number from 1 to 4294967295")
            };
            return index.map(Self::Index).ok_or_else(error);
        }
        match text {
            "default" => Ok(Self::Default),
            "all" => Ok(Self::All),
            _ => Ok(text.parse().map_or_else(|_| Self::Name(text.into()), Self::Address)),
        }
    }
}

fn quoted_name(text: &str) -> Result<InterfaceSelector, ParseError> {
    if quoted_length(text) != Some(text.len()) {
        return Err(ParseError::new(text, "is not a valid quoted interface name").with_remedy("\"NAME\""));
    }
    let mut name = String::new();
    let mut characters = text[1..text.len() - 1].chars();
    while let Some(character) = characters.next() {
        // `quoted_length` has checked that a character follows every backslash.
        name.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    if name.is_empty() {
        return Err(
            ParseError::new(text, "is an empty interface name").with_remedy("a name between the quotes")
        );
    }
    Ok(InterfaceSelector::Name(name))
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether the unquoted name could be parsed as something else.
fn needs_quotes(name: &str) -> bool {
    is_number(name)
        || matches!(name, "default" | "all")
        || name.parse::<IpAddr>().is_ok()
        || name.contains(['"', '\\', '[', ']', ':', '%', '@', ',', '?', '/'])
        || name.trim() != name
}

impl fmt::Display for InterfaceSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) if needs_quotes(name) => write_quoted(f, name),
            Self::Name(name) => f.write_str(name),
            Self::Index(index) => index.fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::Default => f.write_str("default"),
            Self::All => f.write_str("all"),
        }
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    f.write_char('"')?;
    for character in name.chars() {
        if matches!(character, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(character)?;
    }
    f.write_char('"')
}
