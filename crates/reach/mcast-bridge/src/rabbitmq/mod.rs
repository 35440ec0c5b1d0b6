//! RabbitMQ Streams.
//!
//! A record is a message in the encoding of AMQP 1.0: its bytes are the data, and its application properties are
//! `mcast-stream` (16 hexadecimal digits), `mcast-incarnation`, `mcast-number` (of a gap, that of the last missing message),
//! `mcast-time` (when a bridge received it, in milliseconds since 1970), and of a message `mcast-key` (its key, if it has
//! one). Other records have `mcast-kind`: a `gap` has `mcast-first`, `mcast-end` (one past the last; absent if unknown),
//! `mcast-cause` and `mcast-bridge` (a random number of the bridge that wrote it), an `end` has nothing else. Of a stream
//! that came out of engines, `mcast-engines` are these: 16 hexadecimal digits each, the latest first, separated by commas.
//!
//! RabbitMQ does not compare, so that readers do: `mcast-after` is the position of the record that a record follows
//! (`INCARNATION-NUMBER`; absent in the first one), and a record is effective only if that is the last effective one before
//! it. Readers skip all others. Whether a record is effective depends only on what is before it, and all readers agree.
//! `mcast-known` is the offset of an effective record before it, so that a reader need not begin with the first one.

mod amqp;
mod client;
mod log;
mod notes;
mod protocol;
mod sink;
mod target;

use std::collections::VecDeque;

use mcast_stream::wire::{EngineKey, StreamId};

use crate::engine::{Engine, Sink, Source, StoredStream, same_stream};
use crate::error::EngineError;
use crate::limits::EngineRetention;
use crate::record::{Position, StreamRecord, UnixMillis};
use amqp::Entry;
use client::{Client, Failure, Offset};
use log::{Log, Start};
pub use target::RabbitmqTarget;

impl Engine for RabbitmqTarget {
    fn sink(&self) -> Result<Box<dyn Sink>, EngineError> {
        let client = Client::connect_to_leader(self, &self.stream)?;
        let key = engine_key(client.cluster(), &self.virtual_host, &self.stream);
        Ok(Box::new(sink::RabbitmqSink::open(client, self.stream.clone(), key)?))
    }

    fn source(&self) -> Result<Box<dyn Source>, EngineError> {
        Ok(Box::new(RabbitmqSource::connect(self)?))
    }

    fn name(&self) -> &str {
        &self.stream
    }

    fn address(&self) -> String {
        self.url.servers.to_string()
    }

    /// The server confirms records, and delivers them for comparison, while it stores others. With two batches of 1,000
    /// under way, it is idle for a third of the time.
    fn batch_records(&self) -> usize {
        4_000
    }

    fn renews_login(&self) -> bool {
        self.url.renews_login()
    }
}

/// The size of the records in a response, after which only one more follows.
const BYTES: usize = 1 << 20;
/// Where fewer messages than this are left, they are read one after the other.
const FEW: u64 = 1_000;

/// Reads the effective records of a stream in RabbitMQ.
#[derive(Debug)]
pub struct RabbitmqSource {
    log: Log,
    virtual_host: String,
    /// The stream that was returned, so that another one there is an error.
    stream: Option<StreamId>,
    /// The position behind the records that were returned last; the log is read behind them.
    next: Option<Position>,
    /// Effective records that were read, but not returned.
    read: VecDeque<Entry>,
}

impl RabbitmqSource {
    /// Connects to the server.
    ///
    /// # Errors
    /// If it cannot be reached or rejects the user.
    pub fn connect(target: &RabbitmqTarget) -> Result<Self, EngineError> {
        let client = Client::connect(target)?;
        let name = target.stream.clone();
        let (virtual_host, read) = (target.virtual_host.clone(), VecDeque::new());
        Ok(Self { log: Log::new(client, name), virtual_host, stream: None, next: None, read })
    }

    /// Returns the result of what needs the stream; nothing if it does not exist.
    fn there<T: Default>(&mut self, result: Result<T, Failure>) -> Result<T, EngineError> {
        match result {
            Ok(value) => Ok(value),
            Err(Failure::Gone) => {
                (self.next, self.read) = (None, VecDeque::new());
                Ok(T::default())
            }
            Err(Failure::Engine(error)) => Err(error),
        }
    }

    /// Returns the last effective record.
    fn last_entry(&mut self) -> Result<Option<Entry>, Failure> {
        self.next = None;
        let (start, end) = (self.log.before_end()?, self.log.end()?);
        self.log.follow(start)?;
        let mut last = None;
        while self.log.chain.next() < end {
            last = self.log.next()?.pop().map(|(_, entry)| entry).or(last);
        }
        Ok(last)
    }

    /// Returns where to start so that the first effective record for which `is_before` is false follows, by bisection. All
    /// before it are.
    fn start_before(&mut self, is_before: impl Fn(&StreamRecord) -> bool) -> Result<Start, Failure> {
        let mut start = self.log.oldest()?;
        let mut low = match start {
            Start::Beginning => 0,
            Start::Effective(offset) => offset,
        };
        let mut high = self.log.end()?;
        while high.saturating_sub(low) > FEW {
            let middle = low + (high - low) / 2;
            let Some(chunk) = self.log.probe(Offset::At(middle))? else { break };
            match self.log.effective_before(&chunk)? {
                Some((offset, entry)) if is_before(&entry.record) => {
                    (low, start) = (middle, Start::Effective(offset));
                }
                Some(_) => high = middle,
                // What is effective there is not known nearby.
                None => break,
            }
        }
        Ok(start)
    }

    /// Returns effective records from this position on.
    fn records_from(&mut self, from: Position, count: usize) -> Result<Vec<StreamRecord>, Failure> {
        let is_continued = self.next.take() == Some(from);
        if !is_continued {
            self.search(from)?;
        }
        let before = self.log.chain.next();
        let mut read = self.take(count, |record| record.position < from);
        // What was stored since may follow something else, or the stream may have been deleted and created again.
        let is_elsewhere = match &read {
            Ok(records) => records.is_empty() && self.log.chain.next() != before,
            Err(Failure::Gone) => true,
            Err(Failure::Engine(_)) => false,
        };
        if is_continued && is_elsewhere {
            self.search(from)?;
            read = self.take(count, |record| record.position < from);
        }
        let records = read?;
        // What is read next is behind them.
        self.next = Some(records.last().map_or(from, |last| last.position.following()));
        Ok(records)
    }

    /// Finds the first effective record at this position or behind it.
    fn search(&mut self, from: Position) -> Result<(), Failure> {
        let start = self.start_before(|record| record.position < from)?;
        self.read.clear();
        self.log.follow(start)
    }

    /// Takes records that were read, and reads more, without those that are before what is wanted.
    fn take(
        &mut self,
        count: usize,
        is_before: impl Fn(&StreamRecord) -> bool,
    ) -> Result<Vec<StreamRecord>, Failure> {
        let mut end = None;
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < count && bytes < BYTES {
            if let Some(Entry { stream, record, .. }) = self.read.pop_front() {
                if is_before(&record) {
                    continue;
                }
                same_stream(self.stream, stream)?;
                bytes += record.size();
                records.push(record);
                continue;
            }
            let end = match end {
                Some(end) => end,
                None => *end.insert(self.log.end()?),
            };
            if self.log.chain.next() >= end {
                break;
            }
            self.read.extend(self.log.next()?.into_iter().map(|(_, entry)| entry));
        }
        Ok(records)
    }

    fn first_since(&mut self, time: UnixMillis) -> Result<Option<StreamRecord>, Failure> {
        let start = self.start_before(|record| record.time < time)?;
        (self.next, self.read) = (None, VecDeque::new());
        self.log.follow(start)?;
        Ok(self.take(1, |record| record.time < time)?.pop())
    }
}

impl Source for RabbitmqSource {
    fn stored(&mut self) -> Result<Option<StoredStream>, EngineError> {
        let last = self.last_entry();
        let Some(Entry { stream, engines: earlier, .. }) = self.there(last)? else { return Ok(None) };
        self.stream = Some(stream);
        let key = engine_key(self.log.client.cluster(), &self.virtual_host, &self.log.name);
        Ok(Some(StoredStream { stream, key, earlier }))
    }

    fn retention(&mut self) -> Result<EngineRetention, EngineError> {
        Ok(target::retention())
    }

    fn last(&mut self) -> Result<Option<StreamRecord>, EngineError> {
        let last = self.last_entry();
        let Some(Entry { stream, record, .. }) = self.there(last)? else { return Ok(None) };
        same_stream(self.stream, stream).map(|()| Some(record))
    }

    fn read(&mut self, from: Position, count: usize) -> Result<Vec<StreamRecord>, EngineError> {
        let records = self.records_from(from, count);
        self.there(records)
    }

    fn find_time(&mut self, time: UnixMillis) -> Result<Option<StreamRecord>, EngineError> {
        let found = self.first_since(time);
        self.there(found)
    }
}

/// Returns the number that identifies a stream, under whichever address it is reached.
fn engine_key(cluster: &str, virtual_host: &str, stream: &str) -> EngineKey {
    EngineKey(StreamId::named(&format!("{cluster} {virtual_host} {stream}")).0)
}
