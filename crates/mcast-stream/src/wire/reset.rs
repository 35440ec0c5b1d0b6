//! The sender evicts, refuses or releases one receiver.

use super::bytes::u64_at;
use super::packet::WireError;
use super::writer::{PacketWriter, WriteError};

/// What the sender tells one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetReason {
    /// It fell too far behind, and nobody waits for it any more.
    Evicted,
    /// There are more receivers than the sender keeps accounts of.
    Full,
    /// The sender has noted that this receiver has confirmed the end of the stream: it need not repeat that.
    Settled,
    /// Something of a later version.
    Other(u8),
}

/// The body of a reset: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// The receiver that is meant.
    pub receiver: u64,
    /// Why.
    pub reason: ResetReason,
}

impl Reset {
    /// Its length in bytes.
    pub const LENGTH: usize = 16;

    /// Reads a body.
    ///
    /// # Errors
    /// When it is too short.
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

    /// Writes it.
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
