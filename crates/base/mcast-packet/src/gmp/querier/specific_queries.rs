//! Group-specific queries: after a leave, the querier checks whether the group has other members.

use core::time::Duration;

use super::{ClockTime, QuerierSettings};
use crate::gmp::{Address, GmpMessage, Query, SourceQuery, Sources};

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
    next: ClockTime,
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
        now: ClockTime,
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
        now: ClockTime,
        settings: &QuerierSettings,
    ) -> Option<(A, SourceList<A>)> {
        let slot = self.pending.iter_mut().find(|slot| slot.is_some_and(|pending| now >= pending.next))?;
        let mut pending = (*slot)?;
        let query = (pending.group, pending.sources);
        pending.remaining = pending.remaining.saturating_sub(1);
        pending.next = now + settings.last_member_query_interval();
        *slot = (pending.remaining > 0).then_some(pending);
        Some(query)
    }

    /// Returns when the next query is due.
    pub(super) fn deadline(&self) -> Option<ClockTime> {
        self.pending.iter().flatten().map(|pending| pending.next).min()
    }

    pub(super) fn clear(&mut self) {
        self.pending = [const { None }; PENDING];
    }

    pub(super) const fn overflowed(&self) -> u64 {
        self.overflowed
    }
}

/// A query to send. It owns its source list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutgoingQuery<A> {
    group: Option<A>,
    max_response_time: Duration,
    /// Robustness and query interval, which queries with source lists contain.
    timers: Option<(u8, Duration)>,
    sources: SourceList<A>,
}

/// Up to [`MAX_SOURCES`] sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SourceList<A> {
    addresses: [A; MAX_SOURCES],
    count: usize,
}

const MAX_SOURCES: usize = 8;

impl<A: Address> OutgoingQuery<A> {
    /// The maximum number of sources in a query. If a record blocks more, the whole group is queried.
    pub const MAX_SOURCES: usize = MAX_SOURCES;

    pub(super) fn general(settings: &QuerierSettings) -> Self {
        Self::new(settings, None, settings.query_response_interval(), SourceList::none())
    }

    pub(super) fn at_startup(settings: &QuerierSettings) -> Self {
        Self::new(settings, None, settings.startup_response_interval(), SourceList::none())
    }

    pub(super) fn specific(settings: &QuerierSettings, group: A, sources: SourceList<A>) -> Self {
        Self::new(settings, Some(group), settings.last_member_query_interval(), sources)
    }

    fn new(
        settings: &QuerierSettings,
        group: Option<A>,
        max_response_time: Duration,
        sources: SourceList<A>,
    ) -> Self {
        let timers = (settings.robustness(), settings.query_interval());
        Self { group, max_response_time, timers: settings.has_source_lists::<A>().then_some(timers), sources }
    }

    /// Returns the queried group; `None` for a general query.
    #[must_use]
    pub const fn group(&self) -> Option<A> {
        self.group
    }

    /// Returns the query as a message.
    #[must_use]
    pub fn message(&self) -> GmpMessage<'_, A> {
        GmpMessage::Query(Query {
            group: self.group,
            max_response_time: self.max_response_time,
            source_query: self.timers.map(|(robustness, interval)| SourceQuery {
                suppress: false,
                robustness,
                interval,
                sources: self.sources.as_slice().into(),
            }),
        })
    }
}

impl<A: Address> SourceList<A> {
    pub(super) fn none() -> Self {
        Self { addresses: [A::UNSPECIFIED; MAX_SOURCES], count: 0 }
    }

    /// Copies the sources. If there are too many, the list is empty, which queries the whole group.
    pub(super) fn new(sources: Sources<'_, A>) -> Self {
        let mut addresses = [A::UNSPECIFIED; MAX_SOURCES];
        let count = if sources.len() > MAX_SOURCES { 0 } else { sources.len() };
        addresses.iter_mut().zip(sources).for_each(|(slot, source)| *slot = source);
        Self { addresses, count }
    }

    pub(super) fn as_slice(&self) -> &[A] {
        self.addresses.get(..self.count).unwrap_or_default()
    }
}
