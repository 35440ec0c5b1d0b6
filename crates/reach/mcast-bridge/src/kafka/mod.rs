//! Kafka, and servers that are compatible with it.
//!
//! A topic has one partition and one record for each record of the stream. The key of a record is `INCARNATION-NUMBER`; a
//! gap's is that of the last missing message. Its headers are `mcast-stream`, `mcast-time` (when a bridge received it,
//! in milliseconds since 1970), of a message `mcast-key` (its key, if it has one), and of a stream that came out of
//! engines `mcast-origin` (which ones, 16 hexadecimal digits each, the latest first, separated by commas). Other records
//! have `mcast-kind`: a `gap` has `mcast-first`, `mcast-end` (one past the last; absent if unknown) and `mcast-cause`, an
//! `end` has nothing else.
//!
//! Each batch is one transaction. All bridges of a topic have the same transactional id, so that a bridge that begins to
//! append fences the one that did before: one bridge is active, the others stand by. In a second topic, `TOPIC-bridges`,
//! bridges note what they wait for and which of them is active.

mod client;
mod notes;
mod sink;
mod source;
mod standby;
mod target;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mcast_stream::wire::{StreamId, VisitedEngines};
use rdkafka::Message;
use rdkafka::message::{Header, Headers, OwnedHeaders};

use crate::engine::{Engine, Sink, Source};
use crate::error::EngineError;
use crate::headers;
use crate::record::StreamRecord;
pub use source::KafkaSource;
pub use target::KafkaTarget;

impl Engine for KafkaTarget {
    fn sink(&self) -> Result<Box<dyn Sink>, EngineError> {
        Ok(Box::new(sink::KafkaSink::connect(self, Arc::clone(&self.standby))?))
    }

    fn source(&self) -> Result<Box<dyn Source>, EngineError> {
        Ok(Box::new(KafkaSource::connect(self)?))
    }

    fn name(&self) -> &str {
        &self.topic
    }

    fn address(&self) -> String {
        self.url.servers.to_string()
    }

    fn renews_login(&self) -> bool {
        self.url.renews_login()
    }
}

/// The most headers of a record.
const HEADERS: usize = 32;

/// Returns the headers of a record, and its payload.
fn write<'a>(
    stream: StreamId,
    record: &'a StreamRecord,
    engines: &VisitedEngines,
) -> (OwnedHeaders, &'a [u8]) {
    let mut set = OwnedHeaders::new_with_capacity(8);
    let mut texts = Vec::with_capacity(8);
    let payload =
        headers::write(stream, record, engines, |name, value| texts.push((name.to_ascii_lowercase(), value)));
    for (name, value) in &texts {
        set = set.insert(Header { key: name, value: Some(value) });
    }
    (set, payload)
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    offset: i64,
    stream: StreamId,
    record: StreamRecord,
    engines: VisitedEngines,
}

/// Returns the record that a message is; `None` if no bridge wrote it.
fn read(message: &impl Message) -> Option<Stored> {
    let id = std::str::from_utf8(message.key()?).ok()?;
    headers::position(id)?;
    let texts = texts(message.headers()?)?;
    let text = |name: &str| {
        texts.iter().find(|(each, _)| each.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    };
    let (stream, record) = headers::read(id, text, message.payload().unwrap_or_default())?;
    let engines = headers::engines(text)?;
    Some(Stored { offset: message.offset(), stream, record, engines })
}

/// Returns the names and values of headers; `None` if they are not text, or too many.
fn texts(headers: &impl Headers) -> Option<Vec<(String, String)>> {
    let read = || {
        let text = |header: Header<'_, &[u8]>| {
            Some((header.key.to_owned(), std::str::from_utf8(header.value?).ok()?.to_owned()))
        };
        headers.iter().take(HEADERS).map(text).collect::<Option<Vec<_>>>()
    };
    // The client panics at names that are not UTF-8.
    catch_unwind(AssertUnwindSafe(read)).ok().flatten()
}

#[cfg(test)]
mod tests {
    use mcast_stream::wire::{EngineKey, Incarnation, MessageNumber};
    use proptest::prelude::*;
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    use super::*;
    use crate::record::{Position, UnixMillis, contents};

    fn stored(key: Vec<u8>, headers: OwnedHeaders, payload: Vec<u8>) -> OwnedMessage {
        OwnedMessage::new(Some(payload), Some(key), "t".into(), Timestamp::NotAvailable, 0, 7, Some(headers))
    }

    proptest! {
        #[test]
        fn records_are_read_as_they_were_written(
            content in contents(),
            incarnation: u32,
            number in 0..u64::MAX - 1,
            time: u64,
            keys in prop::collection::vec(any::<u64>(), 0..=VisitedEngines::MAX),
        ) {
            let engines = VisitedEngines::of(keys.into_iter().map(EngineKey)).unwrap();
            let position = Position::new(Incarnation(incarnation), MessageNumber(number));
            let record = StreamRecord { position, time: UnixMillis(time), content };
            let (set, payload) = write(StreamId(255), &record, &engines);
            let message = stored(headers::id(position).into_bytes(), set, payload.to_vec());
            let expected = Stored { offset: 7, stream: StreamId(255), record: record.clone(), engines };
            prop_assert_eq!(read(&message), Some(expected));
        }

        #[test]
        fn any_message_is_read_or_refused(
            key: Vec<u8>,
            name in "[a-z-]{0,9}",
            value: Vec<u8>,
            kind: Option<String>,
            payload: Vec<u8>,
        ) {
            let mut set = OwnedHeaders::new().insert(Header { key: "mcast-stream", value: Some(&value) });
            set = set.insert(Header { key: &name, value: Some(&value) });
            if let Some(kind) = &kind {
                set = set.insert(Header { key: "mcast-kind", value: Some(kind.as_bytes()) });
            }
            let _ = read(&stored(key, set.clone(), payload.clone()));
            let _ = read(&stored(b"5-7".to_vec(), set, payload));
        }
    }
}
