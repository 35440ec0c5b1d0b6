//! Reads the facts. All input and output of this crate is here.

// `bsd` and `windows` compile everywhere for the tests, which give them the output of the systems' tools.
#[cfg(any(test, target_vendor = "apple", target_os = "freebsd"))]
mod bsd;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod other;
#[cfg(any(test, windows))]
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mcast::{Group, InterfaceIndex};

use crate::snapshot::GroupRoute;
#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as system;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use other as system;
pub use system::counting_rules::CountingRules;
pub use system::{
    DropCounter, accepted_packets, host_drops, processes, queues, refresh_counters, refused_frames,
    sending_snapshot, snapshot, socket_drops,
};

/// The maximum number of sources that are looked up.
const MAX_SOURCES: usize = 256;

/// Looks up the interface towards each source, the first 256 ones; `None` if there is no route. Sources that could not be looked up are missing.
#[must_use]
pub fn source_routes(sources: impl IntoIterator<Item = IpAddr>) -> BTreeMap<IpAddr, Option<InterfaceIndex>> {
    let route = |source| Some((source, mcast_sys::route::interface_towards(source).ok()?));
    let mut known = BTreeSet::new();
    let sources = sources.into_iter().filter(|source| known.insert(*source));
    sources.take(MAX_SOURCES).filter_map(route).collect()
}

/// Looks up the route of an ordinary group of each family.
fn group_routes() -> Vec<GroupRoute> {
    let groups = [IpAddr::from([239, 255, 255, 1]), IpAddr::from([0xff15_u16, 0, 0, 0, 0, 0, 0, 1])];
    let route = |address| {
        let group = Group::new(address).ok()?;
        let interface = mcast::interface::towards(group.addr()).ok()?;
        Some(GroupRoute { family: group.family(), interface: interface.map(|interface| interface.index) })
    };
    groups.into_iter().filter_map(route).collect()
}
