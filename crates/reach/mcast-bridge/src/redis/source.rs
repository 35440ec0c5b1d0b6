//! Reading records back from a Redis stream.

use mcast_stream::wire::{EngineKey, Incarnation, MessageNumber, StreamId, VisitedEngines};
use redis::{Value, cmd};

use super::connection::{RedisConnection, StreamKeys};
use super::entry::{Field, PackedEntries};
use super::{RedisTarget, connection, entry, limits};
use crate::engine::{Source, StoredStream, same_stream};
use crate::error::EngineError;
use crate::limits::EngineRetention;
use crate::record::{Position, StreamRecord, UnixMillis};

const SCRIPT: &str = include_str!("read.lua");
/// The size of the records in a response, after which only one more follows.
const BYTES: usize = 1 << 20;

/// Reads the records of a stream in Redis.
pub struct RedisSource {
    connection: RedisConnection,
    keys: StreamKeys,
    script: String,
    /// The stream that was returned, so that another one there is an error.
    stream: Option<StreamId>,
}

impl RedisSource {
    /// Connects to the server.
    ///
    /// # Errors
    /// If it cannot be reached or rejects the user.
    pub fn connect(target: &RedisTarget) -> Result<Self, EngineError> {
        let (mut connection, keys) = target.connect_client()?;
        let script = connection.query(cmd("SCRIPT").arg("LOAD").arg(SCRIPT))?;
        Ok(Self { connection, keys, script, stream: None })
    }

    /// Returns the records with ids from `from` on, at most `count` of them.
    fn range(&mut self, from: &str, count: usize) -> Result<Vec<StreamRecord>, EngineError> {
        let mut command = cmd("EVALSHA");
        command.arg(&self.script).arg(1).arg(&self.keys.stream).arg(from).arg(count).arg(BYTES);
        let Value::Array(parts) = self.connection.query(&command)? else { return Err(entry::unexpected()) };
        let mut records = Vec::new();
        for part in &parts {
            let Value::BulkString(part) = part else { return Err(entry::unexpected()) };
            let mut entries = PackedEntries::new(part).ok_or_else(entry::unexpected)?;
            let mut fields = Vec::new();
            while !entries.is_empty() {
                let id = entries.next(&mut fields).ok_or_else(entry::unexpected)?;
                records.push(self.record(id, &fields)?);
            }
        }
        Ok(records)
    }

    /// Returns the last entry.
    fn last_entry(&mut self) -> Result<Value, EngineError> {
        let mut command = cmd("XREVRANGE");
        command.arg(&self.keys.stream).arg("+").arg("-").arg("COUNT").arg(1);
        self.connection.query(&command)
    }

    fn record(&self, id: &str, fields: &[Field<'_>]) -> Result<StreamRecord, EngineError> {
        let (stream, record) = entry::read(id, fields).ok_or_else(|| entry::foreign(id))?;
        same_stream(self.stream, stream).map(|()| record)
    }

    /// Returns the first record at this place among all positions or after it.
    fn at(&mut self, place: u128) -> Result<Option<StreamRecord>, EngineError> {
        let position = Position::new(Incarnation((place >> 64) as u32), MessageNumber(place as u64));
        Ok(self.range(&entry::id(position), 1)?.pop())
    }
}

impl Source for RedisSource {
    fn stored(&mut self) -> Result<Option<StoredStream>, EngineError> {
        let entries = self.last_entry()?;
        let Value::Array(entries) = &entries else { return Err(entry::unexpected()) };
        let Some(entry) = entries.first() else { return Ok(None) };
        let (id, fields) = entry::parts(entry).ok_or_else(entry::unexpected)?;
        let (stream, _) = entry::read(id, &fields).ok_or_else(|| entry::foreign(id))?;
        let earlier: VisitedEngines = entry::engines(&fields).ok_or_else(|| entry::foreign(id))?;
        self.stream = Some(stream);
        let key: EngineKey = connection::engine_key(&mut self.connection, &self.keys)?;
        Ok(Some(StoredStream { stream, key, earlier }))
    }

    fn retention(&mut self) -> Result<EngineRetention, EngineError> {
        limits::retention(&mut self.connection, &self.keys.stream)
    }

    fn last(&mut self) -> Result<Option<StreamRecord>, EngineError> {
        let entries = self.last_entry()?;
        let Value::Array(entries) = &entries else { return Err(entry::unexpected()) };
        let Some(entry) = entries.first() else { return Ok(None) };
        let (id, fields) = entry::parts(entry).ok_or_else(entry::unexpected)?;
        self.record(id, &fields).map(Some)
    }

    fn read(&mut self, from: Position, count: usize) -> Result<Vec<StreamRecord>, EngineError> {
        self.range(&entry::id(from), count)
    }

    fn find_time(&mut self, time: UnixMillis) -> Result<Option<StreamRecord>, EngineError> {
        let (Some(first), Some(last)) = (self.range("-", 1)?.pop(), self.last()?) else { return Ok(None) };
        if last.time < time {
            return Ok(None);
        }
        // Ids do not contain the time, so it is found by bisection.
        let (mut low, mut high) = (place(first.position), place(last.position));
        while low < high {
            let middle = low + (high - low) / 2;
            match self.at(middle)? {
                Some(record) if record.time < time => low = place(record.position) + 1,
                _ => high = middle,
            }
        }
        self.at(low)
    }
}

/// Returns the place of a position among all positions.
fn place(position: Position) -> u128 {
    u128::from(position.incarnation.0) << 64 | u128::from(position.number.0)
}

impl std::fmt::Debug for RedisSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisSource")
            .field("address", &self.connection.address())
            .field("key", &self.keys.stream)
            .finish_non_exhaustive()
    }
}
