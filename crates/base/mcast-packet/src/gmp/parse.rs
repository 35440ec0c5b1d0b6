//! Parsing messages.

use core::time::Duration;

use super::{Address, GmpMessage, Query, Record, Records, RouterDiscovery};
use super::{SourceQuery, Sources, time};
use crate::bytes::{u8_at, u16_at};
use crate::checksum::{ChecksumStatus, InternetChecksum};
use crate::list::Element;

/// Why bytes are not a valid IGMP or MLD message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GmpError {
    /// The protocol has no message of this type.
    #[error("has the unknown type {0}")]
    UnknownType(u8),
    /// The message is shorter than its fixed fields.
    #[error("is too short: {0} bytes")]
    TooShort(usize),
    /// A query has a length between those of two versions.
    #[error("is a query with a length that no version defines: {0} bytes")]
    QueryLength(usize),
    /// A query ends before the number of sources that it states.
    #[error("states {0} sources but ends before the last")]
    Sources(u16),
    /// A report ends before the number of records that it states.
    #[error("states {count} records but ends within record {cut_off}")]
    Records {
        /// The stated number of records.
        count: u16,
        /// The number of the truncated record, counted from 1.
        cut_off: u16,
    },
}

/// The length of type, code, checksum, 16 reserved bits and number of records.
const V3_REPORT_HEADER_LENGTH: usize = 8;

impl<'a, A: Address> GmpMessage<'a, A> {
    /// Parses the payload of an IP packet. The checksum is not verified: see [`Self::checksum`].
    ///
    /// # Errors
    /// Returns [`GmpError`] if the bytes violate a rule of the RFCs. Such a message must be ignored.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, GmpError> {
        let kind = u8_at(bytes, 0).ok_or(GmpError::TooShort(0))?;
        if kind == A::V3_REPORT {
            return parse_records(bytes).map(Self::V3Report);
        }
        if kind == A::QUERY {
            return parse_query(bytes).map(Self::Query);
        }
        if RouterDiscovery::has_kind::<A>(kind) {
            return RouterDiscovery::parse::<A>(kind, bytes).map(Self::RouterDiscovery);
        }
        let is_v1_report = A::V1_REPORT == Some(kind);
        if !is_v1_report && kind != A::REPORT && kind != A::LEAVE {
            return Err(GmpError::UnknownType(kind));
        }
        let group = group_of(bytes)?;
        Ok(match kind {
            _ if is_v1_report => Self::V1Report { group },
            _ if kind == A::REPORT => Self::Report { group },
            _ => Self::Leave { group },
        })
    }

    /// Verifies the checksum of a message sent from `source` to `destination`. The checksum of IGMP does not
    /// cover the addresses.
    #[must_use]
    pub fn checksum(bytes: &[u8], source: A, destination: A) -> ChecksumStatus {
        match (u16_at(bytes, 2), sum_without_field(bytes, source, destination)) {
            (Some(found), Some(others)) => ChecksumStatus::compare(found, others),
            _ => ChecksumStatus::NotComputable,
        }
    }
}

/// Returns the sum of a message without its checksum field.
pub(super) fn sum_without_field<A: Address>(
    bytes: &[u8],
    source: A,
    destination: A,
) -> Option<InternetChecksum> {
    let initial = if A::PSEUDO_HEADER {
        let length = u32::try_from(bytes.len()).ok()?;
        InternetChecksum::pseudo_header(source.into(), destination.into(), A::PROTOCOL, length)?
    } else {
        InternetChecksum::new()
    };
    Some(initial.bytes(bytes.get(..2)?).bytes(bytes.get(4..)?))
}

fn parse_query<A: Address>(bytes: &[u8]) -> Result<Query<'_, A>, GmpError> {
    let group = group_of::<A>(bytes)?;
    let extension = bytes.get(A::GROUP_OFFSET + A::LENGTH..).unwrap_or_default();
    let source_query = match extension.len() {
        0 => None,
        1..4 => return Err(GmpError::QueryLength(bytes.len())),
        _ => Some(parse_source_query(extension).ok_or_else(|| too_many_sources(extension))?),
    };
    Ok(Query {
        group: (group != A::UNSPECIFIED).then_some(group),
        max_response_time: A::read_response_time(bytes, source_query.is_some())
            .ok_or(GmpError::TooShort(bytes.len()))?,
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
        sources: Sources::in_packet(extension.get(4..4 + count * A::LENGTH)?, count),
    })
}

fn too_many_sources(extension: &[u8]) -> GmpError {
    GmpError::Sources(u16_at(extension, 2).unwrap_or(0))
}

fn parse_records<A: Address>(bytes: &[u8]) -> Result<Records<'_, A>, GmpError> {
    let too_short = GmpError::TooShort(bytes.len());
    let records = bytes.get(V3_REPORT_HEADER_LENGTH..).ok_or(too_short)?;
    let count = u16_at(bytes, 6).ok_or(too_short)?;
    let mut rest = records;
    for number in 1..=count {
        rest = match Record::<A>::split(rest) {
            Some((_, rest)) => rest,
            None => return Err(GmpError::Records { count, cut_off: number }),
        };
    }
    Ok(Records::in_packet(records, count.into()))
}

fn group_of<A: Address>(bytes: &[u8]) -> Result<A, GmpError> {
    bytes
        .get(A::GROUP_OFFSET..)
        .and_then(A::split)
        .map(|(group, _)| group)
        .ok_or(GmpError::TooShort(bytes.len()))
}
