//! A list of sources: bytes of a packet, or a slice to be sent.

use core::fmt;
use core::marker::PhantomData;

use super::Address;

/// The sources that a query or a record lists.
#[derive(Clone, Copy)]
pub struct Sources<'a, A>(Memory<'a, A>);

#[derive(Clone, Copy)]
enum Memory<'a, A> {
    Packet(&'a [u8], PhantomData<A>),
    Slice(&'a [A]),
}

impl<'a, A: Address> Sources<'a, A> {
    /// No sources.
    #[must_use]
    pub const fn none() -> Self {
        Self(Memory::Slice(&[]))
    }

    /// Takes `bytes` as addresses one after the other; a rest that is no whole address is ignored.
    pub(super) const fn in_packet(bytes: &'a [u8]) -> Self {
        Self(Memory::Packet(bytes, PhantomData))
    }

    /// How many sources are listed.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            Memory::Packet(bytes, _) => bytes.len() / A::LENGTH,
            Memory::Slice(addresses) => addresses.len(),
        }
    }

    /// Whether no source is listed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sources in the order in which they are listed.
    #[must_use]
    pub const fn iter(&self) -> SourceIter<'a, A> {
        SourceIter { memory: self.0 }
    }
}

impl<'a, A> From<&'a [A]> for Sources<'a, A> {
    fn from(addresses: &'a [A]) -> Self {
        Self(Memory::Slice(addresses))
    }
}

impl<'a, A, const N: usize> From<&'a [A; N]> for Sources<'a, A> {
    fn from(addresses: &'a [A; N]) -> Self {
        Self(Memory::Slice(addresses))
    }
}

impl<'a, A: Address> IntoIterator for Sources<'a, A> {
    type Item = A;
    type IntoIter = SourceIter<'a, A>;

    fn into_iter(self) -> SourceIter<'a, A> {
        self.iter()
    }
}

impl<A: Address> PartialEq for Sources<'_, A> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<A: Address> Eq for Sources<'_, A> {}

impl<A: Address> fmt::Debug for Sources<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Goes through [`Sources`].
#[derive(Clone)]
pub struct SourceIter<'a, A> {
    memory: Memory<'a, A>,
}

impl<A: Address> Iterator for SourceIter<'_, A> {
    type Item = A;

    fn next(&mut self) -> Option<A> {
        match &mut self.memory {
            Memory::Packet(bytes, _) => {
                let source = A::read(bytes)?;
                *bytes = bytes.get(A::LENGTH..)?;
                Some(source)
            }
            Memory::Slice(addresses) => {
                let (first, rest) = addresses.split_first()?;
                *addresses = rest;
                Some(*first)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let length = Sources(self.memory).len();
        (length, Some(length))
    }
}

impl<A: Address> ExactSizeIterator for SourceIter<'_, A> {}

impl<A: Address> fmt::Debug for SourceIter<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Sources(self.memory).fmt(f)
    }
}
