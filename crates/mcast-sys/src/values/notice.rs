//! Notices of interface changes.

use std::collections::BTreeSet;

use mcast_group::InterfaceIndex;

/// The contents of a system notice beyond "list the interfaces again".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// Interfaces that were deleted, even if they exist again.
    pub deleted: BTreeSet<InterfaceIndex>,
    /// Whether notices were lost.
    pub overrun: bool,
}

impl Notice {
    /// Adds a later notice to this one.
    pub fn merge(&mut self, later: Self) {
        self.deleted.extend(later.deleted);
        self.overrun |= later.overrun;
    }
}
