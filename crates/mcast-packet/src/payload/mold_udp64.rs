//! MoldUDP64 (Nasdaq, version 1.00): messages of market data, numbered one by one.

use core::fmt;

use super::text::Text;
use crate::EmitError;
use crate::bytes::{Writer, array_at, u16_at, u64_at};

/// A downstream packet of MoldUDP64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoldUdp64<'a> {
    /// The session: ASCII, filled up with spaces. Numbers start anew with another one.
    pub session: [u8; 10],
    /// The number of the first message, or in a packet without messages the next to come.
    pub sequence: u64,
    /// The messages.
    pub messages: MoldMessages<'a>,
    /// Whether the session is over.
    pub end_of_session: bool,
}

impl<'a> MoldUdp64<'a> {
    const HEADER_LENGTH: usize = 20;

    /// The count that says that the session is over.
    const END_OF_SESSION: u16 = 0xffff;

    /// The packet in the payload of a datagram. `None` when the session is no ASCII, or when messages
    /// and bytes do not come to the same end.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let session: [u8; 10] = array_at(bytes, 0)?;
        let printable = session.iter().all(|byte| *byte == b' ' || byte.is_ascii_alphanumeric());
        if !printable || session == [b' '; 10] {
            return None;
        }
        let count = u16_at(bytes, 18)?;
        let end_of_session = count == Self::END_OF_SESSION;
        let count = if end_of_session { 0 } else { count };
        let messages = MoldMessages::parse(bytes.get(Self::HEADER_LENGTH..)?, count)?;
        Some(Self { session, sequence: u64_at(bytes, 10)?, messages, end_of_session })
    }

    /// Writes a packet with these messages to the start of the buffer, and says how long it is.
    ///
    /// # Errors
    /// [`EmitError::BufferTooShort`]; [`EmitError::TooMany`] for more than 65534 messages, or a message
    /// of more than 65535 bytes.
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
    /// `None` unless so many messages fill the bytes.
    fn parse(bytes: &'a [u8], count: u16) -> Option<Self> {
        let mut rest = bytes;
        for _ in 0..count {
            (_, rest) = split(rest)?;
        }
        rest.is_empty().then_some(Self { bytes, count })
    }

    /// How many messages there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none: a heartbeat, or the session's end.
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

/// The message at the start of the bytes, and what follows it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16_at(bytes, 0)?);
    bytes.get(2..)?.split_at_checked(length)
}

impl fmt::Display for MoldUdp64<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let session = Text { bytes: self.session.trim_ascii(), longest: self.session.len() };
        write!(f, "MoldUDP64 {session}, number {}, ", self.sequence)?;
        match (self.end_of_session, self.messages.len()) {
            (true, _) => f.write_str("end of session"),
            (false, 0) => f.write_str("heartbeat"),
            (false, 1) => f.write_str("1 message"),
            (false, count) => write!(f, "{count} messages"),
        }
    }
}
