//! Patterns of groups: an address, a range or a name.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use mcast::group::{GroupRange, WellKnown};
use mcast::{Family, Group};

use super::description::{self, is_description};

/// One or several groups, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    ranges: Vec<GroupRange>,
}

impl Pattern {
    pub(crate) fn contains(&self, group: Group) -> bool {
        self.ranges.iter().any(|range| range.contains(group))
    }

    pub(crate) fn ranges(&self) -> impl Iterator<Item = GroupRange> {
        self.ranges.iter().copied()
    }

    /// Returns the groups of a session description.
    fn described(path: &str) -> Result<Self, String> {
        let description = description::open(path).map_err(|error| format!("{error:#}"))?;
        let groups = description.streams.iter().map(|stream| stream.membership.address.group);
        Ok(Self { text: path.to_owned(), ranges: groups.map(GroupRange::from).collect() })
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_description(text) {
            return Self::described(text);
        }
        let named = WellKnown::named(text);
        let ranges = match text.split_once('/') {
            _ if !named.is_empty() => named.iter().map(|known| known.group.into()).collect(),
            Some((first, length)) => vec![range(first, length)?],
            None => vec![group(text)?.into()],
        };
        Ok(Self { text: text.to_owned(), ranges })
    }
}

fn group(text: &str) -> Result<Group, String> {
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err(
            "neither an address, nor a range such as 239.1.2.0/24, nor a name such as mdns".to_owned()
        );
    };
    Group::new(address).map_err(|error| error.to_string())
}

fn range(first: &str, length: &str) -> Result<GroupRange, String> {
    let first = group(first)?;
    let width = match first.family() {
        Family::V4 => 32,
        Family::V6 => 128,
    };
    match length.parse() {
        Ok(length) if length <= width => Ok(GroupRange::of_prefix(first, length)),
        _ => Err(format!("the prefix length must be a number from 0 to {width}")),
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(pattern: &str, group: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().contains(group.parse().unwrap())
    }

    #[test]
    fn an_address_is_one_group() {
        assert!(contains("239.1.2.3", "239.1.2.3"));
        assert!(!contains("239.1.2.3", "239.1.2.4"));
        assert!(contains("ff15::1", "ff15:0::1"));
    }

    #[test]
    fn a_range_contains_the_groups_with_its_prefix() {
        assert!(contains("239.1.2.0/23", "239.1.3.255"));
        assert!(!contains("239.1.2.0/23", "239.1.4.0"));
        assert!(contains("ff02::/16", "ff02::1:ff00:1"));
        assert!(!contains("ff02::/16", "ff05::1"));
        // A prefix of length 0 contains the whole family.
        assert!(contains("224.0.0.0/0", "239.1.2.3") && !contains("224.0.0.0/0", "ff02::1"));
        assert!(contains("ff00::/0", "ffff::1") && !contains("ff00::/0", "239.1.2.3"));
    }

    #[test]
    fn a_name_means_its_groups_of_both_families() {
        assert!(contains("mdns", "224.0.0.251") && contains("mDNS", "ff02::fb"));
        assert!(!contains("mdns", "224.0.0.252"));
    }

    #[test]
    fn other_texts_are_refused() {
        for wrong in ["10.0.0.1", "239.1.2.0/33", "ff02::/129", "239.1.2.0/", "eth0", "", "239.1.2.3:5000"] {
            assert!(!wrong.parse::<Pattern>().unwrap_err().is_empty(), "{wrong}");
        }
    }
}
