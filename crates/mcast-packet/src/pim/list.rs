//! A list in a message: bytes of a packet, or a slice to be sent.

use core::fmt;
use core::marker::PhantomData;

/// What a list is made of.
pub trait Element<'a>: Copy {
    /// The element at the start of the bytes, and what follows it.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])>;
}

/// A list in a message.
#[derive(Clone, Copy)]
pub struct List<'a, T>(Memory<'a, T>);

#[derive(Clone, Copy)]
enum Memory<'a, T> {
    /// Bytes in which `count` whole elements have been found.
    Packet {
        bytes: &'a [u8],
        count: usize,
        element: PhantomData<T>,
    },
    Slice(&'a [T]),
}

impl<'a, T: Element<'a>> List<'a, T> {
    /// An empty list.
    #[must_use]
    pub const fn none() -> Self {
        Self(Memory::Slice(&[]))
    }

    /// Takes `count` elements from the start of the bytes, and gives what follows them.
    pub(super) fn take(bytes: &'a [u8], count: usize) -> Option<(Self, &'a [u8])> {
        let mut rest = bytes;
        for _ in 0..count {
            (_, rest) = T::split(rest)?;
        }
        let bytes = bytes.get(..bytes.len() - rest.len())?;
        Some((Self(Memory::Packet { bytes, count, element: PhantomData }), rest))
    }

    /// Takes as many elements as fill the bytes; `None` when the last is cut off.
    pub(super) fn take_all(bytes: &'a [u8]) -> Option<Self> {
        let (mut rest, mut count) = (bytes, 0);
        while !rest.is_empty() {
            (_, rest) = T::split(rest)?;
            count += 1;
        }
        Some(Self(Memory::Packet { bytes, count, element: PhantomData }))
    }

    /// How many elements there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            Memory::Packet { count, .. } => count,
            Memory::Slice(elements) => elements.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements in their order.
    #[must_use]
    pub const fn iter(&self) -> ListIter<'a, T> {
        ListIter { memory: self.0 }
    }
}

impl<'a, T> From<&'a [T]> for List<'a, T> {
    fn from(elements: &'a [T]) -> Self {
        Self(Memory::Slice(elements))
    }
}

impl<'a, T, const N: usize> From<&'a [T; N]> for List<'a, T> {
    fn from(elements: &'a [T; N]) -> Self {
        Self(Memory::Slice(elements))
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

/// Goes through a [`List`].
#[derive(Clone)]
pub struct ListIter<'a, T> {
    memory: Memory<'a, T>,
}

impl<'a, T: Element<'a>> Iterator for ListIter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.memory {
            Memory::Packet { bytes, count, .. } => {
                *count = count.checked_sub(1)?;
                let (element, rest) = T::split(bytes)?;
                *bytes = rest;
                Some(element)
            }
            Memory::Slice(elements) => {
                let (first, rest) = elements.split_first()?;
                *elements = rest;
                Some(*first)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let length = List(self.memory).len();
        (length, Some(length))
    }
}

impl<'a, T: Element<'a>> ExactSizeIterator for ListIter<'a, T> {}

impl<'a, T: Element<'a> + fmt::Debug> fmt::Debug for ListIter<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        List(self.memory).fmt(f)
    }
}
