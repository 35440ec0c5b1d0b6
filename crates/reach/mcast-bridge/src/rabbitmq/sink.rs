//! Appending to a stream in RabbitMQ.
//!
//! What a record follows is part of it, and it is effective only if that is the last effective one. The sink reads back
//! what was stored, so it knows exactly what became effective, whatever other bridges write at the same time. Messages have
//! a publisher with a name, so that the server drops those that another bridge has written. That saves space, and nothing
//! else depends on it. A gap has no such publisher, because the messages that it stands for could not be written any more if it
//! does not become effective, and the sink waits for its fate before it continues.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};

use mcast_stream::wire::{EngineKey, Incarnation, StreamId};

use super::amqp::Entry;
use super::client::{Client, Failure};
use super::log::{FOLLOW, Log};
use super::notes::{NOTES, Notes};
use super::protocol::{Frame, Write as _, key};
use super::target;
use crate::engine::{BridgeBeacon, PendingGap, RecordBatch, Response, Sink};
use crate::error::rabbitmq::changed;
use crate::error::{EngineError, any};
use crate::limits::{EngineRetention, UnstorableRecord};
use crate::record::{Content, Position, StreamRecord};

/// The publishers: one with a name, and one without.
const NAMED: u8 = 1;
const UNNAMED: u8 = 2;
/// What a frame with a message contains besides it.
const OVERHEAD: usize = 64;
/// More than the properties of a record take, however long the engines and the interface are that it names.
const LONGEST_PROPERTIES: usize = 4_096;

pub(super) struct RabbitmqSink {
    key: EngineKey,
    log: Log,
    notes: Notes,
    /// Identifies the sink as the writer of gaps.
    writer: u64,
    /// The incarnation whose name the publisher with a name has, and the last number of that name when it was declared.
    name: Option<(Incarnation, u64)>,
    /// The number of the last message without a name.
    unnamed: u64,
    /// Batches without a response.
    sent: VecDeque<SentBatch>,
    /// Responses that were not yet received.
    ready: VecDeque<Response>,
}

/// A batch without a response.
#[derive(Debug, Default)]
struct SentBatch {
    /// The positions of its records that were not read back, and whether each is a gap.
    left: VecDeque<(Position, bool)>,
    last: Option<Position>,
    /// The publishers and numbers of messages that the server has not confirmed.
    unconfirmed: HashSet<(u8, u64)>,
    is_refused: bool,
    /// Why it was not published, if a record of it can never be stored.
    unstorable: Option<UnstorableRecord>,
}

impl SentBatch {
    fn refused() -> Self {
        Self { is_refused: true, ..Self::default() }
    }

    /// Notes an effective record.
    fn note(&mut self, entry: &Entry, writer: u64) {
        let position = entry.record.position;
        match self.left.front() {
            Some((expected, is_gap)) if *expected == position => {
                // Another bridge may have written the same message, but who wrote a gap reports it.
                let is_own = match entry.record.content {
                    Content::Gap { .. } | Content::OpenGap { .. } => *is_gap && entry.writer == Some(writer),
                    _ => !*is_gap,
                };
                self.is_refused |= !is_own;
                self.left.pop_front();
            }
            Some((expected, _)) => self.is_refused |= position > *expected,
            None => {}
        }
    }
}

fn open(log: &mut Log) -> Result<(), Failure> {
    log.client.declare(UNNAMED, "", &log.name)?;
    let start = log.before_end()?;
    log.follow(start)
}

impl RabbitmqSink {
    /// Opens a stream at its leader.
    pub(super) fn open(client: Client, name: String, key: EngineKey) -> Result<Self, EngineError> {
        let writer = RandomState::new().build_hasher().finish();
        let mut log = Log::new(client, name);
        let mut opened = || {
            open(&mut log)?;
            Notes::open(&mut log.client, &log.name, writer)
        };
        match opened() {
            Ok(notes) => {
                let mut sink = Self {
                    key,
                    log,
                    notes,
                    writer,
                    name: None,
                    unnamed: 0,
                    sent: VecDeque::new(),
                    ready: VecDeque::new(),
                };
                sink.catch_up()?;
                Ok(sink)
            }
            Err(Failure::Gone) => Err(changed(log.client.address(), &log.name)),
            Err(Failure::Engine(error)) => Err(error),
        }
    }

    /// Creates the stream again after it was deleted. What was under way is refused.
    fn reopen(&mut self) -> Result<(), EngineError> {
        if !self.log.client.create(&self.log.name, &[])? {
            return Err(changed(self.log.client.address(), &self.log.name));
        }
        (self.name, self.unnamed) = (None, 0);
        for batch in &mut self.sent {
            *batch = SentBatch::refused();
        }
        // The server may have forgotten its publishers, or not yet.
        self.log.client.delete_publisher(NAMED)?;
        self.log.client.delete_publisher(UNNAMED)?;
        match open(&mut self.log) {
            Ok(()) => Ok(()),
            Err(Failure::Gone) => Err(changed(self.log.client.address(), &self.log.name)),
            Err(Failure::Engine(error)) => Err(error),
        }
    }

    /// Returns the result of what needs the stream; `None` if the stream was deleted and created again.
    fn there<T>(&mut self, result: Result<T, Failure>) -> Result<Option<T>, EngineError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Failure::Gone) => self.reopen().map(|()| None),
            Err(Failure::Engine(error)) => Err(error),
        }
    }

    /// Handles what the server sends next.
    fn step(&mut self) -> Result<(), EngineError> {
        match self.log.client.wait()? {
            Frame::Chunk { subscription: FOLLOW, chunk } => {
                let read = self.log.read(&chunk);
                for (_, entry) in self.there(read)?.unwrap_or_default() {
                    self.sent.iter_mut().for_each(|batch| batch.note(&entry, self.writer));
                }
                Ok(())
            }
            Frame::Chunk { subscription: NOTES, chunk } => self.notes.read(&mut self.log.client, &chunk),
            Frame::Confirmed { publisher, ids } => {
                for batch in &mut self.sent {
                    ids.iter().for_each(|id| {
                        batch.unconfirmed.remove(&(publisher, *id));
                    });
                }
                Ok(())
            }
            Frame::Changed { stream } if stream == self.log.name => self.reopen(),
            Frame::Changed { stream } if stream == self.notes.stream => {
                Err(changed(self.log.client.address(), &stream))
            }
            // What deleted the stream follows, if nothing else is wrong.
            Frame::Rejected { code: target::NO_STREAM | target::NO_PUBLISHER, .. } => Ok(()),
            Frame::Rejected { code, .. } => Err(target::code(self.log.client.address(), code)),
            _ => Ok(()),
        }
    }

    /// Reads everything that is stored.
    fn catch_up(&mut self) -> Result<(), EngineError> {
        'again: loop {
            let end = self.log.end();
            let Some(end) = self.there(end)? else { continue };
            while self.log.chain.next() < end {
                let next = self.log.chain.next();
                self.step()?;
                if self.log.chain.next() < next {
                    // It was created again, or is read from another record on.
                    continue 'again;
                }
            }
            return Ok(());
        }
    }

    /// Returns the position that the engine's last record has if everything under way becomes effective.
    fn assumed(&self) -> Option<Position> {
        let under_way = self.sent.back().filter(|batch| !batch.is_refused).and_then(|batch| batch.last);
        under_way.or_else(|| self.log.chain.tail().map(|tail| tail.position))
    }

    /// Returns the first record of a batch that is too large for a frame.
    fn too_large(&self, batch: &RecordBatch) -> Option<UnstorableRecord> {
        let most = self.log.client.frame_max().saturating_sub(OVERHEAD);
        batch.records.iter().find_map(|record| {
            // No other one is longer than its own bytes and what is around them, which saves the rest from being written twice.
            if record.size() + LONGEST_PROPERTIES < most {
                return None;
            }
            let mut bytes = Vec::new();
            self.entry(batch, record, batch.expected).message().write(&mut bytes);
            let size = bytes.len();
            (size > most)
                .then(|| UnstorableRecord::too_large(record.position, size, most, target::RAISE_FRAME))
        })
    }

    /// Returns what is published for a record of a batch that follows this position.
    fn entry(&self, batch: &RecordBatch, record: &StreamRecord, after: Option<Position>) -> Entry {
        Entry {
            stream: batch.stream,
            record: record.clone(),
            after,
            known: self.log.chain.known(),
            writer: is_gap(record).then_some(self.writer),
            engines: batch.engines,
        }
    }

    fn append(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        if let Some(record) = self.too_large(batch) {
            self.sent.push_back(SentBatch { unstorable: Some(record), ..SentBatch::refused() });
            return Ok(());
        }
        if self.sent.is_empty() && self.assumed() != batch.expected {
            self.catch_up()?;
        }
        let is_behind_refused = self.sent.iter().any(|batch| batch.is_refused);
        if is_behind_refused || self.assumed() != batch.expected {
            self.sent.push_back(SentBatch::refused());
            return Ok(());
        }
        let parts: Vec<&[StreamRecord]> =
            batch.records.chunk_by(|before, record| !is_separate(before, record)).collect();
        let incarnation = batch.records.first().map(|record| record.position.incarnation);
        let has_name = self.name.map(|(incarnation, _)| incarnation) == incarnation;
        if let [part] = parts[..]
            && has_name
            && !is_gap(&part[0])
        {
            let sent = self.publish(batch, part, batch.expected)?;
            self.sent.push_back(sent);
            return Ok(());
        }
        // The fate of each part is known before the next one is published.
        self.respond_to_all()?;
        let mut after = batch.expected;
        for part in parts {
            if self.log.chain.tail().map(|tail| tail.position) != after {
                self.sent.push_back(SentBatch::refused());
                return Ok(());
            }
            if !self.use_name(batch.stream, part[0].position.incarnation)? {
                self.sent.push_back(SentBatch::refused());
                return Ok(());
            }
            let sent = self.publish(batch, part, after)?;
            self.sent.push_back(sent);
            if !self.confirm_oldest()? {
                self.sent.push_back(SentBatch::refused());
                return Ok(());
            }
            after = part.last().map(|record| record.position);
        }
        self.ready.push_back(Response::Appended);
        Ok(())
    }

    /// Gives the publisher with a name that of an incarnation; returns whether the stream is still the same.
    fn use_name(&mut self, stream: StreamId, incarnation: Incarnation) -> Result<bool, EngineError> {
        if self.name.is_some_and(|(named, _)| named == incarnation) {
            return Ok(true);
        }
        if self.name.take().is_some() {
            self.log.client.delete_publisher(NAMED)?;
        }
        let name = format!("{stream}/{incarnation}");
        let declared = self.log.client.declare(NAMED, &name, &self.log.name);
        let declared = declared.and_then(|()| self.log.client.last_number(&name, &self.log.name));
        let last = self.there(declared)?;
        self.name = last.map(|last| (incarnation, last));
        Ok(last.is_some())
    }

    /// Publishes records of one incarnation behind this one.
    fn publish(
        &mut self,
        batch: &RecordBatch,
        records: &[StreamRecord],
        mut after: Option<Position>,
    ) -> Result<SentBatch, EngineError> {
        let mut sent = SentBatch::default();
        let most = self.log.client.frame_max();
        let mut messages: Vec<(u8, u64, Vec<u8>)> = Vec::new();
        let mut size = 0;
        for record in records {
            let gap = is_gap(record);
            let mut bytes = Vec::new();
            self.entry(batch, record, after).message().write(&mut bytes);
            let (publisher, number) = match named_number(record, self.name.map(|(_, last)| last)) {
                Some(number) => (NAMED, number),
                None => {
                    self.unnamed += 1;
                    (UNNAMED, self.unnamed)
                }
            };
            let is_other = messages.first().is_some_and(|(first, ..)| *first != publisher);
            if is_other || size + bytes.len() + OVERHEAD > most {
                self.write(&messages);
                messages.clear();
                size = 0;
            }
            size += bytes.len() + OVERHEAD;
            messages.push((publisher, number, bytes));
            sent.unconfirmed.insert((publisher, number));
            sent.left.push_back((record.position, gap));
            after = Some(record.position);
        }
        sent.last = after;
        self.write(&messages);
        self.log.client.flush()?;
        Ok(sent)
    }

    /// Adds messages of one publisher to what is sent next.
    fn write(&mut self, messages: &[(u8, u64, Vec<u8>)]) {
        let Some((publisher, ..)) = messages.first() else { return };
        self.log.client.notify(key::PUBLISH, |out| {
            out.push(*publisher);
            out.number(u32::try_from(messages.len()).unwrap_or_default().to_be_bytes());
            for (_, number, bytes) in messages {
                out.number(number.to_be_bytes());
                out.number(u32::try_from(bytes.len()).unwrap_or_default().to_be_bytes());
                out.extend_from_slice(bytes);
            }
        });
    }

    /// Whether the fate of the oldest batch is known.
    fn is_confirmed(&mut self) -> Result<bool, EngineError> {
        let Some(batch) = self.sent.front() else { return Ok(true) };
        if batch.is_refused || batch.left.is_empty() {
            return Ok(true);
        }
        if !batch.unconfirmed.is_empty() {
            return Ok(false);
        }
        // Everything is stored, or was dropped because its numbers were not greater than the last one. RabbitMQ 3.10.8 may not
        // deliver it before something else is requested: with a wait of 50 ms here, bridges stalled for seconds.
        self.catch_up()?;
        if let Some(batch) = self.sent.front_mut() {
            batch.is_refused |= !batch.left.is_empty();
        }
        Ok(true)
    }

    /// Waits until the fate of the oldest batch is known.
    fn confirm_oldest(&mut self) -> Result<bool, EngineError> {
        while !self.is_confirmed()? {
            self.step()?;
        }
        Ok(self.sent.pop_front().is_some_and(|batch| !batch.is_refused))
    }

    /// Responds to the oldest batch. If it was refused, so are those that were sent behind it.
    fn respond(&mut self) -> Result<(), EngineError> {
        let unstorable = self.sent.front().and_then(|batch| batch.unstorable);
        if self.confirm_oldest()? {
            self.ready.push_back(Response::Appended);
            return Ok(());
        }
        let mut refused = usize::from(unstorable.is_none());
        while !self.sent.is_empty() {
            self.confirm_oldest()?;
            refused += 1;
        }
        self.catch_up()?;
        // The last number of the name may be greater than that of the last record, so it is requested again.
        if self.name.take().is_some() {
            self.log.client.delete_publisher(NAMED)?;
        }
        let tail = self.log.chain.tail();
        self.ready.extend(unstorable.map(Response::Unstorable));
        self.ready.extend(std::iter::repeat_n(Response::Refused { tail }, refused));
        Ok(())
    }

    fn respond_to_all(&mut self) -> Result<(), EngineError> {
        while !self.sent.is_empty() {
            self.respond()?;
        }
        Ok(())
    }

    /// Notes a bridge, and returns what the others wait for.
    fn note(&mut self, presence: BridgeBeacon) -> Result<Vec<Option<PendingGap>>, EngineError> {
        self.notes.write(&mut self.log.client, presence);
        loop {
            if let Some(others) = self.notes.others(presence.bridge) {
                return Ok(others);
            }
            self.step()?;
        }
    }
}

/// Whether a record is published only when the fate of the one before it is known.
fn is_separate(before: &StreamRecord, record: &StreamRecord) -> bool {
    is_gap(before) || is_gap(record) || before.position.incarnation != record.position.incarnation
}

const fn is_gap(record: &StreamRecord) -> bool {
    matches!(record.content, Content::Gap { .. } | Content::OpenGap { .. })
}

/// Returns the number that a record is published with under the name whose last number is `last`. A gap has no name,
/// because it would have the messages dropped that it stands for; what the server would drop has none either.
fn named_number(record: &StreamRecord, last: Option<u64>) -> Option<u64> {
    // Numbers of publishers start with 1.
    let number = record.position.number.0.saturating_add(1);
    (!is_gap(record) && number > last?).then_some(number)
}

impl Sink for RabbitmqSink {
    fn engine_key(&self) -> Option<EngineKey> {
        Some(self.key)
    }

    fn retention(&mut self) -> Result<EngineRetention, EngineError> {
        Ok(target::retention())
    }

    fn check(&mut self) -> Result<(), EngineError> {
        let name = self.log.name.clone();
        self.log.client.check(&name)
    }

    fn append_if(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        self.append(batch)
    }

    fn tail(&mut self, beacon: BridgeBeacon) -> Result<(), EngineError> {
        // Responses are in order of the requests.
        self.respond_to_all()?;
        let others = self.note(beacon)?;
        self.catch_up()?;
        self.ready.push_back(Response::LastRecord { tail: self.log.chain.tail(), others });
        Ok(())
    }

    fn receive(&mut self) -> Result<Response, EngineError> {
        if self.ready.is_empty() && !self.sent.is_empty() {
            self.respond()?;
        }
        self.ready.pop_front().ok_or_else(|| any::unexpected(self.log.client.address()))
    }
}

#[cfg(test)]
mod tests {
    use mcast_stream::wire::MessageNumber;

    use super::*;
    use crate::record::{GapCause, UnixMillis};

    fn record(incarnation: u32, number: u64, content: Content) -> StreamRecord {
        let position = Position::new(Incarnation(incarnation), MessageNumber(number));
        StreamRecord { position, time: UnixMillis(0), content }
    }

    fn message(incarnation: u32, number: u64) -> StreamRecord {
        record(incarnation, number, Content::Message { key: None, bytes: [][..].into() })
    }

    fn gap(first: u64, last: u64) -> StreamRecord {
        record(1, last, Content::Gap { first: MessageNumber(first), cause: GapCause::JoinedLate })
    }

    #[test]
    fn gaps_and_incarnations_are_published_alone() {
        assert!(!is_separate(&message(1, 0), &message(1, 1)));
        assert!(is_separate(&message(1, 0), &message(2, 0)));
        assert!(is_separate(&message(1, 0), &gap(1, 4)));
        assert!(is_separate(&gap(1, 4), &message(1, 5)));
        let open = record(1, 1, Content::OpenGap { cause: GapCause::EngineLost });
        assert!(is_separate(&message(1, 0), &open));
    }

    #[test]
    fn what_the_server_would_drop_and_gaps_have_no_name() {
        assert_eq!(named_number(&message(1, 4), Some(4)), Some(5));
        assert_eq!(named_number(&message(1, 4), Some(5)), None, "the server has a message with this number");
        assert_eq!(named_number(&gap(3, 9), Some(3)), None, "the server would drop messages 3 to 9");
        assert_eq!(named_number(&message(1, 4), None), None, "no name is declared");
    }
}
