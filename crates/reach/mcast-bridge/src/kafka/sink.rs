//! Appending to a topic.
//!
//! A batch is appended only by the bridge that is active, which knows the last record: it read that after it had fenced
//! all others, and nobody else appends since. That the topic has not lost it is checked before and in each transaction.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mcast_stream::wire::{EngineKey, StreamId, VisitedEngines};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;

use super::client::{self, KafkaProducer, TIMEOUT};
use super::notes::{Note, Notes};
use super::source::{Range, Reader, engine_key};
use super::standby::Standby;
use super::target::KafkaTarget;
use crate::engine::{BridgeBeacon, Engine, LastRecord, RecordBatch, Request, Response, Sink};
use crate::error::{EngineError, any};
use crate::headers;
use crate::limits::{EngineRetention, RecordRefusal, UnstorableRecord};
use crate::record::StreamRecord;

/// How long a bridge that stands by waits for the active one before it refuses a batch.
const STANDBY_WAIT: Duration = Duration::from_millis(50);
/// How often it looks meanwhile.
const LOOK: Duration = Duration::from_millis(10);
/// How often the active bridge looks for the marker of its last transaction, before which nobody sees the records.
const MARKER: Duration = Duration::from_millis(2);
/// How many bytes of records the client sends to the broker as one message, at most.
const BATCH_BYTES: usize = 512 << 10;

/// The last record that is known.
#[derive(Clone, Copy, Debug)]
struct KnownTail {
    tail: LastRecord,
    offset: i64,
    end: End,
}

/// The end of the topic as of when the last record was the last one.
#[derive(Clone, Copy, Debug)]
enum End {
    Read(i64),
    /// This bridge has appended the record. Only the marker of its transaction follows.
    Appended,
    Unknown,
}

impl KnownTail {
    /// Returns whether it is still the last record, if the topic ends here.
    fn is_last(&self, end: i64) -> bool {
        match self.end {
            End::Read(known) => known == end,
            End::Appended => end - self.offset <= 2,
            End::Unknown => false,
        }
    }
}

pub(super) struct KafkaSink {
    target: KafkaTarget,
    reader: Reader,
    notes: Notes,
    /// There is one while this bridge is active.
    writer: Option<Writer>,
    standby: Arc<Mutex<Standby>>,
    known: Option<KnownTail>,
    engine_key: EngineKey,
    requests: VecDeque<Request>,
}

impl KafkaSink {
    pub(super) fn connect(target: &KafkaTarget, standby: Arc<Mutex<Standby>>) -> Result<Self, EngineError> {
        let reader = Reader::new(target)?;
        reader.create()?;
        let engine_key = engine_key(&reader)?;
        // Until a request names the bridge.
        let bridge = RandomState::new().build_hasher().finish();
        Ok(Self {
            notes: Notes::open(target, bridge)?,
            target: target.clone(),
            reader,
            writer: None,
            standby,
            known: None,
            engine_key,
            requests: VecDeque::new(),
        })
    }

    /// Returns the last committed record.
    fn last_record(&mut self) -> Result<Option<LastRecord>, EngineError> {
        let until = Instant::now() + TIMEOUT;
        let range = loop {
            let Some(range) = self.reader.range()? else {
                self.forget();
                self.reader.create()?;
                continue;
            };
            match self.known {
                Some(known) if range.end <= known.offset => {
                    // It was lost, unless the marker of the transaction is still to be written.
                    let is_there = match &self.writer {
                        Some(writer) => writer.end()? > known.offset,
                        None => false,
                    };
                    if !is_there {
                        self.forget();
                        break range;
                    }
                    if Instant::now() >= until {
                        return Err(any::silent(self.target.address()));
                    }
                    std::thread::sleep(MARKER);
                }
                Some(known) if known.is_last(range.end) => {
                    self.known = Some(KnownTail { end: End::Read(range.end), ..known });
                    return Ok(Some(present(known, range)));
                }
                _ => break range,
            }
        };
        let last = self.reader.last(range)?;
        self.known = match (last, self.known) {
            (Some(stored), _) => {
                let tail = headers::tail(stored.stream, &stored.record);
                Some(KnownTail { tail, offset: stored.offset, end: End::Read(range.end) })
            }
            // It was removed.
            (None, known) => known.map(|known| KnownTail { end: End::Read(range.end), ..known }),
        };
        Ok(self.known.map(|known| present(known, range)))
    }

    /// Forgets the last record, because the topic has lost it. The producer starts again, as the topic may have.
    fn forget(&mut self) {
        self.known = None;
        self.writer = None;
    }

    /// Notes what this bridge waits for, and whether it is active.
    fn note(&mut self, hole: Option<crate::engine::PendingGap>) -> Result<(), EngineError> {
        self.notes.note(Note { is_active: self.writer.is_some(), hole })
    }

    fn append(&mut self, batch: &RecordBatch) -> Result<Response, EngineError> {
        let until = Instant::now() + STANDBY_WAIT;
        let mut count = batch.records.len();
        loop {
            let tail = self.last_record()?;
            if tail.map(|tail| tail.position) != batch.expected {
                return Ok(Response::Refused { tail });
            }
            if self.writer.is_some() {
                match self.append_active(batch, &mut count)? {
                    Some(response) => return Ok(response),
                    None => continue,
                }
            }
            if self.is_due(batch)? {
                self.take_over()?;
            } else if Instant::now() >= until {
                return Ok(Response::Refused { tail });
            } else {
                std::thread::sleep(LOOK);
            }
        }
    }

    /// Appends the first `count` records as the active bridge; `None` if it no longer is, or the topic has lost records, or
    /// fewer records must be appended.
    fn append_active(
        &mut self,
        batch: &RecordBatch,
        count: &mut usize,
    ) -> Result<Option<Response>, EngineError> {
        let records = &batch.records[..*count];
        let (Some(writer), Some(last)) = (&self.writer, records.last()) else { return Ok(None) };
        match writer.append(batch, records, self.known.map(|known| known.offset))? {
            Appended::Stored(offset) => {
                let tail = headers::tail(batch.stream, last);
                self.known = Some(KnownTail { tail, offset, end: End::Appended });
                // Until everyone sees it.
                let tail = self.last_record()?;
                Ok(Some(match *count == batch.records.len() {
                    true => Response::Appended,
                    // The rest follows.
                    false => Response::Refused { tail },
                }))
            }
            Appended::Refused { why, is_aborted } => {
                // Brokers before 2.5 let no producer recover from a refusal (KIP-360). Another one aborts what this one began.
                if !is_aborted {
                    self.writer = None;
                    self.take_over()?;
                }
                *count = before_refused(records, why);
                Ok((*count == 0)
                    .then(|| Response::Unstorable(unstorable(last, why, &batch.engines, batch.stream))))
            }
            Appended::Fenced => {
                self.writer = None;
                let tail = self.last_record()?;
                Ok(Some(Response::Refused { tail }))
            }
            Appended::Shortened => {
                self.forget();
                Ok(None)
            }
        }
    }

    /// Returns whether to take over from the active bridge.
    fn is_due(&mut self, batch: &RecordBatch) -> Result<bool, EngineError> {
        self.notes.refresh()?;
        let Some(first) = batch.records.first() else { return Ok(false) };
        let mut standby = self.standby.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(standby.is_due(Instant::now(), batch.expected, first, self.notes.active()))
    }

    fn take_over(&mut self) -> Result<(), EngineError> {
        self.writer = Some(Writer::begin(&self.target)?);
        // What others appended before they were fenced is read again, too.
        if let Some(known) = &mut self.known {
            known.end = End::Unknown;
        }
        self.note(None)
    }
}

/// Returns how many of these records to append instead, after the broker has refused one of them; 0 if there is only one.
///
/// The broker does not say which. If one is too large, it is most likely the largest, before which the others are stored.
fn before_refused(records: &[StreamRecord], why: RecordRefusal) -> usize {
    let most = records.len() - 1;
    match why {
        RecordRefusal::TooLarge => {
            // The first of several.
            let sizes = records.iter().map(StreamRecord::size).enumerate().rev();
            let largest = sizes.max_by_key(|(_, size)| *size).map_or(0, |(index, _)| index);
            largest.clamp(most.min(1), most)
        }
        RecordRefusal::Other => records.len() / 2,
    }
}

/// Returns what is reported of a record that the broker refuses.
fn unstorable(
    record: &StreamRecord,
    why: RecordRefusal,
    engines: &VisitedEngines,
    stream: StreamId,
) -> UnstorableRecord {
    let (_, payload) = super::write(stream, record, engines);
    let remedy = match why {
        RecordRefusal::TooLarge => {
            "raise `max.message.bytes` of the topic, or `message.max.bytes` of the broker"
        }
        RecordRefusal::Other => {
            "see the log of the broker; of times, `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms` of \
             the topic"
        }
    };
    UnstorableRecord { position: record.position, why, size: Some(payload.len()), most: None, remedy }
}

/// Returns the last record as it is in the topic: it may have been removed.
fn present(known: KnownTail, range: Range) -> LastRecord {
    match known.offset < range.low {
        true => LastRecord { stream: None, closes: false, ..known.tail },
        false => known.tail,
    }
}

impl Sink for KafkaSink {
    fn engine_key(&self) -> Option<EngineKey> {
        Some(self.engine_key)
    }

    fn retention(&mut self) -> Result<EngineRetention, EngineError> {
        client::retention(&self.target, self.reader.topic())
    }

    fn check(&mut self) -> Result<(), EngineError> {
        self.reader.state().map(|_| ())
    }

    fn append_if(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        self.requests.push_back(Request::Append(batch.clone()));
        Ok(())
    }

    fn tail(&mut self, beacon: BridgeBeacon) -> Result<(), EngineError> {
        self.requests.push_back(Request::LastRecord(beacon));
        Ok(())
    }

    fn receive(&mut self) -> Result<Response, EngineError> {
        match self.requests.pop_front() {
            Some(Request::LastRecord(presence)) => {
                self.notes.set_bridge(presence.bridge);
                self.note(presence.hole)?;
                let tail = self.last_record()?;
                Ok(Response::LastRecord { tail, others: self.notes.holes() })
            }
            Some(Request::Append(batch)) => self.append(&batch),
            Some(Request::Retention) | None => Err(any::silent(self.target.address())),
        }
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// It is stored. The last record has this offset.
    Stored(i64),
    /// Another bridge has taken over, so it is not stored, or was stored before that.
    Fenced,
    /// The topic has lost records that it had acknowledged, so the batch was not appended.
    Shortened,
    /// The broker refuses a record, and would refuse it again. Nothing was appended. If the transaction is not aborted, the
    /// producer is of no use any more.
    Refused { why: RecordRefusal, is_aborted: bool },
}

/// The only producer of a topic, until another bridge begins.
pub(super) struct Writer {
    producer: KafkaProducer,
    target: KafkaTarget,
    topic: String,
}

impl Writer {
    /// Fences the producers of other bridges. What they produced before is committed or aborted when this returns.
    pub(super) fn begin(target: &KafkaTarget) -> Result<Self, EngineError> {
        let topic = target.topic.clone();
        let timeout = TIMEOUT.as_millis().to_string();
        // Several records are one message to the broker, which has the limit of a single one.
        let largest = client::largest_message(target, &topic)?.unwrap_or(BATCH_BYTES);
        let batch_size = BATCH_BYTES.min(largest).to_string();
        let producer = client::producer(
            target,
            &[
                ("transactional.id", &format!("mcast-bridge.{topic}")),
                // After this time, the broker aborts what a killed bridge has left.
                ("transaction.timeout.ms", &timeout),
                ("linger.ms", "1"),
                ("batch.size", &batch_size),
                ("compression.type", "lz4"),
                // To see the records of other producers that are not committed.
                ("isolation.level", "read_uncommitted"),
            ],
        )?;
        let begun = producer.init_transactions(TIMEOUT);
        begun.map_err(|cause| client::request(&target.address(), &cause))?;
        Ok(Self { producer, target: target.clone(), topic })
    }

    /// Returns one past the last offset, committed or not.
    pub(super) fn end(&self) -> Result<i64, EngineError> {
        let watermarks = self.producer.client().fetch_watermarks(&self.topic, 0, TIMEOUT);
        watermarks.map(|(_, end)| end).map_err(|cause| self.failed(&cause))
    }

    /// Appends records of a batch, unless the record with the offset `last` is no longer there.
    pub(super) fn append(
        &self,
        batch: &RecordBatch,
        records: &[StreamRecord],
        last: Option<i64>,
    ) -> Result<Appended, EngineError> {
        let stored = self.transaction(batch, records, last);
        if let Ok(Err(code)) = &stored
            && let Some(why) = client::record_refusal(*code)
            && self.producer.client().fatal_error().is_none()
        {
            let aborted = self.producer.abort_transaction(TIMEOUT).map(|()| Ok::<_, RDKafkaErrorCode>(()));
            return Ok(match aborted.is_err() && self.is_fenced(&aborted) {
                true => Appended::Fenced,
                false => Appended::Refused { why, is_aborted: aborted.is_ok() },
            });
        }
        if !matches!(stored, Ok(Ok(_))) && self.is_fenced(&stored) {
            return Ok(Appended::Fenced);
        }
        stored
            .map_err(|cause| self.failed(&cause))?
            .map_err(|code| client::undelivered(&self.target.address(), code))
    }

    /// Returns whether a batch failed because another bridge has taken over.
    fn is_fenced<T>(&self, stored: &Result<Result<T, RDKafkaErrorCode>, KafkaError>) -> bool {
        let code = match stored {
            Ok(Err(code)) => Some(*code),
            Err(KafkaError::Transaction(cause)) => Some(cause.code()),
            Err(cause) => cause.rdkafka_error_code(),
            Ok(Ok(_)) => None,
        };
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        code.into_iter().chain(fatal).any(|code| FENCED.contains(&code))
    }

    /// Appends a batch; the inner error is that of a record.
    fn transaction(
        &self,
        batch: &RecordBatch,
        records: &[StreamRecord],
        last: Option<i64>,
    ) -> Result<Result<Appended, RDKafkaErrorCode>, KafkaError> {
        self.producer.client().context().take_delivered();
        self.producer.begin_transaction()?;
        for record in records {
            let (set, payload) = super::write(batch.stream, record, &batch.engines);
            let key = headers::id(record.position);
            let time = i64::try_from(record.time.0).unwrap_or(i64::MAX);
            let to_send = BaseRecord::to(&self.topic).partition(0).key(&key).payload(payload);
            self.producer.send(to_send.timestamp(time).headers(set)).map_err(|(cause, _)| cause)?;
        }
        let delivered = client::delivered(&self.producer, records.len());
        if let Some(code) = delivered.error {
            return Ok(Err(code));
        }
        match delivered.offsets {
            Some((first, greatest)) if delivered.count == records.len() && Some(first) > last => {
                self.producer.commit_transaction(TIMEOUT)?;
                Ok(Ok(Appended::Stored(greatest)))
            }
            _ => {
                self.producer.abort_transaction(TIMEOUT)?;
                Ok(Ok(Appended::Shortened))
            }
        }
    }

    fn failed(&self, cause: &KafkaError) -> EngineError {
        // A fatal error names its own cause.
        match self.producer.client().fatal_error() {
            Some((code, reason)) => client::reported(&self.target.address(), code, &reason),
            None => client::request(&self.target.address(), cause),
        }
    }
}

const FENCED: [RDKafkaErrorCode; 3] =
    [RDKafkaErrorCode::Fenced, RDKafkaErrorCode::ProducerFenced, RDKafkaErrorCode::InvalidProducerEpoch];
