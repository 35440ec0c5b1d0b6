//! A datagram as a view over its bytes, its messages, and the writer of datagrams.

use super::header::{ExtensionKind, Extensions, Header, WireError, u16_at};
use super::identity::{IncarnationSalt, KeyEpoch, SubscriberId};

/// The parts of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatagramView<'a> {
    /// The fixed header.
    pub header: Header,
    /// The extensions after it.
    pub extensions: Extensions<'a>,
    /// Header and extensions as bytes: the part that is authenticated and not encrypted.
    pub head: &'a [u8],
    /// The body; in a sealed datagram it is encrypted and followed by the tag.
    pub body: &'a [u8],
}

impl<'a> DatagramView<'a> {
    /// Splits a datagram into its parts. A sealed body stays encrypted.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are not a datagram of this protocol, or are malformed.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (header, end) = Header::read(bytes)?;
        let (head, body) = bytes.split_at_checked(end).ok_or(WireError::Short)?;
        let extensions = Extensions::read(head.get(super::HEADER_LENGTH..).unwrap_or_default())?;
        if header.epoch != KeyEpoch::CLEAR && body.len() < super::TAG_LENGTH {
            return Err(WireError::Short);
        }
        if header.kind.is_in_sequence() && header.sequence == 0 {
            return Err(WireError::Body);
        }
        Ok(Self { header, extensions, head, body })
    }

    /// Returns the salt of the publisher's incarnation, which its keys depend on.
    #[must_use]
    #[inline]
    pub fn salt(&self) -> IncarnationSalt {
        match self.extensions.is_empty() {
            true => IncarnationSalt::NONE,
            false => self.extensions.u64(ExtensionKind::SALT).map_or(IncarnationSalt::NONE, IncarnationSalt),
        }
    }

    /// Returns the subscriber that sent the datagram, if one did.
    #[must_use]
    pub fn subscriber(&self) -> Option<SubscriberId> {
        self.extensions.u64(ExtensionKind::SUBSCRIBER).map(SubscriberId)
    }
}

/// The buffer is too short for the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the buffer of {length} bytes is too short for the datagram")]
pub struct WriteError {
    /// The buffer's length, in bytes.
    pub length: usize,
}

/// Writes a datagram into a buffer: header, extensions, body, in this order.
#[derive(Debug)]
pub struct DatagramWriter<'a> {
    buffer: &'a mut [u8],
    position: usize,
}

impl<'a> DatagramWriter<'a> {
    /// Creates a writer, and writes the header.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn new(buffer: &'a mut [u8], header: &Header) -> Result<Self, WriteError> {
        let mut writer = Self { buffer, position: 0 };
        writer.put(&header.bytes())?;
        Ok(writer)
    }

    /// Creates a writer of the value of an extension, without a header.
    pub(crate) const fn of_value(buffer: &'a mut [u8]) -> Self {
        Self { buffer, position: 0 }
    }

    /// Adds an extension. Its value is padded with zeros to whole words.
    ///
    /// # Errors
    /// When the buffer is too short, or the header would become longer than 63 words.
    pub fn extension(&mut self, kind: ExtensionKind, small: u16, value: &[u8]) -> Result<(), WriteError> {
        let words = 1 + value.len().div_ceil(4);
        let end = self.position / 4 + words;
        let too_long = WriteError { length: self.buffer.len() };
        let (Ok(words), Ok(total @ ..=63)) = (u8::try_from(words), u8::try_from(end)) else {
            return Err(too_long);
        };
        self.put(&[kind.0, words])?;
        self.put(&small.to_be_bytes())?;
        self.put(value)?;
        self.put(&[0; 3][..value.len().next_multiple_of(4) - value.len()])?;
        self.buffer[Header::LENGTH_AT] = total;
        Ok(())
    }

    /// Adds the extension with the subscriber that sends this datagram.
    ///
    /// # Errors
    /// As [`extension`](Self::extension).
    pub fn subscriber(&mut self, subscriber: SubscriberId) -> Result<(), WriteError> {
        self.extension(ExtensionKind::SUBSCRIBER, 0, &subscriber.0.to_be_bytes())
    }

    /// Adds the extension with the salt of the publisher's incarnation, if there is one.
    ///
    /// # Errors
    /// As [`extension`](Self::extension).
    pub fn salt(&mut self, salt: IncarnationSalt) -> Result<(), WriteError> {
        if salt == IncarnationSalt::NONE {
            Ok(())
        } else {
            self.extension(ExtensionKind::SALT, 0, &salt.0.to_be_bytes())
        }
    }

    /// Appends bytes to the body.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let length = self.buffer.len();
        let room = self.buffer.get_mut(self.position..self.position + bytes.len());
        room.ok_or(WriteError { length })?.copy_from_slice(bytes);
        self.position += bytes.len();
        Ok(())
    }

    /// Returns the length of the datagram.
    #[must_use]
    pub const fn finish(self) -> usize {
        self.position
    }
}

/// Returns the length of the prefix of each message in bytes.
#[must_use]
pub const fn batch_overhead() -> usize {
    2
}

/// The messages in the body of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Messages<'a> {
    bytes: &'a [u8],
}

impl<'a> Messages<'a> {
    /// Checks the messages in a body, and counts them.
    ///
    /// # Errors
    /// [`WireError::Body`] when there are none, or when they do not fill the body exactly.
    #[inline]
    pub fn read(body: &'a [u8]) -> Result<(Self, u32), WireError> {
        let (mut at, mut count) = (0, 0);
        while at < body.len() {
            let length = u16_at(body, at).ok_or(WireError::Body)?;
            at += batch_overhead() + usize::from(length);
            count += 1;
        }
        match at == body.len() && count > 0 {
            true => Ok((Self { bytes: body }, count)),
            false => Err(WireError::Body),
        }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(u16_at(self.bytes, 0)?);
        let (message, rest) = self.bytes.get(2..)?.split_at_checked(length)?;
        self.bytes = rest;
        Some(message)
    }
}

/// Writes a message and its length prefix at this offset of a body; returns its end, or `None` when it does not fit.
pub fn push_message(body: &mut [u8], at: usize, message: &[u8]) -> Option<usize> {
    let length = u16::try_from(message.len()).ok()?;
    let end = at.checked_add(2 + message.len())?;
    let room = body.get_mut(at..end)?;
    room[..2].copy_from_slice(&length.to_be_bytes());
    room[2..].copy_from_slice(message);
    Some(end)
}
