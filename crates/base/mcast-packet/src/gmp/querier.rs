//! The querier: sends queries unless a querier with a lower address is present. It implements the parts of
//! RFC 3376 section 6 and RFC 3810 section 7 that a network without a multicast router needs.
//!
//! A switch with snooping forgets a group that is not reported, and hosts report only in response to queries,
//! so a network needs a querier. This state machine decides which queries to send and when. Its inputs are
//! the received messages and the time; its outputs are queries. It uses no sockets
//! and no clock.
//!
//! ```
//! use core::time::Duration;
//! use core::net::Ipv4Addr;
//! use mcast_packet::gmp::querier::{ClockTime, Querier, QuerierSettings};
//!
//! let own = Ipv4Addr::new(10, 0, 0, 7);
//! let mut querier: Querier<Ipv4Addr> = Querier::new(QuerierSettings::default(), own, ClockTime::START);
//! let query = querier.poll_transmit(ClockTime::START).expect("a general query is due at once");
//! assert_eq!(query.message().to_string(), "IGMPv3 general query: members of any group, answer within 10 s");
//! // The startup query interval.
//! assert_eq!(querier.poll_timeout(), Some(ClockTime::START + Duration::from_millis(31_250)));
//! ```

use core::time::Duration;

use super::RecordKind;
use crate::gmp::{Address, GmpMessage, Query, SourceQuery, Sources};
pub use mcast_pace::ClockTime;

/// The state machine of a querier. After leaves, it can query `PENDING` groups at a time. Further groups are
/// counted and covered by the next general query.
#[derive(Clone, Debug)]
pub struct Querier<A: Address, const PENDING: usize = 256> {
    settings: QuerierSettings,
    own: A,
    role: Role<A>,
    /// For the querier, when the next general query is due; for a listener, when the other querier counts as
    /// gone.
    due: ClockTime,
    /// The number of general queries still to be sent at the startup query interval.
    startup_remaining: u8,
    specific: SpecificQueries<A, PENDING>,
}

/// The role in the querier election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role<A> {
    /// This one is the querier.
    Querier,
    /// Another one with a lower address is the querier.
    Listener {
        /// The address of the querier.
        querier: A,
    },
}

/// A change of role in the querier election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoleChange<A> {
    /// Another one with a lower address is now the querier.
    YieldedTo(A),
    /// The other querier has been silent for too long, so this one is the querier again.
    TookOverFrom(A),
}

impl<A: Address, const PENDING: usize> Querier<A, PENDING> {
    /// Creates a querier with this address. It starts as the querier (RFC 3376 section 8.6), and the first
    /// general query is due at once.
    #[must_use]
    pub fn new(settings: QuerierSettings, own: A, now: ClockTime) -> Self {
        Self {
            settings,
            own,
            role: Role::Querier,
            due: now,
            startup_remaining: settings.robustness(),
            specific: SpecificQueries::new(),
        }
    }

    /// Handles a received message. Its own messages have no effect. The caller has verified the message: a
    /// valid checksum, hop limit 1, and router alert where the RFCs require it.
    pub fn handle_message(
        &mut self,
        now: ClockTime,
        source: A,
        message: &GmpMessage<'_, A>,
    ) -> Option<RoleChange<A>> {
        match message {
            GmpMessage::Query(query) => return self.handle_query(now, source, query),
            _ if self.role != Role::Querier => {}
            GmpMessage::Leave { group } => self.query_group(now, *group, Sources::none()),
            GmpMessage::V3Report(records) => {
                for record in *records {
                    match record.kind {
                        RecordKind::ChangeToInclude => self.query_group(now, record.group, Sources::none()),
                        RecordKind::BlockOldSources => {
                            self.query_group(now, record.group, record.sources);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        None
    }

    /// Returns the next query that is due. Call again until it returns `None`.
    pub fn poll_transmit(&mut self, now: ClockTime) -> Option<OutgoingQuery<A>> {
        if self.role != Role::Querier {
            return None;
        }
        if now >= self.due {
            let is_startup = self.startup_remaining > 0;
            self.startup_remaining = self.startup_remaining.saturating_sub(1);
            let interval = match self.startup_remaining {
                0 => self.settings.query_interval(),
                _ => self.settings.startup_query_interval(),
            };
            self.due = now + interval;
            return Some(match is_startup {
                true => OutgoingQuery::at_startup(&self.settings),
                false => OutgoingQuery::general(&self.settings),
            });
        }
        let (group, sources) = self.specific.take_due(now, &self.settings)?;
        Some(OutgoingQuery::specific(&self.settings, group, sources))
    }

    /// Checks whether the other querier has been silent for too long. Call before [`Self::poll_transmit`].
    pub fn check(&mut self, now: ClockTime) -> Option<RoleChange<A>> {
        match self.role {
            Role::Listener { querier } if now >= self.due => {
                self.role = Role::Querier;
                self.due = now;
                self.startup_remaining = 0;
                Some(RoleChange::TookOverFrom(querier))
            }
            _ => None,
        }
    }

    /// Returns when to call [`Self::check`] and [`Self::poll_transmit`] next: a querier always waits for something.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<ClockTime> {
        match self.role {
            Role::Querier => self.specific.deadline().into_iter().chain([self.due]).min(),
            Role::Listener { .. } => Some(self.due),
        }
    }

    /// Returns the current role.
    #[must_use]
    pub const fn role(&self) -> Role<A> {
        self.role
    }

    /// Returns the settings.
    #[must_use]
    pub const fn settings(&self) -> &QuerierSettings {
        &self.settings
    }

    /// Returns the number of groups that were not queried after a leave, because too many were being queried.
    #[must_use]
    pub const fn unqueried_groups(&self) -> u64 {
        self.specific.overflowed()
    }

    /// Yields to a querier with a lower address (RFC 3376 section 6.6.2).
    fn handle_query(&mut self, now: ClockTime, source: A, query: &Query<'_, A>) -> Option<RoleChange<A>> {
        // A switch that sends queries from the unspecified address does not take part (RFC 4541 section
        // 2.1.1).
        if !source.can_be_querier() || source >= self.own {
            return None;
        }
        let changed = self.role == Role::Querier;
        self.role = Role::Listener { querier: source };
        // Group-specific queries state another response time, so this querier's own is used for all queries.
        let present =
            self.settings.other_querier_present_interval(query.robustness(), query.interval(), None);
        self.due = now + present;
        self.specific.clear();
        changed.then_some(RoleChange::YieldedTo(source))
    }

    fn query_group(&mut self, now: ClockTime, group: A, sources: Sources<'_, A>) {
        if group.is_forwarded_by_membership() {
            let sources = if self.settings.has_source_lists::<A>() { sources } else { Sources::none() };
            self.specific.add(now, group, sources, &self.settings);
        }
    }
}

/// The settings of a querier. The defaults are those of the RFCs: the latest version, query interval 125 s,
/// robustness 2, query response interval 10 s, last member query interval 1 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuerierSettings {
    older_version: bool,
    robustness: u8,
    query_interval: Duration,
    query_response_interval: Duration,
    startup_response_interval: Option<Duration>,
}

/// Why a setting is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The robustness is out of range.
    #[error("robustness must be 1 to 7, not {0}")]
    Robustness(u8),
    /// The query response interval is not below the query interval (RFC 3376 section 8.3), or is below 100
    /// ms.
    #[error("the query response interval must be at least 0.1 s and less than the query interval")]
    ResponseInterval,
    /// The query interval is out of range. A shorter one would cause too much traffic; a longer one cannot be
    /// encoded in a query.
    #[error("the query interval must be 1 s to 31,744 s")]
    QueryInterval,
}

impl Default for QuerierSettings {
    fn default() -> Self {
        Self {
            older_version: false,
            robustness: 2,
            query_interval: Duration::from_secs(125),
            query_response_interval: Duration::from_secs(10),
            startup_response_interval: None,
        }
    }
}

impl QuerierSettings {
    /// Uses the older version, IGMPv2 or MLDv1. This is required where a router or a switch supports no newer
    /// version (RFC 3376 section 7.3.1). Queries then contain no source lists.
    #[must_use]
    pub const fn older(self) -> Self {
        Self { older_version: true, ..self }
    }

    /// Sets the robustness: one more than the number of consecutive messages that may be lost.
    ///
    /// # Errors
    /// Returns [`SettingsError::Robustness`] unless it is 1 to 7.
    pub const fn with_robustness(self, robustness: u8) -> Result<Self, SettingsError> {
        match robustness {
            1..=7 => Ok(Self { robustness, ..self }),
            _ => Err(SettingsError::Robustness(robustness)),
        }
    }

    /// Sets the query interval and the query response interval.
    ///
    /// # Errors
    /// Returns [`SettingsError::QueryInterval`] unless the query interval is 1 s to 31,744 s, and
    /// [`SettingsError::ResponseInterval`] unless the query response interval is at least 0.1 s and less than
    /// the query interval.
    pub fn with_intervals(self, query: Duration, response: Duration) -> Result<Self, SettingsError> {
        const LONGEST: Duration = Duration::from_secs(31_744);
        if query < Duration::from_secs(1) || query > LONGEST {
            return Err(SettingsError::QueryInterval);
        }
        if response >= query || response < Duration::from_millis(100) {
            return Err(SettingsError::ResponseInterval);
        }
        Ok(Self { query_interval: query, query_response_interval: response, ..self })
    }

    /// Makes hosts respond to the general queries at startup within this time, so that memberships are known early.
    ///
    /// # Errors
    /// Returns [`SettingsError::ResponseInterval`] unless it is at least 0.1 s and at most the query response interval.
    pub fn with_startup_response_interval(self, response: Duration) -> Result<Self, SettingsError> {
        if response > self.query_response_interval || response < Duration::from_millis(100) {
            return Err(SettingsError::ResponseInterval);
        }
        Ok(Self { startup_response_interval: Some(response), ..self })
    }

    /// Returns the robustness: one more than the number of consecutive messages that may be lost.
    #[must_use]
    pub const fn robustness(&self) -> u8 {
        self.robustness
    }

    /// Returns the time between general queries.
    #[must_use]
    pub const fn query_interval(&self) -> Duration {
        self.query_interval
    }

    /// Returns the maximum time in which hosts respond to a general query.
    #[must_use]
    pub const fn query_response_interval(&self) -> Duration {
        self.query_response_interval
    }

    /// Returns the maximum time in which hosts respond to a general query at startup.
    #[must_use]
    pub fn startup_response_interval(&self) -> Duration {
        self.startup_response_interval.unwrap_or(self.query_response_interval)
    }

    /// Returns the maximum time in which the remaining members respond after a leave. It is also the interval
    /// of the group-specific queries, of which [`Self::robustness`] are sent: 1 s (RFC 9776 section 8.8).
    #[must_use]
    pub const fn last_member_query_interval(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Returns the time between general queries at startup: a quarter of the query interval.
    #[must_use]
    pub fn startup_query_interval(&self) -> Duration {
        self.query_interval / 4
    }

    /// Returns how long switches and routers keep a membership that is not reported again.
    #[must_use]
    pub fn group_membership_interval(&self) -> Duration {
        self.query_interval * u32::from(self.robustness) + self.query_response_interval
    }

    /// Returns the protocol version of the queries.
    #[must_use]
    pub const fn version<A: Address>(&self) -> u8 {
        if self.older_version { A::SOURCE_VERSION - 1 } else { A::SOURCE_VERSION }
    }

    const fn has_source_lists<A: Address>(&self) -> bool {
        self.version::<A>() == A::SOURCE_VERSION
    }

    /// Returns how long another querier may be silent before it counts as gone (RFC 3376 section 8.5), from the timers in
    /// its queries. These settings stand in for those that it does not state.
    #[must_use]
    pub fn other_querier_present_interval(
        &self,
        robustness: Option<u8>,
        interval: Option<Duration>,
        response_interval: Option<Duration>,
    ) -> Duration {
        interval.unwrap_or(self.query_interval) * u32::from(robustness.unwrap_or(self.robustness))
            + response_interval.unwrap_or(self.query_response_interval) / 2
    }
}

/// The group-specific queries that are still to be sent, in memory of a fixed size.
#[derive(Clone, Debug)]
struct SpecificQueries<A, const PENDING: usize> {
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
    const fn new() -> Self {
        Self { pending: [const { None }; PENDING], overflowed: 0 }
    }

    /// Starts to query a group. A group that is already being queried is not queried more often (RFC 2236
    /// section 3), but as a whole if the sources differ.
    fn add(&mut self, now: ClockTime, group: A, sources: Sources<'_, A>, settings: &QuerierSettings) {
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
    fn take_due(&mut self, now: ClockTime, settings: &QuerierSettings) -> Option<(A, SourceList<A>)> {
        let slot = self.pending.iter_mut().find(|slot| slot.is_some_and(|pending| now >= pending.next))?;
        let mut pending = (*slot)?;
        let query = (pending.group, pending.sources);
        pending.remaining = pending.remaining.saturating_sub(1);
        pending.next = now + settings.last_member_query_interval();
        *slot = (pending.remaining > 0).then_some(pending);
        Some(query)
    }

    /// Returns when the next query is due.
    fn deadline(&self) -> Option<ClockTime> {
        self.pending.iter().flatten().map(|pending| pending.next).min()
    }

    fn clear(&mut self) {
        self.pending = [const { None }; PENDING];
    }

    const fn overflowed(&self) -> u64 {
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
struct SourceList<A> {
    addresses: [A; MAX_SOURCES],
    count: usize,
}

const MAX_SOURCES: usize = 8;

impl<A: Address> OutgoingQuery<A> {
    /// The maximum number of sources in a query. If a record blocks more, the whole group is queried.
    pub const MAX_SOURCES: usize = MAX_SOURCES;

    fn general(settings: &QuerierSettings) -> Self {
        Self::new(settings, None, settings.query_response_interval(), SourceList::none())
    }

    fn at_startup(settings: &QuerierSettings) -> Self {
        Self::new(settings, None, settings.startup_response_interval(), SourceList::none())
    }

    fn specific(settings: &QuerierSettings, group: A, sources: SourceList<A>) -> Self {
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
    fn none() -> Self {
        Self { addresses: [A::UNSPECIFIED; MAX_SOURCES], count: 0 }
    }

    /// Copies the sources. If there are too many, the list is empty, which queries the whole group.
    fn new(sources: Sources<'_, A>) -> Self {
        let mut addresses = [A::UNSPECIFIED; MAX_SOURCES];
        let count = if sources.len() > MAX_SOURCES { 0 } else { sources.len() };
        addresses.iter_mut().zip(sources).for_each(|(slot, source)| *slot = source);
        Self { addresses, count }
    }

    fn as_slice(&self) -> &[A] {
        self.addresses.get(..self.count).unwrap_or_default()
    }
}
