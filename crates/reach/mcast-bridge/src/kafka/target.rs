//! Where a stream is kept in Kafka.

use std::sync::{Arc, Mutex};

use super::standby::Standby;
use crate::error::kafka::{no_user, server_name, unread_certificate};
use crate::error::{EngineError, any};
use crate::server::{EngineAccess, ServerUrl, UrlForm};
use crate::tls::TlsOptions;

/// The port that brokers listen on by default, and that of TLS in the examples of Kafka, which has none of its own.
const PORT: u16 = 9092;
const TLS_PORT: u16 = 9093;
const FORM: UrlForm = UrlForm {
    engine: "Kafka",
    schemes: &[("kafka", false, PORT), ("kafka+tls", true, TLS_PORT)],
    parameter: "sasl",
    form: "kafka://HOST[:PORT][,HOST[:PORT]][/TOPIC], or kafka+tls://… for TLS",
    is_tls_optional: false,
    check_tls,
};
/// What the name of the topic for notes ends with.
pub(super) const NOTES: &str = "-bridges";
/// The longest name of a topic that Kafka allows, less the suffix of the topic for notes.
const NAME: usize = 249 - NOTES.len();

/// A topic in Kafka, which is created if it does not exist.
#[derive(Clone, Debug)]
pub struct KafkaTarget {
    pub(super) url: ServerUrl,
    pub(super) mechanism: Mechanism,
    pub(super) topic: String,
    /// When this bridge took over last. It outlasts connections.
    pub(super) standby: Arc<Mutex<Standby>>,
}

/// How a password is proven to a broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// It is sent.
    #[default]
    Plain,
    ScramSha256,
    ScramSha512,
}

impl Mechanism {
    /// Returns its name in Kafka.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    fn parse(text: &str) -> Result<Self, EngineError> {
        let known = [Self::Plain, Self::ScramSha256, Self::ScramSha512];
        let found = known.into_iter().find(|known| known.name().eq_ignore_ascii_case(text));
        let found = found.ok_or_else(|| FORM.invalid("sasl is plain, scram-sha-256 or scram-sha-512"))?;
        if found != Self::Plain {
            built_with_tls("SCRAM")?;
        }
        Ok(found)
    }
}

/// Refuses what the client lacks without OpenSSL.
fn built_with_tls(what: &str) -> Result<(), EngineError> {
    let remedy = "build it with the feature kafka-tls, or use a listener that needs neither TLS nor SCRAM";
    match cfg!(feature = "kafka-tls") {
        true => Ok(()),
        false => Err(any::not_built(format_args!("{what} for Kafka"), remedy)),
    }
}

/// The client reads certificates itself, and checks the name of each broker against the one by which the cluster refers to
/// it.
fn check_tls(options: &TlsOptions) -> Result<(), EngineError> {
    if options.server_name.is_some() {
        return Err(server_name());
    }
    let of_bridge = options.certificate.iter().flat_map(|(certificate, key)| [certificate, key]);
    options.authorities.iter().chain(of_bridge).try_for_each(|file| match std::fs::File::open(file) {
        Ok(_) => Ok(()),
        Err(cause) => Err(unread_certificate(file.display(), cause)),
    })
}

impl KafkaTarget {
    /// Parses `kafka://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]][/TOPIC][?sasl=MECHANISM]`, or `kafka+tls://…` for TLS
    /// (default port 9093). Without a topic, it is `name`. The mechanism is `plain` (default), `scram-sha-256` or
    /// `scram-sha-512`; SCRAM and TLS need the feature `kafka-tls`.
    ///
    /// # Errors
    /// If it is not such a URL, names no topic that Kafka allows, has a password and no user, or the options of TLS cannot
    /// be used.
    pub fn parse(url: &str, access: EngineAccess, name: Option<&str>) -> Result<Self, EngineError> {
        let url = FORM.parse(url, access)?;
        if url.tls.is_some() {
            built_with_tls("TLS")?;
        }
        let mechanism = url.parameter.as_deref().map(Mechanism::parse).transpose()?;
        match (&url.password, url.user.is_empty()) {
            (Some(_), true) => return Err(no_user()),
            (None, true) if mechanism.is_some() => return Err(FORM.invalid("sasl needs a user")),
            _ => {}
        }
        let topic = match &url.path[..] {
            [] => name.ok_or_else(|| any::unnamed("topic", "/TOPIC"))?.to_owned(),
            [topic] => topic.clone(),
            _ => return Err(FORM.invalid("its path has several parts")),
        };
        let is_allowed = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
        if matches!(&*topic, "" | "." | "..") || topic.len() > NAME || !topic.chars().all(is_allowed) {
            let remedy = "choose one of letters, digits, dots, - and _, of at most";
            let remedy = format_args!("{remedy} {NAME}: kafka://HOST/TOPIC");
            return Err(any::invalid_name(topic, "a topic in Kafka", remedy));
        }
        Ok(Self { url, mechanism: mechanism.unwrap_or_default(), topic, standby: Arc::default() })
    }

    /// Whether the bridge proves who it is, by SASL.
    pub(super) fn has_login(&self) -> bool {
        !self.url.user.is_empty()
    }

    /// Whether it uses TLS, and the bridge has no certificate.
    pub(super) fn has_no_certificate(&self) -> bool {
        self.url.tls.as_ref().is_some_and(|options| options.certificate.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<KafkaTarget, EngineError> {
        KafkaTarget::parse(url, EngineAccess::default(), Some("ticks"))
    }

    #[test]
    fn urls_are_parsed_and_others_refused() {
        let target = parse("kafka://one:7000,two,[::1]:9093/prices.eu").unwrap();
        let address = target.url.servers.to_string();
        assert_eq!((&*target.topic, &*address), ("prices.eu", "one:7000,two:9092,[::1]:9093"));
        let target = parse("kafka://a%40b:c%2f@[::1]/").unwrap();
        assert_eq!((&*target.topic, &*target.url.servers.to_string()), ("ticks", "[::1]:9092"));
        assert_eq!((&*target.url.user, &*target.url.read_password().unwrap()), ("a@b", "c/"));
        for text in [
            "",
            "kafka",
            "kafka://",
            "kafka:///prices",
            "http://a",
            "kafka://a,/b",
            "kafka://a:b/c",
            "kafka://::1/c",
            "kafka://a/b/c",
            "kafka://a/..",
            "kafka://a/b?topic=c",
            "kafka://a/b?sasl=plain",
            "kafka://user@a/b?sasl=md5",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&format!("kafka://a/{}", "x".repeat(NAME + 1))).is_err());
    }

    #[test]
    fn tls_and_mechanisms_are_in_the_url() {
        let plain = parse("kafka://feeds@a/b?sasl=plain").unwrap();
        assert_eq!((plain.mechanism, plain.url.tls), (Mechanism::Plain, None));
        let with = |tls: TlsOptions| {
            let access = EngineAccess { tls: Some(tls), ..EngineAccess::default() };
            KafkaTarget::parse("kafka+tls://feeds@a,b:7/c?sasl=scram-sha-512", access, None)
        };
        if cfg!(not(feature = "kafka-tls")) {
            let error = with(TlsOptions::default()).unwrap_err();
            assert!(error.remedy.unwrap().contains("the feature kafka-tls"));
            let scram = parse("kafka://feeds@a?sasl=SCRAM-SHA-256").unwrap_err();
            assert!(scram.remedy.unwrap().contains("the feature kafka-tls"));
            return;
        }
        let target = with(TlsOptions::default()).unwrap();
        let address = target.url.servers.to_string();
        assert_eq!((target.mechanism, &*address), (Mechanism::ScramSha512, "a:9093,b:7"));
        let missing = TlsOptions { authorities: Some("/nowhere/ca.pem".into()), ..TlsOptions::default() };
        assert!(with(missing).unwrap_err().what.contains("/nowhere/ca.pem"));
        let named = TlsOptions { server_name: Some("x".into()), ..TlsOptions::default() };
        assert!(with(named).is_err());
    }

    #[test]
    fn a_password_needs_a_user_and_is_not_shown() {
        let with = |url: &str| {
            let access = EngineAccess { password: Some("secret".into()), ..EngineAccess::default() };
            KafkaTarget::parse(url, access, Some("ticks"))
        };
        assert!(with("kafka://a").is_err());
        let target = with("kafka://user:first@a").unwrap();
        assert_eq!(target.url.read_password().unwrap(), "secret");
        assert!(!format!("{target:?}").contains("secret"));
    }
}
