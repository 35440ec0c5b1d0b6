//! What bridges wait for, in the stream `NAME.bridges`.
//!
//! Each note has the properties `mcast-bridge`, `mcast-hole` and `mcast-note`, a number that grows. How old a note is follows
//! from the times of the server, so that no clocks are compared.

use std::collections::HashMap;

use super::amqp::{Message, Value};
use super::client::{Client, Failure, Offset};
use super::protocol::{Chunk, Write as _, key};
use crate::engine::{BridgeBeacon, PendingGap};
use crate::error::EngineError;

/// The subscription, and the publisher, of notes.
pub(super) const NOTES: u8 = 3;
const CHUNKS: u16 = 8;
/// The most bridges that are remembered. Bridges are few, and what others write there is ignored.
const BRIDGES: usize = 1_000;
/// Notes are only read for seconds, but RabbitMQ removes whole segments.
const SETTINGS: [(&str, &str); 3] =
    [("max-length-bytes", "1000000"), ("stream-max-segment-size-bytes", "500000"), ("max-age", "1h")];

/// The notes on a connection.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) stream: String,
    /// What each bridge waits for, and when the server stored that.
    bridges: HashMap<u64, (u64, Option<PendingGap>)>,
    /// Distinguishes the notes of this connection from those of others.
    connection: u64,
    count: u64,
    /// The count, and the time, of the latest own note that was read.
    read: Option<(u64, u64)>,
}

impl Notes {
    /// Opens the stream of notes, which is created if it does not exist.
    pub(super) fn open(client: &mut Client, name: &str, connection: u64) -> Result<Self, Failure> {
        let stream = format!("{name}.bridges");
        client.create(&stream, &SETTINGS)?;
        client.declare(NOTES, "", &stream)?;
        let last = client.probe(&stream, Offset::Last)?;
        let time = match &last {
            Some(bytes) => Chunk::parse(bytes).map_err(|error| client.broken(error))?.time,
            None => 0,
        };
        let offset = match time.saturating_sub(kept_for()) {
            0 => Offset::First,
            since => Offset::Since(since),
        };
        client.subscribe(NOTES, &stream, offset, CHUNKS)?;
        Ok(Self { stream, bridges: HashMap::new(), connection, count: 0, read: None })
    }

    /// Adds a note to what is sent next.
    pub(super) fn write(&mut self, client: &mut Client, presence: BridgeBeacon) {
        self.count += 1;
        let mut message = Message::default();
        message.set("mcast-bridge", Value::Number(presence.bridge));
        message.set("mcast-hole", Value::Text(PendingGap::text(presence.hole)));
        message.set("mcast-connection", Value::Number(self.connection));
        message.set("mcast-note", Value::Number(self.count));
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        client.notify(key::PUBLISH, |out| {
            out.push(NOTES);
            out.number(1_u32.to_be_bytes());
            out.number(self.count.to_be_bytes());
            out.number(u32::try_from(bytes.len()).unwrap_or_default().to_be_bytes());
            out.extend_from_slice(&bytes);
        });
    }

    /// Reads a chunk that came for the subscription. What no bridge wrote is skipped.
    pub(super) fn read(&mut self, client: &mut Client, bytes: &[u8]) -> Result<(), EngineError> {
        let chunk = Chunk::parse(bytes).map_err(|error| client.broken(error))?;
        for message in chunk.messages.iter().flatten().filter_map(|bytes| Message::parse(bytes).ok()) {
            let Some(bridge) = message.number("mcast-bridge") else { continue };
            let hole = message.text("mcast-hole").and_then(PendingGap::parse);
            if self.bridges.len() < BRIDGES || self.bridges.contains_key(&bridge) {
                self.bridges.insert(bridge, (chunk.time, hole));
            }
            if message.number("mcast-connection") == Some(self.connection) {
                self.read = message.number("mcast-note").map(|note| (note, chunk.time));
            }
        }
        client.credit(NOTES);
        Ok(())
    }

    /// Returns what the bridges other than this one wait for, once the latest note was read.
    pub(super) fn others(&mut self, bridge: u64) -> Option<Vec<Option<PendingGap>>> {
        let (_, now) = self.read.filter(|(note, _)| *note == self.count)?;
        self.bridges.retain(|_, (time, _)| time.saturating_add(kept_for()) >= now);
        let others = self.bridges.iter().filter(|(other, _)| **other != bridge);
        Some(others.map(|(_, (_, hole))| *hole).collect())
    }
}

fn kept_for() -> u64 {
    u64::try_from(BridgeBeacon::KEPT_FOR.as_millis()).unwrap_or(u64::MAX)
}
