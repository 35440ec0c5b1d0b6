//! Parsing and writing messages.

use core::time::Duration;

use super::address::{decode_8, encode_8};
use super::{Address, GmpError, GmpMessage, Query, Record, Records, RouterDiscovery, SourceQuery, Sources};
use crate::EmitError;
use crate::checksum::{ChecksumStatus, InternetChecksum};
use crate::list::{Element, Writer, u8_at, u16_at};

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
        interval: Duration::from_secs(u64::from(decode_8(u8_at(extension, 1)?))),
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

impl<A: Address> GmpMessage<'_, A> {
    /// Returns the length of the message in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        let plain = A::GROUP_OFFSET + A::LENGTH;
        match self {
            Self::Query(Query { source_query: Some(extension), .. }) => {
                plain + 4 + extension.sources.len() * A::LENGTH
            }
            Self::Query(_) | Self::V1Report { .. } | Self::Report { .. } | Self::Leave { .. } => plain,
            Self::RouterDiscovery(discovery) => discovery.length(),
            Self::V3Report(records) => 8 + records.iter().map(|record| record.length()).sum::<usize>(),
        }
    }

    /// Writes the message with its checksum to the start of the buffer and returns its length. The checksum
    /// of MLD covers the addresses, that of IGMP does not.
    ///
    /// # Errors
    /// Returns [`EmitError::BufferTooShort`] if the message does not fit, [`EmitError::TooMany`] if there are
    /// more than 65,535 sources or records, and [`EmitError::NoSuchMessage`] for [`Self::V1Report`] in MLD.
    pub fn emit(&self, buffer: &mut [u8], source: A, destination: A) -> Result<usize, EmitError> {
        let mut writer = Writer::new(buffer);
        match self {
            Self::Query(query) => emit_query(&mut writer, query)?,
            Self::V1Report { group } => {
                emit_plain(&mut writer, A::V1_REPORT.ok_or(EmitError::NoSuchMessage)?, *group)?;
            }
            Self::Report { group } => emit_plain(&mut writer, A::REPORT, *group)?,
            Self::Leave { group } => emit_plain(&mut writer, A::LEAVE, *group)?,
            Self::V3Report(records) => emit_records(&mut writer, *records)?,
            Self::RouterDiscovery(discovery) => discovery.put::<A>(&mut writer)?,
        }
        let sum =
            sum_without_field(writer.written(0), source, destination).ok_or(EmitError::NoSuchMessage)?;
        writer.patch_u16(2, sum.finish())?;
        Ok(writer.position())
    }
}

fn emit_query<A: Address>(writer: &mut Writer<'_>, query: &Query<'_, A>) -> Result<(), EmitError> {
    let (code, time) = A::response_time_fields(query.max_response_time, query.source_query.is_some());
    emit_header(writer, A::QUERY, code)?;
    if let Some(time) = time {
        writer.put_u16(time)?;
        writer.put_u16(0)?;
    }
    put_address(writer, query.group.unwrap_or(A::UNSPECIFIED))?;
    match &query.source_query {
        Some(extension) => emit_source_query(writer, extension),
        None => Ok(()),
    }
}

fn emit_source_query<A: Address>(
    writer: &mut Writer<'_>,
    extension: &SourceQuery<'_, A>,
) -> Result<(), EmitError> {
    const SUPPRESS: u8 = 0x08;
    // RFC 3376 section 4.1.6: a robustness above 7 is sent as zero.
    let robustness = if extension.robustness > 7 { 0 } else { extension.robustness };
    writer.put_u8(robustness | if extension.suppress { SUPPRESS } else { 0 })?;
    writer.put_u8(encode_8(u128::from(extension.interval.as_secs())))?;
    writer.put_u16(count(extension.sources.len())?)?;
    put_sources(writer, extension.sources)
}

fn emit_plain<A: Address>(writer: &mut Writer<'_>, kind: u8, group: A) -> Result<(), EmitError> {
    emit_header(writer, kind, 0)?;
    if A::GROUP_OFFSET > 4 {
        writer.put(&[0; 4])?;
    }
    put_address(writer, group)
}

fn emit_records<A: Address>(writer: &mut Writer<'_>, records: Records<'_, A>) -> Result<(), EmitError> {
    emit_header(writer, A::V3_REPORT, 0)?;
    writer.put_u16(0)?;
    writer.put_u16(count(records.len())?)?;
    records.iter().try_for_each(|record| emit_record(writer, &record))
}

fn emit_record<A: Address>(writer: &mut Writer<'_>, record: &Record<'_, A>) -> Result<(), EmitError> {
    writer.put_u8(record.kind.number())?;
    writer.put_u8(0)?;
    writer.put_u16(count(record.sources.len())?)?;
    put_address(writer, record.group)?;
    put_sources(writer, record.sources)
}

/// Writes type and code, and zero in place of the checksum.
fn emit_header(writer: &mut Writer<'_>, kind: u8, code: u8) -> Result<(), EmitError> {
    writer.put(&[kind, code, 0, 0])
}

fn put_sources<A: Address>(writer: &mut Writer<'_>, sources: Sources<'_, A>) -> Result<(), EmitError> {
    sources.iter().try_for_each(|source| put_address(writer, source))
}

fn put_address<A: Address>(writer: &mut Writer<'_>, address: A) -> Result<(), EmitError> {
    address.with_bytes(|bytes| writer.put(bytes))
}

fn count(number: usize) -> Result<u16, EmitError> {
    u16::try_from(number).map_err(|_| EmitError::TooMany)
}
