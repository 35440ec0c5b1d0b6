//! Where a stream is kept in Kafka.

use crate::engine::EngineError;
use crate::headers;
use crate::password::EnginePassword;
use crate::record::Position;
use crate::tls::TlsOptions;

/// The port that brokers listen on by default.
const PORT: u16 = 9092;
/// The longest name of a topic that Kafka allows, less the suffix of the topic for notes.
const NAME: usize = 249 - NOTES.len();
/// The port of TLS in the examples of Kafka, which has none of its own.
const TLS_PORT: u16 = 9093;
/// What the name of the topic for notes ends with.
pub(super) const NOTES: &str = "-bridges";

/// A topic in Kafka.
#[derive(Clone)]
pub struct KafkaTarget {
    /// The addresses of brokers.
    brokers: Vec<String>,
    pub(super) login: Option<Login>,
    pub(super) mechanism: Mechanism,
    pub(super) tls: Option<TlsOptions>,
    topic: Option<String>,
}

/// With what user and password a bridge proves who it is, by SASL.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: EnginePassword,
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
        let found = found.ok_or_else(|| invalid("sasl is plain, scram-sha-256 or scram-sha-512"))?;
        if found != Self::Plain {
            built_with_tls("SCRAM")?;
        }
        Ok(found)
    }
}

/// Refuses what the client lacks without OpenSSL.
fn built_with_tls(what: &str) -> Result<(), EngineError> {
    match cfg!(feature = "kafka-tls") {
        true => Ok(()),
        false => Err(EngineError::permanent(
            format!("this build has no {what} for Kafka"),
            "build it with the feature kafka-tls, or use a listener that needs neither TLS nor SCRAM",
        )),
    }
}

fn invalid(why: &str) -> EngineError {
    EngineError::permanent(
        format!("not a URL of Kafka: {why}"),
        "write kafka://HOST[:PORT][,HOST[:PORT]][/TOPIC], or kafka+tls://… for TLS",
    )
}

fn decoded(text: &str) -> Result<String, EngineError> {
    let bytes = percent_encoding::percent_decode_str(text);
    bytes.decode_utf8().map(String::from).map_err(|_| invalid("it is not UTF-8"))
}

/// Returns the address of a broker, with its port.
fn broker(text: &str, default_port: u16) -> Result<String, EngineError> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse().map_err(|_| invalid("a port is not a number"))?)
        }
        _ => (text, default_port),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_reserved = |character: char| {
        character.is_whitespace() || character.is_control() || "[]/?#@,".contains(character)
    };
    let name = bare.unwrap_or(host);
    if name.is_empty() || name.contains(is_reserved) || bare.is_none() && name.contains(':') {
        return Err(invalid("a host is missing or has another form"));
    }
    Ok(format!("{host}:{port}"))
}

impl KafkaTarget {
    /// Parses `kafka://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]][/TOPIC][?sasl=MECHANISM]`, or `kafka+tls://…` for TLS
    /// (default port 9093). The mechanism is `plain` (default), `scram-sha-256` or `scram-sha-512`; SCRAM and TLS need the
    /// feature `kafka-tls`.
    ///
    /// # Errors
    /// If it is not such a URL.
    pub fn parse(url: &str) -> Result<Self, EngineError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("it has another form"))?;
        let port = match scheme {
            "kafka" => PORT,
            "kafka+tls" => built_with_tls("TLS").map(|()| TLS_PORT)?,
            _ => return Err(invalid("it has another form")),
        };
        let (rest, mechanism) = match rest.split_once('?') {
            Some((rest, query)) => {
                let value =
                    query.strip_prefix("sasl=").ok_or_else(|| invalid("its only parameter is sasl"))?;
                (rest, Some(Mechanism::parse(value)?))
            }
            None => (rest, None),
        };
        let (place, topic) = match rest.split_once('/') {
            Some((place, topic)) if !topic.is_empty() => (place, Some(decoded(topic)?)),
            Some((place, _)) => (place, None),
            None => (rest, None),
        };
        let (login, hosts) = match place.rsplit_once('@') {
            Some((login, hosts)) => {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                (Some(Login { user: decoded(user)?, password: decoded(password)?.into() }), hosts)
            }
            None => (None, place),
        };
        if login.is_none() && mechanism.is_some() {
            return Err(invalid("sasl needs a user"));
        }
        let brokers = hosts.split(',').map(|host| broker(host, port)).collect::<Result<_, _>>()?;
        let tls = (port == TLS_PORT).then(TlsOptions::default);
        let target = Self { brokers, login, mechanism: mechanism.unwrap_or_default(), tls, topic: None };
        match topic {
            Some(topic) => target.with_topic(topic),
            None => Ok(target),
        }
    }

    /// Sets the password, so that it need not be in the URL. It applies only to a URL with a user.
    ///
    /// # Errors
    /// If the URL has no user.
    pub fn password(mut self, password: impl Into<EnginePassword>) -> Result<Self, EngineError> {
        match &mut self.login {
            Some(login) => login.password = password.into(),
            None => {
                return Err(EngineError::permanent(
                    "there is a password, but no user",
                    "name the user: kafka://USER@HOST",
                ));
            }
        }
        Ok(self)
    }

    /// Whether the next connection may have another password.
    pub(super) fn renews_login(&self) -> bool {
        self.login.as_ref().is_some_and(|login| login.password.is_renewed())
    }

    /// Sets the options of TLS.
    ///
    /// # Errors
    /// If the URL is not one for TLS, or the options cannot be used: the client reads certificates itself, and checks the
    /// name of each broker against the one by which the cluster refers to it.
    pub fn tls(self, options: TlsOptions) -> Result<Self, EngineError> {
        let error = |what: &str, remedy: &str| EngineError::permanent(what, remedy);
        if self.tls.is_none() {
            return Err(error(
                "there are options of TLS, but the URL is one without TLS",
                "write kafka+tls://HOST",
            ));
        }
        if options.server_name.is_some() {
            let what = "brokers of Kafka cannot be given another name, because a cluster has several";
            return Err(error(
                what,
                "remove the name, and make `advertised.listeners` those of the certificates",
            ));
        }
        for file in
            options.authorities.iter().chain(options.certificate.iter().flat_map(|(one, key)| [one, key]))
        {
            std::fs::File::open(file).map_err(|cause| {
                error(
                    &format!("cannot read {}: {cause}", file.display()),
                    "name a PEM file that this user can read",
                )
            })?;
        }
        Ok(Self { tls: Some(options), ..self })
    }

    /// Whether it uses TLS, and the bridge has no certificate.
    pub(super) fn has_no_certificate(&self) -> bool {
        self.tls.as_ref().is_some_and(|options| options.certificate.is_none())
    }

    /// Returns the name of the topic, if the URL has one.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        self.topic.as_deref()
    }

    /// Sets the name of the topic.
    ///
    /// # Errors
    /// If Kafka does not allow it.
    pub fn with_topic(self, topic: String) -> Result<Self, EngineError> {
        let is_allowed = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
        if matches!(&*topic, "" | "." | "..") || topic.len() > NAME || !topic.chars().all(is_allowed) {
            return Err(EngineError::permanent(
                format!("\"{topic}\" cannot be the name of a topic in Kafka"),
                &format!(
                    "choose one of letters, digits, dots, - and _, of at most {NAME}: kafka://HOST/TOPIC"
                ),
            ));
        }
        Ok(Self { topic: Some(topic), ..self })
    }

    /// Returns the position of the record with this key: `INCARNATION-NUMBER`.
    #[must_use]
    pub fn position(key: &str) -> Option<Position> {
        headers::position(key)
    }

    /// Returns the addresses of the brokers, without secrets.
    #[must_use]
    pub fn address(&self) -> String {
        self.brokers.join(",")
    }
}

/// Without secrets.
impl std::fmt::Debug for KafkaTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaTarget")
            .field("address", &self.address())
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed_and_others_refused() {
        let target = KafkaTarget::parse("kafka://one:7000,two,[::1]:9093/prices.eu").unwrap();
        assert_eq!((target.topic(), &*target.address()), (Some("prices.eu"), "one:7000,two:9092,[::1]:9093"));
        let target = KafkaTarget::parse("kafka://a%40b:c%2f@[::1]/").unwrap();
        assert_eq!((target.topic(), &*target.address()), (None, "[::1]:9092"));
        assert!(target.login == Some(Login { user: "a@b".into(), password: "c/".into() }));
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
            assert!(KafkaTarget::parse(text).is_err(), "{text}");
        }
        assert!(KafkaTarget::parse("kafka://a").unwrap().with_topic("x".repeat(NAME + 1)).is_err());
    }

    #[test]
    fn tls_and_mechanisms_are_in_the_url() {
        let plain = KafkaTarget::parse("kafka://feeds@a/b?sasl=plain").unwrap();
        assert_eq!((plain.mechanism, plain.tls.clone()), (Mechanism::Plain, None));
        assert!(plain.tls(TlsOptions::default()).unwrap_err().remedy.unwrap().contains("kafka+tls"));
        let target = KafkaTarget::parse("kafka+tls://feeds@a,b:7/c?sasl=scram-sha-512");
        if cfg!(not(feature = "kafka-tls")) {
            assert!(target.unwrap_err().remedy.unwrap().contains("the feature kafka-tls"));
            let scram = KafkaTarget::parse("kafka://feeds@a?sasl=SCRAM-SHA-256").unwrap_err();
            assert!(scram.remedy.unwrap().contains("the feature kafka-tls"));
            return;
        }
        let target = target.unwrap();
        assert_eq!((target.mechanism, &*target.address()), (Mechanism::ScramSha512, "a:9093,b:7"));
        let missing = TlsOptions { authorities: Some("/nowhere/ca.pem".into()), ..TlsOptions::default() };
        assert!(target.clone().tls(missing).unwrap_err().what.contains("/nowhere/ca.pem"));
        let named = TlsOptions { server_name: Some("x".into()), ..TlsOptions::default() };
        assert!(target.tls(named).is_err());
    }

    #[test]
    fn a_password_needs_a_user_and_is_not_shown() {
        assert!(KafkaTarget::parse("kafka://a").unwrap().password("secret").is_err());
        let target = KafkaTarget::parse("kafka://user:first@a").unwrap().password("secret").unwrap();
        assert!(target.login.as_ref().unwrap().password == "secret".into());
        assert!(!format!("{target:?}").contains("secret"));
    }
}
