//! Where a subscriber starts in the past, how long it waits for a history, and what it requests of one.

use core::net::SocketAddr;
use core::time::Duration;

use super::record::Position;
use super::wire::RequestedStart;
use crate::subscriber::SubscriberStatistics;
use crate::wire::{Incarnation, MessageNumber};

/// Where to start in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryStart {
    /// With the oldest message that the history or the publisher has.
    Oldest,
    /// With this message of the present incarnation; of the latest one in the history if there is no publisher.
    Number(MessageNumber),
    /// With the first message of this time or later, in milliseconds since 1970.
    Time(u64),
    /// With the message at this position, or the next one: where an application continues that has stored how far it came
    /// ([`Message::position`](crate::subscriber::Message::position)).
    At(Position),
}

/// Settings of a [`HistoryMachine`](super::HistoryMachine).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HistoryConfig {
    /// Where to start. Default: with the live stream.
    pub start: Option<HistoryStart>,
    /// Whether losses are requested from the history before they are reported. Default: no; after a start in the past
    /// those of [`Cause::Unrecoverable`](crate::subscriber::Cause::Unrecoverable), until no server answers.
    pub heal: bool,
    /// Whether nothing more is delivered after a loss. Default: no.
    pub stops: bool,
    /// The memory for the live stream while messages come from the history, in bytes. Default: 64 MiB. If it is full,
    /// the oldest messages in it are discarded, and come from the history as well.
    pub backlog: usize,
    /// Whether servers are searched: [`search`](super::HistoryMachine::poll_search) returns what is to be sent, and
    /// [`handle_server`](super::HistoryMachine::handle_server) takes what is found. Default: no, because they are named.
    pub searches: bool,
    /// How long to wait for a history that brings nothing new. Default: 5 s, longer than bridges wait for each other. A
    /// start waits three times as long for the first answer, from when the live stream is known; with
    /// [`HistoryStart::Oldest`] only 1.5 s if nothing shows that there is a server. The time for which this process does
    /// not run does not count. The time for which servers that serve others first send this
    /// client away does not count: at most 6 hours of a start, or 12 times the patience of a loss that is healed,
    /// without a record between.
    pub timeout: Duration,
    /// With [`HistoryStart::At`]: the application has processed all messages from this one on to before that position, and
    /// none of them was reported as lost. A subscriber with a [name](crate::subscriber::SubscriberConfig::name)
    /// acknowledges them, because its former process may have ended before it did. Default: none.
    pub processed_since: Option<MessageNumber>,
    /// Seed of random times. It should differ between subscribers. Default: 0.
    pub seed: u64,
}

impl HistoryConfig {
    /// Returns these settings with a change: outside this crate, they cannot be written as a literal, so that new ones can be
    /// added.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

impl Default for HistoryConfig {
    fn default() -> Self {
        let timeout = Duration::from_secs(5);
        let (start, processed_since) = (None, None);
        let (heal, stops, searches) = (false, false, false);
        Self { start, heal, stops, backlog: 64 << 20, searches, timeout, processed_since, seed: 0 }
    }
}

/// The publisher that the live stream comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveIdentity {
    /// The incarnation that its messages have in a history: that of their origin, if it reads them from an engine.
    pub content: Incarnation,
    /// Its own incarnation.
    pub own: Incarnation,
}

/// What to request of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Identifies the request; a later one replaces it.
    pub id: u64,
    /// Where to start.
    pub start: RequestedStart,
    /// The most records.
    pub count: u32,
    /// The server that was found; `None` if servers are named.
    pub server: Option<SocketAddr>,
}

/// What the machine adds to the counters of its subscriber. The sums wrap.
#[derive(Clone, Copy, Debug, Default)]
pub struct HistoryStatistics {
    pub(super) messages: u64,
    pub(super) message_bytes: u64,
    pub(super) lost: u64,
    pub(super) unknown: u64,
    pub(super) from_history: u64,
    pub(super) malformed: u64,
}

impl HistoryStatistics {
    /// Adds to the counters of the subscriber of the live stream, so that they count what was delivered.
    pub fn add_to(&self, statistics: &mut SubscriberStatistics) {
        statistics.messages = statistics.messages.wrapping_add(self.messages);
        statistics.message_bytes = statistics.message_bytes.wrapping_add(self.message_bytes);
        statistics.lost_messages = statistics.lost_messages.wrapping_add(self.lost);
        statistics.unknown_losses = statistics.unknown_losses.wrapping_add(self.unknown);
        statistics.from_history += self.from_history;
        statistics.malformed += self.malformed;
    }
}
