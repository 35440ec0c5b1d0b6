//! Patterns of groups: an address, a range or a name.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use mcast::Group;
use mcast::group::WellKnown;

use super::description::{self, is_description};

/// One or several groups, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    ranges: Vec<Range>,
}

/// All addresses with the same prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: IpAddr,
    length: u32,
}

impl Pattern {
    pub(crate) fn contains(&self, group: Group) -> bool {
        self.ranges.iter().any(|range| range.contains(group.addr()))
    }

    /// Iterates over all groups: for a short prefix, a very long iterator.
    pub(crate) fn groups(&self) -> impl Iterator<Item = Group> + '_ {
        self.ranges.iter().flat_map(|range| range.addresses()).filter_map(|address| Group::new(address).ok())
    }
}

impl Range {
    fn of(address: IpAddr) -> Self {
        Self { first: address, length: width(address) }
    }

    fn contains(self, address: IpAddr) -> bool {
        let (own, other) = (bits(self.first), bits(address));
        let differing = width(self.first) - self.length;
        width(self.first) == width(address) && (own ^ other).checked_shr(differing).unwrap_or(0) == 0
    }

    fn addresses(self) -> impl Iterator<Item = IpAddr> {
        let free = width(self.first) - self.length;
        let rest = u128::MAX.checked_shr(128 - free).unwrap_or(0);
        let first = bits(self.first) & !rest;
        (0..=rest).map(move |number| match self.first {
            IpAddr::V4(_) => IpAddr::V4(u32::try_from(first + number).unwrap_or(u32::MAX).into()),
            IpAddr::V6(_) => IpAddr::V6((first + number).into()),
        })
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
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
            _ if !named.is_empty() => named.iter().map(|known| Range::of(known.group.addr())).collect(),
            Some((first, length)) => vec![range(first, length)?],
            None => vec![Range::of(group(text)?)],
        };
        Ok(Self { text: text.to_owned(), ranges })
    }
}

impl Pattern {
    /// Returns the groups of a session description.
    fn described(path: &str) -> Result<Self, String> {
        let description = description::open(path).map_err(|error| format!("{error:#}"))?;
        let groups = description.streams.iter().map(|stream| stream.membership.address.group);
        Ok(Self { text: path.to_owned(), ranges: groups.map(|group| Range::of(group.addr())).collect() })
    }
}

fn group(text: &str) -> Result<IpAddr, String> {
    let Ok(address) = text.parse() else {
        return Err(
            "neither an address, nor a range such as 239.1.2.0/24, nor a name such as mdns".to_owned()
        );
    };
    Group::new(address).map(Group::addr).map_err(|error| error.to_string())
}

fn range(first: &str, length: &str) -> Result<Range, String> {
    let first = group(first)?;
    let width = width(first);
    match length.parse() {
        Ok(length) if length <= width => Ok(Range { first, length }),
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
