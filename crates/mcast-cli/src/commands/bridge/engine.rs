//! The engine that a URL names.

#[cfg_attr(not(all(feature = "kafka", unix)), path = "engine/no_kafka.rs")]
mod kafka;

use std::path::Path;

use anyhow::Context;
use mcast_bridge::nats::{NatsConnector, NatsTarget};
use mcast_bridge::redis::RedisTarget;
use mcast_bridge::{EngineError, Position, SinkConnector, SourceConnector, StartAt};
use mcast_stream::wire::{Incarnation, MessageNumber};

use super::Arguments;
use crate::arguments::is_stream_name;
use crate::exit::Failure;

/// A stream in an engine.
pub(super) struct Target {
    /// The name of the stream in the engine.
    key: String,
    address: String,
    sink: Box<dyn SinkConnector>,
    /// What reads the stream; `None` if streams are not published from this engine.
    source: Option<Box<dyn SourceConnector>>,
    /// The number of the first message in ids of the engine.
    first_id: u64,
}

impl Target {
    /// Parses the URL of an engine that a stream is kept in.
    pub(super) fn parse(arguments: &Arguments) -> anyhow::Result<Self> {
        let announced = Some(&arguments.place).filter(|place| is_stream_name(place));
        let name = arguments.stream.name.as_ref().or(announced);
        Self::parse_url(&arguments.engine, arguments, name)
    }

    /// Parses the URL of an engine that a stream is published from.
    pub(super) fn parse_source(arguments: &Arguments) -> anyhow::Result<Self> {
        Self::parse_url(&arguments.place, arguments, None)
    }

    fn parse_url(url: &str, arguments: &Arguments, name: Option<&String>) -> anyhow::Result<Self> {
        let password = arguments.keeping.password_file.as_deref().map(first_line).transpose()?;
        let target = match url.split_once("://") {
            Some(("kafka", _)) => kafka::target(url, password.as_deref(), name),
            Some(("nats", _)) => Self::nats(url, password.as_deref(), name),
            Some(("redis" | "redis+unix", _)) => Self::redis(url, password.as_deref(), name),
            _ => Err(EngineError {
                what: format!("\"{url}\" is not a URL of Kafka, NATS or Redis"),
                remedy: Some(
                    "write kafka://HOST[:PORT][/TOPIC], nats://HOST[:PORT][?stream=STREAM] or \
                     redis://HOST[:PORT][/DB][?key=KEY]"
                        .into(),
                ),
                is_passing: false,
            }),
        };
        Ok(target.map_err(|error| {
            let failure = Failure::usage(format!("cannot bridge to this engine: {}", error.what));
            failure.remedy(error.remedy.unwrap_or_default())
        })?)
    }

    fn nats(url: &str, password: Option<&str>, name: Option<&String>) -> Result<Self, EngineError> {
        let mut nats = NatsTarget::parse(url)?;
        if let Some(password) = password {
            nats = nats.password(password);
        }
        if nats.stream().is_none() {
            nats = nats.with_stream(name.ok_or_else(|| unnamed("stream", "?stream=STREAM"))?.clone())?;
        }
        Ok(Self {
            key: nats.stream().unwrap_or_default().to_owned(),
            address: nats.address(),
            sink: Box::new(NatsConnector::new(nats)),
            source: None,
            first_id: 0,
        })
    }

    fn redis(url: &str, password: Option<&str>, name: Option<&String>) -> Result<Self, EngineError> {
        let mut redis = RedisTarget::parse(url)?;
        if let Some(password) = password {
            redis = redis.password(password)?;
        }
        if redis.key().is_none() {
            let name = name.ok_or_else(|| unnamed("key", "?key=KEY"))?;
            redis = redis.with_key(format!("mcast:{name}"));
        }
        Ok(Self {
            key: redis.key().unwrap_or_default().to_owned(),
            address: redis.address(),
            source: Some(Box::new(redis.clone())),
            sink: Box::new(redis),
            first_id: 1,
        })
    }

    /// Returns the engine and the stream in it, without secrets.
    pub(super) fn description(&self) -> String {
        format!("\"{}\" at {}", self.key, self.address)
    }

    /// Returns the name of the stream in the engine.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Returns where to start, of which a position is an id as this engine shows it.
    pub(super) fn start(&self, start: StartAt) -> StartAt {
        match start {
            StartAt::Position(id) => {
                let number = MessageNumber(id.number.0.saturating_sub(self.first_id));
                StartAt::Position(Position { number, ..id })
            }
            start => start,
        }
    }

    /// Returns what reads the stream.
    pub(super) fn source_connector(self) -> anyhow::Result<Box<dyn SourceConnector>> {
        let unsupported = || {
            Failure::usage("streams are published from Kafka and Redis only, not from NATS")
                .remedy("keep the stream in Redis, too: mcast bridge NAME to redis://HOST")
        };
        Ok(self.source.ok_or_else(unsupported)?)
    }

    pub(super) fn connector(self) -> Box<dyn SinkConnector> {
        self.sink
    }
}

/// The error for a stream without a name, which would be that of a stream or a key in the engine.
fn unnamed(what: &str, parameter: &str) -> EngineError {
    EngineError {
        what: format!("the {what} in the engine needs a name, and the stream has none"),
        remedy: Some(format!("add {parameter} to the URL, or --name NAME")),
        is_passing: false,
    }
}

/// Returns whether this is the URL of an engine.
pub(super) fn is_engine(text: &str) -> bool {
    ["kafka://", "nats://", "redis://", "redis+unix://"].iter().any(|scheme| text.starts_with(scheme))
}

/// Returns the incarnation and the number in an id, as an engine shows it.
pub(super) fn record_id(id: &str) -> Option<Position> {
    let (incarnation, number) = id.split_once('-')?;
    let incarnation = Incarnation(incarnation.parse().ok()?);
    Some(Position { incarnation, number: MessageNumber(number.parse().ok()?) })
}

fn first_line(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
