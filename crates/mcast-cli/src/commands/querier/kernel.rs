//! What the kernel's bridges know of queriers.

use mcast::{Bridge, BridgeQuerier, ErrorKind, Family};

use super::places::Place;
use crate::console::Console;

/// The bridges of this machine; none where the system has no such thing.
pub(super) fn bridges(console: &Console) -> Vec<Bridge> {
    match mcast::bridges() {
        Ok(bridges) => bridges,
        Err(error) if error.kind() == ErrorKind::Unsupported => Vec::new(),
        Err(error) => {
            console.warn(format_args!("bridges cannot be asked: {error}"));
            Vec::new()
        }
    }
}

/// The bridge that a place is, or is a port of.
pub(super) fn bridge_of<'a>(bridges: &'a [Bridge], place: &Place) -> Option<&'a Bridge> {
    bridges.iter().find(|bridge| bridge.index == place.interface || Some(bridge.index) == place.port_of)
}

/// Who the bridge believes to be the querier of a family.
pub(super) fn querier(bridge: &Bridge, family: Family) -> Option<&BridgeQuerier> {
    bridge.queriers.iter().find(|querier| Family::of(querier.address) == family)
}
