//! Interfaces that disappear and return while a stream is published or received.

use mcast::{InterfaceIndex, InterfaceSelector};

/// Returns the index of the selected interface, which must exist at the start; `None` if the selector does not name a
/// single interface. Sockets follow the name, because an interface that is created again has another index.
pub(super) fn present_index(selector: Option<&InterfaceSelector>) -> mcast::Result<Option<InterfaceIndex>> {
    match selector {
        None | Some(InterfaceSelector::Default | InterfaceSelector::All) => Ok(None),
        Some(selector) => Ok(Some(mcast::find(selector)?.index)),
    }
}
