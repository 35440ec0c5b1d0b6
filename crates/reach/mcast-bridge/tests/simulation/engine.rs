//! The model of an engine: it appends, refuses, loses its tail, evicts everything, stands still, and executes late.

use std::collections::BTreeMap;

use mcast_bridge::{
    BridgeBeacon, Content, EngineRetention, LastRecord, PendingGap, RecordRefusal, Request, Response,
    StreamRecord, UnstorableRecord,
};
use mcast_stream::ClockTime;
use mcast_stream::wire::StreamId;

#[derive(Debug, Default)]
pub(crate) struct Engine {
    pub(crate) records: Vec<StreamRecord>,
    /// The bridges, and until when each is kept.
    bridges: BTreeMap<u64, (Option<PendingGap>, ClockTime)>,
    /// As a cache: when it holds more bytes of messages than this, it evicts the stream.
    pub(crate) capacity: Option<usize>,
    /// Whether it counts what it evicts.
    pub(crate) counts_evictions: bool,
    pub(crate) evictions: u64,
    /// The longest message that it takes.
    pub(crate) longest: Option<usize>,
    /// The bytes of messages that reached it, and how often something did.
    pub(crate) input: usize,
    pub(crate) appends: u64,
}

/// The bytes of a message; 0 for another record.
pub(crate) fn size(record: &StreamRecord) -> usize {
    match &record.content {
        Content::Message { bytes, .. } => bytes.len(),
        _ => 0,
    }
}

pub(crate) const STREAM: StreamId = StreamId(7);

impl Engine {
    pub(crate) fn execute(&mut self, now: ClockTime, request: &Request) -> Response {
        match request {
            Request::LastRecord(BridgeBeacon { bridge, hole }) => {
                self.bridges.insert(*bridge, (*hole, now + BridgeBeacon::KEPT_FOR));
                self.bridges.retain(|_, (_, until)| now < *until);
                let others = self.bridges.iter().filter(|(other, _)| *other != bridge);
                Response::LastRecord {
                    tail: self.tail(),
                    others: others.map(|(_, (hole, _))| *hole).collect(),
                }
            }
            Request::Retention => {
                let evictions = self.counts_evictions.then_some(self.evictions);
                Response::Retention(EngineRetention { evictions, ..EngineRetention::default() })
            }
            Request::Append(batch) => {
                self.input += batch.records.iter().map(size).sum::<usize>();
                self.appends += 1;
                if self.tail().map(|tail| tail.position) != batch.expected {
                    return Response::Refused { tail: self.tail() };
                }
                let is_too_long =
                    |record: &&StreamRecord| self.longest.is_some_and(|longest| size(record) > longest);
                if let Some(record) = batch.records.iter().find(is_too_long) {
                    return Response::Unstorable(UnstorableRecord {
                        position: record.position,
                        why: RecordRefusal::TooLarge,
                        size: Some(size(record)),
                        most: self.longest,
                        remedy: "raise it",
                    });
                }
                self.records.extend(batch.records.iter().cloned());
                if self
                    .capacity
                    .is_some_and(|capacity| self.records.iter().map(size).sum::<usize>() > capacity)
                {
                    self.records.clear();
                    self.evictions += 1;
                }
                Response::Appended
            }
        }
    }

    pub(crate) fn tail(&self) -> Option<LastRecord> {
        let last = self.records.last()?;
        Some(LastRecord { position: last.position, stream: Some(STREAM), closes: last.closes() })
    }
}
