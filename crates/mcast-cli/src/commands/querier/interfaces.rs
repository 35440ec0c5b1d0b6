//! The interfaces and families on which to look for a querier.

use std::net::IpAddr;

use mcast::{Bridge, BridgeQuerier, ErrorKind, Family, Interface, InterfaceIndex, InterfaceSelector};
use mcast_watch::ObservedQuerier;

use crate::arguments::Families;
use crate::console::Console;
use crate::exit::Failure;

/// An interface and a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QuerierInterface {
    pub(super) interface: InterfaceIndex,
    pub(super) name: String,
    pub(super) family: Family,
    /// The bridge or bond that the interface is a port of.
    pub(super) port_of: Option<InterfaceIndex>,
    /// Whether this host has an address of this family, so that there are hosts that need a querier.
    pub(super) is_used: bool,
}

impl QuerierInterface {
    /// IGMP or MLD.
    pub(super) fn protocol(&self) -> &'static str {
        match self.family {
            Family::V4 => "IGMP",
            Family::V6 => "MLD",
        }
    }

    /// Returns the bridge that the interface is, or is a port of, if the bridge knows a querier of this family.
    pub(super) fn bridge_with_querier<'a>(
        &self,
        bridges: &'a [Bridge],
    ) -> Option<(&'a Bridge, &'a BridgeQuerier)> {
        let is_its = |bridge: &&Bridge| bridge.index == self.interface || Some(bridge.index) == self.port_of;
        let bridge = bridges.iter().find(is_its)?;
        let querier = bridge.queriers.iter().find(|querier| Family::of(querier.address) == self.family)?;
        Some((bridge, querier))
    }

    /// Returns the observed queriers on the interface. The elected one is first.
    pub(super) fn queriers<'a>(&self, observed: &'a [ObservedQuerier]) -> Vec<&'a ObservedQuerier> {
        let is_here = |querier: &&ObservedQuerier| {
            querier.interface == self.interface && Family::of(querier.address) == self.family
        };
        let mut queriers: Vec<_> = observed.iter().filter(is_here).collect();
        queriers.sort_by_key(|querier| querier.election_rank());
        queriers
    }
}

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

/// Returns the selected interfaces and families.
pub(super) fn find(
    selectors: &[InterfaceSelector],
    families: Families,
) -> anyhow::Result<Vec<QuerierInterface>> {
    let interfaces = match selectors {
        [] => mcast::interfaces()?.into_iter().filter(Interface::is_joined_by_default).collect(),
        named => named.iter().map(mcast::find).collect::<mcast::Result<Vec<_>>>()?,
    };
    if interfaces.is_empty() {
        return Err(Failure::environment("no interface is up and can multicast")
            .remedy("`mcast interfaces` shows what each of them lacks")
            .into());
    }
    let both = [Family::V4, Family::V6];
    let families = both.into_iter().filter(|family| families.only().is_none_or(|only| only == *family));
    let families: Vec<_> = families.collect();
    let targets =
        interfaces.iter().flat_map(|interface| families.iter().map(|family| target(interface, *family)));
    Ok(targets.collect())
}

fn target(interface: &Interface, family: Family) -> QuerierInterface {
    QuerierInterface {
        interface: interface.index,
        name: interface.name.clone(),
        family,
        port_of: interface.port_of,
        is_used: own_address(interface, family).is_some(),
    }
}

/// Returns the source address of queries; for MLD it must be link-local (RFC 3810 section 5.1.14).
pub(super) fn own_address(interface: &Interface, family: Family) -> Option<IpAddr> {
    let mut addresses = interface.usable_addresses().map(|entry| entry.address);
    addresses.find(|address| match address {
        IpAddr::V4(_) => family == Family::V4,
        IpAddr::V6(address) => family == Family::V6 && address.is_unicast_link_local(),
    })
}
