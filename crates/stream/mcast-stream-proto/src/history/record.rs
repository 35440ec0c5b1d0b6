//! What a history consists of.

use core::fmt;

use crate::subscriber::Cause;
use crate::wire::{Incarnation, MessageKey, MessageNumber};

/// A place in a stream. Positions only grow: incarnations do, and message numbers within an incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The incarnation of the publisher.
    pub incarnation: Incarnation,
    /// The number of the message.
    pub number: MessageNumber,
}

impl Position {
    /// Before every other position.
    pub const START: Self = Self { incarnation: Incarnation(0), number: MessageNumber(0) };

    /// Returns the position of a message.
    #[must_use]
    pub const fn new(incarnation: Incarnation, number: MessageNumber) -> Self {
        Self { incarnation, number }
    }

    /// Returns the next position of the incarnation.
    #[must_use]
    pub fn following(self) -> Self {
        Self { number: MessageNumber(self.number.0.saturating_add(1)), ..self }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of incarnation {}", self.number, self.incarnation)
    }
}

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
}

impl GapCause {
    /// All causes, in the order of their numbers on the wire.
    pub const ALL: [Self; 11] = [
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
    ];

    /// Returns its name, for instance `joined-late`, as in records and in the command's JSON. Names never change.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost(cause) => cause.name(),
            Self::JoinedLate => "joined-late",
            Self::EngineLost => "engine-lost",
            Self::ReceiveBufferFull => "receive-buffer-full",
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
            Self::JoinedLate | Self::EngineLost | Self::ReceiveBufferFull => Cause::NotInHistory,
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
