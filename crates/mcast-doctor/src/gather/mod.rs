//! Gathers the observations. All input and output of this crate is here.

// `bsd` and `windows` compile everywhere for the tests, which give them the output of the systems' tools.
#[cfg(any(test, target_vendor = "apple", target_os = "freebsd"))]
mod bsd;
pub(crate) mod experiment;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
pub(crate) mod listen;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod other;
pub(crate) mod program;
#[cfg(any(test, windows))]
mod windows;

use std::net::IpAddr;

use mcast::Group;

use crate::snapshot::Route;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use linux::{host_drops, processes, queues, snapshot};
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) use other::{host_drops, processes, queues, snapshot};

/// Looks up the route of an ordinary group of each family.
fn group_routes() -> Vec<Route> {
    let groups = [IpAddr::from([239, 255, 255, 1]), IpAddr::from([0xff15_u16, 0, 0, 0, 0, 0, 0, 1])];
    let route = |address| {
        let group = Group::new(address).ok()?;
        let interface = mcast::default_interface(group).ok()?;
        Some(Route { family: group.family(), interface: interface.map(|interface| interface.index) })
    };
    groups.into_iter().filter_map(route).collect()
}
