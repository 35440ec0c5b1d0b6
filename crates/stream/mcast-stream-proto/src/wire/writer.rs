//! Writes datagrams into a buffer.

use super::extension::ExtensionKind;
use super::header::Header;
use super::identity::{IncarnationSalt, SubscriberId};

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
