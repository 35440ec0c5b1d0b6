//! Resets: the publisher evicts, refuses or releases a subscriber.

use super::bytes::u64_at;
use super::identity::SubscriberId;
use super::view::WireError;
use super::writer::{DatagramWriter, WriteError};

/// The reason of a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetReason {
    /// The subscriber was too slow: the publisher no longer waits for it.
    Evicted,
    /// The publisher knows as many subscribers as it may.
    Full,
    /// The publisher has recorded that this subscriber confirmed the end of the stream, so it need not repeat that.
    EndConfirmed,
    /// A reason of a later version.
    Other(u8),
}

/// The body of a reset: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// The subscriber to which it applies.
    pub subscriber: SubscriberId,
    /// The reason.
    pub reason: ResetReason,
}

impl Reset {
    /// The length of the body in bytes.
    pub const LENGTH: usize = 16;

    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError::Body`] when the body is too short.
    pub fn read(body: &[u8]) -> Result<Self, WireError> {
        let subscriber = SubscriberId(u64_at(body, 0).ok_or(WireError::Body)?);
        let reason = match (u64_at(body, 8).ok_or(WireError::Body)? >> 56) as u8 {
            1 => ResetReason::Evicted,
            2 => ResetReason::Full,
            3 => ResetReason::EndConfirmed,
            other => ResetReason::Other(other),
        };
        Ok(Self { subscriber, reason })
    }

    /// Writes the body.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(&self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        let reason = match self.reason {
            ResetReason::Evicted => 1,
            ResetReason::Full => 2,
            ResetReason::EndConfirmed => 3,
            ResetReason::Other(number) => number,
        };
        writer.put(&self.subscriber.0.to_be_bytes())?;
        writer.put(&[reason, 0, 0, 0, 0, 0, 0, 0])
    }
}
