//! Reading records back from a topic.

use std::time::{Duration, Instant};

use mcast_stream::wire::{EngineKey, StreamId};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::Stored;
use super::client::{self, KafkaConsumer, TIMEOUT, TopicState};
use super::target::KafkaTarget;
use crate::engine::{Engine, Source, StoredStream, same_stream};
use crate::error::kafka::removed;
use crate::error::{EngineError, any};
use crate::limits::EngineRetention;
use crate::record::{Position, StreamRecord, UnixMillis};

/// The size of the records that are returned at once, after which only one more follows.
const BYTES: usize = 1 << 20;

/// Reads the records of a topic in Kafka.
pub struct KafkaSource {
    reader: Reader,
    /// The position and the offset after the last record that was read, while the reader continues there.
    next: Option<(Position, i64)>,
    /// The end of the topic when the reader started.
    end: i64,
    /// Whether everything before that was read.
    is_at_end: bool,
    /// The stream that was returned, so that another one there is an error.
    stream: Option<StreamId>,
}

impl KafkaSource {
    /// Connects to the cluster.
    ///
    /// # Errors
    /// If it cannot be reached, rejects the user, or the topic has several partitions.
    pub fn connect(target: &KafkaTarget) -> Result<Self, EngineError> {
        let reader = Reader::new(target)?;
        reader.state()?;
        Ok(Self { reader, next: None, end: 0, is_at_end: false, stream: None })
    }

    /// Returns the last record. Other reading stops.
    fn last_stored(&mut self) -> Result<Option<Stored>, EngineError> {
        self.stop()?;
        let Some(range) = self.reader.range()? else { return Ok(None) };
        self.reader.last(range)
    }

    /// Returns the first record for which `is_before` is false, by bisection.
    fn first_not(
        &mut self,
        is_before: impl Fn(&StreamRecord) -> bool,
    ) -> Result<Option<Stored>, EngineError> {
        self.stop()?;
        let Some(range) = self.reader.range()? else { return Ok(None) };
        let Range { mut low, end: mut high } = range;
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.reader.first_from(middle, range)? {
                Some(stored) if is_before(&stored.record) => low = stored.offset + 1,
                stored => {
                    high = middle;
                    found = stored.or(found);
                }
            }
        }
        Ok(found)
    }

    /// Starts to read records at this position and offset.
    fn start(&mut self, from: Position, offset: i64, range: Range) -> Result<(), EngineError> {
        self.reader.start(offset)?;
        (self.next, self.end, self.is_at_end) = (Some((from, offset)), range.end, false);
        Ok(())
    }

    fn stop(&mut self) -> Result<(), EngineError> {
        match self.next.take() {
            Some(_) => self.reader.stop(),
            None => Ok(()),
        }
    }

    /// Finds the place again: the topic may have been deleted and created again, with other offsets.
    fn read_elsewhere(&mut self, from: Position, count: usize) -> Result<Vec<StreamRecord>, EngineError> {
        self.stop()?;
        self.read(from, count)
    }

    fn checked(&self, stored: Stored) -> Result<StreamRecord, EngineError> {
        same_stream(self.stream, stored.stream).map(|()| stored.record)
    }
}

impl Source for KafkaSource {
    fn stored(&mut self) -> Result<Option<StoredStream>, EngineError> {
        let Some(Stored { stream, engines, .. }) = self.last_stored()? else { return Ok(None) };
        self.stream = Some(stream);
        Ok(Some(StoredStream { stream, key: engine_key(&self.reader)?, earlier: engines }))
    }

    fn retention(&mut self) -> Result<EngineRetention, EngineError> {
        client::retention(&self.reader.target, self.reader.topic())
    }

    fn last(&mut self) -> Result<Option<StreamRecord>, EngineError> {
        self.last_stored()?.map(|stored| self.checked(stored)).transpose()
    }

    fn read(&mut self, from: Position, count: usize) -> Result<Vec<StreamRecord>, EngineError> {
        let mut records = Vec::new();
        let continued = self.next.filter(|(next, _)| *next == from);
        match continued {
            Some(_) if !self.is_at_end => {}
            Some((_, offset)) => {
                let range = self.reader.range()?.filter(|range| range.end != self.end);
                let Some(range) = range else { return Ok(records) };
                // The topic was deleted and made again: offsets start again.
                if offset > range.end {
                    return self.read_elsewhere(from, count);
                }
                self.start(from, offset.max(range.low), range)?;
            }
            None => {
                let Some(first) = self.first_not(|record| record.position < from)? else {
                    return Ok(records);
                };
                let Some(range) = self.reader.range()? else { return Ok(records) };
                self.start(from, first.offset, range)?;
            }
        }
        let mut bytes = 0;
        while records.len() < count && bytes < BYTES {
            match self.reader.next(TIMEOUT)? {
                Next::Record(stored) => {
                    let first = Position::new(stored.record.position.incarnation, stored.record.first());
                    // Records before it were removed or replaced since the last read.
                    if continued.is_some() && records.is_empty() && first != from {
                        return self.read_elsewhere(from, count);
                    }
                    let offset = stored.offset + 1;
                    let record = self.checked(stored)?;
                    bytes += record.size();
                    self.next = Some((record.position.following(), offset));
                    records.push(record);
                }
                Next::End => {
                    self.is_at_end = true;
                    break;
                }
                Next::Nothing => return Err(any::silent(self.reader.address())),
            }
        }
        Ok(records)
    }

    fn find_time(&mut self, time: UnixMillis) -> Result<Option<StreamRecord>, EngineError> {
        let found = self.first_not(|record| record.time < time)?;
        found.map(|stored| self.checked(stored)).transpose()
    }
}

impl std::fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSource")
            .field("address", &self.reader.address())
            .field("topic", &self.reader.topic())
            .finish_non_exhaustive()
    }
}

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
        let topic = target.topic.clone();
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
        cluster.ok_or_else(|| any::silent(self.target.address()))
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
        assigned.map_err(|cause| client::request(&self.target.address(), &cause))
    }

    /// Stops reading, so that nothing more is requested.
    pub(super) fn stop(&self) -> Result<(), EngineError> {
        self.consumer.unassign().map_err(|cause| client::request(&self.target.address(), &cause))
    }

    /// Returns the next record, waiting for at most `timeout`; `None` at the end, or if the time is over.
    pub(super) fn next(&self, timeout: Duration) -> Result<Next, EngineError> {
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.consumer.poll(left) {
                None => return Ok(Next::Nothing),
                Some(Ok(message)) => {
                    let stored = super::read(&message);
                    return stored
                        .map(Next::Record)
                        .ok_or_else(|| client::foreign(&self.topic, rdkafka::Message::offset(&message)));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(Next::End),
                // The client connects again, and reports what lasts when the time is over.
                Some(Err(cause)) if client::is_transient(&cause) && Instant::now() < until => {}
                Some(Err(cause)) => return Err(self.failed(&cause)),
            }
        }
    }

    fn failed(&self, cause: &KafkaError) -> EngineError {
        let removed_codes = [RDKafkaErrorCode::AutoOffsetReset, RDKafkaErrorCode::OffsetOutOfRange];
        match cause.rdkafka_error_code() {
            Some(code) if removed_codes.contains(&code) => removed(&self.topic),
            _ => client::failed(&self.consumer, &self.target, cause),
        }
    }

    /// Returns the next record before `end`, after [`start`](Self::start); `None` if there is none.
    fn next_before(&self, end: i64) -> Result<Option<Stored>, EngineError> {
        match self.next(TIMEOUT)? {
            Next::Record(stored) => Ok(Some(stored).filter(|stored| stored.offset < end)),
            Next::End => Ok(None),
            Next::Nothing => Err(any::silent(self.target.address())),
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

/// Returns the number that identifies the topic: from the cluster and its name.
pub(super) fn engine_key(reader: &Reader) -> Result<EngineKey, EngineError> {
    Ok(EngineKey(StreamId::named(&format!("{} {}", reader.cluster()?, reader.topic())).0))
}
