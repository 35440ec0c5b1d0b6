//! The model of an engine: it appends, refuses, loses its tail, stands still, and executes late.

use std::collections::BTreeMap;

use mcast_bridge::{BridgeBeacon, LastRecord, PendingGap, Request, Response, StreamRecord};
use mcast_stream::ClockTime;
use mcast_stream::wire::StreamId;

#[derive(Debug, Default)]
pub(crate) struct Engine {
    pub(crate) records: Vec<StreamRecord>,
    /// The bridges, and until when each is kept.
    bridges: BTreeMap<u64, (Option<PendingGap>, ClockTime)>,
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
            Request::Append(batch) => {
                if self.tail().map(|tail| tail.position) != batch.expected {
                    return Response::Refused { tail: self.tail() };
                }
                self.records.extend(batch.records.iter().cloned());
                Response::Appended
            }
        }
    }

    pub(crate) fn tail(&self) -> Option<LastRecord> {
        let last = self.records.last()?;
        Some(LastRecord { position: last.position, stream: Some(STREAM), closes: last.closes() })
    }
}
