//! Patterns of groups: an address, a range or a name.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::str::FromStr;

use crate::{Family, Group, GroupRange, NotMulticast, WellKnown};

/// One or several groups, as users type them: an address, a range such as `239.255.2.0/24`, or a [`WellKnown`] name, which
/// stands for its groups of both families.
///
/// ```
/// use mcast_group::GroupPattern;
///
/// let pattern: GroupPattern = "239.255.2.0/23".parse()?;
/// assert!(pattern.contains("239.255.3.255".parse().unwrap()));
/// # Ok::<(), mcast_group::GroupPatternError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPattern {
    ranges: Vec<GroupRange>,
}

/// Why a text is not a pattern of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupPatternError {
    /// It has none of the forms.
    #[error("neither an address, nor a range such as 239.1.2.0/24, nor a name such as mdns")]
    Form,
    /// The address is not that of a group.
    #[error(transparent)]
    NotMulticast(#[from] NotMulticast),
    /// The prefix length is not a number up to this one.
    #[error("the prefix length must be a number from 0 to {0}")]
    Length(u32),
}

impl GroupPattern {
    /// Returns whether it contains the group.
    #[must_use]
    pub fn contains(&self, group: Group) -> bool {
        self.ranges.iter().any(|range| range.contains(group))
    }

    /// Returns its groups as ranges.
    pub fn ranges(&self) -> impl Iterator<Item = GroupRange> {
        self.ranges.iter().copied()
    }
}

impl FromIterator<Group> for GroupPattern {
    fn from_iter<T: IntoIterator<Item = Group>>(groups: T) -> Self {
        Self { ranges: groups.into_iter().map(GroupRange::from).collect() }
    }
}

impl FromStr for GroupPattern {
    type Err = GroupPatternError;

    fn from_str(text: &str) -> Result<Self, GroupPatternError> {
        let named = WellKnown::named(text);
        if !named.is_empty() {
            return Ok(named.iter().map(|known| known.group).collect());
        }
        let (first, length) = match text.split_once('/') {
            Some((first, length)) => (first, Some(length)),
            None => (text, None),
        };
        let group = Group::new(first.parse::<IpAddr>().map_err(|_| GroupPatternError::Form)?)?;
        let Some(length) = length else { return Ok([group].into_iter().collect()) };
        let width = match group.family() {
            Family::V4 => 32,
            Family::V6 => 128,
        };
        match length.parse() {
            Ok(length) if length <= width => {
                Ok(Self { ranges: [GroupRange::of_prefix(group, length)].into() })
            }
            _ => Err(GroupPatternError::Length(width)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn contains(pattern: &str, group: &str) -> bool {
        pattern.parse::<GroupPattern>().unwrap().contains(group.parse().unwrap())
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
            assert!(!wrong.parse::<GroupPattern>().unwrap_err().to_string().is_empty(), "{wrong}");
        }
    }
}
