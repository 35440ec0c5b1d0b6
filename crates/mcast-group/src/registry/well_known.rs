//! Short names for groups that people ask for by name.

use super::{GroupRange, table_names::NAMES};
use crate::{Family, Group, Reference};

/// A group that has a short name, with the ports that its protocol uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WellKnown {
    /// The short name, in lower case: `mdns`, `ssdp`, `ptp`.
    pub name: &'static str,
    /// The group; a name has at most one for each family.
    pub group: Group,
    /// The UDP ports; none where the protocol does not run over UDP.
    pub ports: &'static [u16],
    /// The hop limit that the protocol asks of senders, where it asks for one.
    pub hop_limit: Option<u8>,
    /// What defines the group, the ports and the hop limit.
    pub reference: Reference,
}

impl WellKnown {
    /// All of them, by name, IPv4 before IPv6.
    #[must_use]
    pub const fn all() -> &'static [Self] {
        NAMES
    }

    /// The groups of this name: one, or one for each family. Empty when nothing has the name.
    /// Upper and lower case are the same.
    #[must_use]
    pub fn named(name: &str) -> &'static [Self] {
        let name = name.to_ascii_lowercase();
        let first = NAMES.partition_point(|known| known.name < name.as_str());
        let count = NAMES[first..].iter().take_while(|known| known.name == name).count();
        &NAMES[first..first + count]
    }

    /// The group of this name in this family; without one, the IPv4 group where there is one.
    #[must_use]
    pub fn find(name: &str, family: Option<Family>) -> Option<&'static Self> {
        let mut named = Self::named(name).iter();
        match family {
            None => named.next(),
            Some(family) => named.find(|known| known.group.family() == family),
        }
    }
}

impl Group {
    /// The short names of the group, with the ports of their protocols.
    pub fn well_known(self) -> impl Iterator<Item = &'static WellKnown> {
        NAMES.iter().filter(move |known| known.group == self)
    }
}

/// The ports of the first short name for a range of one group.
pub(super) fn ports(range: GroupRange) -> &'static [u16] {
    if range.first != range.last {
        return &[];
    }
    range.first.well_known().next().map_or(&[], |known| known.ports)
}
