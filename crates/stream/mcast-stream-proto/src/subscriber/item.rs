//! What a subscriber delivers: borrowed messages, and events.

use core::ops::Range;

use super::event::SubscriberEvent;
use crate::history::Position;
use crate::wire::{Incarnation, MessageKey, MessageNumber, Sequence};

/// A message, borrowed from the subscriber or from the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The incarnation of its publisher; if that reads its messages from an engine, the incarnation that they have there.
    pub incarnation: Incarnation,
    /// Its number. The first message of an incarnation is 0, and there are no gaps, unless the messages come out of an
    /// engine: then their numbers are those that they have there.
    pub number: MessageNumber,
    /// Its key, if it was published with one.
    pub key: Option<MessageKey>,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl Message<'_> {
    /// Returns its position in the stream.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position::new(self.incarnation, self.number)
    }
}

/// A message or an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A message.
    Message(Message<'a>),
    /// An event that happened between messages.
    Event(SubscriberEvent),
}

/// The next item without its bytes, which [`SubscriberMachine::item`](super::SubscriberMachine::item) returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step(pub(super) StepKind);

impl Step {
    /// Returns a step for an event that the driver reports itself.
    #[must_use]
    pub const fn of_event(event: SubscriberEvent) -> Self {
        Self(StepKind::Event(event))
    }

    /// Returns a step for a message of a [`HistoryMachine`](crate::history::HistoryMachine), which has its bytes.
    pub(crate) const fn of_history() -> Self {
        Self(StepKind::History)
    }

    /// Whether it is a message of a [`HistoryMachine`](crate::history::HistoryMachine).
    #[must_use]
    #[inline]
    pub const fn is_of_history(&self) -> bool {
        matches!(self.0, StepKind::History)
    }

    /// Returns the event, if it is one.
    #[must_use]
    #[inline]
    pub const fn event(&self) -> Option<SubscriberEvent> {
        match self.0 {
            StepKind::Event(event) => Some(event),
            StepKind::Message { .. } | StepKind::History => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StepKind {
    Message {
        number: MessageNumber,
        keyed: bool,
        location: BodyLocation,
        range: Range<usize>,
    },
    Event(SubscriberEvent),
    /// A message of a history, which is not in the subscriber.
    History,
}

/// Where the bytes of a message are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLocation {
    /// In the datagram that was handled last, which the caller owns.
    Datagram,
    /// In the buffer with the decrypted copy of that datagram.
    Decrypted,
    /// In the window, at this sequence.
    Window(Sequence),
    /// In the buffer of reassembled fragments.
    Assembly,
}
