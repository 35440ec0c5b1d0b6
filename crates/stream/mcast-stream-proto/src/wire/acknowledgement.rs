//! Acknowledgements: what a subscriber's application has received and processed, and the name of the subscriber.

use core::fmt;
use core::str::FromStr;

use super::bytes::u64_at;
use super::extension::{ExtensionKind, Extensions};
use super::number::MessageNumber;
use super::view::DatagramView;
use super::writer::{DatagramWriter, WriteError};

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
pub struct Acknowledgement {
    /// The first message: the one that it joined with, or the one after its last loss.
    pub since: MessageNumber,
    /// Its application was given all messages from `since` to before this one.
    pub received: MessageNumber,
    /// Its application has processed all messages from `since` to before this one.
    pub processed: MessageNumber,
}

impl Acknowledgement {
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
