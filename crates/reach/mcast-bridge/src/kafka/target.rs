//! Where a stream is kept in Kafka.

use crate::engine::EngineError;
use crate::headers;
use crate::record::Position;

/// The port that brokers listen on by default.
const PORT: u16 = 9092;
/// The longest name of a topic that Kafka allows, less the suffix of the topic for notes.
const NAME: usize = 249 - NOTES.len();
/// What the name of the topic for notes ends with.
pub(super) const NOTES: &str = "-bridges";

/// A topic in Kafka.
#[derive(Clone)]
pub struct KafkaTarget {
    /// The addresses of brokers.
    brokers: Vec<String>,
    pub(super) login: Option<Login>,
    topic: Option<String>,
}

/// What a bridge proves who it is with: SASL's PLAIN.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

fn invalid(why: &str) -> EngineError {
    EngineError {
        what: format!("not a URL of Kafka: {why}"),
        remedy: Some("write kafka://HOST[:PORT][,HOST[:PORT]][/TOPIC]".into()),
        is_transient: false,
    }
}

fn decoded(text: &str) -> Result<String, EngineError> {
    let bytes = percent_encoding::percent_decode_str(text);
    bytes.decode_utf8().map(String::from).map_err(|_| invalid("it is not UTF-8"))
}

/// Returns the address of a broker, with its port.
fn broker(text: &str) -> Result<String, EngineError> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse().map_err(|_| invalid("a port is not a number"))?)
        }
        _ => (text, PORT),
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
    /// Parses `kafka://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]][/TOPIC]`.
    ///
    /// # Errors
    /// If it is not such a URL.
    pub fn parse(url: &str) -> Result<Self, EngineError> {
        let rest = url.strip_prefix("kafka://").ok_or_else(|| invalid("it has another form"))?;
        let (place, topic) = match rest.split_once('/') {
            Some((place, topic)) if !topic.is_empty() => (place, Some(decoded(topic)?)),
            Some((place, _)) => (place, None),
            None => (rest, None),
        };
        let (login, hosts) = match place.rsplit_once('@') {
            Some((login, hosts)) => {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                (Some(Login { user: decoded(user)?, password: decoded(password)? }), hosts)
            }
            None => (None, place),
        };
        let brokers = hosts.split(',').map(broker).collect::<Result<_, _>>()?;
        let target = Self { brokers, login, topic: None };
        match topic {
            Some(topic) => target.with_topic(topic),
            None => Ok(target),
        }
    }

    /// Sets the password, so that it need not be in the URL. It applies only to a URL with a user.
    ///
    /// # Errors
    /// If the URL has no user.
    pub fn password(mut self, password: &str) -> Result<Self, EngineError> {
        match &mut self.login {
            Some(login) => login.password = password.to_owned(),
            None => {
                return Err(EngineError {
                    what: "there is a password, but no user".into(),
                    remedy: Some("name the user: kafka://USER@HOST".into()),
                    is_transient: false,
                });
            }
        }
        Ok(self)
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
            return Err(EngineError {
                what: format!("\"{topic}\" cannot be the name of a topic in Kafka"),
                remedy: Some(format!(
                    "choose one of letters, digits, dots, - and _, of at most {NAME}: kafka://HOST/TOPIC"
                )),
                is_transient: false,
            });
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
        ] {
            assert!(KafkaTarget::parse(text).is_err(), "{text}");
        }
        assert!(KafkaTarget::parse("kafka://a").unwrap().with_topic("x".repeat(NAME + 1)).is_err());
    }

    #[test]
    fn a_password_needs_a_user_and_is_not_shown() {
        assert!(KafkaTarget::parse("kafka://a").unwrap().password("secret").is_err());
        let target = KafkaTarget::parse("kafka://user:first@a").unwrap().password("secret").unwrap();
        assert!(target.login.as_ref().unwrap().password == "secret");
        assert!(!format!("{target:?}").contains("secret"));
    }
}
