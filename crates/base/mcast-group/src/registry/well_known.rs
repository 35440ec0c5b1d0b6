//! Short names of groups, for use on the command line.

use super::{GroupRange, table_names::NAMES};
use crate::{Family, Group, Reference};

/// A group that has a short name, with the ports that its protocol uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WellKnown {
    /// The short name, in lower case: `mdns`, `ssdp`, `ptp`.
    pub name: &'static str,
    /// The group. A name has at most one per family.
    pub group: Group,
    /// The UDP ports; empty if the protocol does not run over UDP.
    pub ports: &'static [u16],
    /// The hop limit that the protocol requires of senders, if it requires one.
    pub hop_limit: Option<u8>,
    /// The document that defines the group, the ports and the hop limit.
    pub reference: Reference,
}

impl WellKnown {
    /// Returns all of them, sorted by name, IPv4 before IPv6.
    #[must_use]
    pub const fn all() -> &'static [Self] {
        NAMES
    }

    /// Returns the groups with this name: one, or one per family. Empty if the name is unknown. Case is
    /// ignored.
    #[must_use]
    pub fn named(name: &str) -> &'static [Self] {
        let name = name.to_ascii_lowercase();
        let first = NAMES.partition_point(|row| row.name < name.as_str());
        let count = NAMES[first..].iter().take_while(|row| row.name == name).count();
        &NAMES[first..first + count]
    }

    /// Returns the group with this name in the family. Without a family, the IPv4 group is preferred.
    #[must_use]
    pub fn find(name: &str, family: Option<Family>) -> Option<&'static Self> {
        let mut named = Self::named(name).iter();
        match family {
            None => named.next(),
            Some(family) => named.find(|row| row.group.family() == family),
        }
    }
}

impl Group {
    /// Returns the short names of the group, with the ports of their protocols.
    pub fn well_known(self) -> impl Iterator<Item = &'static WellKnown> {
        NAMES.iter().filter(move |row| row.group == self)
    }
}

/// Returns the ports of the first short name, if the range is a single group.
pub(super) fn ports(range: GroupRange) -> &'static [u16] {
    if range.first != range.last {
        return &[];
    }
    range.first.well_known().next().map_or(&[], |row| row.ports)
}
