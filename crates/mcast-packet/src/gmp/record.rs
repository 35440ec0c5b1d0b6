//! The group records of an IGMPv3 or MLDv2 report (RFC 3376 section 4.2.4, RFC 3810 section 5.2.4).

use core::fmt;
use core::marker::PhantomData;

use super::parse::split_record;
use super::{Address, Sources};

/// What a report says about one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a, A: Address> {
    /// What is said: a state, or a change of it.
    pub kind: RecordKind,
    /// About which group.
    pub group: A,
    /// With which sources.
    pub sources: Sources<'a, A>,
}

impl<A: Address> Record<'_, A> {
    /// Type, length of auxiliary data, number of sources.
    pub(super) const HEADER_LENGTH: usize = 4;

    /// How long the record is in a packet, in bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        Self::HEADER_LENGTH + A::LENGTH * (1 + self.sources.len())
    }
}

/// The type of a record (RFC 3376 section 4.2.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// In answer to a query: only the listed sources are wanted.
    ModeIsInclude,
    /// In answer to a query: all but the listed sources are wanted.
    ModeIsExclude,
    /// From now on only the listed sources are wanted; with none listed, this is a leave.
    ChangeToInclude,
    /// From now on all but the listed sources are wanted; with none listed, this is a plain join.
    ChangeToExclude,
    /// The listed sources are wanted from now on.
    AllowNewSources,
    /// The listed sources are not wanted any more.
    BlockOldSources,
    /// A type that no RFC defines; receivers must ignore the record.
    Unknown(u8),
}

impl RecordKind {
    /// The number that stands for it in a packet.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::ModeIsInclude => 1,
            Self::ModeIsExclude => 2,
            Self::ChangeToInclude => 3,
            Self::ChangeToExclude => 4,
            Self::AllowNewSources => 5,
            Self::BlockOldSources => 6,
            Self::Unknown(number) => number,
        }
    }
}

impl From<u8> for RecordKind {
    fn from(number: u8) -> Self {
        match number {
            1 => Self::ModeIsInclude,
            2 => Self::ModeIsExclude,
            3 => Self::ChangeToInclude,
            4 => Self::ChangeToExclude,
            5 => Self::AllowNewSources,
            6 => Self::BlockOldSources,
            _ => Self::Unknown(number),
        }
    }
}

/// The records of a report: bytes of a packet, or a slice to be sent.
#[derive(Clone, Copy)]
pub struct Records<'a, A: Address>(Memory<'a, A>);

#[derive(Clone, Copy)]
enum Memory<'a, A: Address> {
    /// Bytes in which `count` whole records have been found.
    Packet {
        bytes: &'a [u8],
        count: u16,
        family: PhantomData<A>,
    },
    Slice(&'a [Record<'a, A>]),
}

impl<'a, A: Address> Records<'a, A> {
    /// The caller has checked that `count` whole records are there.
    pub(super) const fn in_packet(bytes: &'a [u8], count: u16) -> Self {
        Self(Memory::Packet { bytes, count, family: PhantomData })
    }

    /// How many records there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            Memory::Packet { count, .. } => count as usize,
            Memory::Slice(records) => records.len(),
        }
    }

    /// Whether there is none, which no router has a use for.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The records in their order.
    #[must_use]
    pub const fn iter(&self) -> RecordIter<'a, A> {
        RecordIter { memory: self.0 }
    }
}

impl<'a, A: Address> From<&'a [Record<'a, A>]> for Records<'a, A> {
    fn from(records: &'a [Record<'a, A>]) -> Self {
        Self(Memory::Slice(records))
    }
}

impl<'a, A: Address, const N: usize> From<&'a [Record<'a, A>; N]> for Records<'a, A> {
    fn from(records: &'a [Record<'a, A>; N]) -> Self {
        Self(Memory::Slice(records))
    }
}

impl<'a, A: Address> IntoIterator for Records<'a, A> {
    type Item = Record<'a, A>;
    type IntoIter = RecordIter<'a, A>;

    fn into_iter(self) -> RecordIter<'a, A> {
        self.iter()
    }
}

impl<A: Address> PartialEq for Records<'_, A> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<A: Address> Eq for Records<'_, A> {}

impl<A: Address> fmt::Debug for Records<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Goes through [`Records`].
#[derive(Clone)]
pub struct RecordIter<'a, A: Address> {
    memory: Memory<'a, A>,
}

impl<'a, A: Address> Iterator for RecordIter<'a, A> {
    type Item = Record<'a, A>;

    fn next(&mut self) -> Option<Record<'a, A>> {
        match &mut self.memory {
            Memory::Packet { bytes, count, .. } => {
                *count = count.checked_sub(1)?;
                let (record, rest) = split_record(bytes)?;
                *bytes = rest;
                Some(record)
            }
            Memory::Slice(records) => {
                let (first, rest) = records.split_first()?;
                *records = rest;
                Some(*first)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let length = Records(self.memory).len();
        (length, Some(length))
    }
}

impl<A: Address> ExactSizeIterator for RecordIter<'_, A> {}

impl<A: Address> fmt::Debug for RecordIter<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Records(self.memory).fmt(f)
    }
}
