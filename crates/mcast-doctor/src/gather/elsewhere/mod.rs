//! Systems other than Linux: interfaces with their addresses, and the routes of groups.

pub(crate) mod processes;

#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
#[path = "bsd.rs"]
mod programs;

#[cfg(windows)]
#[path = "windows.rs"]
mod programs;

#[cfg(not(any(target_vendor = "apple", target_os = "freebsd", windows)))]
#[path = "silent.rs"]
mod programs;

use std::collections::BTreeMap;

use mcast::interface::AddressState as State;
use mcast::{Family, Group};

use crate::Result;
use crate::snapshot::{Address, AddressState, Counters, Joined, Link, Route, Snapshot};

/// What the system's own programs say.
#[derive(Default)]
struct Told {
    counters: Counters,
    settings: BTreeMap<String, String>,
    /// What blocks what comes in unless it is admitted.
    firewall: Option<String>,
}

/// This machine, as it is now.
pub(crate) fn snapshot() -> Result<Snapshot> {
    let links: Vec<_> = mcast::interfaces()?.iter().map(link).collect();
    let holdings = mcast::joined::memberships().map(|all| all.holdings).unwrap_or_default();
    let joined = holdings
        .iter()
        .map(|holding| Joined { group: holding.group.addr(), interface: holding.interface.number() });
    let Told { counters, settings, firewall } = programs::ask();
    Ok(Snapshot {
        counters,
        settings,
        firewall,
        group_routes: group_routes(),
        joined: joined.collect(),
        links,
        ..Snapshot::default()
    })
}

fn link(interface: &mcast::Interface) -> Link {
    let address = |own: &mcast::interface::InterfaceAddress| Address {
        address: own.address,
        prefix: own.prefix,
        state: match own.state {
            State::Tentative => AddressState::Tentative,
            State::Duplicate => AddressState::Duplicate,
            _ => AddressState::Ready,
        },
    };
    Link {
        index: interface.index.number(),
        name: interface.name.clone(),
        up: interface.up,
        running: interface.running,
        multicast: interface.multicast,
        loopback: interface.loopback,
        point_to_point: interface.point_to_point,
        mtu: interface.mtu,
        addresses: interface.addresses.iter().map(address).collect(),
        ..Link::default()
    }
}

fn group_routes() -> Vec<Route> {
    let groups = [[239, 255, 255, 1].into(), std::net::IpAddr::from([0xff15_u16, 0, 0, 0, 0, 0, 0, 1])];
    let route = |address| {
        let group = Group::new(address).ok()?;
        let interface = mcast::default_interface(group).ok()?;
        let family = Family::of(address);
        Some(Route { family, interface: interface.map(|interface| interface.index.number()) })
    };
    groups.into_iter().filter_map(route).collect()
}
