//! Which groups an HTTP server wants to receive.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mcast_group::{GroupAddr, SourceFilter};

use crate::LegId;

/// The groups that clients receive, each with its sources and the number of the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpDemand(BTreeMap<(LegId, GroupAddr), (SourceFilter, usize)>);

impl HttpDemand {
    /// Adds a group.
    pub(super) fn add(&mut self, leg: LegId, address: GroupAddr, sources: &SourceFilter, rule: usize) {
        let (known, _) = self.0.entry((leg, address)).or_insert((SourceFilter::NONE, rule));
        *known = known.union(sources);
    }

    /// Returns the rule by which a datagram is wanted.
    #[must_use]
    pub fn rule_for(&self, leg: LegId, address: GroupAddr, source: IpAddr) -> Option<usize> {
        let (sources, rule) = self.0.get(&(leg, address))?;
        sources.admits(source).then_some(*rule)
    }

    /// Returns the groups to receive on a leg.
    pub fn on(&self, leg: LegId) -> impl Iterator<Item = (GroupAddr, &SourceFilter)> {
        let of_leg = self.0.iter().filter(move |((known, _), _)| *known == leg);
        of_leg.map(|((_, address), (sources, _))| (*address, sources))
    }

    /// Returns the legs with groups to receive.
    pub fn legs(&self) -> impl Iterator<Item = LegId> {
        self.0.keys().map(|(leg, _)| *leg)
    }
}
