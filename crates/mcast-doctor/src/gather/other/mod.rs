//! Systems other than Linux: interfaces with their addresses, the routes of groups, and what the system's own
//! tools report.

pub(crate) mod processes;

#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
#[path = "bsd.rs"]
mod programs;

#[cfg(windows)]
#[path = "windows.rs"]
mod programs;

/// Other systems, for which no suitable tools are known.
#[cfg(not(any(target_vendor = "apple", target_os = "freebsd", windows)))]
mod programs {
    pub(super) fn query() -> super::SystemReport {
        super::SystemReport::default()
    }
}

use std::collections::BTreeMap;

use mcast::interface::AddressState as State;
use mcast::{Family, Group};

use crate::Result;
use crate::snapshot::{Address, AddressState, Counters, JoinedGroup, Link, Route, Snapshot};

/// What the system's own tools report.
#[derive(Default)]
struct SystemReport {
    counters: Counters,
    settings: BTreeMap<String, String>,
    /// The state of the firewall, if it blocks incoming traffic by default.
    firewall: Option<String>,
}

/// Takes a snapshot of this machine.
pub(crate) fn snapshot() -> Result<Snapshot> {
    let links: Vec<_> = mcast::interfaces()?.iter().map(link).collect();
    let holdings = mcast::joined::memberships().map(|all| all.holdings).unwrap_or_default();
    let joined = holdings
        .iter()
        .map(|holding| JoinedGroup { group: holding.group.addr(), interface: holding.interface.number() });
    let SystemReport { counters, settings, firewall } = programs::query();
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
