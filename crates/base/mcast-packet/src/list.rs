//! The lists in IGMP, MLD and PIM messages, reading and writing fields, and why writing fails.

use core::fmt;
use core::marker::PhantomData;

/// An element of a [`List`].
pub trait Element<'a>: Copy {
    /// Splits the element at the start of the bytes from the rest.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])>;
}

/// A list in a message, borrowed from a received packet or from a slice.
#[derive(Clone, Copy)]
pub struct List<'a, T>(Storage<'a, T>);

#[derive(Clone, Copy)]
enum Storage<'a, T> {
    /// Bytes that contain `count` complete elements.
    Packet {
        bytes: &'a [u8],
        count: usize,
        element: PhantomData<T>,
    },
    Slice(&'a [T]),
}

impl<'a, T: Element<'a>> List<'a, T> {
    /// Creates an empty list.
    #[must_use]
    pub const fn none() -> Self {
        Self(Storage::Slice(&[]))
    }

    /// Splits a list of `count` elements at the start of the bytes from the rest. Returns `None` if an
    /// element is truncated.
    pub(crate) fn take(bytes: &'a [u8], count: usize) -> Option<(Self, &'a [u8])> {
        let mut rest = bytes;
        for _ in 0..count {
            (_, rest) = T::split(rest)?;
        }
        Some((Self::in_packet(bytes.get(..bytes.len() - rest.len())?, count), rest))
    }

    /// Creates a list of the `count` elements at the start of the bytes. The caller has checked that they are
    /// complete.
    pub(crate) const fn in_packet(bytes: &'a [u8], count: usize) -> Self {
        Self(Storage::Packet { bytes, count, element: PhantomData })
    }

    /// Creates a list from all elements in the bytes. Returns `None` if the last one is truncated.
    pub(crate) fn take_all(bytes: &'a [u8]) -> Option<Self> {
        let (mut rest, mut count) = (bytes, 0);
        while !rest.is_empty() {
            (_, rest) = T::split(rest)?;
            count += 1;
        }
        Some(Self::in_packet(bytes, count))
    }

    /// Returns the number of elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            Storage::Packet { count, .. } => count,
            Storage::Slice(elements) => elements.len(),
        }
    }

    /// Returns whether there are no elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns an iterator over the elements.
    #[must_use]
    pub const fn iter(&self) -> ListIter<'a, T> {
        ListIter { storage: self.0 }
    }
}

impl<'a, T> From<&'a [T]> for List<'a, T> {
    fn from(elements: &'a [T]) -> Self {
        Self(Storage::Slice(elements))
    }
}

impl<'a, T, const N: usize> From<&'a [T; N]> for List<'a, T> {
    fn from(elements: &'a [T; N]) -> Self {
        Self(Storage::Slice(elements))
    }
}

impl<'a, T: Element<'a>> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = ListIter<'a, T>;

    fn into_iter(self) -> ListIter<'a, T> {
        self.iter()
    }
}

impl<'a, T: Element<'a> + PartialEq> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a, T: Element<'a> + Eq> Eq for List<'a, T> {}

impl<'a, T: Element<'a> + fmt::Debug> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// An iterator over a [`List`].
#[derive(Clone)]
pub struct ListIter<'a, T> {
    storage: Storage<'a, T>,
}

impl<'a, T: Element<'a>> Iterator for ListIter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.storage {
            Storage::Packet { bytes, count, .. } => {
                *count = count.checked_sub(1)?;
                let (element, rest) = T::split(bytes)?;
                *bytes = rest;
                Some(element)
            }
            Storage::Slice(elements) => {
                let (first, rest) = elements.split_first()?;
                *elements = rest;
                Some(*first)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let length = List(self.storage).len();
        (length, Some(length))
    }
}

impl<'a, T: Element<'a>> ExactSizeIterator for ListIter<'a, T> {}

impl<'a, T: Element<'a> + fmt::Debug> fmt::Debug for ListIter<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        List(self.storage).fmt(f)
    }
}

/// Writes items separated by `separator`.
pub(crate) fn write_separated(
    f: &mut fmt::Formatter<'_>,
    separator: &str,
    items: impl IntoIterator<Item = impl fmt::Display>,
) -> fmt::Result {
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            f.write_str(separator)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

pub(crate) fn u8_at(bytes: &[u8], offset: usize) -> Option<u8> {
    bytes.get(offset).copied()
}

pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    array_at(bytes, offset).map(u16::from_be_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array_at(bytes, offset).map(u32::from_be_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array_at(bytes, offset).map(u64::from_be_bytes)
}

pub(crate) fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

/// Writes consecutive fields. A buffer that is too short is an error, not a panic.
pub(crate) struct Writer<'a> {
    buffer: &'a mut [u8],
    position: usize,
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, position: 0 }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), EmitError> {
        let end = self.position.saturating_add(bytes.len());
        let field = self.buffer.get_mut(self.position..end).ok_or(EmitError::BufferTooShort)?;
        field.copy_from_slice(bytes);
        self.position = end;
        Ok(())
    }

    pub(crate) fn put_u8(&mut self, value: u8) -> Result<(), EmitError> {
        self.put(&[value])
    }

    pub(crate) fn put_u16(&mut self, value: u16) -> Result<(), EmitError> {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn put_u32(&mut self, value: u32) -> Result<(), EmitError> {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn put_u64(&mut self, value: u64) -> Result<(), EmitError> {
        self.put(&value.to_be_bytes())
    }

    /// Overwrites a field that has already been written.
    pub(crate) fn patch_u16(&mut self, offset: usize, value: u16) -> Result<(), EmitError> {
        let field = self.buffer.get_mut(offset..offset + 2).ok_or(EmitError::BufferTooShort)?;
        field.copy_from_slice(&value.to_be_bytes());
        Ok(())
    }

    pub(crate) const fn position(&self) -> usize {
        self.position
    }

    /// Returns the bytes written since `start`.
    pub(crate) fn written(&self, start: usize) -> &[u8] {
        self.buffer.get(start..self.position).unwrap_or_default()
    }

    /// Returns the unused part of the buffer. After filling it directly, the caller advances with
    /// [`Self::skip`].
    pub(crate) fn rest(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.position..).unwrap_or_default()
    }

    pub(crate) const fn skip(&mut self, length: usize) {
        self.position += length;
    }
}

/// Why a packet could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The buffer is too short for the packet.
    #[error("the buffer is too short for the packet")]
    BufferTooShort,
    /// A length, a count or an index exceeds its limit, usually that of an 8-bit or 16-bit field.
    #[error("too many bytes or items for a field of the packet")]
    TooMany,
    /// The protocol has no such message.
    #[error("the protocol has no such message")]
    NoSuchMessage,
    /// Source and destination are of different families.
    #[error("source and destination must be of the same address family")]
    MixedFamilies,
}
