//! Appending to a Redis stream: one script per batch.

use std::collections::VecDeque;

use mcast_stream::wire::EngineKey;
use redis::{Cmd, Value, cmd};

use super::connection::RedisConnection;
use super::keys::StreamKeys;
use super::{entry, identity};
use crate::engine::{BridgeBeacon, EngineError, PendingGap, Request, Response, Sink};

const SCRIPT: &str = include_str!("bridge.lua");

pub(super) struct RedisSink {
    connection: RedisConnection,
    keys: StreamKeys,
    script: String,
    engine_key: EngineKey,
    /// Whether each request without a response is one for the last record.
    are_tails: VecDeque<bool>,
}

impl RedisSink {
    pub(super) fn new(mut connection: RedisConnection, keys: StreamKeys) -> Result<Self, EngineError> {
        let script = connection.query(cmd("SCRIPT").arg("LOAD").arg(SCRIPT))?;
        let engine_key = identity::engine_key(&mut connection, &keys)?;
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
