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

mod settings;
mod specific_queries;

pub use mcast_pace::ClockTime;
pub use settings::{QuerierSettings, SettingsError};
pub use specific_queries::OutgoingQuery;

use super::{Address, GmpMessage, Query, RecordKind, Sources};
use specific_queries::SpecificQueries;

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
