//! What bridges note for each other, in a topic beside that of the stream. Only how long a bridge waits depends on it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::BaseRecord;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::client::{self, KafkaConsumer, KafkaProducer, TIMEOUT};
use super::standby::ActiveBridge;
use super::target::{KafkaTarget, NOTES};
use crate::engine::{BridgeBeacon, Engine, PendingGap};
use crate::error::{EngineError, any};

/// How long a request for notes waits at the broker.
const WAIT: Duration = Duration::from_millis(500);
/// The notes that are read at first.
const FIRST: i64 = 64;
/// The most bridges that are remembered.
const BRIDGES: usize = 1_000;
/// The times of notes are those of the broker, and they are removed after an hour.
const SETTINGS: [(&str, &str); 3] =
    [("cleanup.policy", "delete"), ("message.timestamp.type", "LogAppendTime"), ("retention.ms", "3600000")];

/// What a bridge notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) is_active: bool,
    pub(super) hole: Option<PendingGap>,
}

impl Note {
    fn text(self, count: u64) -> String {
        let role = if self.is_active { "active" } else { "standby" };
        format!("{count} {role} {}", PendingGap::text(self.hole))
    }

    /// Returns the note in such a text, and its count.
    fn parse(text: &str) -> Option<(u64, Self)> {
        let mut parts = text.splitn(3, ' ');
        let count = parts.next()?.parse().ok()?;
        let is_active = match parts.next()? {
            "active" => true,
            "standby" => false,
            _ => return None,
        };
        Some((count, Self { is_active, hole: PendingGap::parse(parts.next()?) }))
    }
}

/// The notes of all bridges of a topic.
pub(super) struct Notes {
    producer: KafkaProducer,
    consumer: KafkaConsumer,
    target: KafkaTarget,
    topic: String,
    /// The number of this bridge.
    bridge: u64,
    /// The count in its latest note.
    count: u64,
    /// The latest note of each bridge, and when the broker received it, in milliseconds since 1970.
    latest: HashMap<u64, (i64, Note)>,
    /// When the broker received the latest note of all.
    now: i64,
}

impl Notes {
    pub(super) fn open(target: &KafkaTarget, bridge: u64) -> Result<Self, EngineError> {
        let topic = format!("{}{NOTES}", target.topic);
        let consumer = client::consumer(target, WAIT)?;
        client::create_topic(&consumer, target, &topic, &SETTINGS)?;
        let mut partitions = TopicPartitionList::new();
        let set = partitions.add_partition_offset(&topic, 0, Offset::OffsetTail(FIRST));
        let assigned = set.and_then(|()| consumer.assign(&partitions));
        assigned.map_err(|cause| client::request(&target.address(), &cause))?;
        let producer = client::producer(target, &[("linger.ms", "0")])?;
        let (target, latest) = (target.clone(), HashMap::new());
        Ok(Self { producer, consumer, target, topic, bridge, count: 0, latest, now: 0 })
    }

    /// Sets the number of this bridge.
    pub(super) fn set_bridge(&mut self, bridge: u64) {
        if self.bridge != bridge {
            self.latest.remove(&self.bridge);
            self.bridge = bridge;
        }
    }

    /// Notes something, and reads what others noted before.
    pub(super) fn note(&mut self, note: Note) -> Result<(), EngineError> {
        self.count += 1;
        let (key, text) = (format!("{:016x}", self.bridge), note.text(self.count));
        let record = BaseRecord::to(&self.topic).partition(0).key(&key).payload(&text);
        self.producer.send(record).map_err(|(cause, _)| client::request(&self.target.address(), &cause))?;
        if let Some(code) = client::delivered(&self.producer, 1).error {
            return Err(client::undelivered(&self.target.address(), code));
        }
        let until = Instant::now() + TIMEOUT;
        while self.read(until.saturating_duration_since(Instant::now()))? != Some((self.bridge, self.count)) {
            if Instant::now() >= until {
                return Err(any::silent(self.target.address()));
            }
        }
        Ok(())
    }

    /// Reads what others noted, without waiting.
    pub(super) fn refresh(&mut self) -> Result<(), EngineError> {
        while self.read(Duration::ZERO)?.is_some() {}
        Ok(())
    }

    /// Reads the next note; returns the bridge and its count, and `None` if there is none.
    fn read(&mut self, timeout: Duration) -> Result<Option<(u64, u64)>, EngineError> {
        let until = Instant::now() + timeout;
        loop {
            let read = match self.consumer.poll(until.saturating_duration_since(Instant::now())) {
                None => return Ok(None),
                Some(Ok(message)) => parse(&message),
                // The end, for now.
                Some(Err(KafkaError::PartitionEOF(_))) => None,
                Some(Err(cause)) if client::is_transient(&cause) => None,
                Some(Err(cause)) => return Err(client::failed(&self.consumer, &self.target, &cause)),
            };
            let Some((bridge, count, note, time)) = read else { continue };
            self.now = time;
            let kept_for = i64::try_from(BridgeBeacon::KEPT_FOR.as_millis()).unwrap_or(i64::MAX);
            self.latest.retain(|_, (noted, _)| time.saturating_sub(*noted) < kept_for);
            if self.latest.len() < BRIDGES {
                self.latest.insert(bridge, (time, note));
            }
            return Ok(Some((bridge, count)));
        }
    }

    fn others(&self) -> impl Iterator<Item = Note> {
        let others = self.latest.iter().filter(|(bridge, _)| **bridge != self.bridge);
        others.map(|(_, (_, note))| *note)
    }

    /// Returns what each other bridge waits for.
    pub(super) fn holes(&self) -> Vec<Option<PendingGap>> {
        self.others().map(|note| note.hole).collect()
    }

    /// Returns what another bridge notes that is active.
    pub(super) fn active(&self) -> ActiveBridge {
        let active = self.others().find(|note| note.is_active);
        active.map_or(ActiveBridge::None, |note| ActiveBridge::Present(note.hole))
    }
}

/// Returns the bridge, its count, its note and when the broker received it; `None` if no bridge wrote it.
fn parse(message: &BorrowedMessage<'_>) -> Option<(u64, u64, Note, i64)> {
    let bridge = u64::from_str_radix(std::str::from_utf8(message.key()?).ok()?, 16).ok()?;
    let (count, note) = Note::parse(std::str::from_utf8(message.payload()?).ok()?)?;
    Some((bridge, count, note, message.timestamp().to_millis()?))
}

#[cfg(test)]
mod tests {
    use mcast_stream::wire::{Incarnation, MessageNumber};

    use super::*;
    use crate::record::Position;

    #[test]
    fn notes_are_read_as_they_were_written() {
        let start = Position::new(Incarnation(7), MessageNumber(9));
        for hole in [None, Some(PendingGap { start, end: MessageNumber::MAX })] {
            for is_active in [true, false] {
                let note = Note { is_active, hole };
                assert_eq!(Note::parse(&note.text(17)), Some((17, note)));
            }
        }
        for text in ["", "17", "17 active", "x active ", "17 else "] {
            assert_eq!(Note::parse(text), None, "{text}");
        }
    }
}
