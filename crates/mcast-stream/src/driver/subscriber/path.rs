//! Which of several paths a datagram came by.

use mcast::{GroupAddr, InterfaceIndex};

/// The path that this came by: by group and interface, else by group alone, since an interface that was made again has
/// another index.
pub(super) fn path_of(
    paths: &[(GroupAddr, Option<InterfaceIndex>)],
    group: GroupAddr,
    interface: InterfaceIndex,
) -> u8 {
    let exact = paths.iter().position(|(known, on)| *known == group && *on == Some(interface));
    let path = exact.or_else(|| paths.iter().position(|(known, _)| *known == group));
    path.unwrap_or(0) as u8
}
