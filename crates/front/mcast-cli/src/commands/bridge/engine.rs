//! The broker that a URL names, how it is reached, and what it holds (`--check`).

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use mcast_bridge::{
    BridgeError, Engine, EngineAccess, EngineError, EnginePassword, EngineRetention, Position, Source,
    StoredKind, StoredStream, StreamRecord, TlsOptions, engine_at, stored_kind,
};
use mcast_stream::wire::StreamId;
use mcast_terminal::Console;

use super::Arguments;
use crate::arguments::is_stream_name;
use crate::exit::{Failure, Outcome};
use crate::output::rfc3339;

/// A stream in a broker.
#[derive(Clone)]
pub(super) struct Target(Arc<dyn Engine>);

impl Target {
    /// Parses the URL of a broker that a stream is kept in.
    pub(super) fn parse(arguments: &Arguments) -> anyhow::Result<Self> {
        let announced = arguments.place.as_deref().filter(|place| is_stream_name(place));
        let name = arguments.stream.name.as_deref().or(announced);
        Self::parse_url(arguments.engine(), arguments, name)
    }

    /// Parses the URL of a broker that a stream is published from.
    pub(super) fn parse_source(arguments: &Arguments) -> anyhow::Result<Self> {
        Self::parse_url(arguments.place(), arguments, None)
    }

    fn parse_url(url: &str, arguments: &Arguments, name: Option<&str>) -> anyhow::Result<Self> {
        let engine = engine_at(url, arguments.access.read()?, name).map_err(|error| {
            let failure = Failure::usage(format!("cannot bridge to this broker: {}", error.what));
            failure.remedy(error.remedy.unwrap_or_default())
        });
        Ok(Self(engine?))
    }

    /// Returns the broker and the stream in it, without secrets.
    pub(super) fn description(&self) -> String {
        format!("\"{}\" at {}", self.0.name(), self.0.address())
    }

    /// Returns the name of the stream in the broker.
    pub(super) fn key(&self) -> &str {
        self.0.name()
    }

    /// Returns the position of the record that the broker shows with this id.
    pub(super) fn record_position(&self, id: &str) -> anyhow::Result<Position> {
        let position = self.0.position(id);
        Ok(position
            .ok_or_else(|| Failure::usage(format!("\"{id}\" is not an id of a record in this broker")))?)
    }

    pub(super) fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.0)
    }
}

/// The environment variable with the password of the broker.
const PASSWORD: &str = "MCAST_ENGINE_PASSWORD";

/// Options of the access to a broker.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Access to the broker")]
pub(super) struct AccessOptions {
    /// Read the password of the broker from the first line of this file, again for each connection; for NATS without a
    /// user, a token, or credentials as `nsc` makes them, or the seed of an nkey [default: the environment variable
    /// MCAST_ENGINE_PASSWORD, if it is set]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// For TLS: `ca=FILE` with the authorities to trust [default: those of the system], `certificate=FILE,key=FILE` for
    /// servers that require one of the bridge, `name=NAME` that the certificate of the server has instead of the host in
    /// the URL; files are PEM; repeatable
    #[arg(long, value_name = "SETTING=VALUE", value_delimiter = ',', value_parser = parse_tls)]
    tls: Vec<TlsSetting>,
}

/// One setting of `--tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum TlsSetting {
    Authorities(PathBuf),
    Certificate(PathBuf),
    Key(PathBuf),
    ServerName(String),
}

fn parse_tls(text: &str) -> Result<TlsSetting, String> {
    match text.split_once('=').filter(|(_, value)| !value.is_empty()) {
        Some(("ca", file)) => Ok(TlsSetting::Authorities(file.into())),
        Some(("certificate", file)) => Ok(TlsSetting::Certificate(file.into())),
        Some(("key", file)) => Ok(TlsSetting::Key(file.into())),
        Some(("name", name)) => Ok(TlsSetting::ServerName(name.to_owned())),
        _ => Err("write ca=FILE, certificate=FILE, key=FILE or name=NAME".to_owned()),
    }
}

impl AccessOptions {
    /// Returns what is given beside the URL.
    fn read(&self) -> anyhow::Result<EngineAccess> {
        let access = EngineAccess::default();
        let access = self.password()?.into_iter().fold(access, EngineAccess::with_password);
        Ok(self.tls()?.into_iter().fold(access, EngineAccess::with_tls))
    }

    /// Returns the password, if there is one.
    fn password(&self) -> anyhow::Result<Option<EnginePassword>> {
        let Some(file) = &self.password_file else {
            return Ok(std::env::var(PASSWORD).ok().map(EnginePassword::Text));
        };
        // It is read for each connection, so that a new password needs no restart.
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Some(EnginePassword::File(file.clone())))
    }

    /// Returns the options of TLS, if there are some.
    fn tls(&self) -> anyhow::Result<Option<TlsOptions>> {
        let (mut options, mut certificate, mut key) = (TlsOptions::default(), None, None);
        for setting in self.tls.iter().cloned() {
            match setting {
                TlsSetting::Authorities(file) => options.authorities = Some(file),
                TlsSetting::Certificate(file) => certificate = Some(file),
                TlsSetting::Key(file) => key = Some(file),
                TlsSetting::ServerName(name) => options.server_name = Some(name),
            }
        }
        options.certificate = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => {
                let failure =
                    Failure::usage("a certificate of the bridge needs its key, and a key its certificate");
                return Err(failure.remedy("write --tls certificate=FILE,key=FILE").into());
            }
        };
        Ok((!self.tls.is_empty()).then_some(options))
    }
}

/// Prints what the broker holds. It succeeds if that can be continued or published.
pub(super) fn check(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let is_source = arguments.is_reverse();
    let target = match is_source {
        true => Target::parse_source(arguments)?,
        false => Target::parse(arguments)?,
    };
    let mut out = console.output();
    let description = target.description();
    let mut source = target.engine().source().map_err(BridgeError::Engine)?;
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
    console.advise("name another place in the broker, or the stream that it holds");
    Ok(Outcome::of(false))
}

type LastStored = (StoredStream, StreamRecord, Option<StoredKind>);

/// Says what the broker removes on its own.
fn report_retention(retention: &EngineRetention, console: &Console) {
    for rule in &retention.rules {
        match rule.is_hasty {
            true => {
                console.warn(format_args!("the broker may remove what was just stored: {}", rule.what));
                console.advise(rule.remedy);
            }
            false => console.note(&rule.what),
        }
    }
    if let Some(evicted) = retention.evictions.filter(|evicted| *evicted > 0) {
        console.note(format_args!("it has evicted {evicted} keys since it started"));
    }
    if let Some(why) = &retention.unknown {
        console.note(format_args!("whether the broker removes messages is unknown: {why}"));
    }
}

fn read_last(source: &mut dyn Source) -> Result<Option<LastStored>, EngineError> {
    let Some(stored) = source.stored()? else { return Ok(None) };
    let Some(last) = source.last()? else { return Ok(None) };
    let kind = stored_kind(source)?;
    Ok(Some((stored, last, kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(settings: &[&str]) -> anyhow::Result<Option<TlsOptions>> {
        let tls = settings.iter().map(|setting| parse_tls(setting).unwrap()).collect();
        AccessOptions { password_file: None, tls }.tls()
    }

    #[test]
    fn settings_of_tls_are_options_and_a_certificate_needs_its_key() {
        assert_eq!(options(&[]).unwrap(), None);
        let all = options(&["ca=a.pem", "certificate=b.pem", "key=b.key", "name=broker"]).unwrap().unwrap();
        assert_eq!(all.authorities, Some("a.pem".into()));
        assert_eq!(all.certificate, Some(("b.pem".into(), "b.key".into())));
        assert_eq!(all.server_name.as_deref(), Some("broker"));
        assert!(options(&["certificate=b.pem"]).is_err() && options(&["key=b.key"]).is_err());
        for text in ["", "ca", "ca=", "authority=a.pem"] {
            assert!(parse_tls(text).is_err(), "{text}");
        }
    }
}
