//! Appending to a stream in NATS.
//!
//! Each message names the id of the one that it is stored behind, so that a batch needs no lock: if one is refused, all
//! that follow it are. The first and the last message of a batch are acknowledged. If the last one is stored, all are.
//!
//! The servers of a stream with several copies compare ids only when they write, and then stop (seen with 2.15.1). There, a
//! batch is stored as a whole if the last message has the expected sequence, and the next one is sent when that is known.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};

use mcast_stream::wire::EngineKey;
use serde_json::json;

use super::client::Client;
use super::client::{self, ApiError};
use super::protocol::{Delivery, Headers};
use super::stream;
use super::stream::Stream;
use crate::engine::{BridgeBeacon, LastRecord, PendingGap, RecordBatch, Response, Sink};
use crate::error::nats::{copies_differ, no_jetstream, unheard};
use crate::error::{EngineError, any};
use crate::limits::{EngineRetention, UnstorableRecord};
use crate::record::{Position, StreamRecord};

/// The bucket in which bridges note what they wait for.
const BUCKET: &str = "mcast-bridges";

/// The most messages of a batch that is stored as a whole.
const MOST_IN_BATCH: usize = 1_000;

pub(super) struct NatsSink {
    stream: Stream,
    /// The last record, if the server does not know its id or there are several copies, and the sequence to expect instead. Of
    /// several copies, it outlasts the message.
    unnamed: (Option<Position>, u64),
    /// Batches without a response.
    sent: VecDeque<Sent>,
    /// Responses that were not yet received.
    ready: VecDeque<Response>,
}

/// A batch without a response.
#[derive(Clone, Copy, Debug)]
enum Sent {
    Published(SentBatch),
    /// It was not published, because a record of it can never be stored.
    Unstorable(UnstorableRecord),
}

#[derive(Clone, Copy, Debug)]
struct SentBatch {
    expected: Option<Position>,
    /// The requests that are the first and the last message.
    first: u64,
    last: u64,
    /// The first record, and its size.
    head: Option<(Position, usize)>,
}

/// Returns the size of a record as NATS counts it: its headers and its payload.
fn written_size(batch: &RecordBatch, record: &StreamRecord) -> usize {
    let (headers, payload) = stream::write(batch.stream, record, &batch.engines);
    headers.block().len() + payload.len()
}

/// What became of a message.
enum Outcome {
    Stored,
    /// Another message than expected is the last one, or a message with this id is stored.
    Refused,
    /// There is no stream.
    Gone,
    /// The message, or its headers, can never be stored.
    Unstorable,
}

impl NatsSink {
    pub(super) const fn new(stream: Stream) -> Self {
        Self { stream, unnamed: (None, 0), sent: VecDeque::new(), ready: VecDeque::new() }
    }

    fn client(&mut self) -> &mut Client {
        &mut self.stream.client
    }

    /// Publishes a batch to several copies, and waits for the response.
    fn publish_whole(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        for records in batch.records.chunks(MOST_IN_BATCH) {
            let (known, sequence) = self.unnamed;
            let before = if records.as_ptr() == batch.records.as_ptr() { batch.expected } else { known };
            if before != known || !self.is_stored(batch, records, sequence)? {
                let tail = self.last_record()?;
                self.ready.push_back(Response::Refused { tail });
                return Ok(());
            }
            let last = records.last().map(|record| record.position);
            self.unnamed = (last, sequence + records.len() as u64);
        }
        self.ready.push_back(Response::Appended);
        Ok(())
    }

    /// Stores records of a batch behind the message with this sequence, all or none; returns whether they are stored.
    fn is_stored(
        &mut self,
        batch: &RecordBatch,
        records: &[StreamRecord],
        sequence: u64,
    ) -> Result<bool, EngineError> {
        let id = format!("{:016x}", RandomState::new().build_hasher().finish());
        let mut first = None;
        let mut last = 0;
        for (record, number) in records.iter().zip(1..) {
            let (mut headers, payload) = stream::write(batch.stream, record, &batch.engines);
            headers.set(stream::BATCH, &id);
            headers.set(stream::BATCH_SEQUENCE, number);
            let is_last = number == records.len();
            if number == 1 {
                headers.set(stream::EXPECTED_SEQUENCE, sequence);
            }
            if is_last {
                headers.set(stream::BATCH_COMMIT, 1);
            }
            if number == 1 || is_last {
                last = self.stream.client.request(&self.stream.subject, &headers, payload);
                first = first.or(Some(last));
            } else {
                self.stream.client.publish(&self.stream.subject, &headers, payload);
            }
        }
        self.client().flush()?;
        if let Some(first) = first.filter(|first| *first != last) {
            let begun = self.client().response(first)?;
            // The response to one that is accepted is empty.
            if !begun.payload.is_empty() && !matches!(self.outcome_of(&begun)?, Outcome::Stored) {
                return Ok(false);
            }
        }
        Ok(matches!(self.outcome(last)?, Outcome::Stored))
    }

    /// Returns the first record of a batch that is too large.
    fn too_large(&self, batch: &RecordBatch) -> Option<UnstorableRecord> {
        let (most, remedy) = self.stream.largest();
        batch.records.iter().find_map(|record| {
            let size = written_size(batch, record);
            (size > most).then(|| UnstorableRecord::too_large(record.position, size, most, remedy))
        })
    }

    /// Publishes a batch.
    fn publish(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        if let Some(record) = self.too_large(batch) {
            match self.stream.copies > 1 {
                // Responses are in order, and those to batches that are stored as a whole are known at once.
                true => self.ready.push_back(Response::Unstorable(record)),
                false => self.sent.push_back(Sent::Unstorable(record)),
            }
            return Ok(());
        }
        if self.stream.copies > 1 {
            return self.publish_whole(batch);
        }
        let mut before = batch.expected;
        let (mut first, mut last) = (None, 0);
        for (index, record) in batch.records.iter().enumerate() {
            let (mut headers, payload) = stream::write(batch.stream, record, &batch.engines);
            match before {
                Some(position) if before != self.unnamed.0 => {
                    headers.set(stream::EXPECTED_ID, stream::id(position));
                }
                _ => headers.set(stream::EXPECTED_SEQUENCE, self.unnamed.1),
            }
            before = Some(record.position);
            if index == 0 || index + 1 == batch.records.len() {
                last = self.stream.client.request(&self.stream.subject, &headers, payload);
                first = first.or(Some(last));
            } else {
                self.stream.client.publish(&self.stream.subject, &headers, payload);
            }
        }
        self.client().flush()?;
        let first = first.unwrap_or(last);
        let head = batch.records.first().map(|record| (record.position, written_size(batch, record)));
        self.sent.push_back(Sent::Published(SentBatch { expected: batch.expected, first, last, head }));
        Ok(())
    }

    /// Waits for the response to the oldest batch. If it was refused, so are those that were sent behind it.
    fn finish(&mut self, sent: Sent) -> Result<(), EngineError> {
        let batch = match sent {
            Sent::Published(batch) => batch,
            Sent::Unstorable(record) => {
                let tail = self.tail_behind()?;
                self.refuse_behind(Response::Unstorable(record), tail);
                return Ok(());
            }
        };
        let first = self.outcome(batch.first)?;
        let last = if batch.last == batch.first { None } else { Some(self.outcome(batch.last)?) };
        if matches!(last.as_ref().unwrap_or(&first), Outcome::Stored) {
            self.ready.push_back(Response::Appended);
            return Ok(());
        }
        self.check_heard(&first)?;
        let tail = self.tail_behind()?;
        if let (Outcome::Unstorable, Some((position, size))) = (&first, batch.head) {
            // The limit is another than it was.
            self.stream.info()?;
            let (_, remedy) = self.stream.largest();
            let record =
                UnstorableRecord { most: None, ..UnstorableRecord::too_large(position, size, 0, remedy) };
            self.refuse_behind(Response::Unstorable(record), tail);
            return Ok(());
        }
        // It would be refused again.
        if batch.expected.is_some() && tail.map(|tail| tail.position) == batch.expected {
            return Err(any::unexpected(self.client().address()));
        }
        self.refuse_behind(Response::Refused { tail }, tail);
        Ok(())
    }

    /// Returns an error if nobody took a message, although the stream was there all the time: it would be sent again without
    /// end.
    fn check_heard(&mut self, outcome: &Outcome) -> Result<(), EngineError> {
        let known = self.stream.key;
        let was_there = matches!(outcome, Outcome::Gone)
            && self.stream.info()?.is_some()
            && known.is_some_and(|known| self.stream.key == Some(known));
        let Stream { client, name, subject, .. } = &self.stream;
        if was_there { Err(unheard(client.address(), name, subject)) } else { Ok(()) }
    }

    /// Responds to the oldest batch, and refuses those that were sent behind it: they are executed.
    fn refuse_behind(&mut self, response: Response, tail: Option<LastRecord>) {
        self.ready.push_back(response);
        let refused = std::iter::repeat_n(Response::Refused { tail }, self.sent.len());
        self.ready.extend(refused);
        self.sent.clear();
    }

    /// Returns the last record, once what was sent is executed.
    fn tail_behind(&mut self) -> Result<Option<LastRecord>, EngineError> {
        for at in 0..self.sent.len() {
            if let Some(Sent::Published(behind)) = self.sent.get(at).copied() {
                self.outcome(behind.last)?;
            }
        }
        self.last_record()
    }

    fn outcome(&mut self, request: u64) -> Result<Outcome, EngineError> {
        let delivery = self.client().response(request)?;
        self.outcome_of(&delivery)
    }

    fn outcome_of(&mut self, delivery: &Delivery) -> Result<Outcome, EngineError> {
        if delivery.headers.status.is_some() {
            return Ok(Outcome::Gone);
        }
        match self.client().json(&delivery.payload)? {
            Ok(stored) if stored["duplicate"] == true => Ok(Outcome::Refused),
            Ok(_) => Ok(Outcome::Stored),
            Err(ApiError {
                code: client::WRONG_LAST_ID | client::WRONG_LAST_SEQUENCE | client::REPEATED_ID,
                ..
            }) => Ok(Outcome::Refused),
            Err(ApiError { code: client::TOO_LARGE | client::HEADERS_TOO_LARGE, .. }) => {
                Ok(Outcome::Unstorable)
            }
            Err(error) => Err(client::api(self.client().address(), &error)),
        }
    }

    /// Returns the last record.
    fn last_record(&mut self) -> Result<Option<LastRecord>, EngineError> {
        let sequence = self.stream.create()?;
        let last = self.stream.last()?;
        let known = last.as_ref().map(|last| self.stream.record(last)).transpose()?;
        let known = known.map(|(stream, record)| stream::tail(stream, &record));
        if self.stream.copies > 1 {
            let known_sequence = last.map_or(0, |last| last.sequence);
            // The last message was removed, or a leader that is new does not have it yet.
            if known_sequence < sequence && self.stream.info()?.is_none_or(|(_, last)| last != sequence) {
                return Err(copies_differ(self.client().address()));
            }
            let sequence = known_sequence.max(sequence);
            // The last message was removed, and nothing was appended since this bridge knew which record it was.
            if known_sequence < sequence
                && let (Some(position), last) = self.unnamed
                && last == sequence
            {
                return Ok(Some(LastRecord { position, stream: None, closes: false }));
            }
            self.unnamed = (known.map(|tail| tail.position), sequence);
            return Ok(known);
        }
        self.unnamed = (None, 0);
        if sequence == 0 || last.is_some_and(|last| last.sequence >= sequence) {
            return Ok(known);
        }
        // The last message was removed. The server knows its id until it restarts, and reports it to a message that it
        // refuses.
        let mut headers = Headers::default();
        headers.set(stream::EXPECTED_ID, "-");
        let subject = self.stream.subject.clone();
        let request = self.client().request(&subject, &headers, b"");
        self.client().flush()?;
        let delivery = self.client().response(request)?;
        let refused = self.client().json(&delivery.payload)?.err();
        let id = refused.and_then(|error| Some(error.description.rsplit_once(": ")?.1.to_owned()));
        if let Some(position) = id.and_then(|id| stream::position(&id)) {
            return Ok(Some(LastRecord { position, stream: None, closes: false }));
        }
        self.unnamed = (known.map(|tail| tail.position), sequence);
        Ok(known)
    }

    /// Notes a bridge, and returns what the others wait for.
    fn note(&mut self, presence: BridgeBeacon) -> Result<Vec<Option<PendingGap>>, EngineError> {
        let prefix = format!("$KV.{BUCKET}.{}", self.stream.name);
        let subject = format!("{prefix}.{:016x}", presence.bridge);
        let text = PendingGap::text(presence.hole);
        let mut is_created = false;
        loop {
            let request = self.client().request(&subject, &Headers::default(), text.as_bytes());
            self.client().flush()?;
            let delivery = self.client().response(request)?;
            match self.outcome_of(&delivery)? {
                Outcome::Gone if !std::mem::replace(&mut is_created, true) => self.create_bucket()?,
                Outcome::Gone => return Err(no_jetstream(self.client().address())),
                _ => break,
            }
        }
        let notes = self
            .client()
            .messages(&format!("KV_{BUCKET}"), &json!({ "multi_last": [format!("{prefix}.*")] }))?;
        let others = notes.into_iter().filter(|note| note.headers.field("Nats-Subject") != Some(&subject));
        Ok(others.map(|note| PendingGap::parse(&String::from_utf8_lossy(&note.payload))).collect())
    }

    /// Creates the bucket for notes, of the same form as other clients do. It outlasts a restart of the server, after which
    /// the bridges are not back at the same time.
    fn create_bucket(&mut self) -> Result<(), EngineError> {
        let kept_for = u64::try_from(BridgeBeacon::KEPT_FOR.as_nanos()).unwrap_or(u64::MAX);
        self.stream.created(&json!({
            "name": format!("KV_{BUCKET}"), "subjects": [format!("$KV.{BUCKET}.>")], "storage": "file",
            "max_age": kept_for, "max_msgs_per_subject": 1, "discard": "new", "deny_delete": true,
            "allow_rollup_hdrs": true, "allow_direct": true, "num_replicas": self.stream.copies,
        }))
    }
}

impl Sink for NatsSink {
    fn engine_key(&self) -> Option<EngineKey> {
        self.stream.key
    }

    fn retention(&mut self) -> Result<EngineRetention, EngineError> {
        self.stream.info()?;
        Ok(self.stream.retention())
    }

    fn check(&mut self) -> Result<(), EngineError> {
        self.stream.info().map(|_| ())
    }

    fn append_if(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        self.publish(batch)
    }

    /// The server executes it beside what was published before, so it is sent when that is done.
    fn tail(&mut self, beacon: BridgeBeacon) -> Result<(), EngineError> {
        while let Some(batch) = self.sent.pop_front() {
            self.finish(batch)?;
        }
        let others = self.note(beacon)?;
        let tail = self.last_record()?;
        self.ready.push_back(Response::LastRecord { tail, others });
        Ok(())
    }

    fn receive(&mut self) -> Result<Response, EngineError> {
        if self.ready.is_empty()
            && let Some(batch) = self.sent.pop_front()
        {
            self.finish(batch)?;
        }
        self.ready.pop_front().ok_or_else(|| any::unexpected(self.stream.client.address()))
    }
}
