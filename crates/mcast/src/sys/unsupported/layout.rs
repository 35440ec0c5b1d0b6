//! The distribution of groups over sockets: the one with the fewest requirements.

use mcast_group::{Family, Group};

pub(crate) const BINDS_TO_GROUP: bool = false;
pub(crate) const HOLDS_APART: bool = false;
pub(crate) const FILTERS_BY_INTERFACE_V6: bool = true;
pub(crate) const COUNTS_DROPS: bool = false;

pub(crate) fn implies_interface(_family: Family) -> bool {
    false
}

pub(crate) fn held_above(_family: Family) -> usize {
    usize::MAX
}

pub(crate) fn is_scoped(_group: Group) -> bool {
    false
}

/// Returns the maximum number of descriptors under this hard limit.
#[cfg(unix)]
pub(crate) fn most_descriptors(hard_limit: libc::rlim_t) -> libc::rlim_t {
    hard_limit
}
