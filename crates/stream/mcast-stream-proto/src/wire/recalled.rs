//! Where the messages of a former publisher are among the datagrams that a restarted one retains.

use super::bytes::u32_at;
use super::extension::ExtensionKind;
use super::number::{MessageNumber, Sequence};
use super::view::DatagramView;
use super::writer::{DatagramWriter, WriteError};

/// The bytes of an entry: the lower halves of a sequence and of the number of a message.
const ENTRY: usize = 8;

/// Some of the datagrams that a restarted publisher retains and has not sent, each with the message that begins in it. A
/// subscriber that has all messages before that one needs no datagram before that one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecallIndex {
    entries: [(Sequence, MessageNumber); Self::MAX],
    count: usize,
}

impl RecallIndex {
    /// The most entries.
    pub const MAX: usize = 16;

    /// No datagrams.
    pub const EMPTY: Self = Self { entries: [(Sequence(0), MessageNumber(0)); Self::MAX], count: 0 };

    /// Adds a datagram; returns `false` if there is no space for it.
    pub fn add(&mut self, sequence: Sequence, message: MessageNumber) -> bool {
        let free = self.entries.get_mut(self.count);
        let is_added = free.map(|entry| *entry = (sequence, message)).is_some();
        self.count += usize::from(is_added);
        is_added
    }

    /// Returns the datagrams, each with the message that begins in it.
    pub fn iter(&self) -> impl Iterator<Item = (Sequence, MessageNumber)> + '_ {
        self.entries.iter().take(self.count).copied()
    }

    /// Returns whether there are no entries.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the last datagram that a subscriber may begin with that has all messages before `next`.
    #[must_use]
    pub fn first_needed(&self, next: MessageNumber) -> Option<Sequence> {
        self.iter().filter(|(_, message)| *message <= next).map(|(sequence, _)| sequence).max()
    }

    /// Returns as many of the first entries as an extension of this many bytes has room for.
    #[must_use]
    pub(crate) fn within(mut self, bytes: usize) -> Self {
        self.count = self.count.min(bytes.saturating_sub(4) / ENTRY);
        self
    }

    /// Returns the length of the extension, in bytes.
    pub(crate) const fn extension_length(&self) -> usize {
        if self.count == 0 { 0 } else { 4 + ENTRY * self.count }
    }

    /// Reads the extension, where the numbers are near these; empty if there is none, or it is malformed.
    #[must_use]
    pub fn of(view: &DatagramView<'_>, near: (Sequence, MessageNumber)) -> Self {
        let mut index = Self::EMPTY;
        let Some(extension) = view.extensions.find(ExtensionKind::RECALLED) else { return index };
        let (entries, rest) = extension.value.as_chunks::<ENTRY>();
        if !rest.is_empty() || entries.len() > Self::MAX {
            return index;
        }
        for entry in entries {
            let (Some(sequence), Some(message)) = (u32_at(entry, 0), u32_at(entry, 4)) else { break };
            index.add(Sequence(MessageNumber(near.0.0).nearest(sequence).0), near.1.nearest(message));
        }
        index
    }

    /// Adds the extension, if there are any entries.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(&self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        if self.is_empty() {
            return Ok(());
        }
        let mut value = [0; ENTRY * Self::MAX];
        for ((sequence, message), entry) in self.iter().zip(value.chunks_exact_mut(ENTRY)) {
            let (low, high) = entry.split_at_mut(4);
            low.copy_from_slice(&(sequence.0 as u32).to_be_bytes());
            high.copy_from_slice(&message.low().to_be_bytes());
        }
        writer.extension(ExtensionKind::RECALLED, 0, &value[..ENTRY * self.count])
    }
}
