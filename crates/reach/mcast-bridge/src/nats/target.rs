//! Where a stream is kept in NATS.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::error::{EngineError, any};
use crate::server::{EngineAccess, ServerUrl, UrlForm};
use crate::tls::TlsOptions;

/// The port that servers listen on by default.
const PORT: u16 = 4222;
const FORM: UrlForm = UrlForm {
    engine: "NATS",
    schemes: &[("nats", false, PORT), ("tls", true, PORT), (TLS_FIRST, true, PORT)],
    parameter: "stream",
    form: "nats://HOST[:PORT][,HOST[:PORT]][?stream=STREAM], or tls:// for TLS (tls+first:// with `handshake_first`)",
    is_tls_optional: true,
    check_tls: TlsOptions::check,
};
/// The scheme for servers that expect TLS before they say anything.
const TLS_FIRST: &str = "tls+first";
/// A stream in NATS JetStream, which is created if it does not exist.
#[derive(Clone, Debug)]
pub struct NatsTarget {
    pub(super) url: ServerUrl,
    pub(super) stream: String,
    /// As the stream was configured last, in case that it is deleted.
    pub(super) settings: Settings,
}

impl NatsTarget {
    /// Parses `nats://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…][?stream=STREAM]`. Without a stream, it is `name`. A user
    /// without a password is a token, and so is a password without a user, unless it is the key of a user. With `tls`, the
    /// server must speak TLS; with `nats`, TLS is spoken if it requires that, or if there are options of TLS. With
    /// `tls+first`, TLS comes first, as servers with `handshake_first` require.
    ///
    /// # Errors
    /// If it is not such a URL, names no stream that NATS allows, or the options of TLS cannot be used.
    pub fn parse(url: &str, access: EngineAccess, name: Option<&str>) -> Result<Self, EngineError> {
        let url = FORM.parse(url, access)?;
        if !url.path.is_empty() {
            return Err(FORM.invalid("it has a path"));
        }
        let stream = url.parameter.as_deref().or(name);
        let stream = stream.ok_or_else(|| any::unnamed("stream", "?stream=STREAM"))?.to_owned();
        let is_reserved = |character: char| {
            character.is_whitespace() || character.is_control() || ".*>/\\".contains(character)
        };
        if stream.is_empty() || stream.contains(is_reserved) {
            let remedy = "choose one without spaces, dots, slashes, * and >: ?stream=STREAM";
            return Err(any::invalid_name(stream, "a stream in NATS", remedy));
        }
        Ok(Self { url, stream, settings: Settings::default() })
    }

    /// Whether TLS precedes what the server says of itself (`handshake_first`).
    pub(super) fn is_tls_first(&self) -> bool {
        self.url.scheme == TLS_FIRST
    }
}

/// How long NATS remembers the ids of messages, the least that it allows, in nanoseconds. Nothing depends on it, but it
/// costs memory, and for as long a message is not taken again after it was removed.
const DUPLICATE_WINDOW: u64 = 100_000_000;

/// The configuration of a stream as it was last, in case that the stream is deleted.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings(Arc<Mutex<Option<Value>>>);

impl Settings {
    pub(super) fn set(&self, settings: Value) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(settings);
    }

    /// Returns the settings to create the stream with.
    pub(super) fn creation(&self, name: &str) -> Value {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        known.unwrap_or_else(|| {
            json!({
                "name": name, "subjects": [format!("mcast.{name}")], "storage": "file", "retention": "limits",
                "discard": "old", "num_replicas": 1, "allow_direct": true, "duplicate_window": DUPLICATE_WINDOW,
            })
        })
    }
}

/// Whether a secret is meant to be a file as `nsc` makes it, or the seed of an nkey, whatever is wrong with it.
pub(super) fn are_credentials(text: &str) -> bool {
    /// The length of the seed of a user, which begins with `SU`.
    const SEED: usize = 58;
    text.lines().map(str::trim).any(|line| {
        line.starts_with("-----BEGIN NATS USER JWT")
            || line.starts_with("-----BEGIN USER NKEY SEED")
            || line.starts_with("SU") && line.len() == SEED
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<NatsTarget, EngineError> {
        NatsTarget::parse(url, EngineAccess::default(), Some("ticks"))
    }

    #[test]
    fn urls_are_parsed_and_others_refused() {
        let target = parse("nats://example.org:7000?stream=prices").unwrap();
        assert_eq!((&*target.stream, &*target.url.servers.to_string()), ("prices", "example.org:7000"));
        let target = parse("nats://a%40b:c@[::1]/").unwrap();
        assert_eq!((&*target.stream, &*target.url.servers.to_string()), ("ticks", "[::1]:4222"));
        assert!(target.url.tls.is_none() && !format!("{target:?}").contains("a@b"));
        let target = parse("tls://one,two:7").unwrap();
        assert!(target.url.tls.is_some() && target.url.servers.to_string() == "one:4222,two:7");
        assert!(!target.is_tls_first() && parse("tls+first://one").unwrap().is_tls_first());
        for text in [
            "",
            "nats",
            "nats://",
            "http://a",
            "nats://a/b",
            "nats://a?stream=",
            "nats://a?stream=a.b",
            "nats://a?stream=a%20b",
            "nats://a?key=b",
            "http://a",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
