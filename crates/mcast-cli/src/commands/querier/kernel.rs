//! The queriers known to the kernel's bridges.

use mcast::{Bridge, BridgeQuerier, ErrorKind, Family};

use super::interfaces::QuerierInterface;
use crate::console::Console;

/// Returns the bridges of this machine; none if the system does not support bridges.
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

/// Returns the bridge that an interface is, or is a port of.
pub(super) fn bridge_of<'a>(bridges: &'a [Bridge], target: &QuerierInterface) -> Option<&'a Bridge> {
    bridges.iter().find(|bridge| bridge.index == target.interface || Some(bridge.index) == target.port_of)
}

/// Returns the querier of a family that the bridge knows.
pub(super) fn querier(bridge: &Bridge, family: Family) -> Option<&BridgeQuerier> {
    bridge.queriers.iter().find(|querier| Family::of(querier.address) == family)
}
