//! Reading records back from a stream in NATS.

use mcast_stream::wire::EngineTrail;

use super::client::Client;
use super::stream::Stream;
use super::target::NatsTarget;
use crate::engine::{EngineError, Source, StoredStream};
use crate::record::{Position, StreamRecord};

/// Reads the records of a stream in NATS.
#[derive(Debug)]
pub struct NatsSource {
    /// `None` as long as it does not exist.
    stream: Option<Stream>,
    target: NatsTarget,
    /// The sequence after the last record that was read, and the position after it.
    next: Option<(Position, u64)>,
}

impl NatsSource {
    /// Connects to the server.
    ///
    /// # Errors
    /// If it cannot be reached or rejects the user.
    pub fn connect(target: &NatsTarget) -> Result<Self, EngineError> {
        let stream = Stream::find(Client::connect(target)?, target)?;
        Ok(Self { stream, target: target.clone(), next: None })
    }

    /// Returns the stream; `None` if it does not exist.
    fn stream(&mut self) -> Result<Option<&mut Stream>, EngineError> {
        if self.stream.is_none() {
            self.stream = Stream::find(Client::connect(&self.target)?, &self.target)?;
        }
        Ok(self.stream.as_mut())
    }
}

/// Returns the first message for which `is_before` is false, by bisection: its sequence and its record.
fn first_not(
    stream: &mut Stream,
    is_before: impl Fn(&StreamRecord) -> bool,
) -> Result<Option<(u64, StreamRecord)>, EngineError> {
    let Some((first, last)) = stream.info()? else { return Ok(None) };
    let (mut low, mut high) = (first, last.saturating_add(1));
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        match stream.first_from(middle)? {
            Some(stored) => {
                let (_, record) = stream.record(&stored)?;
                if is_before(&record) {
                    low = stored.sequence.saturating_add(1);
                } else {
                    high = middle;
                    found = Some((stored.sequence, record));
                }
            }
            None => high = middle,
        }
    }
    Ok(found)
}

impl Source for NatsSource {
    fn stored(&mut self) -> Result<Option<StoredStream>, EngineError> {
        let Some(stream) = self.stream()? else { return Ok(None) };
        let Some(last) = stream.last()? else { return Ok(None) };
        let (id, _) = stream.record(&last)?;
        let key = stream.engine_key()?;
        Ok(Some(StoredStream { stream: id, key, earlier: EngineTrail::EMPTY }))
    }

    fn last(&mut self) -> Result<Option<StreamRecord>, EngineError> {
        let Some(stream) = self.stream()? else { return Ok(None) };
        let Some(last) = stream.last()? else { return Ok(None) };
        Ok(Some(stream.record(&last)?.1))
    }

    fn read(&mut self, from: Position, count: usize) -> Result<Vec<StreamRecord>, EngineError> {
        let known = self.next.filter(|(position, _)| *position == from).map(|(_, sequence)| sequence);
        let Some(stream) = self.stream()? else { return Ok(Vec::new()) };
        let last = stream.info()?.map_or(0, |(_, last)| last);
        let sequence = match known {
            Some(sequence) if sequence > last.saturating_add(1) => None,
            known => known,
        };
        let sequence = match sequence {
            // There is nothing behind it yet.
            Some(sequence) if sequence > last => return Ok(Vec::new()),
            Some(sequence) => sequence,
            None => match first_not(stream, |record| record.position < from)? {
                Some((sequence, _)) => sequence,
                None => return Ok(Vec::new()),
            },
        };
        let messages = stream.messages(sequence, count)?;
        let mut records = Vec::with_capacity(messages.len());
        for stored in &messages {
            records.push(stream.record(stored)?.1);
        }
        if let (Some(record), Some(stored)) = (records.last(), messages.last()) {
            let Position { incarnation, number } = record.position;
            self.next = Some((Position::new(incarnation, number + 1), stored.sequence.saturating_add(1)));
        }
        Ok(records)
    }

    fn find_time(&mut self, time: u64) -> Result<Option<StreamRecord>, EngineError> {
        let Some(stream) = self.stream()? else { return Ok(None) };
        Ok(first_not(stream, |record| record.time < time)?.map(|(_, record)| record))
    }
}
