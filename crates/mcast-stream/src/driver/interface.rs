//! Interfaces that go and come back while a stream is heard or published.

use mcast::{InterfaceIndex, InterfaceSelector};

/// The interface that is named, which must be there to begin with; `None` where none is named, or not a single one. Sockets
/// follow what is named: made again, an interface has another index.
pub(super) fn there_now(selector: Option<&InterfaceSelector>) -> mcast::Result<Option<InterfaceIndex>> {
    match selector {
        None | Some(InterfaceSelector::Default | InterfaceSelector::All) => Ok(None),
        Some(selector) => Ok(Some(mcast::find(selector)?.index)),
    }
}
