//! The distribution of groups over sockets: the one with the fewest requirements.

use mcast_group::{Family, Group};

pub const BINDS_TO_GROUP: bool = false;
pub const BINDS_TO_BROADCAST: bool = false;
pub const HOLDS_APART: bool = false;
pub const FILTERS_BY_INTERFACE_V6: bool = true;
pub const COUNTS_DROPS: bool = false;

pub fn implies_interface(_family: Family) -> bool {
    false
}

pub fn held_above(_family: Family) -> usize {
    usize::MAX
}

pub fn is_scoped(_group: Group) -> bool {
    false
}

/// Returns the maximum number of descriptors under this hard limit.
#[cfg(unix)]
pub fn most_descriptors(hard_limit: libc::rlim_t) -> libc::rlim_t {
    hard_limit
}
