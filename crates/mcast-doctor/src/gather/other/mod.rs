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

use crate::Result;
use crate::snapshot::{Counters, JoinedGroup, Link, Snapshot};

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
    let links: Vec<_> = mcast::interfaces()?.into_iter().map(Link::from).collect();
    let holdings = mcast::joined::memberships().map(|all| all.holdings).unwrap_or_default();
    let joined = holdings
        .iter()
        .map(|holding| JoinedGroup { group: holding.group.addr(), interface: holding.interface });
    let SystemReport { counters, settings, firewall } = programs::query();
    Ok(Snapshot {
        counters,
        settings,
        firewall,
        group_routes: super::group_routes(),
        joined: joined.collect(),
        links,
        ..Snapshot::default()
    })
}
