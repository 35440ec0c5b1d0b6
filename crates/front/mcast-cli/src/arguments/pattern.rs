//! Patterns of groups: an address, a range, a name, or a session description.

use std::fmt;
use std::str::FromStr;

use mcast::Group;
use mcast::group::{GroupPattern, GroupRange};

use super::description::{self, is_description};

/// One or several groups, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    groups: GroupPattern,
}

impl Pattern {
    pub(crate) fn contains(&self, group: Group) -> bool {
        self.groups.contains(group)
    }

    pub(crate) fn ranges(&self) -> impl Iterator<Item = GroupRange> {
        self.groups.ranges()
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let groups = match is_description(text) {
            true => {
                let description = description::open(text).map_err(|error| format!("{error:#}"))?;
                description.streams.iter().map(|stream| stream.membership.address.group).collect()
            }
            false => text.parse::<GroupPattern>().map_err(|error| error.to_string())?,
        };
        Ok(Self { text: text.to_owned(), groups })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
