//! The group records of an IGMPv3 or MLDv2 report (RFC 3376 section 4.2.4, RFC 3810 section 5.2.4).

use super::Address;
use crate::bytes::{u8_at, u16_at};
use crate::list::{Element, List};

/// The records of a report.
pub type Records<'a, A> = List<'a, Record<'a, A>>;

/// The sources of a query or a record.
pub type Sources<'a, A> = List<'a, A>;

/// A group record of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a, A: Address> {
    /// The record type: a current state or a change.
    pub kind: RecordKind,
    /// The group.
    pub group: A,
    /// The sources.
    pub sources: Sources<'a, A>,
}

impl<A: Address> Record<'_, A> {
    /// The length of type, auxiliary data length and number of sources.
    pub(super) const HEADER_LENGTH: usize = 4;

    /// Returns the length of the record in a packet, in bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        Self::HEADER_LENGTH + A::LENGTH * (1 + self.sources.len())
    }
}

impl<'a, A: Address> Element<'a> for Record<'a, A> {
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let kind = RecordKind::from(u8_at(bytes, 0)?);
        let auxiliary_length = usize::from(u8_at(bytes, 1)?) * 4;
        let count = usize::from(u16_at(bytes, 2)?);
        let (group, rest) = A::split(bytes.get(Self::HEADER_LENGTH..)?)?;
        let (sources, rest) = rest.split_at_checked(count * A::LENGTH)?;
        let record = Self { kind, group, sources: Sources::in_packet(sources, count) };
        Some((record, rest.get(auxiliary_length..)?))
    }
}

/// The type of a record (RFC 3376 section 4.2.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// Current state, in response to a query: include mode with the listed sources.
    ModeIsInclude,
    /// Current state, in response to a query: exclude mode with the listed sources.
    ModeIsExclude,
    /// Change to include mode with the listed sources. An empty list is a leave.
    ChangeToInclude,
    /// Change to exclude mode with the listed sources. An empty list is an any-source join.
    ChangeToExclude,
    /// Change of the source list: the listed sources are additionally requested.
    AllowNewSources,
    /// Change of the source list: the listed sources are no longer requested.
    BlockOldSources,
    /// An undefined type. Receivers must ignore the record.
    Unknown(u8),
}

impl RecordKind {
    /// Returns the number of the type in a packet.
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
