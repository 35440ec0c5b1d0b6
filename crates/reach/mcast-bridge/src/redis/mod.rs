//! Redis Streams, and servers that are compatible with them.
//!
//! A record's id is `INCARNATION-(NUMBER + 1)`; a gap's is that of the last missing message. Its fields are `s` (the
//! stream), `t` (when a bridge received it, in milliseconds since 1970), and of a message `k` (its key, if it has one)
//! and `d` (its bytes), and of a stream that came out of engines `o` (which ones, 16 hexadecimal digits each, the latest
//! first, separated by commas). Other records have `kind`: a `gap` has `first`, `end` (one past the last; absent if unknown)
//! and `cause`, an `end` has nothing else.
//!
//! A datagram of a plain group has `source`, `group`, `interface`, `kernel` (when the kernel received it, in nanoseconds
//! since 1970), `ttl` and `dscp`, as far as they are known, and `d`.

mod connection;
mod entry;
mod source;
mod target;

use std::collections::VecDeque;

use mcast_stream::wire::EngineKey;
use redis::{Cmd, Value, cmd};

use crate::engine::{BridgeBeacon, EngineError, PendingGap, Request, Response, Sink, SinkConnector};
use connection::{RedisConnection, StreamKeys};
pub use source::RedisSource;
pub use target::RedisTarget;

impl SinkConnector for RedisTarget {
    fn connect(&mut self) -> Result<Box<dyn Sink>, EngineError> {
        let (connection, key) = self.connect_client()?;
        Ok(Box::new(RedisSink::new(connection, key)?))
    }

    fn renews_login(&self) -> bool {
        Self::renews_login(self)
    }
}

const SCRIPT: &str = include_str!("bridge.lua");

struct RedisSink {
    connection: RedisConnection,
    keys: StreamKeys,
    script: String,
    engine_key: EngineKey,
    /// Whether each request without a response is one for the last record.
    are_tails: VecDeque<bool>,
}

impl RedisSink {
    fn new(mut connection: RedisConnection, keys: StreamKeys) -> Result<Self, EngineError> {
        let script = connection.query(cmd("SCRIPT").arg("LOAD").arg(SCRIPT))?;
        let engine_key = connection::engine_key(&mut connection, &keys)?;
        Ok(Self { connection, keys, script, engine_key, are_tails: VecDeque::new() })
    }

    fn command(&self) -> Cmd {
        let mut command = cmd("EVALSHA");
        command.arg(&self.script).arg(2).arg(&self.keys.stream).arg(self.keys.bridges());
        command
    }
}

impl Sink for RedisSink {
    fn engine_key(&self) -> Option<EngineKey> {
        Some(self.engine_key)
    }

    fn check(&mut self) -> Result<(), EngineError> {
        self.connection.query::<Value>(cmd("EXISTS").arg(&self.keys.stream)).map(|_| ())
    }

    fn send(&mut self, request: &Request) -> Result<(), EngineError> {
        let mut command = self.command();
        match request {
            Request::LastRecord(BridgeBeacon { bridge, hole }) => {
                command.arg("tail").arg(format!("{bridge:016x}")).arg(PendingGap::text(*hole));
                command.arg(u64::try_from(BridgeBeacon::KEPT_FOR.as_millis()).unwrap_or(u64::MAX));
            }
            Request::Append(batch) => {
                command.arg("append").arg(batch.expected.map(entry::id).unwrap_or_default());
                command.arg(batch.stream.to_string());
                batch.records.iter().for_each(|record| entry::write(record, &batch.engines, &mut command));
            }
        }
        self.connection.send(&command)?;
        self.are_tails.push_back(matches!(request, Request::LastRecord(_)));
        Ok(())
    }

    fn receive(&mut self) -> Result<Response, EngineError> {
        let value = self.connection.receive()?;
        match (self.are_tails.pop_front(), value) {
            (Some(false), Value::Int(_)) => Ok(Response::Appended),
            (Some(false), Value::Array(parts)) => match &parts[..] {
                [id, fields] => Ok(Response::Refused { tail: entry::tail(id, fields)? }),
                _ => Err(entry::unexpected()),
            },
            (Some(true), Value::Array(parts)) => match &parts[..] {
                [id, fields, others] => {
                    let others: Vec<String> =
                        redis::from_redis_value_ref(others).map_err(|_| entry::unexpected())?;
                    let others = others.iter().map(|text| PendingGap::parse(text)).collect();
                    Ok(Response::LastRecord { tail: entry::tail(id, fields)?, others })
                }
                _ => Err(entry::unexpected()),
            },
            _ => Err(entry::unexpected()),
        }
    }
}
