//! Where the messages of a stream come from, if its publisher reads them from an engine.

use core::fmt;

use super::bytes::{u32_at, u64_at};
use super::extension::ExtensionKind;
use super::identity::{Incarnation, StreamId};
use super::view::DatagramView;
use super::writer::{DatagramWriter, WriteError};

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
