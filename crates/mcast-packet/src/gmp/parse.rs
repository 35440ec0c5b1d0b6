//! From bytes to messages.

use core::time::Duration;

use super::{Address, Message, Query, Record, RecordKind, Records, RouterDiscovery};
use super::{SourceQuery, Sources, time};
use crate::bytes::{u8_at, u16_at};
use crate::checksum::{ChecksumStatus, InternetChecksum};

/// Why bytes are no message of IGMP or MLD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The type is none of the protocol's.
    #[error("has the unknown type {0}")]
    UnknownType(u8),
    /// The bytes end before the fields do that every such message has.
    #[error("is too short: {0} bytes")]
    TooShort(usize),
    /// A query is longer than the older version's and shorter than the newer's: no version has it.
    #[error("is a query of a length that no version has: {0} bytes")]
    QueryLength(usize),
    /// A query says that it lists more sources than there are bytes for.
    #[error("lists {0} sources but ends before the last")]
    Sources(u16),
    /// A report says that it has more records than there are bytes for.
    #[error("has {count} records but ends within number {cut_off}")]
    Records {
        /// How many records it says there are.
        count: u16,
        /// Which of them is cut off, counted from 1.
        cut_off: u16,
    },
}

/// Type, code, checksum, 16 reserved bits, number of records.
const SOURCE_REPORT_HEADER: usize = 8;

impl<'a, A: Address> Message<'a, A> {
    /// The message in the payload of an IP packet. The checksum is not looked at:
    /// [`Self::checksum`] does that.
    ///
    /// # Errors
    /// [`ParseError`] says which rule of the RFCs the bytes break; such a message must be ignored.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let kind = u8_at(bytes, 0).ok_or(ParseError::TooShort(0))?;
        if kind == A::SOURCE_REPORT {
            return parse_records(bytes).map(Self::SourceReport);
        }
        if kind == A::QUERY {
            return parse_query(bytes).map(Self::Query);
        }
        if RouterDiscovery::has_kind::<A>(kind) {
            return RouterDiscovery::parse::<A>(kind, bytes).map(Self::RouterDiscovery);
        }
        let is_first_report = A::FIRST_REPORT == Some(kind);
        if !is_first_report && kind != A::REPORT && kind != A::LEAVE {
            return Err(ParseError::UnknownType(kind));
        }
        let group = group_of(bytes)?;
        Ok(match kind {
            _ if is_first_report => Self::FirstReport { group },
            _ if kind == A::REPORT => Self::Report { group },
            _ => Self::Leave { group },
        })
    }

    /// Whether the checksum of a message agrees, sent from `source` to `destination`. IGMP's does
    /// not cover the addresses.
    #[must_use]
    pub fn checksum(bytes: &[u8], source: A, destination: A) -> ChecksumStatus {
        match (u16_at(bytes, 2), sum_without_field(bytes, source, destination)) {
            (Some(found), Some(others)) => ChecksumStatus::compare(found, others),
            _ => ChecksumStatus::NotComputable,
        }
    }
}

/// The sum of a message but for its checksum field.
pub(super) fn sum_without_field<A: Address>(
    bytes: &[u8],
    source: A,
    destination: A,
) -> Option<InternetChecksum> {
    let start = if A::PSEUDO_HEADER {
        let length = u32::try_from(bytes.len()).ok()?;
        InternetChecksum::pseudo_header(source.into(), destination.into(), A::PROTOCOL, length)?
    } else {
        InternetChecksum::new()
    };
    Some(start.bytes(bytes.get(..2)?).bytes(bytes.get(4..)?))
}

fn parse_query<A: Address>(bytes: &[u8]) -> Result<Query<'_, A>, ParseError> {
    let group = group_of::<A>(bytes)?;
    let extension = bytes.get(A::GROUP_OFFSET + A::LENGTH..).unwrap_or_default();
    let source_query = match extension.len() {
        0 => None,
        1..4 => return Err(ParseError::QueryLength(bytes.len())),
        _ => Some(parse_source_query(extension).ok_or_else(|| too_many_sources(extension))?),
    };
    Ok(Query {
        group: (group != A::UNSPECIFIED).then_some(group),
        max_response_time: A::read_response_time(bytes, source_query.is_some())
            .ok_or(ParseError::TooShort(bytes.len()))?,
        source_query,
    })
}

fn parse_source_query<A: Address>(extension: &[u8]) -> Option<SourceQuery<'_, A>> {
    const SUPPRESS: u8 = 0x08;
    const ROBUSTNESS: u8 = 0x07;
    let flags = u8_at(extension, 0)?;
    let count = usize::from(u16_at(extension, 2)?);
    Some(SourceQuery {
        suppress: flags & SUPPRESS != 0,
        robustness: flags & ROBUSTNESS,
        interval: Duration::from_secs(u64::from(time::decode_8(u8_at(extension, 1)?))),
        sources: Sources::in_packet(extension.get(4..4 + count * A::LENGTH)?),
    })
}

fn too_many_sources(extension: &[u8]) -> ParseError {
    ParseError::Sources(u16_at(extension, 2).unwrap_or(0))
}

fn parse_records<A: Address>(bytes: &[u8]) -> Result<Records<'_, A>, ParseError> {
    let too_short = ParseError::TooShort(bytes.len());
    let records = bytes.get(SOURCE_REPORT_HEADER..).ok_or(too_short)?;
    let count = u16_at(bytes, 6).ok_or(too_short)?;
    let mut rest = records;
    for number in 1..=count {
        rest = match split_record::<A>(rest) {
            Some((_, rest)) => rest,
            None => return Err(ParseError::Records { count, cut_off: number }),
        };
    }
    Ok(Records::in_packet(records, count))
}

/// The record at the start of the bytes, and what follows it.
pub(super) fn split_record<A: Address>(bytes: &[u8]) -> Option<(Record<'_, A>, &[u8])> {
    let kind = RecordKind::from(u8_at(bytes, 0)?);
    let auxiliary_length = usize::from(u8_at(bytes, 1)?) * 4;
    let count = usize::from(u16_at(bytes, 2)?);
    let group = A::read(bytes.get(Record::<A>::HEADER_LENGTH..)?)?;
    let (sources, rest) =
        bytes.get(Record::<A>::HEADER_LENGTH + A::LENGTH..)?.split_at_checked(count * A::LENGTH)?;
    let record = Record { kind, group, sources: Sources::in_packet(sources) };
    Some((record, rest.get(auxiliary_length..)?))
}

fn group_of<A: Address>(bytes: &[u8]) -> Result<A, ParseError> {
    bytes.get(A::GROUP_OFFSET..).and_then(A::read).ok_or(ParseError::TooShort(bytes.len()))
}
