//! Messages of a stream in NATS: their ids and headers.

use mcast_stream::wire::{StreamId, VisitedEngines};

use super::protocol::Headers;
use crate::headers;
pub(super) use crate::headers::{id, position, tail};
use crate::record::StreamRecord;

/// The header with the id, which is the position.
pub(super) const ID: &str = "Nats-Msg-Id";
/// A message is only stored behind the one with this id.
pub(super) const EXPECTED_ID: &str = "Nats-Expected-Last-Msg-Id";
/// A message is only stored behind the one with this sequence.
pub(super) const EXPECTED_SEQUENCE: &str = "Nats-Expected-Last-Sequence";

/// The headers of a batch that is stored as a whole or not at all.
pub(super) const BATCH: &str = "Nats-Batch-Id";
pub(super) const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
pub(super) const BATCH_COMMIT: &str = "Nats-Batch-Commit";

/// Returns the headers of a record, and its payload.
pub(super) fn write<'a>(
    stream: StreamId,
    record: &'a StreamRecord,
    engines: &VisitedEngines,
) -> (Headers, &'a [u8]) {
    let mut headers = Headers::default();
    headers.set(ID, id(record.position));
    let payload = headers::write(stream, record, engines, |name, value| headers.set(name, value));
    (headers, payload)
}

/// Returns the engines that a record came out of before; `None` if no bridge wrote it.
pub(super) fn engines(headers: &Headers) -> Option<VisitedEngines> {
    headers::engines(|name| headers.field(name))
}

/// Returns the record with these headers and this payload; `None` if no bridge wrote it.
pub(super) fn read(headers: &Headers, payload: &[u8]) -> Option<(StreamId, StreamRecord)> {
    headers::read(headers.field(ID)?, |name| headers.field(name), payload)
}

#[cfg(test)]
mod tests {
    use mcast_stream::wire::{EngineKey, Incarnation, MessageNumber};
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Position, contents};

    proptest! {
        #[test]
        fn records_are_read_as_they_were_written(
            content in contents(),
            incarnation: u32,
            number in 0..u64::MAX - 1,
            time: u64,
            keys in prop::collection::vec(any::<u64>(), 0..=VisitedEngines::MAX),
        ) {
            let trail = VisitedEngines::of(keys.into_iter().map(EngineKey)).unwrap();
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
