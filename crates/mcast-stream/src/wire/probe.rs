//! A receiver asks, the sender answers: is the address that it claims its own?

use super::bytes::u64_at;
use super::packet::WireError;
use super::writer::{PacketWriter, WriteError};

/// The body of a probe and of an echo: 24 bytes each, so that an answer is no longer than what
/// it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// In a probe, the asker's clock; an echo sends it back.
    pub clock: u64,
    /// In an echo, what proves the address: the receiver sends it in every status.
    pub token: u64,
    /// In an echo, the receiver that it answers.
    pub receiver: u64,
}

impl Probe {
    /// Its length in bytes.
    pub const LENGTH: usize = 24;

    /// Reads a body.
    ///
    /// # Errors
    /// When it is too short.
    pub fn read(body: &[u8]) -> Result<Self, WireError> {
        let number = |at| u64_at(body, at).ok_or(WireError::Body);
        Ok(Self { clock: number(0)?, token: number(8)?, receiver: number(16)? })
    }

    /// Writes it.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(&self, writer: &mut PacketWriter<'_>) -> Result<(), WriteError> {
        writer.put(&self.clock.to_be_bytes())?;
        writer.put(&self.token.to_be_bytes())?;
        writer.put(&self.receiver.to_be_bytes())
    }
}
