//! Messages of a stream in NATS: their ids and headers.

use std::sync::Arc;

use mcast_stream::wire::{EngineTrail, Incarnation, MessageKey, MessageNumber, StreamId};

use super::protocol::Headers;
use crate::engine::{Tail, parse_trail, trail_text};
use crate::metadata::DatagramMetadata;
use crate::record::{Content, GapCause, Position, StreamRecord};

/// The header with the id, which is the position.
pub(super) const ID: &str = "Nats-Msg-Id";
/// A message is only stored behind the one with this id.
pub(super) const EXPECTED_ID: &str = "Nats-Expected-Last-Msg-Id";
/// A message is only stored behind the one with this sequence.
pub(super) const EXPECTED_SEQUENCE: &str = "Nats-Expected-Last-Sequence";

/// The headers of a datagram of a plain group, and the names of its fields.
const METADATA: [(&str, &str); 6] = [
    ("Mcast-Source", "source"),
    ("Mcast-Group", "group"),
    ("Mcast-Interface", "interface"),
    ("Mcast-Kernel-Time", "kernel"),
    ("Mcast-TTL", "ttl"),
    ("Mcast-DSCP", "dscp"),
];

/// Returns the id of the record at a position.
pub(super) fn id(position: Position) -> String {
    format!("{}-{}", position.incarnation, position.number)
}

/// Returns the position of the record with this id.
pub(super) fn position(id: &str) -> Option<Position> {
    let (incarnation, number) = id.split_once('-')?;
    Some(Position::new(Incarnation(incarnation.parse().ok()?), MessageNumber(number.parse().ok()?)))
}

/// Returns the headers of a record, and its payload.
pub(super) fn write<'a>(
    stream: StreamId,
    record: &'a StreamRecord,
    engines: &EngineTrail,
) -> (Headers, &'a [u8]) {
    let mut headers = Headers::default();
    headers.set(ID, id(record.position));
    headers.set("Mcast-Stream", stream);
    headers.set("Mcast-Time", record.time);
    if !engines.is_empty() {
        headers.set("Mcast-Origin", trail_text(engines));
    }
    let mut gap = |first: MessageNumber, end: Option<MessageNumber>, cause: GapCause| {
        headers.set("Mcast-Kind", "gap");
        headers.set("Mcast-First", first);
        end.iter().for_each(|end| headers.set("Mcast-End", end));
        headers.set("Mcast-Cause", cause.name());
    };
    let mut payload = &[][..];
    match &record.content {
        Content::Message { key, bytes } => {
            key.iter().for_each(|key| headers.set("Mcast-Key", key.0));
            payload = bytes;
        }
        Content::Datagram { metadata, bytes } => {
            for (name, value) in metadata.fields() {
                METADATA
                    .iter()
                    .filter(|(_, field)| *field == name)
                    .for_each(|(header, _)| headers.set(header, &value));
            }
            payload = bytes;
        }
        Content::Gap { first, cause } => gap(*first, Some(record.position.number + 1), *cause),
        Content::OpenGap { cause } => gap(record.position.number, None, *cause),
        Content::End => headers.set("Mcast-Kind", "end"),
    }
    (headers, payload)
}

/// Returns the engines that a record came out of before; `None` if no bridge wrote it.
pub(super) fn engines(headers: &Headers) -> Option<EngineTrail> {
    headers.field("Mcast-Origin").map_or(Some(EngineTrail::EMPTY), parse_trail)
}

/// Returns the record with these headers and this payload; `None` if no bridge wrote it.
pub(super) fn read(headers: &Headers, payload: &[u8]) -> Option<(StreamId, StreamRecord)> {
    let number = |name: &str| headers.field(name)?.parse::<u64>().ok();
    let stream = StreamId(u64::from_str_radix(headers.field("Mcast-Stream")?, 16).ok()?);
    let content = match headers.field("Mcast-Kind") {
        None if headers.field("Mcast-Group").is_some() => {
            let header =
                |name: &str| METADATA.iter().find(|(_, field)| *field == name).map(|(header, _)| *header);
            let metadata = DatagramMetadata::parse(|name| headers.field(header(name)?))?;
            Content::Datagram { metadata: Box::new(metadata), bytes: Arc::from(payload) }
        }
        None => Content::Message { key: number("Mcast-Key").map(MessageKey), bytes: Arc::from(payload) },
        Some("end") => Content::End,
        Some("gap") => {
            let first = MessageNumber(number("Mcast-First")?);
            let cause = GapCause::from_name(headers.field("Mcast-Cause")?)?;
            match headers.field("Mcast-End") {
                Some(_) => Content::Gap { first, cause },
                None => Content::OpenGap { cause },
            }
        }
        Some(_) => return None,
    };
    let position = position(headers.field(ID)?)?;
    Some((stream, StreamRecord { position, time: number("Mcast-Time")?, content }))
}

/// Returns the last record as a bridge sees it.
pub(super) fn tail(stream: StreamId, record: &StreamRecord) -> Tail {
    Tail { position: record.position, stream: Some(stream), closes: record.closes() }
}

#[cfg(test)]
mod tests {
    use mcast_stream::wire::EngineKey;
    use proptest::prelude::*;

    use super::*;
    use crate::record::contents;

    proptest! {
        #[test]
        fn records_are_read_as_they_were_written(
            content in contents(),
            incarnation: u32,
            number in 0..u64::MAX - 1,
            time: u64,
            keys in prop::collection::vec(any::<u64>(), 0..=EngineTrail::MAX),
        ) {
            let trail = EngineTrail::of(keys.into_iter().map(EngineKey)).unwrap();
            let position = Position::new(Incarnation(incarnation), MessageNumber(number));
            let record = StreamRecord { position, time, content };
            let (headers, payload) = write(StreamId(255), &record, &trail);
            let headers = Headers::parse(headers.block().as_bytes()).unwrap();
            prop_assert_eq!(engines(&headers), Some(trail));
            prop_assert_eq!(read(&headers, payload), Some((StreamId(255), record.clone())));
        }

        #[test]
        fn any_message_is_read_or_refused(id: String, kind: Option<String>, number: String, payload: Vec<u8>) {
            let mut headers = Headers::default();
            headers.set(ID, id);
            headers.set("Mcast-Stream", &number);
            headers.set("Mcast-Time", &number);
            headers.set("Mcast-First", &number);
            headers.set("Mcast-Origin", number);
            kind.iter().for_each(|kind| headers.set("Mcast-Kind", kind));
            let _ = (read(&headers, &payload), engines(&headers));
        }
    }
}
