//! The segments and records of a log as JSON.

use std::path::Path;

use mcast_log::{Damage, LogRecord, SegmentName, SegmentSummary};
use mcast_stream::history::HistoryContent;
use mcast_stream::wire::{MessageNumber, StreamId};
use serde::Serialize;

use crate::output::{record, rfc3339};

record! {
    pub(super) fn new(segment: &SegmentSummary) {
        let header = segment.header.as_ref();
    }

    /// A segment: `schemas/log-segment.json`.
    pub(super) struct SegmentRecord {
        path: String = segment.path.display().to_string(),
        stream: Option<String> = header.map(|header| header.stream.to_string()),
        name: Option<String> = header.map(|header| header.name.clone()),
        segment: u64 = segment.name.segment,
        incarnation: u32 = segment.name.first.incarnation.0,
        first: MessageNumber = segment.name.first.number,
        end: MessageNumber = segment.end,
        records: u64 = segment.records,
        bytes: u64 = segment.bytes,
        begun: Option<String> = header.map(|header| rfc3339(header.begun.system_time())),
        latest: Option<String> = segment.latest.map(|time| rfc3339(time.system_time())),
        epoch: Option<u16> = header.map(|header| header.epoch.0),
        closed: bool = segment.is_closed,
    }
}

record! {
    pub(super) fn new(directory: &Path, segment: &SegmentName) {}

    /// A removed segment: `schemas/log-removed.json`.
    pub(super) struct RemovedRecord {
        path: String = directory.join(segment.segment_file()).display().to_string(),
        segment: u64 = segment.segment,
        incarnation: u32 = segment.first.incarnation.0,
        first: MessageNumber = segment.first.number,
    }
}

record! {
    pub(super) fn new(damage: &Damage) {}

    /// Damaged bytes, or missing messages: `schemas/log-damage.json`.
    pub(super) struct DamageRecord {
        path: String = damage.path.display().to_string(),
        offset: u64 = damage.offset,
        bytes: u64 = damage.bytes,
        incarnation: u32 = damage.first.incarnation.0,
        first: MessageNumber = damage.first.number,
        end: MessageNumber = damage.end,
        sealed: Option<u16> = damage.sealed.map(|epoch| epoch.0),
    }
}

/// What `mcast log verify` found: `schemas/log-summary.json`.
#[derive(Debug, Default, Serialize)]
pub(super) struct SummaryRecord {
    pub(super) stream: String,
    pub(super) name: String,
    pub(super) records: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) incarnations: u64,
    pub(super) damaged: u64,
    pub(super) missing: u64,
    pub(super) unopened: u64,
}

/// A record that is not a message: `schemas/log-event.json`.
#[derive(Debug, Serialize)]
pub(super) struct EventRecord {
    stream: String,
    incarnation: u32,
    first: MessageNumber,
    end: Option<MessageNumber>,
    cause: Option<&'static str>,
    time: String,
}

impl EventRecord {
    /// Returns the event with its fields; `None` for a message.
    pub(super) fn new(stream: StreamId, record: &LogRecord<&[u8]>) -> Option<(&'static str, Self)> {
        let first = record.record.first;
        let (event, end, cause) = match record.record.content {
            HistoryContent::Message { .. } => return None,
            HistoryContent::Gap { end, cause } => ("gap", Some(end), Some(cause.name())),
            HistoryContent::OpenGap { cause } => ("open-gap", None, Some(cause.name())),
            HistoryContent::End => ("end", None, None),
        };
        let fields = Self {
            stream: stream.to_string(),
            incarnation: first.incarnation.0,
            first: first.number,
            end,
            cause,
            time: rfc3339(record.time.system_time()),
        };
        Some((event, fields))
    }
}
