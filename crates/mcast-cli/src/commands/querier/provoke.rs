//! Provokes a query: a querier sends a group-specific query when a host leaves a group.

use std::time::{Duration, Instant};

use mcast::{Family, GroupAddr, InterfaceSelector, Membership, Receiver};

use super::interfaces::QuerierInterface;

/// Groups that nobody uses: for documentation (RFC 6676).
const GROUPS: [&str; 2] = ["233.252.0.251", "ff05::db8:0:fb"];
/// Nothing is sent there.
const PORT: u16 = 9_009;
/// How long it takes until everybody has heard of a membership, and some more.
const HELD: Duration = Duration::from_millis(300);

/// Memberships that are held for a moment: it ends with them.
#[derive(Debug)]
pub(super) struct Provocation {
    _memberships: Receiver,
    since: Instant,
}

impl Provocation {
    pub(super) fn begin(places: &[QuerierInterface]) -> anyhow::Result<Self> {
        let mut builder = Receiver::builder();
        for place in places.iter().filter(|place| place.is_used) {
            let group = GROUPS[usize::from(place.family == Family::V6)];
            let membership = Membership::new(GroupAddr::new(group.parse()?, PORT));
            builder = builder.join(membership.on(InterfaceSelector::Index(place.interface)));
        }
        Ok(Self { _memberships: builder.build()?, since: Instant::now() })
    }

    /// Whether the groups are to be left.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= HELD
    }
}
