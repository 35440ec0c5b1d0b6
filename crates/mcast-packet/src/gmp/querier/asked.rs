//! A question that is to be sent.

use core::time::Duration;

use super::Settings;
use crate::gmp::{Address, Message, Query, SourceQuery, Sources};

/// A question that is to be sent: a query and the sources that it lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<A> {
    group: Option<A>,
    max_response_time: Duration,
    /// What the version with source lists adds: robustness and query interval.
    timers: Option<(u8, Duration)>,
    sources: SourceList<A>,
}

/// A few sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SourceList<A> {
    addresses: [A; MOST_SOURCES],
    count: usize,
}

const MOST_SOURCES: usize = 8;

impl<A: Address> Asked<A> {
    /// Who leaves more sources than this at a time has the group asked about as a whole.
    pub const MOST_SOURCES: usize = MOST_SOURCES;

    pub(super) fn general(settings: &Settings) -> Self {
        Self::new(settings, None, settings.query_response_interval(), SourceList::none())
    }

    pub(super) fn specific(settings: &Settings, group: A, sources: SourceList<A>) -> Self {
        Self::new(settings, Some(group), settings.last_member_query_interval(), sources)
    }

    fn new(
        settings: &Settings,
        group: Option<A>,
        max_response_time: Duration,
        sources: SourceList<A>,
    ) -> Self {
        let timers = (settings.robustness(), settings.query_interval());
        Self { group, max_response_time, timers: settings.has_sources::<A>().then_some(timers), sources }
    }

    /// The group that is asked about; `None` for all.
    #[must_use]
    pub const fn group(&self) -> Option<A> {
        self.group
    }

    /// The query.
    #[must_use]
    pub fn message(&self) -> Message<'_, A> {
        Message::Query(Query {
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
        Self { addresses: [A::UNSPECIFIED; MOST_SOURCES], count: 0 }
    }

    /// Of more than fit none is kept, which asks about all.
    pub(super) fn new(sources: Sources<'_, A>) -> Self {
        let mut addresses = [A::UNSPECIFIED; MOST_SOURCES];
        let count = if sources.len() > MOST_SOURCES { 0 } else { sources.len() };
        addresses.iter_mut().zip(sources).for_each(|(to, from)| *to = from);
        Self { addresses, count }
    }

    pub(super) fn as_slice(&self) -> &[A] {
        self.addresses.get(..self.count).unwrap_or_default()
    }
}
