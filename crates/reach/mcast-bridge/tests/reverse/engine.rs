//! What the model engine holds, and when each record was appended.

use std::time::Duration;

use mcast_bridge::{Content, GapCause, Position, StoredStream, StreamRecord, UnixMillis};
use mcast_stream::ClockTime;
use mcast_stream::wire::{EngineKey, Incarnation, MessageNumber, StreamId, VisitedEngines};

use crate::{MILLISECOND, SECOND};
use mcast_sim::Dice;

/// The stream that the engine holds.
pub(crate) const STORED: StreamId = StreamId(3);

pub(crate) const DESCRIPTION: StoredStream =
    StoredStream { stream: STORED, key: EngineKey(1), earlier: EMPTY };

const EMPTY: VisitedEngines = VisitedEngines::EMPTY;

#[derive(Debug, Default)]
pub(crate) struct Engine {
    pub(crate) records: Vec<(ClockTime, StreamRecord)>,
}

pub(crate) fn payload(incarnation: Incarnation, number: MessageNumber) -> Vec<u8> {
    let length = if number.0.is_multiple_of(97) { 3_000 } else { number.0 % 40 };
    format!("{incarnation}-{number} {}", "x".repeat(length as usize)).into_bytes()
}

impl Engine {
    /// Returns what a bridge would have stored of some incarnations.
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let mut engine = Self::default();
        let mut time = ClockTime(0) + SECOND;
        let count = dice.between(1, 3) as u32;
        for incarnation in 1..=count {
            let interval = dice.pick(&[Duration::from_nanos(20_000), MILLISECOND, 10 * MILLISECOND]);
            engine.incarnation(dice, Incarnation(10 * incarnation), interval, &mut time);
            let is_last = incarnation == count;
            let number = engine.next();
            let position = Position { incarnation: Incarnation(10 * incarnation), number };
            let content = match dice.chance(0.5) {
                true => Content::End,
                false if is_last => continue,
                false => Content::OpenGap { cause: GapCause::Lost(mcast_stream::subscriber::Cause::Restart) },
            };
            engine.push(time, position, content);
            time = time + Duration::from_millis(dice.below(3_000));
        }
        engine
    }

    fn incarnation(
        &mut self,
        dice: &mut Dice,
        incarnation: Incarnation,
        interval: Duration,
        time: &mut ClockTime,
    ) {
        let mut next = MessageNumber(0);
        for _ in 0..dice.between(1, 1_000) {
            let position = Position { incarnation, number: next };
            if dice.chance(0.01) {
                let number = next + dice.below(30);
                let content = Content::Gap { first: next, cause: GapCause::JoinedLate };
                self.push(*time, Position { incarnation, number }, content);
                next = number + 1;
                continue;
            }
            let content = Content::Message { key: None, bytes: payload(incarnation, next).into() };
            self.push(*time, position, content);
            next += 1;
            *time = *time + interval;
        }
    }

    fn push(&mut self, time: ClockTime, position: Position, content: Content) {
        self.records.push((time, StreamRecord { position, time: UnixMillis(time.0 / 1_000_000), content }));
    }

    fn next(&self) -> MessageNumber {
        self.records.last().map_or(MessageNumber(0), |(_, record)| record.position.number + 1)
    }

    pub(crate) fn is_empty(&self, now: ClockTime) -> bool {
        self.records.first().is_none_or(|(time, _)| *time > now)
    }

    /// Returns records from this position on.
    pub(crate) fn read(&self, now: ClockTime, from: Position, count: usize) -> Vec<StreamRecord> {
        let first = self.records.partition_point(|(_, record)| record.position < from);
        let there = self.records[first..].iter().take_while(|(time, _)| *time <= now);
        there.take(count).map(|(_, record)| record.clone()).collect()
    }

    pub(crate) fn end(&self) -> ClockTime {
        self.records.last().map_or(ClockTime(0), |(time, _)| *time)
    }
}
