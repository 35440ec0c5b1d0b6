//! Group-specific queries: after a leave, the querier checks whether the group has other members.

use core::time::Duration;

use super::QuerierSettings;
use super::outgoing_query::SourceList;
use crate::gmp::{Address, Sources};

/// The group-specific queries that are still to be sent, in memory of a fixed size.
#[derive(Clone, Debug)]
pub(super) struct SpecificQueries<A, const PENDING: usize> {
    pending: [Option<PendingGroup<A>>; PENDING],
    overflowed: u64,
}

#[derive(Clone, Copy, Debug)]
struct PendingGroup<A> {
    group: A,
    sources: SourceList<A>,
    /// When the next query is due.
    next: Duration,
    /// How many queries are still to be sent.
    remaining: u8,
}

impl<A: Address, const PENDING: usize> SpecificQueries<A, PENDING> {
    pub(super) const fn new() -> Self {
        Self { pending: [const { None }; PENDING], overflowed: 0 }
    }

    /// Starts to query a group. A group that is already being queried is not queried more often (RFC 2236
    /// section 3), but as a whole if the sources differ.
    pub(super) fn add(
        &mut self,
        now: Duration,
        group: A,
        sources: Sources<'_, A>,
        settings: &QuerierSettings,
    ) {
        let sources = SourceList::new(sources);
        let existing = self.pending.iter_mut().flatten().find(|pending| pending.group == group);
        if let Some(existing) = existing {
            if existing.sources != sources {
                existing.sources = SourceList::none();
            }
            return;
        }
        match self.pending.iter_mut().find(|pending| pending.is_none()) {
            Some(slot) => {
                *slot = Some(PendingGroup { group, sources, next: now, remaining: settings.robustness() });
            }
            None => self.overflowed = self.overflowed.saturating_add(1),
        }
    }

    /// Returns the group and sources of the next query that is due.
    pub(super) fn take_due(
        &mut self,
        now: Duration,
        settings: &QuerierSettings,
    ) -> Option<(A, SourceList<A>)> {
        let slot = self.pending.iter_mut().find(|slot| slot.is_some_and(|pending| now >= pending.next))?;
        let mut pending = (*slot)?;
        let query = (pending.group, pending.sources);
        pending.remaining = pending.remaining.saturating_sub(1);
        pending.next = now.saturating_add(settings.last_member_query_interval());
        *slot = (pending.remaining > 0).then_some(pending);
        Some(query)
    }

    /// Returns when the next query is due.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.pending.iter().flatten().map(|pending| pending.next).min()
    }

    pub(super) fn clear(&mut self) {
        self.pending = [const { None }; PENDING];
    }

    pub(super) const fn overflowed(&self) -> u64 {
        self.overflowed
    }
}
