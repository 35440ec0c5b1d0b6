//! The querier: asks hosts for their groups, as long as nobody with a lower address does (RFC 3376 section 6
//! and RFC 3810 section 7, the parts that a network without a multicast router needs).
//!
//! A switch that snoops forgets a group when nobody reports it, and hosts report only when they are asked. So
//! somebody must ask. The state machine here says what to ask and when; time comes in as the span since some
//! start, messages come in as they were heard, and questions come out. It knows no sockets and no clock.
//!
//! ```
//! use core::time::Duration;
//! use mcast_packet::gmp::querier::{Querier, Settings};
//! use core::net::Ipv4Addr;
//!
//! let own = Ipv4Addr::new(10, 0, 0, 7);
//! let mut querier: Querier<Ipv4Addr> = Querier::new(Settings::default(), own, Duration::ZERO);
//! let asked = querier.poll(Duration::ZERO).expect("a general query at once");
//! assert_eq!(asked.message().to_string(), "IGMPv3 general query: members of any group, answer within 10 s");
//! assert_eq!(querier.deadline(), Duration::from_millis(31_250)); // when it starts, it asks more often
//! ```

mod asked;
mod settings;
mod specific;

use core::time::Duration;

pub use asked::Asked;
pub use settings::{Settings, SettingsError};

use super::{Address, Message, Query, RecordKind, Sources};
use specific::Specific;

/// Asks hosts for their groups, or listens to who does. `PENDING` groups that somebody has left can be asked
/// about at a time; what goes beyond is counted, and found out by the next general query's answers.
#[derive(Clone, Debug)]
pub struct Querier<A: Address, const PENDING: usize = 256> {
    settings: Settings,
    own: A,
    role: Role<A>,
    /// When the next general query is due, when this is the querier; else when the other one counts as gone.
    due: Duration,
    /// General queries that are still to follow one another quickly.
    startup_left: u8,
    specific: Specific<A, PENDING>,
}

/// Whether one asks, or another does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role<A> {
    /// This one asks.
    Querier,
    /// Another with a lower address asks.
    Listener {
        /// Its address.
        querier: A,
    },
}

/// What became of the election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change<A> {
    /// Another with a lower address asks: it is the querier from now on.
    YieldedTo(A),
    /// The other one has been silent for too long: this one asks again.
    TookOverFrom(A),
}

impl<A: Address, const PENDING: usize> Querier<A, PENDING> {
    /// A querier with this address, who believes to be the only one until another is heard (RFC 3376 section
    /// 8.6): the first general query is due at once.
    #[must_use]
    pub fn new(settings: Settings, own: A, now: Duration) -> Self {
        Self {
            settings,
            own,
            role: Role::Querier,
            due: now,
            startup_left: settings.robustness(),
            specific: Specific::new(),
        }
    }

    /// Takes note of a message that was heard; its own come to nothing. The caller has seen to it that the
    /// message is whole: its checksum right, its hop limit 1, with router alert where the RFCs ask for it.
    pub fn handle(&mut self, now: Duration, source: A, message: &Message<'_, A>) -> Option<Change<A>> {
        match message {
            Message::Query(query) => return self.hear_query(now, source, query),
            _ if self.role != Role::Querier => {}
            Message::Leave { group } => self.ask_about(now, *group, Sources::none()),
            Message::SourceReport(records) => {
                for record in *records {
                    match record.kind {
                        RecordKind::ChangeToInclude => self.ask_about(now, record.group, Sources::none()),
                        RecordKind::BlockOldSources => {
                            self.ask_about(now, record.group, record.sources);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        None
    }

    /// The next question that is due; call again until there is none.
    pub fn poll(&mut self, now: Duration) -> Option<Asked<A>> {
        if self.role != Role::Querier {
            return None;
        }
        if now >= self.due {
            self.startup_left = self.startup_left.saturating_sub(1);
            let interval = match self.startup_left {
                0 => self.settings.query_interval(),
                _ => self.settings.startup_query_interval(),
            };
            self.due = now.saturating_add(interval);
            return Some(Asked::general(&self.settings));
        }
        let (group, sources) = self.specific.due(now, &self.settings)?;
        Some(Asked::specific(&self.settings, group, sources))
    }

    /// Looks whether the other querier has been silent for too long; to be called before [`Self::poll`].
    pub fn check(&mut self, now: Duration) -> Option<Change<A>> {
        match self.role {
            Role::Listener { querier } if now >= self.due => {
                self.role = Role::Querier;
                self.due = now;
                self.startup_left = 0;
                Some(Change::TookOverFrom(querier))
            }
            _ => None,
        }
    }

    /// When [`Self::check`] and [`Self::poll`] have something to do next.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        match self.role {
            Role::Querier => self.specific.next().map_or(self.due, |next| next.min(self.due)),
            Role::Listener { .. } => self.due,
        }
    }

    /// Whether this one asks, or another does.
    #[must_use]
    pub const fn role(&self) -> Role<A> {
        self.role
    }

    /// How it asks.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Groups that were left and could not be asked about, as too many were at the same time.
    #[must_use]
    pub const fn unasked(&self) -> u64 {
        self.specific.overflowed()
    }

    /// RFC 3376 section 6.6.2: whoever hears a query from a lower address leaves the asking to it.
    fn hear_query(&mut self, now: Duration, source: A, query: &Query<'_, A>) -> Option<Change<A>> {
        // A switch that asks from no address of its own takes no part (RFC 4541 section 2.1.1).
        if !source.can_be_querier() || source >= self.own {
            return None;
        }
        let changed = self.role == Role::Querier;
        self.role = Role::Listener { querier: source };
        self.due = now.saturating_add(self.settings.other_querier_present(query));
        self.specific.clear();
        changed.then_some(Change::YieldedTo(source))
    }

    fn ask_about(&mut self, now: Duration, group: A, sources: Sources<'_, A>) {
        if group.is_forwarded_by_membership() {
            let sources = if self.settings.has_sources::<A>() { sources } else { Sources::none() };
            self.specific.add(now, group, sources, &self.settings);
        }
    }
}
