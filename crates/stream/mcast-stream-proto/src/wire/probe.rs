//! Probes and echoes: a subscriber proves its address, and measures the round-trip time.

use super::bytes::u64_at;
use super::identity::{AddressToken, SubscriberId};
use super::view::WireError;
use super::writer::{DatagramWriter, WriteError};

/// The body of a probe and of an echo: 24 bytes each, so that an echo is no longer than its probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// In a probe, the subscriber's clock; the echo returns it.
    pub clock: u64,
    /// In an echo, the token that proves the address.
    pub token: AddressToken,
    /// In an echo, the subscriber to which it is sent.
    pub subscriber: SubscriberId,
}

impl Probe {
    /// The length of the body in bytes.
    pub const LENGTH: usize = 24;

    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError::Body`] when the body is too short.
    pub fn read(body: &[u8]) -> Result<Self, WireError> {
        let number = |at| u64_at(body, at).ok_or(WireError::Body);
        let (token, subscriber) = (AddressToken(number(8)?), SubscriberId(number(16)?));
        Ok(Self { clock: number(0)?, token, subscriber })
    }

    /// Writes the body.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(&self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        writer.put(&self.clock.to_be_bytes())?;
        writer.put(&self.token.0.to_be_bytes())?;
        writer.put(&self.subscriber.0.to_be_bytes())
    }
}
