//! What a bridge requests of an engine, and the history that subscribers request of it.

use std::sync::Arc;
use std::time::Duration;

use mcast_stream::history::{HistoryContent, HistoryRecord, RequestedStart};
use mcast_stream::wire::{EngineKey, Incarnation, MessageNumber, StreamId, VisitedEngines};
use mcast_stream::{HistoryProvider, HistorySource, HistoryUnavailable};

use crate::error::EngineError;
use crate::limits::{EngineRetention, UnstorableRecord};
use crate::record::{Content, Position, StreamRecord, UnixMillis};

/// The last record in an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRecord {
    /// Its position.
    pub position: Position,
    /// The stream that it belongs to; `None` if the engine no longer has the record.
    pub stream: Option<StreamId>,
    /// Whether it [closes](StreamRecord::closes) its incarnation. `false` if the engine no longer has the record.
    pub closes: bool,
}

/// Records to append together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordBatch {
    /// The stream.
    pub stream: StreamId,
    /// The position of the engine's last record; `None` if it has none. If it is another, nothing is appended.
    pub expected: Option<Position>,
    /// The engines that the messages came out of before.
    pub engines: VisitedEngines,
    /// The records, in order. There is at least one.
    pub records: Vec<StreamRecord>,
}

/// Messages that a bridge waits for, because another bridge may have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingGap {
    /// The first of them: the one behind the engine's last record.
    pub start: Position,
    /// One past the last of them; [`MessageNumber::MAX`] if their number is unknown.
    pub end: MessageNumber,
}

/// A bridge, as the other ones see it. Only how long a bridge waits at a hole depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeBeacon {
    /// Identifies the bridge: a random number.
    pub bridge: u64,
    /// What it waits for.
    pub hole: Option<PendingGap>,
}

/// What a bridge requests of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The last record, and the other bridges. The engine keeps this presence for [`BridgeBeacon::KEPT_FOR`].
    LastRecord(BridgeBeacon),
    /// Append these records.
    Append(RecordBatch),
    /// What the engine removes on its own. No other request is under way.
    Retention,
}

/// The response of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The last record, and the other bridges.
    LastRecord {
        /// The last record.
        tail: Option<LastRecord>,
        /// What each other bridge waits for.
        others: Vec<Option<PendingGap>>,
    },
    /// The records were appended.
    Appended,
    /// The last record is another than expected, so nothing was appended.
    Refused {
        /// The last record.
        tail: Option<LastRecord>,
    },
    /// Nothing was appended, because the engine can never take one of the records, whatever else it stores. What was sent
    /// behind the batch is refused.
    Unstorable(UnstorableRecord),
    /// What the engine removes on its own.
    Retention(EngineRetention),
}

#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
impl PendingGap {
    /// Returns it as bridges note it in an engine; an empty text if there is none.
    pub(crate) fn text(hole: Option<Self>) -> String {
        hole.map_or_else(String::new, |Self { start, end }| {
            format!("{} {} {end}", start.incarnation, start.number)
        })
    }

    /// Returns the hole in such a text; `None` if there is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ');
        let incarnation = Incarnation(numbers.next()?.parse().ok()?);
        let mut number = || Some(MessageNumber(numbers.next()?.parse().ok()?));
        Some(Self { start: Position::new(incarnation, number()?), end: number()? })
    }
}

/// Returns the id of the record at a position, in engines that number records from 0.
#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq"))]
pub(crate) fn id(position: Position) -> String {
    format!("{}-{}", position.incarnation, position.number)
}

/// Returns the position of the record with such an id.
pub(crate) fn position(id: &str) -> Option<Position> {
    let (incarnation, number) = id.split_once('-')?;
    Some(Position::new(Incarnation(incarnation.parse().ok()?), MessageNumber(number.parse().ok()?)))
}

/// Returns engines as bridges note them in an engine: 16 hexadecimal digits each, the latest first, separated by commas.
#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
pub(crate) fn trail_text(engines: &VisitedEngines) -> String {
    let engines: Vec<String> = engines.iter().map(|key| key.to_string()).collect();
    engines.join(",")
}

/// Returns the engines in such a text; `None` if it is none.
#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
pub(crate) fn parse_trail(text: &str) -> Option<VisitedEngines> {
    let key = |text: &str| u64::from_str_radix(text, 16).ok().map(EngineKey);
    let keys: Option<Vec<EngineKey>> = text.split(',').map(key).collect();
    VisitedEngines::of(keys?)
}

impl BridgeBeacon {
    /// How long an engine keeps it.
    pub const KEPT_FOR: Duration = Duration::from_secs(5);
}

/// A stream in an engine: where that is, and how connections are made to it.
///
/// Whatever the engine is, a bridge needs four operations of it: [`append_if`](Sink::append_if) the last record is the
/// expected one, the [`tail`](Sink::tail), [`read`](Source::read) from a position, and [`find_time`](Source::find_time).
pub trait Engine: Send + Sync {
    /// Connects, to append records.
    ///
    /// # Errors
    /// If the engine cannot be reached or rejects the bridge.
    fn sink(&self) -> Result<Box<dyn Sink>, EngineError>;

    /// Connects, to read records.
    ///
    /// # Errors
    /// As [`sink`](Self::sink).
    fn source(&self) -> Result<Box<dyn Source>, EngineError>;

    /// Returns the name of the stream in the engine.
    fn name(&self) -> &str;

    /// Returns the addresses of the servers, without secrets.
    fn address(&self) -> String;

    /// Returns the position of the record that the engine shows with this id. Default: `INCARNATION-NUMBER`.
    fn position(&self, id: &str) -> Option<Position> {
        position(id)
    }

    /// Returns how many records a batch needs for the full rate of the engine: the value for
    /// [`BridgeConfig::batch_records`](crate::BridgeConfig::batch_records). Default: 1,000.
    fn batch_records(&self) -> usize {
        BATCH_RECORDS
    }

    /// Whether it reads the password or the key from a file for each connection. Then a login that was accepted before, and
    /// is refused now, is tried again. Default: no.
    fn renews_login(&self) -> bool {
        false
    }
}

/// Refuses a record of another stream than the known one.
#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
pub(crate) fn same_stream(known: Option<StreamId>, found: StreamId) -> Result<(), EngineError> {
    match known.filter(|known| *known != found) {
        Some(known) => Err(crate::error::any::other_stream(known, found)),
        None => Ok(()),
    }
}

/// A connection to an engine that records are appended on.
///
/// Requests are executed in order, and each at most once. A bridge has at most two of them under way. After an error it
/// makes a new connection, while the engine may still execute what was sent on the old one.
pub trait Sink: Send {
    /// Returns the number that identifies the engine and the key, so that messages that came out of there are not
    /// appended again. Default: `None`, for an engine that has no such number, of which a bridge notices only streams
    /// with another identity.
    fn engine_key(&self) -> Option<EngineKey> {
        None
    }

    /// Returns what the engine removes on its own. No request is under way. Default: nothing.
    ///
    /// # Errors
    /// If the connection is broken.
    fn retention(&mut self) -> Result<EngineRetention, EngineError> {
        Ok(EngineRetention::default())
    }

    /// Uses the connection, which has not been used for a while and has no request under way, so that it is noticed if it
    /// is broken. Default: nothing is done.
    ///
    /// # Errors
    /// If the connection is broken.
    fn check(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Sends records, which are appended if the engine's last record is the expected one.
    ///
    /// # Errors
    /// If the connection is broken.
    fn append_if(&mut self, batch: &RecordBatch) -> Result<(), EngineError>;

    /// Requests the last record and the other bridges, and notes this one for [`BridgeBeacon::KEPT_FOR`].
    ///
    /// # Errors
    /// As [`append_if`](Self::append_if).
    fn tail(&mut self, beacon: BridgeBeacon) -> Result<(), EngineError>;

    /// Waits for the response to the oldest request without one.
    ///
    /// # Errors
    /// If the connection is broken or the engine reports an error. In both cases, the connection is not used again.
    fn receive(&mut self) -> Result<Response, EngineError>;
}

/// How many records a batch has at most, by default.
pub(crate) const BATCH_RECORDS: usize = 1_000;

/// A stream in an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredStream {
    /// The stream.
    pub stream: StreamId,
    /// Identifies the engine and the key, under whichever address they are reached.
    pub key: EngineKey,
    /// The engines that the messages came out of before they were stored in this one.
    pub earlier: VisitedEngines,
}

/// What the records in an engine are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredKind {
    /// Messages of a stream.
    Stream,
    /// Datagrams of plain groups.
    Datagrams,
}

/// Returns what the records in an engine are; `None` if there is neither a message nor a datagram.
///
/// # Errors
/// As [`Source::last`].
pub fn stored_kind(source: &mut dyn Source) -> Result<Option<StoredKind>, EngineError> {
    const RECORDS: usize = 64;
    let mut from = Position::START;
    loop {
        let records = source.read(from, RECORDS)?;
        let Some(last) = records.last() else { return Ok(None) };
        let kind = |record: &StreamRecord| match record.content {
            Content::Message { .. } | Content::End => Some(StoredKind::Stream),
            Content::Datagram { .. } => Some(StoredKind::Datagrams),
            Content::Gap { .. } | Content::OpenGap { .. } => None,
        };
        if let Some(kind) = records.iter().find_map(kind) {
            return Ok(Some(kind));
        }
        from = last.position.following();
    }
}

/// Reads records back from an engine. After an error, it is not used again.
pub trait Source: Send {
    /// Returns what is stored there; `None` if there is nothing yet.
    ///
    /// # Errors
    /// As [`last`](Self::last).
    fn stored(&mut self) -> Result<Option<StoredStream>, EngineError>;

    /// Returns what the engine removes on its own, whether or not the stream exists. Default: nothing.
    ///
    /// # Errors
    /// As [`last`](Self::last).
    fn retention(&mut self) -> Result<EngineRetention, EngineError> {
        Ok(EngineRetention::default())
    }

    /// Returns the last record; `None` if there is none.
    ///
    /// # Errors
    /// If the engine cannot be used, or its last record was not written by a bridge.
    fn last(&mut self) -> Result<Option<StreamRecord>, EngineError>;

    /// Returns at most `count` records, starting with the one that accounts for this position, or the next one. They
    /// may be fewer, so that they take a bounded amount of memory, but there is one if there are any.
    ///
    /// # Errors
    /// As [`last`](Self::last), and if they belong to another stream than [`stored`](Self::stored) returned.
    fn read(&mut self, from: Position, count: usize) -> Result<Vec<StreamRecord>, EngineError>;

    /// Returns the first record that a bridge received at this time or later, in milliseconds since 1970. Clocks of
    /// bridges differ, so that it may be some records early or late where another bridge took over.
    ///
    /// # Errors
    /// As [`last`](Self::last).
    fn find_time(&mut self, time: UnixMillis) -> Result<Option<StreamRecord>, EngineError>;
}

/// The history of a stream in an engine, for [`HistoryListener::serve`](mcast_stream::HistoryListener::serve). Each
/// client of the server has a connection to the engine of its own.
pub struct EngineHistory {
    engine: Arc<dyn Engine>,
}

struct EngineHistorySource(Box<dyn Source>);

impl EngineHistory {
    /// Returns the history in this engine.
    #[must_use]
    pub const fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }
}

impl HistoryProvider for EngineHistory {
    fn open(&self, stream: StreamId) -> Result<Box<dyn HistorySource>, HistoryUnavailable> {
        let mut source = self.engine.source().map_err(unreadable)?;
        match source.stored().map_err(unreadable)? {
            Some(stored) if stored.stream != stream => Err(HistoryUnavailable::OtherStream),
            // If nothing is stored yet, there is nothing to read.
            _ => Ok(Box::new(EngineHistorySource(source))),
        }
    }
}

impl HistorySource for EngineHistorySource {
    fn locate(&mut self, start: RequestedStart) -> Result<Option<Position>, HistoryUnavailable> {
        let first = |record: StreamRecord| Position::new(record.position.incarnation, record.first());
        Ok(match start {
            RequestedStart::At(position) => Some(position),
            RequestedStart::Oldest => {
                self.0.read(Position::START, 1).map_err(unreadable)?.into_iter().next().map(first)
            }
            RequestedStart::Time(time) => self.0.find_time(UnixMillis(time)).map_err(unreadable)?.map(first),
            RequestedStart::Latest(number) => {
                let last = self.0.last().map_err(unreadable)?;
                last.map(|last| Position::new(last.position.incarnation, number))
            }
        })
    }

    fn read(
        &mut self,
        from: Position,
        count: usize,
    ) -> Result<Vec<HistoryRecord<Arc<[u8]>>>, HistoryUnavailable> {
        let records = self.0.read(from, count).map_err(unreadable)?;
        records.into_iter().map(history_record).collect()
    }
}

fn history_record(record: StreamRecord) -> Result<HistoryRecord<Arc<[u8]>>, HistoryUnavailable> {
    let first = Position::new(record.position.incarnation, record.first());
    let content = match record.content {
        Content::Message { key, bytes } => HistoryContent::Message { key, bytes },
        Content::Gap { cause, .. } => HistoryContent::Gap { end: record.position.following().number, cause },
        Content::OpenGap { cause } => HistoryContent::OpenGap { cause },
        Content::End => HistoryContent::End,
        Content::Datagram { .. } => {
            return Err(HistoryUnavailable::Unreadable("it has datagrams of groups, not a stream".into()));
        }
    };
    Ok(HistoryRecord { first, content })
}

fn unreadable(error: EngineError) -> HistoryUnavailable {
    HistoryUnavailable::Unreadable(error.what)
}

impl std::fmt::Debug for EngineHistory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineHistory").finish_non_exhaustive()
    }
}

#[cfg(all(
    test,
    any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis")
))]
mod tests {
    use super::*;

    #[test]
    fn holes_are_read_as_they_were_written() {
        let start = Position::new(Incarnation(7), MessageNumber(9));
        let known = PendingGap { start, end: MessageNumber::MAX };
        assert_eq!(PendingGap::parse(&PendingGap::text(Some(known))), Some(known));
        assert_eq!(PendingGap::parse(&PendingGap::text(None)), None);
        assert_eq!(PendingGap::parse("7 x 9"), None);
    }
}
