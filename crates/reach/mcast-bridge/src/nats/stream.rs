//! A stream in NATS: what it is, its messages, and the records in them.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mcast_stream::wire::{EngineKey, StreamId, VisitedEngines};
use serde_json::{Value, json};

use super::client::{self, Client};
use super::protocol::Headers;
use super::target::{NatsTarget, Settings};
use crate::error::nats::{no_acknowledgements, no_batches, other_subjects, sealed, transformed};
use crate::error::{EngineError, any};
use crate::headers;
pub(super) use crate::headers::{id, position, tail};
use crate::limits::{EngineRetention, RetentionRule};
use crate::record::StreamRecord;

/// The size of the messages that are requested at once.
const BYTES: usize = 1 << 20;

/// A stored message, with its sequence.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) sequence: u64,
    headers: Headers,
    payload: Vec<u8>,
}

/// A stream on a connection.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) client: Client,
    pub(super) name: String,
    pub(super) subject: String,
    /// Identifies the stream, by its name and the time when it was created; `None` until that is known.
    pub(super) key: Option<EngineKey>,
    /// How many servers have it.
    pub(super) copies: u64,
    /// The largest message that it takes, headers included, if it has a limit of its own.
    largest: Option<usize>,
    retention: EngineRetention,
    /// Why nothing can be appended to it.
    unwritable: Option<EngineError>,
    settings: Settings,
}

impl Stream {
    /// Opens a stream, which is created if it does not exist.
    pub(super) fn open(client: Client, target: &NatsTarget) -> Result<Self, EngineError> {
        let mut stream = Self::unopened(client, target, target.settings.clone());
        stream.create()?;
        Ok(stream)
    }

    /// Opens a stream to read from it; `None` if it does not exist.
    pub(super) fn find(client: Client, target: &NatsTarget) -> Result<Option<Self>, EngineError> {
        let mut stream = Self::unopened(client, target, Settings::default());
        Ok(stream.info()?.map(|_| stream))
    }

    fn unopened(client: Client, target: &NatsTarget, settings: Settings) -> Self {
        Self {
            client,
            name: target.stream.clone(),
            subject: String::new(),
            key: None,
            copies: 1,
            largest: None,
            retention: EngineRetention::default(),
            unwritable: None,
            settings,
        }
    }

    /// Returns the largest message that it takes, headers included, and what to do to raise that.
    pub(super) fn largest(&self) -> (usize, &'static str) {
        let of_server = (self.client.max_payload(), "raise `max_payload` of the server");
        let of_stream =
            self.largest.map(|most| (most, "raise `max_msg_size` of the stream: nats stream edit"));
        of_stream.filter(|(most, _)| *most < of_server.0).unwrap_or(of_server)
    }

    /// Returns what the stream removes on its own, as of the latest [`info`](Self::info).
    pub(super) fn retention(&self) -> EngineRetention {
        self.retention.clone()
    }

    /// Returns the first and last sequence of the stream; `None` if it does not exist.
    pub(super) fn info(&mut self) -> Result<Option<(u64, u64)>, EngineError> {
        let info = match self.client.api(&format!("STREAM.INFO.{}", self.name), &Value::Null)? {
            Ok(info) => info,
            Err(error) if error.code == client::NO_STREAM => return Ok(None),
            Err(error) => return Err(client::api(self.client.address(), &error)),
        };
        let mut settings = info["config"].clone();
        self.subject = usable_subject(&self.name, &settings)?;
        self.copies = copies(&settings);
        self.largest = settings["max_msg_size"].as_u64().and_then(|size| size.try_into().ok());
        self.retention = retention(&settings);
        self.unwritable = unwritable(&self.name, &settings);
        // The server's own notes, which it adds again.
        if let Some(settings) = settings.as_object_mut() {
            settings.remove("metadata");
        }
        self.settings.set(settings);
        let created = info["created"].as_str().ok_or_else(|| any::unexpected(self.client.address()))?;
        self.key = Some(EngineKey(StreamId::named(&format!("{} {created}", self.name)).0));
        let number = |name: &str| info["state"][name].as_u64();
        let range = number("first_seq").zip(number("last_seq"));
        range.map(Some).ok_or_else(|| any::unexpected(self.client.address()))
    }

    /// Creates the stream if it does not exist; returns the sequence of its last message. It is an error if nothing can be
    /// appended to it.
    pub(super) fn create(&mut self) -> Result<u64, EngineError> {
        if let Some((_, last)) = self.info()? {
            return match &self.unwritable {
                Some(error) => Err(error.clone()),
                None => Ok(last),
            };
        }
        let creation = self.settings.creation(&self.name);
        self.created(&creation)?;
        Ok(self.info()?.map_or(0, |(_, last)| last))
    }

    /// Creates a stream of this configuration.
    pub(super) fn created(&mut self, configuration: &Value) -> Result<(), EngineError> {
        let name = configuration["name"].as_str().unwrap_or_default();
        let created = self.client.api(&format!("STREAM.CREATE.{name}"), configuration)?;
        created.map(|_| ()).map_err(|error| client::api(self.client.address(), &error))
    }

    /// Returns the last message. The stream's leader is asked, because other servers of a cluster may lag behind.
    pub(super) fn last(&mut self) -> Result<Option<Stored>, EngineError> {
        let body = json!({ "last_by_subj": self.subject });
        self.message(&body)
    }

    /// Returns the first message with this sequence or a later one.
    pub(super) fn first_from(&mut self, sequence: u64) -> Result<Option<Stored>, EngineError> {
        let body = json!({ "seq": sequence, "next_by_subj": self.subject });
        self.message(&body)
    }

    /// Returns a message; `None` if there is none, or the stream does not exist.
    fn message(&mut self, body: &Value) -> Result<Option<Stored>, EngineError> {
        let response = match self.client.api(&format!("STREAM.MSG.GET.{}", self.name), body)? {
            Ok(response) => response,
            Err(error) if matches!(error.code, client::NO_MESSAGE | client::NO_STREAM) => return Ok(None),
            Err(error) => return Err(client::api(self.client.address(), &error)),
        };
        let decoded =
            |name: &str| STANDARD.decode(response["message"][name].as_str().unwrap_or_default()).ok();
        let stored = || {
            let (headers, payload) = (decoded("hdrs")?, decoded("data")?);
            let headers =
                if headers.is_empty() { Headers::default() } else { Headers::parse(&headers).ok()? };
            Some(Stored { sequence: response["message"]["seq"].as_u64()?, headers, payload })
        };
        stored().map(Some).ok_or_else(|| any::unexpected(self.client.address()))
    }

    /// Returns messages from this sequence on, at most `count` of them, and fewer if they are large.
    pub(super) fn messages(&mut self, sequence: u64, count: usize) -> Result<Vec<Stored>, EngineError> {
        let body = json!({
            "seq": sequence, "batch": count, "max_bytes": BYTES, "next_by_subj": self.subject,
        });
        let messages = self.client.messages(&self.name, &body)?;
        let stored = |message: super::protocol::Delivery| {
            let sequence = message.headers.field("Nats-Sequence").and_then(|text| text.parse().ok());
            let sequence = sequence.ok_or_else(|| any::unexpected(self.client.address()))?;
            Ok(Stored { sequence, headers: message.headers, payload: message.payload })
        };
        messages.into_iter().map(stored).collect()
    }

    /// Returns the engines that a message came out of before.
    pub(super) fn engines(&self, stored: &Stored) -> Result<VisitedEngines, EngineError> {
        engines(&stored.headers).ok_or_else(|| client::foreign(&self.name, stored.sequence))
    }

    /// Returns the record that a message is.
    pub(super) fn record(&self, stored: &Stored) -> Result<(StreamId, StreamRecord), EngineError> {
        read(&stored.headers, &stored.payload).ok_or_else(|| client::foreign(&self.name, stored.sequence))
    }
}

/// Returns what a stream with this configuration removes on its own.
fn retention(configuration: &Value) -> EngineRetention {
    const REMEDY: &str = "change it with `nats stream edit`, or choose another stream with ?stream=STREAM";
    let limit = |name: &str| configuration[name].as_u64().filter(|limit| *limit > 0);
    let mut rules = Vec::new();
    let kept = configuration["retention"].as_str().unwrap_or("limits");
    if kept != "limits" {
        let what = format!(
            "retention {kept}: records are removed as soon as consumers of NATS have them, or if there are none"
        );
        rules.push(RetentionRule { what, remedy: REMEDY, is_hasty: true });
    }
    // A stream that discards new messages refuses them instead.
    if configuration["discard"] != "new" {
        rules.extend(limit("max_bytes").map(|most| RetentionRule::bytes("max_bytes", most, REMEDY)));
        for name in ["max_msgs", "max_msgs_per_subject"] {
            rules.extend(limit(name).map(|most| RetentionRule {
                what: format!("{name} of {most}: the oldest records beyond this number are removed"),
                remedy: REMEDY,
                is_hasty: most < FEW,
            }));
        }
    }
    let age = limit("max_age").map(Duration::from_nanos);
    rules.extend(age.map(|most| RetentionRule::age("max_age", most, REMEDY)));
    if configuration["storage"] == "memory" {
        let what = "storage memory: the stream is gone when the server restarts".to_owned();
        rules.push(RetentionRule { what, remedy: REMEDY, is_hasty: false });
    }
    EngineRetention { rules, ..EngineRetention::default() }
}

/// A stream that keeps fewer messages than this may remove what was just stored: the most of two batches.
const FEW: u64 = 2_000;

/// Returns how many copies a stream with this configuration has.
fn copies(configuration: &Value) -> u64 {
    configuration["num_replicas"].as_u64().unwrap_or(1)
}

/// Returns why nothing can be appended to a stream with this configuration.
fn unwritable(name: &str, configuration: &Value) -> Option<EngineError> {
    if configuration["sealed"] == true {
        return Some(sealed(name));
    }
    // A bridge would wait for them in vain, and not know what is stored.
    (configuration["no_ack"] == true).then(|| no_acknowledgements(name))
}

/// Returns the subject of a stream with this configuration, if a bridge can use it.
fn usable_subject(name: &str, configuration: &Value) -> Result<String, EngineError> {
    if copies(configuration) > 1 && configuration["allow_atomic"] != true {
        return Err(no_batches(name));
    }
    // Messages are stored under another subject, by which the last one would not be found.
    if !configuration["subject_transform"].is_null() {
        return Err(transformed(name));
    }
    match configuration["subjects"].as_array().map(Vec::as_slice) {
        Some([Value::String(subject)]) if !subject.contains(['*', '>']) => Ok(subject.clone()),
        _ => Err(other_subjects(name)),
    }
}

/// The header with the id, which is the position.
const ID: &str = "Nats-Msg-Id";
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
    use crate::record::{Position, UnixMillis, contents};

    #[test]
    fn a_stream_needs_one_subject_and_with_copies_batches() {
        let subject = |configuration: &Value| usable_subject("prices", configuration);
        assert_eq!(subject(&json!({ "subjects": ["a.b"], "num_replicas": 1 })).unwrap(), "a.b");
        for subjects in [json!([]), json!(["a.*"]), json!([">"]), json!(["a", "b"]), json!(null)] {
            let error = subject(&json!({ "subjects": subjects, "num_replicas": 1 })).unwrap_err();
            assert!(!error.is_transient() && error.what.contains("subject"), "{error:?}");
        }
        let transform = json!({ "src": "a.b", "dest": "c.d" });
        let error = subject(&json!({ "subjects": ["a.b"], "subject_transform": transform })).unwrap_err();
        assert!(!error.is_transient() && error.what.contains("another subject"), "{error:?}");
        let error = subject(&json!({ "subjects": ["a.b"], "num_replicas": 3 })).unwrap_err();
        assert!(!error.is_transient() && error.remedy.unwrap().contains("allow_atomic"));
        let configuration = json!({ "subjects": ["a.b"], "num_replicas": 3, "allow_atomic": true });
        assert_eq!(subject(&configuration).unwrap(), "a.b");
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
            let trail = VisitedEngines::of(keys.into_iter().map(EngineKey)).unwrap();
            let position = Position::new(Incarnation(incarnation), MessageNumber(number));
            let record = StreamRecord { position, time: UnixMillis(time), content };
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
