//! Gathers the observations. All input and output of this crate is here.

pub(crate) mod listen;
pub(crate) mod program;
// On Linux only the tests need it.
#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
mod system_tools;

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "linux/mod.rs"]
mod platform;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "other/mod.rs"]
mod platform;

use std::net::IpAddr;

use mcast::Group;

use crate::snapshot::Route;
pub(crate) use platform::{processes, snapshot};

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
