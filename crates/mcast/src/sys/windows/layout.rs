//! How groups are spread over sockets on Windows.

use mcast_group::{Family, Group};

/// Windows binds no socket to a group: one wildcard socket a port has all of them, and hears what
/// it has joined itself.
pub(crate) const BINDS_TO_GROUP: bool = false;

/// A socket only ever hears what it has joined itself, so memberships cannot be held by others.
pub(crate) const HOLDS_APART: bool = false;

/// Nothing is held.
pub(crate) fn held_above(_family: Family) -> usize {
    usize::MAX
}

/// The system looks at the interface when it filters sources, for both families.
pub(crate) const FILTERS_BY_INTERFACE_V6: bool = true;

/// No socket is relied on to receive by one interface alone.
pub(crate) fn implies_interface(_family: Family) -> bool {
    false
}

/// Windows counts no drops by socket.
pub(crate) const COUNTS_DROPS: bool = false;

/// Whether a socket is bound to the group with an interface. None is bound to a group.
pub(crate) fn is_scoped(_group: Group) -> bool {
    false
}
