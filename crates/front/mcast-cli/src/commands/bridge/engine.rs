//! The engine that a URL names, how it is reached, and what it holds (`--check`).

#[cfg_attr(not(all(feature = "kafka", unix)), path = "engine/no_kafka.rs")]
mod kafka;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use mcast_bridge::nats::{NatsConnector, NatsTarget};
use mcast_bridge::rabbitmq::{RabbitmqConnector, RabbitmqTarget};
use mcast_bridge::redis::RedisTarget;
use mcast_bridge::{
    BridgeError, EngineError, EngineErrorKind, EnginePassword, EngineRetention, Position, SinkConnector,
    Source, SourceConnector, StoredKind, StoredStream, StreamRecord, TlsOptions, stored_kind,
};
use mcast_stream::wire::StreamId;
use mcast_terminal::Console;

use super::Arguments;
use crate::arguments::is_stream_name;
use crate::exit::{Failure, Outcome};
use crate::output::rfc3339;

type SourceMaker = Box<dyn Fn() -> Box<dyn SourceConnector>>;

/// A stream in an engine.
pub(super) struct Target {
    /// The name of the stream in the engine.
    key: String,
    address: String,
    sink: Box<dyn SinkConnector>,
    /// Makes what reads the stream.
    source: SourceMaker,
    /// Returns the position of the record that the engine shows with this id.
    position: fn(&str) -> Option<Position>,
}

impl Target {
    /// Parses the URL of an engine that a stream is kept in.
    pub(super) fn parse(arguments: &Arguments) -> anyhow::Result<Self> {
        let announced = arguments.place.as_ref().filter(|place| is_stream_name(place));
        let name = arguments.stream.name.as_ref().or(announced);
        Self::parse_url(arguments.engine(), arguments, name)
    }

    /// Parses the URL of an engine that a stream is published from.
    pub(super) fn parse_source(arguments: &Arguments) -> anyhow::Result<Self> {
        Self::parse_url(arguments.place(), arguments, None)
    }

    fn parse_url(url: &str, arguments: &Arguments, name: Option<&String>) -> anyhow::Result<Self> {
        let password = arguments.access.password()?;
        let target = match url.split_once("://") {
            Some(("kafka" | "kafka+tls", _)) => kafka::target(url, password, name, arguments),
            Some(("nats" | "tls" | "tls+first", _)) => Self::nats(url, password, name, arguments),
            Some(("rabbitmq-stream" | "rabbitmq-stream+tls", _)) => {
                Self::rabbitmq(url, password, name, arguments)
            }
            Some((
                "redis" | "rediss" | "redis+sentinel" | "rediss+sentinel" | "redis+cluster"
                | "rediss+cluster" | "redis+unix",
                _,
            )) => Self::redis(url, password, name, arguments),
            scheme => Err(EngineError {
                // What follows may be a password.
                what: match scheme {
                    Some((scheme, _)) => {
                        format!("\"{scheme}://\" is not a URL of Kafka, NATS, RabbitMQ or Redis")
                    }
                    None => "there is no URL of Kafka, NATS, RabbitMQ or Redis".to_owned(),
                },
                remedy: Some(
                    "write kafka://HOST[:PORT][/TOPIC], nats://HOST[:PORT][?stream=STREAM], \
                     rabbitmq-stream://HOST[:PORT][/VHOST][?stream=STREAM] or \
                     redis://HOST[:PORT][/DB][?key=KEY]"
                        .into(),
                ),
                kind: EngineErrorKind::Permanent,
            }),
        };
        Ok(target.map_err(|error| {
            let failure = Failure::usage(format!("cannot bridge to this engine: {}", error.what));
            failure.remedy(error.remedy.unwrap_or_default())
        })?)
    }

    fn nats(
        url: &str,
        password: Option<EnginePassword>,
        name: Option<&String>,
        arguments: &Arguments,
    ) -> Result<Self, EngineError> {
        let mut nats = NatsTarget::parse(url)?;
        if let Some(file) = &arguments.access.credentials {
            nats = nats.credentials(file.clone())?;
        } else if let Some(password) = password {
            nats = nats.password(password);
        }
        if let Some(options) = arguments.access.tls() {
            nats = nats.tls(options)?;
        }
        if nats.stream().is_none() {
            nats = nats
                .with_stream(name.ok_or_else(|| unnamed("stream", "?stream=STREAM", arguments))?.clone())?;
        }
        Ok(Self {
            key: nats.stream().unwrap_or_default().to_owned(),
            address: nats.address(),
            source: source_of(&nats),
            sink: Box::new(NatsConnector::new(nats)),
            position: NatsTarget::position,
        })
    }

    fn rabbitmq(
        url: &str,
        password: Option<EnginePassword>,
        name: Option<&String>,
        arguments: &Arguments,
    ) -> Result<Self, EngineError> {
        let mut rabbitmq = RabbitmqTarget::parse(url)?;
        if let Some(password) = password {
            rabbitmq = rabbitmq.password(password);
        }
        if let Some(options) = arguments.access.tls() {
            rabbitmq = rabbitmq.tls(options)?;
        }
        no_credentials(arguments)?;
        if rabbitmq.stream().is_none() {
            let name = name.ok_or_else(|| unnamed("stream", "?stream=STREAM", arguments))?;
            rabbitmq = rabbitmq.with_stream(name.clone())?;
        }
        Ok(Self {
            key: rabbitmq.stream().unwrap_or_default().to_owned(),
            address: rabbitmq.address(),
            source: source_of(&rabbitmq),
            sink: Box::new(RabbitmqConnector::new(rabbitmq)),
            position: RabbitmqTarget::position,
        })
    }

    fn redis(
        url: &str,
        password: Option<EnginePassword>,
        name: Option<&String>,
        arguments: &Arguments,
    ) -> Result<Self, EngineError> {
        let mut redis = RedisTarget::parse(url)?;
        if let Some(password) = password {
            redis = redis.password(password);
        }
        if let Some(options) = arguments.access.tls() {
            redis = redis.tls(options)?;
        }
        no_credentials(arguments)?;
        if redis.key().is_none() {
            let name = name.ok_or_else(|| unnamed("key", "?key=KEY", arguments))?;
            redis = redis.with_key(format!("mcast:{name}"));
        }
        Ok(Self {
            key: redis.key().unwrap_or_default().to_owned(),
            address: redis.address(),
            source: source_of(&redis),
            sink: Box::new(redis),
            position: RedisTarget::position,
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

    /// Returns what reads the stream.
    pub(super) fn source_connector(&self) -> Box<dyn SourceConnector> {
        (self.source)()
    }

    /// Returns the position of the record that the engine shows with this id.
    pub(super) fn record_position(&self, id: &str) -> anyhow::Result<Position> {
        let position = (self.position)(id);
        Ok(position
            .ok_or_else(|| Failure::usage(format!("\"{id}\" is not an id of a record in this engine")))?)
    }

    pub(super) fn connector(self) -> Box<dyn SinkConnector> {
        self.sink
    }
}

fn source_of<T: SourceConnector + Clone + 'static>(target: &T) -> SourceMaker {
    let target = target.clone();
    Box::new(move || Box::new(target.clone()))
}

/// The error for a stream without a name, which would be that of a stream or a key in the engine.
fn unnamed(what: &str, parameter: &str, arguments: &Arguments) -> EngineError {
    let (why, alternative) = match arguments.datagrams {
        true => ("", ""),
        false => (", and the stream has none", ", or --name NAME"),
    };
    EngineError {
        what: format!("the {what} in the engine needs a name{why}"),
        remedy: Some(format!("add {parameter} to the URL{alternative}")),
        kind: EngineErrorKind::Permanent,
    }
}

/// Returns whether this is the URL of an engine.
pub(super) fn is_engine(text: &str) -> bool {
    const SCHEMES: [&str; 14] = [
        "kafka",
        "kafka+tls",
        "nats",
        "tls",
        "tls+first",
        "rabbitmq-stream",
        "rabbitmq-stream+tls",
        "redis",
        "rediss",
        "redis+sentinel",
        "rediss+sentinel",
        "redis+cluster",
        "rediss+cluster",
        "redis+unix",
    ];
    text.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
}

/// Refuses a file of credentials, which only NATS has.
fn no_credentials(arguments: &Arguments) -> Result<(), EngineError> {
    match arguments.access.credentials {
        None => Ok(()),
        Some(_) => Err(EngineError {
            what: "--credentials is for NATS".into(),
            remedy: Some("use --password-file for other engines".into()),
            kind: EngineErrorKind::Permanent,
        }),
    }
}

/// The environment variable with the password of the engine.
const PASSWORD: &str = "MCAST_ENGINE_PASSWORD";

/// Options of the access to an engine.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Access to the engine")]
pub(super) struct AccessOptions {
    /// Read the password of the engine from the first line of this file, again for each connection [default: the
    /// environment variable MCAST_ENGINE_PASSWORD, if it is set]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Log in to NATS with the key in this file: credentials as `nsc` makes them, or the seed of an nkey
    #[arg(long, value_name = "FILE", conflicts_with = "password_file")]
    pub(super) credentials: Option<PathBuf>,

    /// Trust the authorities in this PEM file for TLS [default: those of the system]
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// Show servers that require it the certificate in this PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,

    /// The key of that certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,

    /// Accept servers whose certificate is for NAME [default: the host in the URL]
    #[arg(long, value_name = "NAME")]
    tls_server_name: Option<String>,
}

impl AccessOptions {
    /// Returns the password, if there is one.
    pub(super) fn password(&self) -> anyhow::Result<Option<EnginePassword>> {
        let Some(file) = &self.password_file else {
            return Ok(std::env::var(PASSWORD).ok().map(EnginePassword::Text));
        };
        // It is read for each connection, so that a new password needs no restart.
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Some(EnginePassword::File(file.clone())))
    }

    /// Returns the options of TLS, if there are some.
    pub(super) fn tls(&self) -> Option<TlsOptions> {
        let options = TlsOptions {
            authorities: self.tls_ca.clone(),
            certificate: self.tls_certificate.clone().zip(self.tls_key.clone()),
            server_name: self.tls_server_name.clone(),
        };
        (options != TlsOptions::default()).then_some(options)
    }
}

/// Prints what the engine holds. It succeeds if that can be continued or published.
pub(super) fn check(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let is_source = arguments.is_reverse();
    let target = match is_source {
        true => Target::parse_source(arguments)?,
        false => Target::parse(arguments)?,
    };
    let mut out = console.output();
    let description = target.description();
    let mut source = target.source_connector().connect().map_err(BridgeError::Engine)?;
    let found = read_last(&mut *source).map_err(BridgeError::Engine)?;
    let retention = source.retention().map_err(BridgeError::Engine)?;
    let Some((stored, last, kind)) = found else {
        writeln!(out, "{description}: nothing is stored there")?;
        out.flush()?;
        report_retention(&retention, console);
        return Ok(Outcome::of(true));
    };
    let what = match kind {
        Some(StoredKind::Datagrams) => "datagrams",
        Some(StoredKind::Stream) | None => "a stream",
    };
    let (position, time) = (last.position, SystemTime::UNIX_EPOCH + Duration::from_millis(last.time.0));
    writeln!(
        out,
        "{description}: {what}, {}; last record: incarnation {}, number {}, at {}",
        stored.stream,
        position.incarnation,
        position.number,
        rfc3339(time)
    )?;
    out.flush()?;
    report_retention(&retention, console);
    let wanted = arguments.stream.name.as_deref().filter(|_| !is_source);
    let Some(name) = wanted.filter(|name| StreamId::named(name) != stored.stream) else {
        return Ok(Outcome::of(true));
    };
    console.warn(format_args!("it is not the stream \"{name}\", which cannot be stored there"));
    console.advise("name another place in the engine, or the stream that it holds");
    Ok(Outcome::of(false))
}

type LastStored = (StoredStream, StreamRecord, Option<StoredKind>);

/// Says what the engine removes on its own.
fn report_retention(retention: &EngineRetention, console: &Console) {
    for rule in &retention.rules {
        match rule.is_hasty {
            true => {
                console.warn(format_args!("the engine may remove what was just stored: {}", rule.what));
                console.advise(rule.remedy);
            }
            false => console.note(&rule.what),
        }
    }
    if let Some(evicted) = retention.evictions.filter(|evicted| *evicted > 0) {
        console.note(format_args!("it has evicted {evicted} keys since it started"));
    }
    if let Some(why) = &retention.unknown {
        console.note(format_args!("it is not known what the engine removes: {why}"));
    }
}

fn read_last(source: &mut dyn Source) -> Result<Option<LastStored>, EngineError> {
    let Some(stored) = source.stored()? else { return Ok(None) };
    let Some(last) = source.last()? else { return Ok(None) };
    let kind = stored_kind(source)?;
    Ok(Some((stored, last, kind)))
}
