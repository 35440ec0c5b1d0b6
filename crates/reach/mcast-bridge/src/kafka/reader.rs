//! Reading the committed records of a topic.
//!
//! Offsets are not dense: the marker at the end of each transaction takes one, and aborted records keep theirs.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{self, KafkaConsumer, TIMEOUT, TopicState};
use super::entry::{self, Stored};
use super::error;
use super::target::KafkaTarget;
use crate::engine::EngineError;

/// How long a request for records waits at the broker. Short, because other requests wait for it.
const WAIT: Duration = Duration::from_millis(10);
/// How far before the end to look for the last record at first, and by how much farther each time.
const LOOK_BACK: i64 = 2;
const FARTHER: i64 = 16;

/// The range of offsets of committed records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) low: i64,
    /// One past the last.
    pub(super) end: i64,
}

/// Reads a topic.
pub(super) struct Reader {
    consumer: KafkaConsumer,
    target: KafkaTarget,
    topic: String,
}

impl Reader {
    pub(super) fn new(target: &KafkaTarget) -> Result<Self, EngineError> {
        let topic = target.topic().ok_or_else(error::no_topic)?.to_owned();
        Ok(Self { consumer: client::consumer(target, WAIT)?, target: target.clone(), topic })
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    pub(super) fn address(&self) -> String {
        self.target.address()
    }

    /// Creates the topic unless it exists.
    pub(super) fn create(&self) -> Result<(), EngineError> {
        client::create_topic(&self.consumer, &self.target, &self.topic, &[])
    }

    pub(super) fn state(&self) -> Result<TopicState, EngineError> {
        client::topic_state(&self.consumer, &self.target, &self.topic)
    }

    /// Returns the identifier of the cluster.
    pub(super) fn cluster(&self) -> Result<String, EngineError> {
        let cluster = self.consumer.client().fetch_cluster_id(TIMEOUT);
        cluster.ok_or_else(|| error::silent(&self.target.address()))
    }

    /// Returns the offsets of committed records; `None` if there is no topic.
    pub(super) fn range(&self) -> Result<Option<Range>, EngineError> {
        if self.state()? == TopicState::Missing {
            return Ok(None);
        }
        match self.consumer.fetch_watermarks(&self.topic, 0, TIMEOUT) {
            Ok((low, end)) => Ok(Some(Range { low, end })),
            Err(cause) => match self.state()? {
                // It was deleted meanwhile.
                TopicState::Missing => Ok(None),
                TopicState::Exists => Err(client::failed(&self.consumer, &self.target, &cause)),
            },
        }
    }

    /// Starts to read at this offset.
    pub(super) fn start(&self, offset: i64) -> Result<(), EngineError> {
        let mut partitions = TopicPartitionList::new();
        let set = partitions.add_partition_offset(&self.topic, 0, Offset::Offset(offset));
        let assigned = set.and_then(|()| self.consumer.assign(&partitions));
        assigned.map_err(|cause| error::request(&self.target.address(), &cause))
    }

    /// Stops reading, so that nothing more is requested.
    pub(super) fn stop(&self) -> Result<(), EngineError> {
        self.consumer.unassign().map_err(|cause| error::request(&self.target.address(), &cause))
    }

    /// Returns the next record, waiting for at most `timeout`; `None` at the end, or if the time is over.
    pub(super) fn next(&self, timeout: Duration) -> Result<Next, EngineError> {
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.consumer.poll(left) {
                None => return Ok(Next::Nothing),
                Some(Ok(message)) => {
                    let stored = entry::read(&message);
                    return stored
                        .map(Next::Record)
                        .ok_or_else(|| error::foreign(&self.topic, rdkafka::Message::offset(&message)));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(Next::End),
                // The client connects again, and reports what lasts when the time is over.
                Some(Err(cause)) if client::is_transient(&cause) && Instant::now() < until => {}
                Some(Err(cause)) => return Err(self.failed(&cause)),
            }
        }
    }

    fn failed(&self, cause: &KafkaError) -> EngineError {
        let removed = [RDKafkaErrorCode::AutoOffsetReset, RDKafkaErrorCode::OffsetOutOfRange];
        match cause.rdkafka_error_code() {
            Some(code) if removed.contains(&code) => error::unreadable(&self.topic),
            _ => client::failed(&self.consumer, &self.target, cause),
        }
    }

    /// Returns the next record before `end`, after [`start`](Self::start); `None` if there is none.
    fn next_before(&self, end: i64) -> Result<Option<Stored>, EngineError> {
        match self.next(TIMEOUT)? {
            Next::Record(stored) => Ok(Some(stored).filter(|stored| stored.offset < end)),
            Next::End => Ok(None),
            Next::Nothing => Err(error::silent(&self.target.address())),
        }
    }

    /// Returns the first record at this offset or after it.
    pub(super) fn first_from(&self, offset: i64, range: Range) -> Result<Option<Stored>, EngineError> {
        if offset >= range.end {
            return Ok(None);
        }
        self.start(offset)?;
        let found = self.next_before(range.end);
        self.stop()?;
        found
    }

    /// Returns the last record in this range.
    pub(super) fn last(&self, range: Range) -> Result<Option<Stored>, EngineError> {
        let mut back = LOOK_BACK;
        loop {
            let from = range.end.saturating_sub(back).max(range.low);
            let mut found = None;
            if from < range.end {
                self.start(from)?;
                while let Some(stored) = self.next_before(range.end)? {
                    let is_last = stored.offset + 1 == range.end;
                    found = Some(stored);
                    if is_last {
                        break;
                    }
                }
                self.stop()?;
            }
            if found.is_some() || from == range.low {
                return Ok(found);
            }
            back = back.saturating_mul(FARTHER);
        }
    }
}

/// What a reader comes to next.
pub(super) enum Next {
    Record(Stored),
    /// There is no record behind the last one yet.
    End,
    /// Nothing within the time.
    Nothing,
}
