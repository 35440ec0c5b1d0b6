//! Reading records back from a Redis stream.

use mcast_stream::wire::{Incarnation, MessageNumber};
use redis::{Connection, FromRedisValue, Value, cmd};

use super::error::engine_error;
use super::{RedisTarget, entry};
use crate::engine::{EngineError, Source};
use crate::record::{Position, StreamRecord};

/// Reads the records of a stream in Redis.
pub struct RedisSource {
    connection: Connection,
    address: String,
    key: String,
}

impl RedisSource {
    /// Connects to the server.
    ///
    /// # Errors
    /// If it cannot be reached or rejects the user.
    pub fn connect(target: &RedisTarget) -> Result<Self, EngineError> {
        let (connection, key) = target.connect_client()?;
        Ok(Self { connection, address: target.address(), key: key.to_owned() })
    }

    fn query<T: FromRedisValue>(&mut self, command: &redis::Cmd) -> Result<T, EngineError> {
        command.query(&mut self.connection).map_err(|error| engine_error(&self.address, &error))
    }

    /// Returns the records with ids from `from` on, at most `count` of them.
    fn range(&mut self, from: &str, count: usize) -> Result<Vec<StreamRecord>, EngineError> {
        let mut command = cmd("XRANGE");
        command.arg(&self.key).arg(from).arg("+").arg("COUNT").arg(count);
        let entries = self.query(&command)?;
        records(entries)
    }

    /// Returns the first record at this place among all positions or after it.
    fn at(&mut self, place: u128) -> Result<Option<StreamRecord>, EngineError> {
        let position = Position::new(Incarnation((place >> 64) as u32), MessageNumber(place as u64));
        Ok(self.range(&entry::id(position), 1)?.pop())
    }
}

impl Source for RedisSource {
    fn last(&mut self) -> Result<Option<StreamRecord>, EngineError> {
        let mut command = cmd("XREVRANGE");
        command.arg(&self.key).arg("+").arg("-").arg("COUNT").arg(1);
        let entries = self.query(&command)?;
        Ok(records(entries)?.pop())
    }

    fn read(&mut self, from: Position, count: usize) -> Result<Vec<StreamRecord>, EngineError> {
        self.range(&entry::id(from), count)
    }

    fn find_time(&mut self, time: u64) -> Result<Option<StreamRecord>, EngineError> {
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

fn records(entries: Vec<(String, Value)>) -> Result<Vec<StreamRecord>, EngineError> {
    let record = |(id, fields): (String, Value)| {
        entry::read(&id, &fields).map(|(_, record)| record).ok_or_else(|| entry::foreign(&id))
    };
    entries.into_iter().map(record).collect()
}

impl std::fmt::Debug for RedisSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisSource")
            .field("address", &self.address)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
