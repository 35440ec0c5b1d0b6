//! What a receiver hands out: messages, lent from where they lie, and events.

use core::ops::Range;

use super::event::Event;

/// A message, lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its number, from 0 on, without gaps.
    pub number: u64,
    /// What it is about, if its publisher told.
    pub key: Option<u64>,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// A message or an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A message.
    Message(Message<'a>),
    /// Something that happened between messages.
    Event(Event),
}

/// The next item, without its bytes: [`Receiver::item`](super::Receiver::item) lends them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step(pub(super) StepKind);

impl Step {
    /// What a driver tells by itself.
    #[cfg(feature = "std")]
    pub(crate) const fn of_event(event: Event) -> Self {
        Self(StepKind::Event(event))
    }

    /// The event, if it is one.
    #[cfg(feature = "std")]
    pub(crate) const fn event(&self) -> Option<Event> {
        match self.0 {
            StepKind::Event(event) => Some(event),
            StepKind::Message { .. } => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StepKind {
    Message { number: u64, keyed: bool, place: Place, range: Range<usize> },
    Event(Event),
}

/// Where a message's bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the datagram that was handled last.
    Lent,
    /// Where that was opened.
    Opened,
    /// In the window.
    Window(u64),
    /// Put together.
    Assembly,
}
