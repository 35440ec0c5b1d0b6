//! The engine that a URL names.

use std::path::Path;

use anyhow::Context;
use mcast_bridge::redis::RedisTarget;
use mcast_bridge::{EngineError, SinkConnector};

use super::Arguments;
use crate::arguments::is_stream_name;
use crate::exit::Failure;

/// A stream in an engine.
#[derive(Debug)]
pub(super) struct Target {
    redis: RedisTarget,
}

impl Target {
    pub(super) fn parse(arguments: &Arguments) -> anyhow::Result<Self> {
        let usage = |error: EngineError| {
            let failure = Failure::usage(format!("cannot bridge to this engine: {}", error.what));
            failure.remedy(error.remedy.unwrap_or_default())
        };
        let mut redis = RedisTarget::parse(&arguments.engine).map_err(usage)?;
        if let Some(path) = &arguments.keeping.password_file {
            redis = redis.password(&first_line(path)?).map_err(usage)?;
        }
        if redis.key().is_none() {
            let announced = Some(&arguments.place).filter(|place| is_stream_name(place));
            let Some(name) = arguments.stream.name.as_ref().or(announced) else {
                return Err(Failure::usage("the stream needs a key in the engine, and it has no name")
                    .remedy("add ?key=KEY to the URL, or --name NAME")
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

    pub(super) fn connector(self) -> Box<dyn SinkConnector> {
        Box::new(self.redis)
    }
}

fn first_line(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
