//! The interfaces and families on which to look for a querier.

use std::net::IpAddr;

use mcast::{Bridge, BridgeQuerier, Family, Interface, InterfaceIndex, InterfaceSelector};
use mcast_capture::{Capture, CaptureOptions, Filter, Frame};
use mcast_packet::Transport;

use crate::{ObservedQuerier, ObservedQuery};

/// An interface and a family.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuerierInterface {
    /// The interface.
    pub interface: InterfaceIndex,
    /// Its name.
    pub name: String,
    /// The family.
    pub family: Family,
    /// The bridge or bond that the interface is a port of.
    pub port_of: Option<InterfaceIndex>,
    /// Whether this host has an address of this family, so that there are hosts that need a querier.
    pub is_used: bool,
}

/// A query that has arrived on a selected interface.
#[derive(Debug)]
#[non_exhaustive]
pub struct CapturedQuery<'a> {
    /// Where.
    pub target: &'a QuerierInterface,
    /// The query.
    pub query: ObservedQuery,
    /// When it was captured.
    pub time: std::time::SystemTime,
    /// Its message as text.
    pub text: String,
}

impl QuerierInterface {
    /// Returns the selected interfaces, each with each of the families; without selectors, those on which groups are
    /// joined by default, of which there may be none.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn select(selectors: &[InterfaceSelector], families: &[Family]) -> mcast::Result<Vec<Self>> {
        let interfaces: Vec<_> = match selectors {
            [] => mcast::interfaces()?.into_iter().filter(Interface::is_joined_by_default).collect(),
            named => named.iter().map(mcast::find).collect::<mcast::Result<_>>()?,
        };
        let with = |interface: &Interface, family: Family| Self {
            interface: interface.index,
            name: interface.name.clone(),
            family,
            port_of: interface.port_of,
            is_used: own_address(interface, family).is_some(),
        };
        Ok(interfaces
            .iter()
            .flat_map(|each| families.iter().map(move |family| with(each, *family)))
            .collect())
    }

    /// Returns the name of the protocol: IGMP or MLD.
    #[must_use]
    pub const fn protocol(&self) -> &'static str {
        match self.family {
            Family::V4 => "IGMP",
            Family::V6 => "MLD",
        }
    }

    /// Returns the bridge that the interface is, or is a port of, if the bridge knows a querier of this family.
    #[must_use]
    pub fn bridge_with_querier<'a>(&self, bridges: &'a [Bridge]) -> Option<(&'a Bridge, &'a BridgeQuerier)> {
        let is_its = |bridge: &&Bridge| bridge.index == self.interface || Some(bridge.index) == self.port_of;
        let bridge = bridges.iter().find(is_its)?;
        let querier = bridge.queriers.iter().find(|querier| Family::of(querier.address) == self.family)?;
        Some((bridge, querier))
    }

    /// Returns the observed queriers on the interface. The elected one is first.
    #[must_use]
    pub fn queriers<'a>(&self, observed: &'a [ObservedQuerier]) -> Vec<&'a ObservedQuerier> {
        let is_here = |querier: &&ObservedQuerier| {
            querier.interface == self.interface && Family::of(querier.address) == self.family
        };
        let mut queriers: Vec<_> = observed.iter().filter(is_here).collect();
        queriers.sort_by_key(|querier| querier.election_rank());
        queriers
    }
}

impl<'a> CapturedQuery<'a> {
    /// Returns the query in a frame, if its interface and family are among the targets.
    pub(super) fn in_frame(
        frame: &Frame<'_>,
        query: ObservedQuery,
        mut targets: impl Iterator<Item = &'a QuerierInterface>,
    ) -> Option<Self> {
        let family = Family::of(query.source);
        let target = targets.find(|target| target.interface == frame.interface && target.family == family)?;
        let text = match frame.packet().transport {
            Some(Transport::Igmp(control)) => control.message.to_string(),
            Some(Transport::Mld(control)) => control.message.to_string(),
            _ => String::new(),
        };
        Some(Self { target, query, time: frame.time, text })
    }
}

/// Captures control traffic on these interfaces.
pub(super) fn capture_control<'a>(
    targets: impl Iterator<Item = &'a QuerierInterface>,
) -> mcast_capture::Result<Capture> {
    let mut names: Vec<&str> = Vec::new();
    for target in targets {
        if !names.contains(&target.name.as_str()) {
            names.push(&target.name);
        }
    }
    // Reports are sent to groups of routers, which this host need not have joined.
    Capture::open(CaptureOptions::on_names(names).filter(Filter::Control).all_multicast(true))
}

/// Returns the source address of queries; for MLD it must be link-local (RFC 3810 section 5.1.14).
pub(super) fn own_address(interface: &Interface, family: Family) -> Option<IpAddr> {
    let mut addresses = interface.usable_addresses().map(|entry| entry.address);
    addresses.find(|address| match address {
        IpAddr::V4(_) => family == Family::V4,
        IpAddr::V6(address) => family == Family::V6 && address.is_unicast_link_local(),
    })
}
