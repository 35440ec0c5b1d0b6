//! Streams of messages over multicast to durable engines, with exactly-once effect.
//!
//! A bridge subscribes to a stream and appends its messages to an engine. A message is identified by its stream, the
//! incarnation of its publisher and its number, and an append is compare-and-append: the engine takes a batch only if
//! its last record is the one that the bridge expects. So any number of bridges may append the same stream at the same
//! time, each may be killed at any moment, and none keeps state of its own: the engine holds each number once, in order,
//! and a gap record for the rest.
//!
//! A plain group, which carries no stream, is kept as well: each datagram is a record, which the bridge numbers. There is
//! one bridge of such a key at a time.
//!
//! [`BridgeMachine`] decides what is appended and when, without an engine, sockets or clocks. An [`Engine`] is a stream in
//! an engine: a [`Sink`] appends to it, a [`Source`] reads the records back.
#![forbid(unsafe_code)]

mod driver;
mod engine;
#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
mod engines;
mod error;
#[cfg(any(all(feature = "kafka", unix), feature = "nats"))]
mod headers;
#[cfg(all(feature = "kafka", unix))]
pub mod kafka;
mod limits;
mod machine;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
mod password;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
mod record;
#[cfg(feature = "redis")]
pub mod redis;
mod reverse;
#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
#[cfg_attr(
    not(all(feature = "kafka", feature = "nats", feature = "rabbitmq", feature = "redis")),
    allow(dead_code, reason = "each engine uses some; the client of Kafka connects itself")
)]
mod server;
#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
#[cfg_attr(
    not(any(feature = "nats", feature = "rabbitmq", feature = "redis")),
    allow(dead_code, reason = "the client of Kafka has TLS of its own")
)]
mod tls;

pub use driver::{
    BridgeError, BridgeNotice, GroupReplay, InterfaceNameOf, ReverseBridge, ReverseNotice, StreamBridge,
};
pub use engine::{
    BridgeBeacon, Engine, EngineHistory, LastRecord, PendingGap, RecordBatch, Request, Response, Sink,
    Source, StoredKind, StoredStream, stored_kind,
};
#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
pub use engines::{engine_at, is_engine_url};
pub use error::{EngineError, EngineErrorKind};
pub use limits::{EngineRetention, RecordRefusal, RetentionRule, UnstorableRecord};
pub use machine::{
    BridgeConfig, BridgeEvent, BridgeMachine, BridgeRefusal, BridgeStatistics, LossCause, RefusedTail,
};
#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
pub use password::EnginePassword;
pub use record::{ArrivalTime, Content, DatagramMetadata, GapCause, Position, StreamRecord, UnixMillis};
pub use reverse::{
    ObservedHeartbeat, PublisherAction, PublisherState, ReplayConfig, ReplayMachine, ReverseConfig,
    ReverseEvent, ReverseMachine, ReverseRefusal, ReverseStatistics, SourceRequest, SourceResponse, StartAt,
};
#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
pub use server::EngineAccess;
#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
pub use tls::TlsOptions;
