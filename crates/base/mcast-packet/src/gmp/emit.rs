//! Writing messages.

use super::parse::sum_without_field;
use super::{Address, GmpMessage, Query, Record, Records, SourceQuery, Sources, time};
use crate::EmitError;
use crate::bytes::Writer;

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
    writer.put_u8(time::encode_8(u128::from(extension.interval.as_secs())))?;
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
