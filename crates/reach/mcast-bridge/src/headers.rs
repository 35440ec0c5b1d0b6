//! Records in engines whose messages have an id, headers and a payload: Kafka and NATS.

use std::sync::Arc;

use mcast_stream::wire::{MessageKey, MessageNumber, StreamId, VisitedEngines};

use crate::engine::{LastRecord, parse_trail, trail_text};
pub(crate) use crate::engine::{id, position};
use crate::record::{Content, DatagramMetadata, GapCause, StreamRecord, UnixMillis};

/// The headers of a datagram of a plain group, and the names of its fields.
const METADATA: [(&str, &str); 6] = [
    ("Mcast-Source", "source"),
    ("Mcast-Group", "group"),
    ("Mcast-Interface", "interface"),
    ("Mcast-Kernel-Time", "kernel"),
    ("Mcast-TTL", "ttl"),
    ("Mcast-DSCP", "dscp"),
];

/// Sets the headers of a record; returns its payload.
pub(crate) fn write<'a>(
    stream: StreamId,
    record: &'a StreamRecord,
    engines: &VisitedEngines,
    mut set: impl FnMut(&'static str, String),
) -> &'a [u8] {
    set("Mcast-Stream", stream.to_string());
    set("Mcast-Time", record.time.0.to_string());
    if !engines.is_empty() {
        set("Mcast-Origin", trail_text(engines));
    }
    let mut gap = |first: MessageNumber, end: Option<MessageNumber>, cause: GapCause| {
        set("Mcast-Kind", "gap".into());
        set("Mcast-First", first.to_string());
        end.iter().for_each(|end| set("Mcast-End", end.to_string()));
        set("Mcast-Cause", cause.name().into());
    };
    match &record.content {
        Content::Message { key, bytes } => {
            key.iter().for_each(|key| set("Mcast-Key", key.0.to_string()));
            return bytes;
        }
        Content::Datagram { metadata, bytes } => {
            for (name, value) in metadata.fields() {
                let header = METADATA.iter().find(|(_, field)| *field == name);
                header.into_iter().for_each(|(header, _)| set(header, value.clone()));
            }
            return bytes;
        }
        Content::Gap { first, cause } => gap(*first, Some(record.position.number + 1), *cause),
        Content::OpenGap { cause } => gap(record.position.number, None, *cause),
        Content::End => set("Mcast-Kind", "end".into()),
    }
    &[]
}

/// Returns the record with this id, these headers and this payload; `None` if no bridge wrote it.
pub(crate) fn read<'a>(
    id: &str,
    header: impl Fn(&str) -> Option<&'a str>,
    payload: &[u8],
) -> Option<(StreamId, StreamRecord)> {
    let number = |name: &str| header(name)?.parse::<u64>().ok();
    let stream = StreamId(u64::from_str_radix(header("Mcast-Stream")?, 16).ok()?);
    let content = match header("Mcast-Kind") {
        None if header("Mcast-Group").is_some() => {
            let name =
                |field: &str| METADATA.iter().find(|(_, known)| *known == field).map(|(header, _)| *header);
            let metadata = DatagramMetadata::parse(|field| header(name(field)?))?;
            Content::Datagram { metadata: Box::new(metadata), bytes: Arc::from(payload) }
        }
        None => Content::Message { key: number("Mcast-Key").map(MessageKey), bytes: Arc::from(payload) },
        Some("end") => Content::End,
        Some("gap") => {
            let first = MessageNumber(number("Mcast-First")?);
            let cause = GapCause::from_name(header("Mcast-Cause")?)?;
            match header("Mcast-End") {
                Some(_) => Content::Gap { first, cause },
                None => Content::OpenGap { cause },
            }
        }
        Some(_) => return None,
    };
    Some((stream, StreamRecord { position: position(id)?, time: UnixMillis(number("Mcast-Time")?), content }))
}

/// Returns the last record as a bridge sees it.
pub(crate) fn tail(stream: StreamId, record: &StreamRecord) -> LastRecord {
    LastRecord { position: record.position, stream: Some(stream), closes: record.closes() }
}

/// Returns the engines that a record came out of before; `None` if no bridge wrote it.
pub(crate) fn engines<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<VisitedEngines> {
    header("Mcast-Origin").map_or(Some(VisitedEngines::EMPTY), parse_trail)
}
