//! The distribution of groups over sockets on Windows.

use mcast_group::{Family, Group};

/// Windows cannot bind a socket to a group: one wildcard socket per port receives all groups that
/// it joined itself.
pub const BINDS_TO_GROUP: bool = false;

/// Windows binds sockets only to addresses of the machine itself.
pub const BINDS_TO_BROADCAST: bool = false;

/// A socket only receives what it joined itself, so other sockets cannot hold its memberships.
pub const HOLDS_APART: bool = false;

/// Never; see [`HOLDS_APART`].
pub fn held_above(_family: Family) -> usize {
    usize::MAX
}

/// The system considers the interface when it filters sources, for both families.
pub const FILTERS_BY_INTERFACE_V6: bool = true;

/// The receiver never relies on a socket to receive on one interface only.
pub fn implies_interface(_family: Family) -> bool {
    false
}

/// Windows does not count drops per socket.
pub const COUNTS_DROPS: bool = false;

/// Returns `false`: no socket is bound to a group.
pub fn is_scoped(_group: Group) -> bool {
    false
}
