//! Records in engines whose messages have an id, headers and a payload: Kafka and NATS.

use std::sync::Arc;

use mcast_stream::wire::{StreamId, VisitedEngines};

use crate::engine::{LastRecord, parse_trail, trail_text};
pub(crate) use crate::engine::{id, position};
use crate::record::{Content, StoredFields, StreamRecord, UnixMillis};

/// The headers of the fields of records.
const HEADERS: [(&str, &str); 11] = [
    ("Mcast-Kind", "kind"),
    ("Mcast-First", "first"),
    ("Mcast-End", "end"),
    ("Mcast-Cause", "cause"),
    ("Mcast-Key", "key"),
    ("Mcast-Source", "source"),
    ("Mcast-Group", "group"),
    ("Mcast-Interface", "interface"),
    ("Mcast-Kernel-Time", "kernel"),
    ("Mcast-TTL", "ttl"),
    ("Mcast-DSCP", "dscp"),
];

fn header_of(name: &str) -> Option<&'static str> {
    HEADERS.iter().find(|(_, field)| *field == name).map(|(header, _)| *header)
}

/// Headers by the names of fields.
struct Fields<T>(T);

impl<'a, T: Fn(&str) -> Option<&'a str>> StoredFields<'a> for Fields<T> {
    fn text(&self, name: &str) -> Option<&'a str> {
        (self.0)(header_of(name)?)
    }
}

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
    record.content.write(record.position, |name, value| {
        if let Some(header) = header_of(name) {
            set(header, value.into_text());
        }
    });
    record.content.bytes().map_or(&[], |bytes| bytes)
}

/// Returns the record with this id, these headers and this payload; `None` if no bridge wrote it.
pub(crate) fn read<'a>(
    id: &str,
    header: impl Fn(&str) -> Option<&'a str>,
    payload: &[u8],
) -> Option<(StreamId, StreamRecord)> {
    let stream = StreamId(u64::from_str_radix(header("Mcast-Stream")?, 16).ok()?);
    let time = UnixMillis(header("Mcast-Time")?.parse().ok()?);
    let content = Content::read(&Fields(header), || Some(Arc::from(payload)))?;
    Some((stream, StreamRecord { position: position(id)?, time, content }))
}

/// Returns the last record as a bridge sees it.
pub(crate) fn tail(stream: StreamId, record: &StreamRecord) -> LastRecord {
    LastRecord { position: record.position, stream: Some(stream), closes: record.closes() }
}

/// Returns the engines that a record came out of before; `None` if no bridge wrote it.
pub(crate) fn engines<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<VisitedEngines> {
    header("Mcast-Origin").map_or(Some(VisitedEngines::EMPTY), parse_trail)
}
