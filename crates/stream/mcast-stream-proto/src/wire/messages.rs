//! Batches: whole messages in one datagram, each prefixed with its length.

use super::bytes::u16_at;
use super::view::WireError;

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
