//! Records in engines whose messages have an id, headers and a payload: Kafka and NATS.

use std::sync::Arc;

use mcast_stream::wire::{Incarnation, MessageKey, MessageNumber, StreamId};

use crate::engine::Tail;
use crate::record::{Content, GapCause, Position, StreamRecord};

/// Returns the id of the record at a position.
pub(crate) fn id(position: Position) -> String {
    format!("{}-{}", position.incarnation, position.number)
}

/// Returns the position of the record with this id.
pub(crate) fn position(id: &str) -> Option<Position> {
    let (incarnation, number) = id.split_once('-')?;
    Some(Position::new(Incarnation(incarnation.parse().ok()?), MessageNumber(number.parse().ok()?)))
}

/// Sets the headers of a record; returns its payload.
pub(crate) fn write(
    stream: StreamId,
    record: &StreamRecord,
    mut set: impl FnMut(&'static str, String),
) -> &[u8] {
    set("Mcast-Stream", stream.to_string());
    set("Mcast-Time", record.time.to_string());
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
    Some((stream, StreamRecord { position: position(id)?, time: number("Mcast-Time")?, content }))
}

/// Returns the last record as a bridge sees it.
pub(crate) fn tail(stream: StreamId, record: &StreamRecord) -> Tail {
    Tail { position: record.position, stream: Some(stream), closes: record.closes() }
}
