//! Statuses: the progress of a subscriber, its name, and what it acknowledges.

use core::fmt;
use core::str::FromStr;

use super::header::{ExtensionKind, Extensions, WireError, u32_at, u64_at};
use super::identity::{AddressToken, MessageNumber, Sequence};
use super::view::{DatagramView, DatagramWriter, WriteError};

/// The body of a status: 80 bytes, so that with its headers it is at least as long as the heartbeat that it may
/// request. A longer body comes from a later version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Everything before this datagram was received or given up; `given_up` counts the latter.
    pub next: Sequence,
    /// One past the greatest sequence known to the subscriber.
    pub highest: Sequence,
    /// The room for datagrams from `next` on.
    pub window: u32,
    /// The number of datagrams that were missing when a later one arrived, without those that then arrived and were no
    /// repairs, or may soon, and those that arrived and for which there was no room: the lower half of the count.
    pub missed: u32,
    /// The clock of the last heartbeat.
    pub clock: u64,
    /// The time since that heartbeat arrived, in microseconds.
    pub held: u32,
    /// [`JOINING`](Self::JOINING), [`LEAVING`](Self::LEAVING), [`PASSIVE`](Self::PASSIVE), [`ENDED`](Self::ENDED),
    /// [`CATCHING_UP`](Self::CATCHING_UP), [`DELIVERED`](Self::DELIVERED), [`REPAIRS`](Self::REPAIRS),
    /// [`READING`](Self::READING), [`FAILED`](Self::FAILED),
    /// [`UNKNOWN_LOSS`](Self::UNKNOWN_LOSS), [`SUPERSEDED`](Self::SUPERSEDED).
    pub flags: u32,
    /// The token of the last echo.
    pub token: AddressToken,
    /// Datagrams received so far from the publisher, not counting copies.
    pub received: u64,
    /// The part of the group to which the subscriber belongs; 0 if none.
    pub tag: u32,
    /// Repairs of the publisher that have arrived, including copies: the lower half of the count. With redundant paths, the count of the
    /// path on which most have arrived.
    pub repairs: u32,
    /// Datagrams of this incarnation that the subscriber has given up: they will not be delivered. 0 if it reads what it
    /// lacks from a history: then only `lost_messages` counts.
    pub given_up: u64,
    /// Messages of this incarnation that the subscriber has reported as lost to its application.
    pub lost_messages: u64,
}

impl Status {
    /// The length of the body in bytes.
    pub const LENGTH: usize = 80;
    /// The subscriber requests a heartbeat.
    pub const JOINING: u32 = 1;
    /// The subscriber leaves.
    pub const LEAVING: u32 = 2;
    /// The subscriber requests no repairs: the publisher need not wait for it.
    pub const PASSIVE: u32 = 4;

    /// The subscriber knows where the stream ends, and has received everything before that.
    pub const ENDED: u32 = 8;

    /// The subscriber's window ends before `next` of the last heartbeat: missing datagrams were not lost just now.
    pub const CATCHING_UP: u32 = 16;

    /// The subscriber's application has read everything, and the end of the stream.
    pub const DELIVERED: u32 = 32;

    /// The subscriber repairs for others.
    pub const REPAIRS: u32 = 64;

    /// The subscriber reads a history: what its application has been given is before what has arrived of the stream, and
    /// it may yet get what it has given up.
    pub const READING: u32 = 128;

    /// The subscriber leaves because of an error: its application may not have what it was given.
    pub const FAILED: u32 = 256;

    /// The subscriber has reported to its application that an unknown number of messages of the incarnation is lost.
    pub const UNKNOWN_LOSS: u32 = 512;

    /// The subscriber leaves because it follows another publisher of the same stream.
    pub const SUPERSEDED: u32 = 1024;

    /// Returns the status with a change. Outside this crate, it cannot be written as a literal, so that fields can be added.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError::Body`] when the body is too short or inconsistent.
    pub fn read(body: &[u8]) -> Result<Self, WireError> {
        let number = |at| u64_at(body, at).ok_or(WireError::Body);
        let small = |at| u32_at(body, at).ok_or(WireError::Body);
        let status = Self {
            next: Sequence(number(0)?),
            highest: Sequence(number(8)?),
            window: small(16)?,
            missed: small(20)?,
            clock: number(24)?,
            held: small(32)?,
            flags: small(36)?,
            token: AddressToken(number(40)?),
            received: number(48)?,
            tag: small(56)?,
            repairs: small(60)?,
            given_up: number(64)?,
            lost_messages: number(72)?,
        };
        (status.next <= status.highest).then_some(status).ok_or(WireError::Body)
    }

    /// Writes the body.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(&self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        writer.put(&self.next.0.to_be_bytes())?;
        writer.put(&self.highest.0.to_be_bytes())?;
        writer.put(&self.window.to_be_bytes())?;
        writer.put(&self.missed.to_be_bytes())?;
        writer.put(&self.clock.to_be_bytes())?;
        writer.put(&self.held.to_be_bytes())?;
        writer.put(&self.flags.to_be_bytes())?;
        writer.put(&self.token.0.to_be_bytes())?;
        writer.put(&self.received.to_be_bytes())?;
        writer.put(&self.tag.to_be_bytes())?;
        writer.put(&self.repairs.to_be_bytes())?;
        writer.put(&self.given_up.to_be_bytes())?;
        writer.put(&self.lost_messages.to_be_bytes())
    }
}

/// The name that a subscriber claims: 1 to 64 ASCII letters, digits, `-`, `_` and `.`, with at least one character that
/// is not a digit; `all` is not a name.
///
/// Nothing proves it but the seal of the group, and that only proves that a member of the group claims it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberName {
    bytes: [u8; Self::MAX_LENGTH],
    length: u8,
}

/// A text cannot be the name of a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of a subscriber must have 1 to {} ASCII letters, digits, `-`, `_` and `.`; `all` and numbers are not names",
    SubscriberName::MAX_LENGTH
)]
pub struct SubscriberNameError;

impl SubscriberName {
    /// The length of the longest name in bytes.
    pub const MAX_LENGTH: usize = 64;

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        // Only ASCII is ever stored.
        core::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Returns the name in a datagram, if it has a valid one.
    #[must_use]
    pub fn of(view: &DatagramView<'_>) -> Option<Self> {
        Self::in_extensions(view.extensions)
    }

    pub(crate) fn in_extensions(extensions: Extensions<'_>) -> Option<Self> {
        let extension = extensions.find(ExtensionKind::NAME)?;
        core::str::from_utf8(extension.value.get(..usize::from(extension.small))?).ok()?.parse().ok()
    }

    /// Adds the extension with the name.
    ///
    /// # Errors
    /// As [`DatagramWriter::extension`].
    pub fn write(&self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        writer.extension(ExtensionKind::NAME, self.length.into(), self.as_str().as_bytes())
    }
}

impl FromStr for SubscriberName {
    type Err = SubscriberNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let is_name = text.as_bytes().iter().all(is_allowed) && !is_number && text != "all";
        let mut bytes = [0; Self::MAX_LENGTH];
        let room = bytes.get_mut(..text.len()).filter(|_| is_name).ok_or(SubscriberNameError)?;
        room.copy_from_slice(text.as_bytes());
        Ok(Self { bytes, length: text.len() as u8 })
    }
}

impl fmt::Display for SubscriberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for SubscriberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for SubscriberName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What the application of a subscriber has received of an incarnation, and what it has processed: consecutive messages
/// without a loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Acknowledgement {
    /// The first message: the one that it joined with, or the one after its last loss.
    pub since: MessageNumber,
    /// Its application was given all messages from `since` to before this one.
    pub received: MessageNumber,
    /// Its application has processed all messages from `since` to before this one.
    pub processed: MessageNumber,
}

impl Acknowledgement {
    /// Creates an acknowledgement: an application was given all messages from `since` to before `received`, and has processed
    /// those before `processed`.
    #[must_use]
    pub const fn new(since: MessageNumber, received: MessageNumber, processed: MessageNumber) -> Self {
        Self { since, received, processed }
    }

    /// Returns the acknowledgement in a datagram, if it has a valid one.
    #[must_use]
    pub fn of(view: &DatagramView<'_>) -> Option<Self> {
        Self::in_extensions(view.extensions)
    }

    pub(crate) fn in_extensions(extensions: Extensions<'_>) -> Option<Self> {
        let value = extensions.find(ExtensionKind::ACKNOWLEDGEMENT)?.value;
        let (since, received) = (u64_at(value, 0)?, u64_at(value, 8)?);
        let processed = u64_at(value, 16).unwrap_or(received);
        let [since, received, processed] = [since, received, processed].map(MessageNumber);
        (since <= processed && processed <= received).then_some(Self { since, received, processed })
    }

    /// Adds the extension with the acknowledgement.
    ///
    /// # Errors
    /// As [`DatagramWriter::extension`].
    pub fn write(&self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        let Self { since, received, processed } = *self;
        let mut value = [0; 24];
        for (room, number) in value.chunks_exact_mut(8).zip([since, received, processed]) {
            room.copy_from_slice(&number.0.to_be_bytes());
        }
        let value = if processed == received { &value[..16] } else { &value[..] };
        writer.extension(ExtensionKind::ACKNOWLEDGEMENT, 0, value)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn names_are_bounded_printable_and_no_numbers() {
        for name in ["a", "db-1", "rack.7_b", "4th", &"x".repeat(64)] {
            assert_eq!(name.parse::<SubscriberName>().unwrap().to_string(), name);
        }
        for text in
            ["", "all", "12", "a b", "a,b", "a:b", "ä", "\u{1b}[2J", "a\n", "\u{202e}a", &"x".repeat(65)]
        {
            assert_eq!(text.parse::<SubscriberName>(), Err(SubscriberNameError), "{text:?}");
        }
    }
}
