//! What a history consists of, where in it a subscriber starts, and what is requested of it.

use core::time::Duration;

use crate::subscriber::{Cause, SubscriberStatistics};
use crate::wire::{Incarnation, MessageKey, MessageNumber, Position};

/// Why messages are missing in an engine or a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapCause {
    /// No bridge received them. The cause is that of the bridge that wrote the record.
    Lost(Cause),
    /// No bridge was running, or none could reach the engine for too long, when they were published.
    JoinedLate,
    /// The engine had stored them and lost them, and no bridge retained them.
    EngineLost,
    /// The system dropped datagrams of a plain group, because the receive buffer was full.
    ReceiveBufferFull,
    /// The engine takes no message of that size, or with as long headers.
    TooLarge,
    /// The engine refuses these messages for another reason that is theirs alone, and would refuse them again.
    Refused,
}

impl GapCause {
    /// All causes, in the order of their numbers on the wire.
    pub const ALL: [Self; 14] = [
        Self::Lost(Cause::Unrecoverable),
        Self::Lost(Cause::Deadline),
        Self::Lost(Cause::NotRepaired),
        Self::Lost(Cause::Restart),
        Self::Lost(Cause::Unreadable),
        Self::Lost(Cause::Abandoned),
        Self::Lost(Cause::PublisherGone),
        Self::JoinedLate,
        Self::EngineLost,
        Self::ReceiveBufferFull,
        Self::Lost(Cause::NotInHistory),
        Self::TooLarge,
        Self::Refused,
        Self::Lost(Cause::HistoryUnreachable),
    ];

    /// Returns its name, for instance `joined-late`, as in records and in the command's JSON. Names never change.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost(cause) => cause.name(),
            Self::JoinedLate => "joined-late",
            Self::EngineLost => "engine-lost",
            Self::ReceiveBufferFull => "receive-buffer-full",
            Self::TooLarge => "too-large",
            Self::Refused => "refused",
        }
    }

    /// Returns the cause with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }

    /// Returns its number on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        Self::ALL.iter().position(|cause| *cause == self).map_or(0, |at| at as u8)
    }

    /// Returns the cause with this number. Of an unknown one, of a later version, it is only known that the history does
    /// not have the messages.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Lost(Cause::NotInHistory))
    }

    /// Returns the cause that a subscriber reports.
    #[must_use]
    pub const fn reported(self) -> Cause {
        match self {
            Self::Lost(cause) => cause,
            Self::JoinedLate
            | Self::EngineLost
            | Self::ReceiveBufferFull
            | Self::TooLarge
            | Self::Refused => Cause::NotInHistory,
        }
    }
}

/// A record of a history. Its bytes are a `B`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRecord<B> {
    /// The first position that it accounts for.
    pub first: Position,
    /// What it is.
    pub content: HistoryContent<B>,
}

/// The content of a record of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryContent<B> {
    /// A message.
    Message {
        /// Its key, if it was published with one.
        key: Option<MessageKey>,
        /// Its bytes.
        bytes: B,
    },
    /// The messages from the record's position to before `end` are missing.
    Gap {
        /// One past the last missing message.
        end: MessageNumber,
        /// Why.
        cause: GapCause,
    },
    /// An unknown number of messages, from the record's position on, may be missing.
    OpenGap {
        /// Why.
        cause: GapCause,
    },
    /// The stream was closed. The number in the record's position is the number of messages in the incarnation.
    End,
}

impl<B> HistoryRecord<B> {
    /// Returns the position after it.
    #[must_use]
    pub fn end(&self) -> Position {
        match self.content {
            HistoryContent::Message { .. } => self.first.following(),
            HistoryContent::Gap { end, .. } => Position { number: end.max(self.first.number), ..self.first },
            HistoryContent::OpenGap { .. } | HistoryContent::End => self.first,
        }
    }
}

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
    /// Whether servers are searched: [`search`](super::HistoryMachine::poll_search) returns what must be sent, and
    /// [`handle_server`](super::HistoryMachine::handle_server) takes what is found. Default: no, because they are named.
    pub searches: bool,
    /// How long a server says that it has nothing more before what is missing counts as lost. Default: 5 s, longer than bridges
    /// wait for each other. A start waits three times as long for the first answer, from when the live stream is known; with
    /// [`HistoryStart::Oldest`] only 1.5 s if nothing shows that there is a server. Once a server has answered, a start waits for
    /// as long as it takes. With [`HistoryStart::At`], if anything shows that there is a server, it waits for it as long as it takes,
    /// at the start and for each later loss. Otherwise a loss that is healed waits for this time, and 18 times as long for a server
    /// that has answered before.
    ///
    /// While the publisher is silent, and while this process does not run, nothing is given up, and the time begins again
    /// afterwards. If the stream has ended, or the server says that it has nothing more, a publisher that is silent for 90 s
    /// counts as gone. The time for which servers that serve others first send this client away does not count: at most
    /// 6 hours of a start, or 12 times the timeout of a loss that is healed, without a record between.
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

/// What the machine adds to the counters of its subscriber. The sums wrap.
#[derive(Clone, Copy, Debug, Default)]
pub struct HistoryStatistics {
    pub(super) messages: u64,
    pub(super) message_bytes: u64,
    pub(super) lost: u64,
    pub(super) unknown: u64,
    pub(super) from_history: u64,
    pub(super) postponed: u64,
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
        statistics.postponed += self.postponed;
        statistics.malformed += self.malformed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_found_by_their_names_and_numbers() {
        for cause in GapCause::ALL {
            assert_eq!(GapCause::from_name(cause.name()), Some(cause));
            assert_eq!(GapCause::from_number(cause.number()), cause);
        }
        assert_eq!(GapCause::from_name("else"), None);
        assert_eq!(GapCause::from_number(255).reported(), Cause::NotInHistory);
    }
}
