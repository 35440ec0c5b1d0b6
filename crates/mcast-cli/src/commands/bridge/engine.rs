//! The engine that a URL names.

use std::path::Path;

use anyhow::Context;
use mcast_bridge::redis::RedisTarget;
use mcast_bridge::{EngineError, Position, SinkConnector, SourceConnector};

use super::Arguments;
use crate::arguments::is_stream_name;
use crate::exit::Failure;

/// A stream in an engine.
#[derive(Debug)]
pub(super) struct Target {
    redis: RedisTarget,
}

impl Target {
    /// Parses the URL of an engine. Without a key in it, the stream is kept under the name `announced` or that of --name.
    pub(super) fn parse(url: &str, arguments: &Arguments, announced: Option<&str>) -> anyhow::Result<Self> {
        let usage = |error: EngineError| {
            let failure = Failure::usage(format!("cannot bridge to this engine: {}", error.what));
            failure.remedy(error.remedy.unwrap_or_default())
        };
        let mut redis = RedisTarget::parse(url).map_err(usage)?;
        if let Some(path) = &arguments.keeping.password_file {
            redis = redis.password(&first_line(path)?).map_err(usage)?;
        }
        if redis.key().is_none() {
            let name = arguments.stream.name.as_deref().filter(|_| announced.is_some());
            let Some(name) = name.or(announced).filter(|name| is_stream_name(name)) else {
                return Err(Failure::usage("the stream needs a key in the engine")
                    .remedy(match announced {
                        Some(_) => "add ?key=KEY to the URL, or --name NAME",
                        None => "add ?key=KEY to the URL",
                    })
                    .into());
            };
            redis = redis.with_key(format!("mcast:{name}"));
        }
        Ok(Self { redis })
    }

    /// Returns the engine and the key, without secrets.
    pub(super) fn description(&self) -> String {
        format!("\"{}\" at {}", self.redis.key().unwrap_or_default(), self.redis.address())
    }

    /// Returns the key of the stream.
    pub(super) fn key(&self) -> &str {
        self.redis.key().unwrap_or_default()
    }

    pub(super) fn source_connector(self) -> Box<dyn SourceConnector> {
        Box::new(self.redis)
    }

    pub(super) fn connector(self) -> Box<dyn SinkConnector> {
        Box::new(self.redis)
    }
}

/// Returns whether this is the URL of an engine.
pub(super) fn is_engine(text: &str) -> bool {
    ["redis://", "redis+unix://"].iter().any(|scheme| text.starts_with(scheme))
}

/// Returns the position of the record that an engine shows with this id.
pub(super) fn record_position(id: &str) -> Option<Position> {
    RedisTarget::position(id)
}

fn first_line(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
