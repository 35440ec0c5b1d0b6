//! Appending batches to a topic, each in a transaction.

use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;

use super::client::{self, KafkaProducer, TIMEOUT};
use super::target::KafkaTarget;
use super::{entry, error};
use crate::engine::{EngineError, RecordBatch};
use crate::headers;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// It is stored. The last record has this offset.
    Stored(i64),
    /// Another bridge has taken over, so it is not stored, or was stored before that.
    Fenced,
    /// The topic has lost records that it had acknowledged, so the batch was not appended.
    Shortened,
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
        let topic = target.topic().ok_or_else(error::no_topic)?.to_owned();
        let timeout = TIMEOUT.as_millis().to_string();
        let producer = client::producer(
            target,
            &[
                ("transactional.id", &format!("mcast-bridge.{topic}")),
                // After this time, the broker aborts what a killed bridge has left.
                ("transaction.timeout.ms", &timeout),
                ("linger.ms", "1"),
                ("batch.size", "524288"),
                ("compression.type", "lz4"),
                // To see the records of other producers that are not committed.
                ("isolation.level", "read_uncommitted"),
            ],
        )?;
        let begun = producer.init_transactions(TIMEOUT);
        begun.map_err(|cause| error::request(&target.address(), &cause))?;
        Ok(Self { producer, target: target.clone(), topic })
    }

    /// Returns one past the last offset, committed or not.
    pub(super) fn end(&self) -> Result<i64, EngineError> {
        let watermarks = self.producer.client().fetch_watermarks(&self.topic, 0, TIMEOUT);
        watermarks.map(|(_, end)| end).map_err(|cause| self.failed(&cause))
    }

    /// Appends a batch, unless the record with the offset `last` is no longer there.
    pub(super) fn append(&self, batch: &RecordBatch, last: Option<i64>) -> Result<Appended, EngineError> {
        let stored = self.transaction(batch, last);
        if !matches!(stored, Ok(Ok(_))) && self.is_fenced(&stored) {
            return Ok(Appended::Fenced);
        }
        stored
            .map_err(|cause| self.failed(&cause))?
            .map_err(|code| error::undelivered(&self.target.address(), code))
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
        last: Option<i64>,
    ) -> Result<Result<Appended, RDKafkaErrorCode>, KafkaError> {
        self.producer.client().context().take_delivered();
        self.producer.begin_transaction()?;
        for record in &batch.records {
            let (set, payload) = entry::write(batch.stream, record, &batch.engines);
            let key = headers::id(record.position);
            let time = i64::try_from(record.time).unwrap_or(i64::MAX);
            let to_send = BaseRecord::to(&self.topic).partition(0).key(&key).payload(payload);
            self.producer.send(to_send.timestamp(time).headers(set)).map_err(|(cause, _)| cause)?;
        }
        let delivered = client::delivered(&self.producer, batch.records.len());
        if let Some(code) = delivered.error {
            return Ok(Err(code));
        }
        match delivered.offsets {
            Some((first, greatest)) if delivered.count == batch.records.len() && Some(first) > last => {
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
            Some((code, reason)) => error::reported(&self.target.address(), code, &reason),
            None => error::request(&self.target.address(), cause),
        }
    }
}

const FENCED: [RDKafkaErrorCode; 3] =
    [RDKafkaErrorCode::Fenced, RDKafkaErrorCode::ProducerFenced, RDKafkaErrorCode::InvalidProducerEpoch];
