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
mod limits;
mod source;
mod target;
mod wire;

use std::collections::VecDeque;

use mcast_stream::wire::EngineKey;
use redis::{Value, cmd};

use crate::engine::{BridgeBeacon, Engine, LastRecord, PendingGap, RecordBatch, Response, Sink, Source};
use crate::error::EngineError;
use crate::limits::{EngineRetention, UnstorableRecord};
use crate::record::Position;
use connection::{RedisConnection, StreamKeys};
use limits::Largest;
pub use source::RedisSource;
pub use target::RedisTarget;
use wire::Commands;

impl Engine for RedisTarget {
    fn sink(&self) -> Result<Box<dyn Sink>, EngineError> {
        let (connection, key) = self.connect_client()?;
        Ok(Box::new(RedisSink::new(connection, &key)?))
    }

    fn source(&self) -> Result<Box<dyn Source>, EngineError> {
        Ok(Box::new(RedisSource::connect(self)?))
    }

    fn name(&self) -> &str {
        &self.key
    }

    fn address(&self) -> String {
        self.servers()
    }

    /// Of Redis, numbers start with 1.
    fn position(&self, id: &str) -> Option<Position> {
        entry::position(id)
    }

    fn renews_login(&self) -> bool {
        self.url.renews_login()
    }
}

const SCRIPT: &str = include_str!("bridge.lua");
/// After a transaction failed because somebody changes the stream without appending to it, such as by removing entries,
/// this number of batches is appended by a script, which nothing can interfere with but which takes twice as long.
const SCRIPTED: u32 = 64;

/// Appends each batch in a transaction, which is executed only if the stream has not changed since it was watched, after
/// which its last record was read. So one request is under way at a time, and the others wait here.
struct RedisSink {
    connection: RedisConnection,
    engine_key: EngineKey,
    keys: StreamKeys,
    /// The largest message that the server takes.
    largest: Largest,
    commands: CommandParts,
    /// Requests without a response. The first one is under way.
    requests: VecDeque<PreparedRequest>,
    /// Whether the first one, a transaction, waits until it is known whether the last record is the expected one.
    is_looking: bool,
    /// The position of the last record, read after the stream was watched. `None`: the stream is not watched.
    watched: Option<Option<Position>>,
    /// Batches that are still to be appended by a script.
    scripted: u32,
    /// Memory for commands.
    spare: Vec<Commands>,
}

/// A request as commands.
struct PreparedRequest {
    kind: RequestKind,
    commands: Commands,
    /// The largest record of a batch, which the server names as the reason if it takes no word of that size.
    largest: Option<UnstorableRecord>,
}

enum RequestKind {
    LastRecord,
    /// This number of records behind this position.
    Transaction {
        records: usize,
        expected: Option<Position>,
    },
    Script,
    /// It is not sent: the server can never take a record of it.
    Unstorable(UnstorableRecord),
}

/// Commands and parts of them that are the same each time.
struct CommandParts {
    /// Watches the stream, and reads its last record.
    look: Vec<u8>,
    /// Forgets what is watched.
    unwatch: Vec<u8>,
    watch: Vec<u8>,
    /// Words of a call of the script, before its arguments.
    script: Vec<u8>,
    /// Words of an append, before the id.
    append: Vec<u8>,
}

/// The number of words in [`CommandParts::script`] and [`CommandParts::append`].
const SCRIPT_WORDS: usize = 5;
const APPEND_WORDS: usize = 2;

impl CommandParts {
    fn new(keys: &StreamKeys, script: &str) -> Self {
        let part = |write: &dyn Fn(&mut Commands)| {
            let mut commands = Commands::default();
            write(&mut commands);
            commands.bytes().to_vec()
        };
        let script = part(&|commands| {
            commands.word("EVALSHA").word(script).number(2).word(&keys.stream).word(keys.bridges());
        });
        let watch = part(&|commands| _ = commands.command(2).word("WATCH").word(&keys.stream));
        Self {
            look: part(&|commands| {
                commands.raw(&watch).command(SCRIPT_WORDS + 1).raw(&script).word("last");
            }),
            unwatch: part(&|commands| _ = commands.command(1).word("UNWATCH")),
            append: part(&|commands| _ = commands.word("XADD").word(&keys.stream)),
            watch,
            script,
        }
    }
}

impl RedisSink {
    fn new(mut connection: RedisConnection, keys: &StreamKeys) -> Result<Self, EngineError> {
        let script: String = connection.query(cmd("SCRIPT").arg("LOAD").arg(SCRIPT))?;
        let engine_key = connection::engine_key(&mut connection, keys)?;
        let largest = Largest::of(&mut connection)?;
        Ok(Self {
            connection,
            engine_key,
            keys: keys.clone(),
            largest,
            commands: CommandParts::new(keys, &script),
            requests: VecDeque::new(),
            is_looking: false,
            watched: None,
            scripted: 0,
            spare: Vec::new(),
        })
    }

    fn prepare(&mut self, batch: &RecordBatch) -> PreparedRequest {
        let mut commands = self.spare.pop().unwrap_or_default();
        let largest = self.largest.record_of(batch);
        let kind = match largest.filter(|record| self.largest.excludes(record)) {
            Some(record) => RequestKind::Unstorable(record),
            None if self.scripted > 0 => {
                self.scripted -= 1;
                self.prepare_script(batch, &mut commands);
                RequestKind::Script
            }
            None => {
                self.prepare_transaction(batch, &mut commands);
                RequestKind::Transaction { records: batch.records.len(), expected: batch.expected }
            }
        };
        PreparedRequest { kind, commands, largest }
    }

    /// Sends a request once those before it are responded to.
    fn send(&mut self, request: PreparedRequest) -> Result<(), EngineError> {
        self.requests.push_back(request);
        if self.requests.len() == 1 { self.start() } else { Ok(()) }
    }

    /// The stream is watched again, because a change since it was watched would refuse the next batch.
    fn prepare_last_record(&self, beacon: BridgeBeacon, commands: &mut Commands) {
        let BridgeBeacon { bridge, hole } = beacon;
        let CommandParts { unwatch, watch, script, .. } = &self.commands;
        commands.raw(unwatch).raw(watch).command(SCRIPT_WORDS + 4).raw(script);
        commands.word("tail").word(format!("{bridge:016x}")).word(PendingGap::text(hole));
        commands.number(u64::try_from(BridgeBeacon::KEPT_FOR.as_millis()).unwrap_or(u64::MAX));
    }

    fn prepare_transaction(&self, batch: &RecordBatch, commands: &mut Commands) {
        commands.command(1).word("MULTI");
        let mut stream = Commands::default();
        stream.word("s").word(batch.stream.to_string());
        for record in &batch.records {
            let words = entry::words(record, &batch.engines);
            commands.command(APPEND_WORDS + 3 + words).raw(&self.commands.append).id(record.position);
            commands.raw(stream.bytes());
            entry::write(record, &batch.engines, commands);
        }
        commands.command(1).word("EXEC").raw(&self.commands.look);
    }

    fn prepare_script(&self, batch: &RecordBatch, commands: &mut Commands) {
        let words: usize = batch.records.iter().map(|record| 2 + entry::words(record, &batch.engines)).sum();
        commands.command(SCRIPT_WORDS + 3 + words).raw(&self.commands.script).word("append");
        match batch.expected {
            Some(expected) => commands.id(expected),
            None => commands.word(""),
        };
        commands.word(batch.stream.to_string());
        for record in &batch.records {
            commands.id(record.position).number(entry::words(record, &batch.engines) as u64);
            entry::write(record, &batch.engines, commands);
        }
    }

    /// Sends the first request.
    fn start(&mut self) -> Result<(), EngineError> {
        let Some(PreparedRequest { kind, commands, .. }) = self.requests.front() else { return Ok(()) };
        self.is_looking = match kind {
            RequestKind::Transaction { expected, .. } => self.watched != Some(*expected),
            RequestKind::LastRecord | RequestKind::Script => false,
            RequestKind::Unstorable(_) => return Ok(()),
        };
        if self.is_looking {
            let look = [&self.commands.unwatch[..], &self.commands.look].concat();
            return self.connection.send_bytes(&look);
        }
        self.connection.send_bytes(commands.bytes())
    }

    /// Waits for the response to the first request.
    fn respond(&mut self) -> Result<Response, EngineError> {
        let front = self.requests.front().ok_or_else(entry::unexpected)?;
        match front.kind {
            RequestKind::Unstorable(record) => Ok(Response::Unstorable(record)),
            RequestKind::LastRecord => {
                self.connection.receive_existence()?;
                self.connection.receive_existence()?;
                match array(self.connection.receive()?)?.as_slice() {
                    [id, fields, others] => {
                        let others: Vec<String> =
                            redis::from_redis_value_ref(others).map_err(|_| entry::unexpected())?;
                        let others = others.iter().map(|text| PendingGap::parse(text)).collect();
                        let tail = self.note_watched(id, fields)?;
                        Ok(Response::LastRecord { tail, others })
                    }
                    _ => Err(entry::unexpected()),
                }
            }
            RequestKind::Transaction { expected, .. } if self.is_looking => {
                self.connection.receive_existence()?;
                let tail = self.receive_look()?;
                if tail.map(|tail| tail.position) != expected {
                    return Ok(Response::Refused { tail });
                }
                self.start()?;
                self.respond()
            }
            RequestKind::Transaction { records, expected } => {
                // Those of `MULTI` and of what it queues, which is where most errors show.
                for _ in 0..=records {
                    self.connection.receive_existence()?;
                }
                let is_executed = self.connection.receive_existence()?;
                let tail = self.receive_look()?;
                if is_executed {
                    return Ok(Response::Appended);
                }
                if tail.map(|tail| tail.position) == expected {
                    self.scripted = SCRIPTED;
                }
                Ok(Response::Refused { tail })
            }
            RequestKind::Script => {
                self.watched = None;
                match self.connection.receive()? {
                    Value::Int(_) => Ok(Response::Appended),
                    value => match array(value)?.as_slice() {
                        [id, fields] => Ok(Response::Refused { tail: entry::tail(id, fields)? }),
                        _ => Err(entry::unexpected()),
                    },
                }
            }
        }
    }

    /// Waits for the responses to [`CommandParts::look`].
    fn receive_look(&mut self) -> Result<Option<LastRecord>, EngineError> {
        self.connection.receive_existence()?;
        match array(self.connection.receive()?)?.as_slice() {
            [id, fields] => self.note_watched(id, fields),
            _ => Err(entry::unexpected()),
        }
    }

    fn note_watched(&mut self, id: &Value, fields: &Value) -> Result<Option<LastRecord>, EngineError> {
        let tail = entry::tail(id, fields)?;
        self.watched = Some(tail.map(|tail| tail.position));
        Ok(tail)
    }
}

fn array(value: Value) -> Result<Vec<Value>, EngineError> {
    match value {
        Value::Array(parts) => Ok(parts),
        _ => Err(entry::unexpected()),
    }
}

impl Sink for RedisSink {
    fn engine_key(&self) -> Option<EngineKey> {
        Some(self.engine_key)
    }

    fn retention(&mut self) -> Result<EngineRetention, EngineError> {
        limits::retention(&mut self.connection, &self.keys.stream)
    }

    fn check(&mut self) -> Result<(), EngineError> {
        self.connection.send_bytes(&self.commands.unwatch)?;
        self.watched = None;
        self.connection.receive_existence().map(|_| ())
    }

    fn append_if(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        let prepared = self.prepare(batch);
        self.send(prepared)
    }

    fn tail(&mut self, beacon: BridgeBeacon) -> Result<(), EngineError> {
        let mut commands = self.spare.pop().unwrap_or_default();
        self.prepare_last_record(beacon, &mut commands);
        self.send(PreparedRequest { kind: RequestKind::LastRecord, commands, largest: None })
    }

    fn receive(&mut self) -> Result<Response, EngineError> {
        let response = match self.respond() {
            // The server has closed the connection: what follows fails, and is tried again on the next one.
            Err(error) if limits::is_too_large(&error) => {
                let largest = self.requests.front().and_then(|request| request.largest);
                Response::Unstorable(largest.ok_or(error)?)
            }
            response => response?,
        };
        if let Some(mut done) = self.requests.pop_front() {
            done.commands.clear();
            self.spare.push(done.commands);
        }
        self.start()?;
        Ok(response)
    }
}
