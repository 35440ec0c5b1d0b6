//! Replaces recorded groups and ports.

use std::str::FromStr;

use mcast_group::{Destination, Group, GroupAddr, ParseError};

/// A replacement of a group, a port, or both: `FROM=TO`. Both are `GROUP:PORT`, `GROUP` or `:PORT`; `TO` may
/// also name an interface to send on, as `GROUP%INTERFACE:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressMapping {
    from: AddressPattern,
    to: Target,
}

/// Why a text is not an [`AddressMapping`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// It contains no `=`.
    #[error("write FROM=TO, such as 239.1.1.1:5000=239.2.2.2:6000")]
    NoEqualsSign,
    /// One side is neither an address, nor a group, nor a port.
    #[error(transparent)]
    Address(#[from] ParseError),
}

/// A group, a port, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AddressPattern {
    group: Option<Group>,
    port: Option<u16>,
}

/// The replacement: a part of an address, or a whole one, perhaps with an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Part(AddressPattern),
    Whole(Destination),
}

impl AddressMapping {
    /// Returns the new destination of an address; `None` if the mapping does not match it.
    fn apply(&self, address: GroupAddr) -> Option<Destination> {
        let AddressPattern { group, port } = self.from;
        let matches =
            group.is_none_or(|group| group == address.group) && port.is_none_or(|port| port == address.port);
        matches.then(|| match &self.to {
            Target::Whole(destination) => destination.clone(),
            Target::Part(AddressPattern { group, port }) => {
                GroupAddr::new(group.unwrap_or(address.group), port.unwrap_or(address.port)).into()
            }
        })
    }
}

/// Returns the new destination of an address by the first mapping that matches it, otherwise the same
/// address.
pub(super) fn mapped(mappings: &[AddressMapping], address: GroupAddr) -> Destination {
    mappings.iter().find_map(|mapping| mapping.apply(address)).unwrap_or_else(|| address.into())
}

impl FromStr for AddressMapping {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        let (from, to) = text.split_once('=').ok_or(MappingError::NoEqualsSign)?;
        let to = match to.parse::<Destination>() {
            Ok(destination) => Target::Whole(destination),
            Err(error) => Target::Part(AddressPattern::parse(to, error)?),
        };
        let from = match from.parse::<GroupAddr>() {
            Ok(address) => AddressPattern { group: Some(address.group), port: Some(address.port) },
            Err(error) => AddressPattern::parse(from, error)?,
        };
        Ok(Self { from, to })
    }
}

impl AddressPattern {
    /// Parses a group or a port alone. `wrong` is the error for texts that are neither.
    fn parse(text: &str, wrong: ParseError) -> Result<Self, ParseError> {
        if let Some(port) = text.strip_prefix(':').and_then(|port| port.parse().ok()) {
            return Ok(Self { group: None, port: Some(port) });
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        match bare.parse() {
            Ok(group) => Ok(Self { group: Some(group), port: None }),
            Err(_) => Err(wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes(mappings: &[&str], from: &str) -> String {
        let mappings: Vec<AddressMapping> = mappings.iter().map(|text| text.parse().unwrap()).collect();
        mapped(&mappings, from.parse().unwrap()).to_string()
    }

    #[test]
    fn groups_ports_or_both_are_replaced() {
        assert_eq!(goes(&["239.1.1.1:5000=239.2.2.2:6000"], "239.1.1.1:5000"), "239.2.2.2:6000");
        assert_eq!(goes(&["239.1.1.1:5000=239.2.2.2:6000"], "239.1.1.1:5001"), "239.1.1.1:5001");
        assert_eq!(goes(&["239.1.1.1=239.2.2.2"], "239.1.1.1:5001"), "239.2.2.2:5001");
        assert_eq!(goes(&["239.1.1.1=:7000"], "239.1.1.1:5001"), "239.1.1.1:7000");
        assert_eq!(goes(&[":5000=:6000"], "[ff15::1]:5000"), "[ff15::1]:6000");
        assert_eq!(goes(&["[ff15::1]=ff15::2"], "[ff15::1]:5000"), "[ff15::2]:5000");
        assert_eq!(goes(&["239.1.1.1=[ff15::2%eth1]:5000"], "239.1.1.1:5000"), "[ff15::2%eth1]:5000");
    }

    #[test]
    fn the_first_match_applies() {
        let both = ["239.1.1.1:5000=:1", ":5000=:2"];
        assert_eq!(goes(&both, "239.1.1.1:5000"), "239.1.1.1:1");
        assert_eq!(goes(&both, "239.1.1.2:5000"), "239.1.1.2:2");
    }

    #[test]
    fn invalid_mappings_are_refused() {
        for text in
            ["", "=", "239.1.1.1", "10.0.0.1=239.1.1.1", "239.1.1.1=10.0.0.1", ":x=:1", ":5000=:70000"]
        {
            text.parse::<AddressMapping>().unwrap_err();
        }
    }
}
