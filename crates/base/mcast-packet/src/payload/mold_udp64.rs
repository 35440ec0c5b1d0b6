//! MoldUDP64 (Nasdaq, version 1.00): sequenced messages of market data.

use core::fmt;

use super::EscapedText;
use crate::EmitError;
use crate::list::{Writer, array_at, u16_at, u64_at};

/// A downstream packet of MoldUDP64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoldUdp64<'a> {
    /// The session: ASCII, padded with spaces. Sequence numbers start again in a new session.
    pub session: [u8; 10],
    /// The sequence number of the first message; in a packet without messages, that of the next message.
    pub sequence: u64,
    /// The messages.
    pub messages: MoldMessages<'a>,
    /// Whether this packet ends the session.
    pub end_of_session: bool,
}

impl<'a> MoldUdp64<'a> {
    const HEADER_LENGTH: usize = 20;

    /// The message count that marks the end of the session.
    const END_OF_SESSION: u16 = 0xffff;

    /// Parses the payload of a datagram. Returns `None` if the session is blank or contains characters other
    /// than ASCII letters, digits and spaces, or if the messages do not fill the payload exactly.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let session: [u8; 10] = array_at(bytes, 0)?;
        let is_valid = session.iter().all(|byte| *byte == b' ' || byte.is_ascii_alphanumeric());
        if !is_valid || session == [b' '; 10] {
            return None;
        }
        let count = u16_at(bytes, 18)?;
        let end_of_session = count == Self::END_OF_SESSION;
        let count = if end_of_session { 0 } else { count };
        let messages = MoldMessages::parse(bytes.get(Self::HEADER_LENGTH..)?, count)?;
        Some(Self { session, sequence: u64_at(bytes, 10)?, messages, end_of_session })
    }

    /// Writes a packet with these messages to the start of the buffer and returns its length.
    ///
    /// # Errors
    /// Returns [`EmitError::BufferTooShort`] if the packet does not fit, and [`EmitError::TooMany`] for more
    /// than 65,534 messages or a message of more than 65,535 bytes.
    pub fn emit(
        session: [u8; 10],
        sequence: u64,
        messages: &[&[u8]],
        buffer: &mut [u8],
    ) -> Result<usize, EmitError> {
        let count = u16::try_from(messages.len()).ok().filter(|count| *count != Self::END_OF_SESSION);
        let mut writer = Writer::new(buffer);
        writer.put(&session)?;
        writer.put_u64(sequence)?;
        writer.put_u16(count.ok_or(EmitError::TooMany)?)?;
        for message in messages {
            writer.put_u16(u16::try_from(message.len()).map_err(|_| EmitError::TooMany)?)?;
            writer.put(message)?;
        }
        Ok(writer.position())
    }
}

/// The messages of a packet, each without its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoldMessages<'a> {
    bytes: &'a [u8],
    count: u16,
}

impl<'a> MoldMessages<'a> {
    /// Returns `None` unless `count` messages fill the bytes exactly.
    fn parse(bytes: &'a [u8], count: u16) -> Option<Self> {
        let mut rest = bytes;
        for _ in 0..count {
            (_, rest) = split(rest)?;
        }
        rest.is_empty().then_some(Self { bytes, count })
    }

    /// Returns the number of messages.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Returns whether there are no messages: a heartbeat, or the end of the session.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> Iterator for MoldMessages<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.count = self.count.checked_sub(1)?;
        let (message, rest) = split(self.bytes)?;
        self.bytes = rest;
        Some(message)
    }
}

/// Splits the message at the start of the bytes from the rest.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16_at(bytes, 0)?);
    bytes.get(2..)?.split_at_checked(length)
}

impl fmt::Display for MoldUdp64<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let session = EscapedText { bytes: self.session.trim_ascii(), max_length: self.session.len() };
        write!(f, "MoldUDP64 {session}, number {}, ", self.sequence)?;
        match (self.end_of_session, self.messages.len()) {
            (true, _) => f.write_str("end of session"),
            (false, 0) => f.write_str("heartbeat"),
            (false, 1) => f.write_str("1 message"),
            (false, count) => write!(f, "{count} messages"),
        }
    }
}
