//! Provokes a query: a querier sends a group-specific query when a host leaves a group.

use std::time::{Duration, Instant};

use mcast::{Family, GroupAddr, InterfaceSelector, Membership, Receiver};

use super::interfaces::QuerierInterface;

/// Groups that nobody uses: for documentation (RFC 6676).
const GROUPS: [&str; 2] = ["233.252.0.251", "ff05::db8:0:fb"];
/// A port to which nothing is sent.
const PORT: u16 = 9_009;
/// How long the memberships are held, so that all routers and switches learn of them.
const HOLD_TIME: Duration = Duration::from_millis(300);

/// Memberships that are held for a moment. Dropping them leaves the groups, which provokes a query.
#[derive(Debug)]
pub(super) struct Provocation {
    _memberships: Receiver,
    since: Instant,
}

impl Provocation {
    pub(super) fn begin(targets: &[QuerierInterface]) -> anyhow::Result<Self> {
        let mut builder = Receiver::builder();
        for target in targets.iter().filter(|target| target.is_used) {
            let group = GROUPS[usize::from(target.family == Family::V6)];
            let membership = Membership::new(GroupAddr::new(group.parse()?, PORT));
            builder = builder.join(membership.on(InterfaceSelector::Index(target.interface)));
        }
        Ok(Self { _memberships: builder.build()?, since: Instant::now() })
    }

    /// Returns whether it is time to leave the groups.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= HOLD_TIME
    }
}
