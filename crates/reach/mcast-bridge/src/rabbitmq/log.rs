//! A stream on a connection, and which of its records are effective.

use super::amqp::{Entry, Message};
use super::client::{Client, Failure, Offset};
use super::protocol::{Chunk, Frame, key};
use super::target;
use crate::engine::LastRecord;
use crate::error::{EngineError, any};

/// The subscription that follows the stream, and how many chunks are on their way to it.
pub(super) const FOLLOW: u8 = 1;
const CHUNKS: u16 = 4;

/// A stream on a connection.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) client: Client,
    pub(super) name: String,
    pub(super) chain: Chain,
    is_following: bool,
}

impl Log {
    pub(super) const fn new(client: Client, name: String) -> Self {
        Self { client, name, chain: Chain::new(Start::Beginning), is_following: false }
    }

    /// Returns the chunk there with its entries; `None` if there is none.
    pub(super) fn probe(&mut self, offset: Offset) -> Result<Option<ProbedChunk>, Failure> {
        let Some(bytes) = self.client.probe(&self.name, offset)? else { return Ok(None) };
        let chunk = self.parse(&bytes)?;
        let all = entries(&chunk).map(|(_, entry)| entry).collect::<Result<_, _>>();
        let all = all.map_err(|error| self.failed(error))?;
        Ok(Some(ProbedChunk { first: chunk.first, entries: all }))
    }

    /// Returns the offset after the last message.
    pub(super) fn end(&mut self) -> Result<u64, Failure> {
        match self.client.probe(&self.name, Offset::Last)? {
            Some(bytes) => Ok(self.parse(&bytes)?.end()),
            None => Ok(0),
        }
    }

    /// Returns the offset and the entry of an effective record that is known at this chunk, and still stored.
    pub(super) fn effective_before(&mut self, chunk: &ProbedChunk) -> Result<Option<(u64, Entry)>, Failure> {
        let Some(offset) = chunk.entries.iter().find_map(|entry| entry.known) else { return Ok(None) };
        let Some(mut found) = self.probe(Offset::At(offset))? else { return Ok(None) };
        let index = offset.checked_sub(found.first).and_then(|index| usize::try_from(index).ok());
        let entry =
            index.filter(|index| *index < found.entries.len()).map(|index| found.entries.swap_remove(index));
        Ok(entry.map(|entry| (offset, entry)))
    }

    /// Returns where to start in order to know the last effective record.
    pub(super) fn before_end(&mut self) -> Result<Start, Failure> {
        let Some(last) = self.probe(Offset::Last)? else { return Ok(Start::Beginning) };
        match self.effective_before(&last)? {
            Some((offset, _)) => Ok(Start::Effective(offset)),
            None => self.oldest(),
        }
    }

    /// Returns where the stream starts. If its first records were removed, the next one is taken for effective.
    pub(super) fn oldest(&mut self) -> Result<Start, Failure> {
        let first = self.probe(Offset::First)?.map_or(0, |chunk| chunk.first);
        Ok(if first == 0 { Start::Beginning } else { Start::Effective(first) })
    }

    /// Starts to follow the stream from there.
    pub(super) fn follow(&mut self, start: Start) -> Result<(), Failure> {
        if std::mem::take(&mut self.is_following) {
            self.client.call(key::UNSUBSCRIBE, |out| out.push(FOLLOW))?;
            self.client.take_chunks(FOLLOW);
        }
        self.chain = Chain::new(start);
        let offset = Offset::At(self.chain.next());
        self.client.subscribe(FOLLOW, &self.name, offset, CHUNKS)?;
        self.is_following = true;
        Ok(())
    }

    /// Returns the effective records of a chunk that came for the subscription.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Vec<(u64, Entry)>, Failure> {
        let chunk = self.parse(bytes)?;
        let mut effective = Vec::new();
        match self.chain.read(&chunk, &mut effective) {
            Ok(()) => self.client.credit(FOLLOW),
            // It names ever later records, so that this ends.
            Err(ChainError::Missed(offset)) => self.follow(Start::Effective(offset))?,
            Err(error) => return Err(self.failed(error).into()),
        }
        Ok(effective)
    }

    /// Waits for the next effective records. There may be none in the next frame.
    pub(super) fn next(&mut self) -> Result<Vec<(u64, Entry)>, Failure> {
        match self.client.wait()? {
            Frame::Chunk { subscription: FOLLOW, chunk } => self.read(&chunk),
            Frame::Changed { stream } if stream == self.name => Err(Failure::Gone),
            _ => Ok(Vec::new()),
        }
    }

    fn parse<'a>(&self, bytes: &'a [u8]) -> Result<Chunk<'a>, EngineError> {
        Chunk::parse(bytes).map_err(|error| self.client.broken(error))
    }

    fn failed(&self, error: ChainError) -> EngineError {
        match error {
            ChainError::Foreign(offset) => target::foreign(&self.name, offset),
            ChainError::Missed(_) => any::unexpected(self.client.address()),
        }
    }
}

/// A chunk, of which all messages were written by bridges.
#[derive(Debug)]
pub(super) struct ProbedChunk {
    pub(super) first: u64,
    pub(super) entries: Vec<Entry>,
}

/// Why a chunk cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChainError {
    /// No bridge wrote the message at this offset.
    Foreign(u64),
    /// The record at this offset is effective, but was not known to be: records before it were removed before they were
    /// read.
    Missed(u64),
}

/// Where to begin to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// With the first record that was ever written.
    Beginning,
    /// With the record at this offset or the next one, which is effective.
    Effective(u64),
}

/// The state of reading a log: a record is effective if it follows the last effective one.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    /// The offset that is read next.
    next: u64,
    /// Whether the next record is effective whatever it follows.
    is_anchored: bool,
    /// The last effective record, and its offset.
    tail: Option<(u64, LastRecord)>,
}

impl Chain {
    pub(super) const fn new(start: Start) -> Self {
        match start {
            Start::Beginning => Self { next: 0, is_anchored: false, tail: None },
            Start::Effective(offset) => Self { next: offset, is_anchored: true, tail: None },
        }
    }

    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn tail(&self) -> Option<LastRecord> {
        self.tail.map(|(_, tail)| tail)
    }

    /// Returns the offset of the last effective record.
    pub(super) fn known(&self) -> Option<u64> {
        self.tail.map(|(offset, _)| offset)
    }

    /// Adds the effective records of a chunk with their offsets. What was read before is skipped.
    pub(super) fn read(&mut self, chunk: &Chunk<'_>, out: &mut Vec<(u64, Entry)>) -> Result<(), ChainError> {
        for (offset, entry) in entries(chunk) {
            if offset < self.next {
                continue;
            }
            let entry = entry?;
            let is_anchored = std::mem::take(&mut self.is_anchored);
            let is_missed = |known: &u64| *known < offset && self.known().is_none_or(|last| last < *known);
            if !is_anchored && let Some(missed) = entry.known.filter(is_missed) {
                return Err(ChainError::Missed(missed));
            }
            self.next = offset.saturating_add(1);
            let follows = entry.after == self.tail().map(|tail| tail.position);
            if follows || is_anchored {
                self.tail = Some((offset, entry.tail()));
                out.push((offset, entry));
            }
        }
        Ok(())
    }
}

/// Returns the entries of a chunk with their offsets.
pub(super) fn entries<'a>(
    chunk: &'a Chunk<'_>,
) -> impl Iterator<Item = (u64, Result<Entry, ChainError>)> + 'a {
    (chunk.first..).zip(&chunk.messages).map(|(offset, bytes)| {
        let message = bytes
            .ok_or(ChainError::Foreign(offset))
            .and_then(|bytes| Message::parse(bytes).map_err(|_| ChainError::Foreign(offset)));
        let entry = message.and_then(|message| Entry::of(&message).ok_or(ChainError::Foreign(offset)));
        (offset, entry)
    })
}

#[cfg(test)]
mod tests {
    use mcast_stream::wire::{Incarnation, MessageNumber, StreamId, VisitedEngines};
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Content, Position, StreamRecord, UnixMillis};

    fn position(number: u64) -> Position {
        Position::new(Incarnation(1), MessageNumber(number))
    }

    fn entry(number: u64, after: Option<u64>, known: Option<u64>) -> Entry {
        let record = StreamRecord { position: position(number), time: UnixMillis(0), content: Content::End };
        let after = after.map(position);
        Entry { stream: StreamId(1), record, after, known, writer: None, engines: VisitedEngines::EMPTY }
    }

    /// Returns the offsets of the effective ones of these entries, the first of which has this offset.
    fn effective(start: Start, first: u64, all: &[Entry]) -> Result<Vec<u64>, ChainError> {
        let bytes: Vec<Vec<u8>> = all
            .iter()
            .map(|entry| {
                let mut bytes = Vec::new();
                entry.message().write(&mut bytes);
                bytes
            })
            .collect();
        let messages = bytes.iter().map(|bytes| Some(&bytes[..])).collect();
        let (mut chain, mut out) = (Chain::new(start), Vec::new());
        chain.read(&Chunk { first, time: 0, messages }, &mut out)?;
        Ok(out.into_iter().map(|(offset, _)| offset).collect())
    }

    /// What bridges write that see only a part of what the others have written, with gaps of any length.
    fn written(choices: &[(u8, u8)]) -> Vec<Entry> {
        let mut log: Vec<Entry> = Vec::new();
        for (lag, length) in choices {
            let seen = log.len().saturating_sub(usize::from(*lag));
            let known = effective(Start::Beginning, 0, &log[..seen]).unwrap().last().copied();
            let after = known.map(|offset| log[offset as usize].record.position.number.0);
            let next = after.map_or(0, |after| after + 1) + u64::from(*length);
            log.push(entry(next, after, known));
        }
        log
    }

    #[test]
    fn a_reader_that_missed_an_effective_record_goes_back_to_it() {
        let log = [entry(0, None, None), entry(1, Some(0), Some(0)), entry(2, Some(0), Some(1))];
        let mut chain = Chain::new(Start::Beginning);
        (chain.next, chain.tail) = (1, Some((0, log[0].tail())));
        let mut bytes = Vec::new();
        log[2].message().write(&mut bytes);
        let (chunk, mut out) = (Chunk { first: 2, time: 0, messages: vec![Some(&bytes[..])] }, Vec::new());
        assert_eq!(chain.read(&chunk, &mut out), Err(ChainError::Missed(1)));
        assert_eq!(out, []);
    }

    proptest! {
        #[test]
        fn all_readers_agree_wherever_they_begin(choices in prop::collection::vec((0..6_u8, 0..3_u8), 1..60)) {
            let log = written(&choices);
            let all = effective(Start::Beginning, 0, &log).unwrap();
            for offset in &all {
                let rest: Vec<u64> = all.iter().copied().filter(|other| other >= offset).collect();
                prop_assert_eq!(effective(Start::Effective(*offset), 0, &log), Ok(rest));
            }
            let positions: Vec<_> = all.iter().map(|offset| log[*offset as usize].record.position).collect();
            prop_assert!(positions.is_sorted_by(|before, after| before < after), "each number once, in order");
        }

        #[test]
        fn a_record_that_is_reported_as_missed_is_effective(
            choices in prop::collection::vec((0..6_u8, 0..3_u8), 20..60),
            read in 0_usize..10,
            removed in 1_usize..10,
        ) {
            let log = written(&choices);
            let all = effective(Start::Beginning, 0, &log).unwrap();
            let mut chain = Chain::new(Start::Beginning);
            (chain.next, chain.tail) = (read as u64, all.iter().rfind(|offset| **offset < read as u64).map(|offset| {
                (*offset, log[*offset as usize].tail())
            }));
            let bytes: Vec<Vec<u8>> = log[read + removed..].iter().map(|entry| {
                let mut bytes = Vec::new();
                entry.message().write(&mut bytes);
                bytes
            }).collect();
            let messages = bytes.iter().map(|bytes| Some(&bytes[..])).collect();
            let mut out = Vec::new();
            match chain.read(&Chunk { first: (read + removed) as u64, time: 0, messages }, &mut out) {
                Ok(()) => {}
                Err(ChainError::Missed(offset)) => prop_assert!(all.contains(&offset)),
                Err(error) => prop_assert!(false, "{error:?}"),
            }
        }
    }
}
