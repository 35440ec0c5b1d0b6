//! Reading records back from a topic.

use mcast_stream::wire::StreamId;

use super::client::TIMEOUT;
use super::entry::Stored;
use super::error;
use super::reader::{Next, Range, Reader};
use super::sink::engine_key;
use super::target::KafkaTarget;
use crate::engine::{EngineError, Source, StoredStream};
use crate::record::{Position, StreamRecord};

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
        match self.stream {
            Some(known) if known != stored.stream => Err(EngineError::other_stream(known, stored.stream)),
            _ => Ok(stored.record),
        }
    }
}

impl Source for KafkaSource {
    fn stored(&mut self) -> Result<Option<StoredStream>, EngineError> {
        let Some(Stored { stream, engines, .. }) = self.last_stored()? else { return Ok(None) };
        self.stream = Some(stream);
        Ok(Some(StoredStream { stream, key: engine_key(&self.reader)?, earlier: engines }))
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
                Next::Nothing => return Err(error::silent(&self.reader.address())),
            }
        }
        Ok(records)
    }

    fn find_time(&mut self, time: u64) -> Result<Option<StreamRecord>, EngineError> {
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
