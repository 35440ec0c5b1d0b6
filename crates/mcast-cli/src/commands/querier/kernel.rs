//! The queriers known to the kernel's bridges.

use mcast::{Bridge, BridgeQuerier, ErrorKind, Family};

use super::interfaces::QuerierInterface;
use crate::console::Console;

/// The bridges of this machine; none where the system has no such thing.
pub(super) fn bridges(console: &Console) -> Vec<Bridge> {
    match mcast::bridges() {
        Ok(bridges) => bridges,
        Err(error) if error.kind() == ErrorKind::Unsupported => Vec::new(),
        Err(error) => {
            console.warn(format_args!("cannot read the state of the kernel's bridges: {error}"));
            Vec::new()
        }
    }
}

/// The bridge that a place is, or is a port of.
pub(super) fn bridge_of<'a>(bridges: &'a [Bridge], place: &QuerierInterface) -> Option<&'a Bridge> {
    bridges.iter().find(|bridge| bridge.index == place.interface || Some(bridge.index) == place.port_of)
}

/// Who the bridge believes to be the querier of a family.
pub(super) fn querier(bridge: &Bridge, family: Family) -> Option<&BridgeQuerier> {
    bridge.queriers.iter().find(|querier| Family::of(querier.address) == family)
}
