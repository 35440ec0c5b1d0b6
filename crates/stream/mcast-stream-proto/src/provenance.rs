//! Where the messages of a publisher come from, and where else they are, as its heartbeats show it.

use crate::wire::{
    DatagramView, DatagramWriter, Heartbeat, Incarnation, MessageNumber, Origin, RecallIndex, Sequence,
    ServedHistory, WriteError,
};

/// The engine or the log that the messages come from, the history that the publisher serves, and the messages of a former
/// publisher that it retains.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Provenance {
    pub(crate) origin: Option<Origin>,
    pub(crate) history: Option<ServedHistory>,
    pub(crate) recalled: RecallIndex,
}

impl Provenance {
    /// Of a publisher whose messages are its own.
    pub(crate) const NONE: Self = Self { origin: None, history: None, recalled: RecallIndex::EMPTY };

    /// Reads the extensions of a heartbeat.
    pub(crate) fn of(view: &DatagramView<'_>, heartbeat: &Heartbeat) -> Self {
        Self {
            origin: Origin::of(view),
            history: ServedHistory::of(view),
            recalled: RecallIndex::of(view, (heartbeat.next, heartbeat.next_message)),
        }
    }

    /// Notes the history that a later heartbeat of the same publisher shows: its server may have come or gone.
    pub(crate) fn update(&mut self, view: &DatagramView<'_>) {
        self.history = ServedHistory::of(view);
    }

    /// Whether the messages of both with the same numbers are the same.
    pub(crate) fn is_same_content(&self, other: &Self) -> bool {
        self.origin.zip(other.origin).is_some_and(|(origin, other)| origin.is_same_content(&other))
    }

    /// Whether the other one has messages from before these.
    pub(crate) fn is_ahead_of(&self, other: &Self) -> bool {
        let origins = self.origin.zip(other.origin);
        origins.is_some_and(|(own, other)| own.stream == other.stream && own.incarnation > other.incarnation)
    }

    /// Returns the incarnation that the messages have where they come from.
    pub(crate) fn content_incarnation(&self) -> Option<Incarnation> {
        self.origin.map(|origin| origin.incarnation)
    }

    /// Returns the last datagram that a subscriber may begin with that has all messages before `next`.
    pub(crate) fn first_needed(&self, next: MessageNumber) -> Option<Sequence> {
        self.recalled.first_needed(next)
    }

    /// Returns the length of the extensions, in bytes.
    pub(crate) fn extension_length(&self) -> usize {
        self.origin.map_or(0, |origin| origin.extension_length())
            + self.recalled.extension_length()
            + self.history.map_or(0, |_| ServedHistory::LENGTH)
    }

    /// Adds the extensions to a heartbeat.
    pub(crate) fn write(&self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        self.origin.map_or(Ok(()), |origin| origin.write(writer))?;
        self.recalled.write(writer)?;
        self.history.map_or(Ok(()), |history| history.write(writer))
    }
}
