//! Resets: the sender evicts, refuses or releases a receiver.

use super::bytes::u64_at;
use super::packet::WireError;
use super::writer::{PacketWriter, WriteError};

/// The reason of a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetReason {
    /// The receiver was too slow: the sender no longer waits for it.
    Evicted,
    /// The sender knows as many receivers as it may.
    Full,
    /// The sender has recorded that this receiver confirmed the end of the stream, so it need not repeat that.
    Settled,
    /// A reason of a later version.
    Other(u8),
}

/// The body of a reset: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// The receiver to which it applies.
    pub receiver: u64,
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
        let receiver = u64_at(body, 0).ok_or(WireError::Body)?;
        let reason = match (u64_at(body, 8).ok_or(WireError::Body)? >> 56) as u8 {
            1 => ResetReason::Evicted,
            2 => ResetReason::Full,
            3 => ResetReason::Settled,
            other => ResetReason::Other(other),
        };
        Ok(Self { receiver, reason })
    }

    /// Writes the body.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(&self, writer: &mut PacketWriter<'_>) -> Result<(), WriteError> {
        let reason = match self.reason {
            ResetReason::Evicted => 1,
            ResetReason::Full => 2,
            ResetReason::Settled => 3,
            ResetReason::Other(number) => number,
        };
        writer.put(&self.receiver.to_be_bytes())?;
        writer.put(&[reason, 0, 0, 0, 0, 0, 0, 0])
    }
}
