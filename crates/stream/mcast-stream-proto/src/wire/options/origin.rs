//! Where messages come from, as extensions: from an engine, from a former publisher, or from the history that a publisher serves.

use core::fmt;
use core::net::SocketAddr;

use super::super::header::{ExtensionKind, u32_at, u64_at};
use super::super::identity::{Incarnation, MessageNumber, Sequence, StreamId};
use super::super::view::{DatagramView, DatagramWriter, WriteError};

/// A publisher serves the history of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServedHistory {
    /// The TCP port at the publisher's address; 0 if only announcements have the address.
    pub port: u16,
}

impl ServedHistory {
    /// The length of the extension, in bytes.
    pub(crate) const LENGTH: usize = 4;

    /// Creates the notice that a history is served on this TCP port, or with 0 where announcements say.
    #[must_use]
    pub const fn new(port: u16) -> Self {
        Self { port }
    }

    /// Reads the extension; `None` if there is none.
    #[must_use]
    pub fn of(view: &DatagramView<'_>) -> Option<Self> {
        view.extensions.find(ExtensionKind::HISTORY).map(|extension| Self { port: extension.small })
    }

    /// Adds the extension.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        writer.extension(ExtensionKind::HISTORY, self.port, &[])
    }

    /// Returns the address of the server, if that of its publisher has this one.
    #[must_use]
    pub fn address(self, publisher: SocketAddr) -> Option<SocketAddr> {
        (self.port != 0).then(|| SocketAddr::new(publisher.ip(), self.port))
    }
}

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

/// A stream in an engine: a key in Redis, for instance. A random number that the engine stores beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EngineKey(pub u64);

impl fmt::Display for EngineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The engines that messages came out of, the latest first. At most [`MAX`](Self::MAX).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct VisitedEngines {
    keys: [Option<EngineKey>; Self::MAX],
}

impl VisitedEngines {
    /// The most engines that one message comes out of.
    pub const MAX: usize = 4;

    /// Of messages that came out of no engine.
    pub const EMPTY: Self = Self { keys: [None; Self::MAX] };

    /// Returns the trail of messages that came out of this engine, and of those in `earlier` before; `None` if these
    /// are too many.
    #[must_use]
    pub fn prefixed(key: EngineKey, earlier: Self) -> Option<Self> {
        Self::of(core::iter::once(key).chain(earlier.iter()))
    }

    /// Returns the trail of these engines; `None` if they are too many.
    #[must_use]
    pub fn of(keys: impl IntoIterator<Item = EngineKey>) -> Option<Self> {
        let mut trail = Self::default();
        for (at, key) in keys.into_iter().enumerate() {
            *trail.keys.get_mut(at)? = Some(key);
        }
        Some(trail)
    }

    /// Returns the engines, the latest first.
    pub fn iter(&self) -> impl Iterator<Item = EngineKey> + '_ {
        self.keys.iter().map_while(|key| *key)
    }

    /// Whether messages came out of this engine.
    #[must_use]
    pub fn contains(&self, key: EngineKey) -> bool {
        self.iter().any(|each| each == key)
    }

    /// Whether messages came out of no engine.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys[0].is_none()
    }
}

impl fmt::Debug for VisitedEngines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Where the messages of an incarnation come from: an incarnation of the stream that an engine holds. The messages have
/// the same numbers there, so that any publisher with the same origin can continue for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The stream that the engine holds.
    pub stream: StreamId,
    /// The incarnation of its publisher.
    pub incarnation: Incarnation,
    /// A random number of the publisher that reads the engine, so that two with the same incarnation notice each other.
    pub publisher: u32,
    /// The engines that the messages came out of.
    pub engines: VisitedEngines,
}

impl Origin {
    const FIXED: usize = 16;

    /// Creates an origin from the stream and the incarnation that the engines hold.
    #[must_use]
    pub const fn new(
        stream: StreamId,
        incarnation: Incarnation,
        publisher: u32,
        engines: VisitedEngines,
    ) -> Self {
        Self { stream, incarnation, publisher, engines }
    }

    /// Whether the messages with the same numbers are the same.
    #[must_use]
    pub fn is_same_content(&self, other: &Self) -> bool {
        (self.stream, self.incarnation) == (other.stream, other.incarnation)
    }

    /// Returns the length of the extension with the origin, in bytes.
    pub(crate) fn extension_length(&self) -> usize {
        4 + Self::FIXED + 8 * self.engines.iter().count()
    }

    /// Reads the extension with the origin; `None` if there is none, or it is malformed.
    #[must_use]
    pub fn of(view: &DatagramView<'_>) -> Option<Self> {
        let value = view.extensions.find(ExtensionKind::ORIGIN)?.value;
        let (fixed, keys) = value.split_at_checked(Self::FIXED)?;
        let (keys, rest) = keys.as_chunks::<8>();
        if !rest.is_empty() {
            return None;
        }
        Some(Self {
            stream: StreamId(u64_at(fixed, 0)?),
            incarnation: Incarnation(u32_at(fixed, 8)?),
            publisher: u32_at(fixed, 12)?,
            engines: VisitedEngines::of(keys.iter().map(|key| EngineKey(u64::from_be_bytes(*key))))?,
        })
    }

    /// Adds the extension with the origin.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(&self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        let mut value = [0; Self::FIXED + 8 * VisitedEngines::MAX];
        value[..8].copy_from_slice(&self.stream.0.to_be_bytes());
        value[8..12].copy_from_slice(&self.incarnation.0.to_be_bytes());
        value[12..16].copy_from_slice(&self.publisher.to_be_bytes());
        let mut end = Self::FIXED;
        for key in self.engines.iter() {
            value[end..end + 8].copy_from_slice(&key.0.to_be_bytes());
            end += 8;
        }
        writer.extension(ExtensionKind::ORIGIN, 0, &value[..end])
    }
}
