//! Where a stream is kept in RabbitMQ, and what goes wrong there.

use std::io;

use super::amqp;
use super::protocol::ProtocolError;
use crate::engine::{EngineError, EngineErrorKind};
use crate::limits::EngineRetention;
use crate::password::EnginePassword;
use crate::record::Position;
use crate::server::{ServerAddress, ServerUrl, Servers, UrlForm};
use crate::tls::{self, TlsOptions};

/// The ports that the plugin listens on by default.
const PORT: u16 = 5552;
const TLS_PORT: u16 = 5551;
const FORM: UrlForm = UrlForm {
    schemes: &[("rabbitmq-stream", false, PORT), ("rabbitmq-stream+tls", true, TLS_PORT)],
    parameter: "stream",
    invalid,
};
/// The longest name that RabbitMQ allows is 255 bytes, of which ".bridges" takes some.
const LONGEST_NAME: usize = 240;

/// A stream in RabbitMQ.
#[derive(Clone)]
pub struct RabbitmqTarget {
    pub(super) servers: Servers,
    pub(super) tls: Option<TlsOptions>,
    pub(super) user: String,
    pub(super) password: EnginePassword,
    pub(super) virtual_host: String,
    stream: Option<String>,
}

fn invalid(why: &str) -> EngineError {
    EngineError::permanent(
        format!("not a URL of RabbitMQ: {why}"),
        "write rabbitmq-stream://[USER@]HOST[:PORT][,HOST[:PORT]][/VHOST][?stream=STREAM], or rabbitmq-stream+tls:// \
             for TLS",
    )
}

impl RabbitmqTarget {
    /// Parses `rabbitmq-stream://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…][/VHOST][?stream=STREAM]`, or
    /// `rabbitmq-stream+tls://…` for TLS. By default, user and password are `guest`, and the virtual host is `/`. From the
    /// first server that can be used, the bridge continues to the one that leads the stream.
    ///
    /// # Errors
    /// If it is not such a URL.
    pub fn parse(url: &str) -> Result<Self, EngineError> {
        let ServerUrl { servers, is_tls, user, password, path, stream } = FORM.parse(url)?;
        let virtual_host = match &path[..] {
            [] => "/".to_owned(),
            [name] => name.clone(),
            _ => return Err(invalid("its path has slashes, which are written %2F")),
        };
        let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
        let target = Self {
            servers,
            tls: is_tls.then(TlsOptions::default),
            user: or(user, "guest"),
            password: or(password.unwrap_or_default(), "guest").into(),
            virtual_host,
            stream: None,
        };
        match stream {
            Some(stream) => target.with_stream(stream),
            None => Ok(target),
        }
    }

    /// Sets the password, so that it need not be in the URL.
    #[must_use]
    pub fn password(self, password: impl Into<EnginePassword>) -> Self {
        Self { password: password.into(), ..self }
    }

    /// Sets the options of TLS.
    ///
    /// # Errors
    /// If the URL is not one for TLS, or the files cannot be used.
    pub fn tls(self, options: TlsOptions) -> Result<Self, EngineError> {
        if self.tls.is_none() {
            return Err(EngineError::permanent(
                "there are options of TLS, but the URL is one without TLS",
                "write rabbitmq-stream+tls://HOST",
            ));
        }
        options.check()?;
        Ok(Self { tls: Some(options), ..self })
    }

    /// Returns the name of the stream, if the URL has one.
    #[must_use]
    pub fn stream(&self) -> Option<&str> {
        self.stream.as_deref()
    }

    /// Returns the name of the stream, which is known when it is connected to.
    pub(super) fn named(&self) -> Result<&str, EngineError> {
        let missing = || EngineError::permanent("no stream was given", "");
        self.stream().ok_or_else(missing)
    }

    /// Sets the name of the stream.
    ///
    /// # Errors
    /// If RabbitMQ does not allow it.
    pub fn with_stream(self, stream: String) -> Result<Self, EngineError> {
        if stream.is_empty() || stream.len() > LONGEST_NAME || stream.starts_with("amq.") {
            return Err(EngineError::permanent(
                format!("\"{stream}\" cannot be the name of a stream in RabbitMQ"),
                &format!(
                    "choose one of at most {LONGEST_NAME} bytes that does not begin with \"amq.\": ?stream=STREAM"
                ),
            ));
        }
        Ok(Self { stream: Some(stream), ..self })
    }

    /// Returns the position of the record that `mcast-after` of the next one names so: `INCARNATION-NUMBER`.
    #[must_use]
    pub fn position(id: &str) -> Option<Position> {
        amqp::position(id)
    }

    /// Returns the addresses of the servers, without secrets.
    #[must_use]
    pub fn address(&self) -> String {
        self.servers.to_string()
    }
}

/// Without secrets.
impl std::fmt::Debug for RabbitmqTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RabbitmqTarget")
            .field("address", &self.address())
            .field("virtual_host", &self.virtual_host)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

/// The codes of responses that are handled, not only reported.
pub(super) const OK: u16 = 1;
pub(super) const NO_STREAM: u16 = 2;
pub(super) const STREAM_EXISTS: u16 = 5;
const NOT_AVAILABLE: u16 = 6;
pub(super) const PRECONDITION_FAILED: u16 = 17;
pub(super) const NO_PUBLISHER: u16 = 18;

/// A server that is short of disk or memory blocks publishers, and does not send them the reason.
const MAKE_ROOM: &str = "check that the server runs, and that it has not blocked publishers (rabbitmq-diagnostics alarms): \
                         make room on its disk, or raise disk_free_limit or vm_memory_high_watermark";

pub(super) fn unreachable(address: &str, cause: &io::Error) -> EngineError {
    if let Some(error) = tls::engine_error(address, cause) {
        return error;
    }
    let remedy = "check that the server runs, that its plugin for streams is enabled (rabbitmq-plugins enable \
                  rabbitmq_stream), and that a firewall admits its port";
    EngineError::transient(format!("{address} cannot be reached: {cause}"), remedy)
}

pub(super) fn silent(address: &str) -> EngineError {
    EngineError::transient(format!("{address} does not respond"), MAKE_ROOM)
}

pub(super) fn blocked(address: &str) -> EngineError {
    EngineError::transient(
        format!("{address} does not accept messages at present ({PRECONDITION_FAILED})"),
        MAKE_ROOM,
    )
}

pub(super) fn closed(address: &str, reason: &str) -> EngineError {
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    EngineError::transient(format!("{address} closed the connection{reason}"), "")
}

pub(super) fn broken(address: &str, cause: ProtocolError) -> EngineError {
    let remedy = "check host and port: streams have a port of their own, by default 5552";
    EngineError::transient(format!("{address}: {cause}"), remedy)
}

pub(super) fn unexpected(address: &str) -> EngineError {
    EngineError::transient(format!("{address} sent a response of an unexpected form"), "")
}

pub(super) fn no_plain(address: &str) -> EngineError {
    let remedy = "allow PLAIN in auth_mechanisms of the server";
    EngineError::permanent(format!("{address} does not accept passwords"), remedy)
}

/// The error for a response with this code.
pub(super) fn code(address: &str, code: u16) -> EngineError {
    use EngineErrorKind::{LoginRefused, Permanent, Transient};

    let (what, remedy, kind) = match code {
        NO_STREAM => ("the stream does not exist", "", Transient),
        NOT_AVAILABLE => (
            "the stream is not available",
            "check that most servers with a copy of the stream run",
            Transient,
        ),
        8 | 9 => (
            "authentication failed",
            "give the right user and password: rabbitmq-stream://USER@HOST and --password-file FILE",
            LoginRefused,
        ),
        11 => (
            "this user may only connect on the server itself",
            "create a user for the bridge: rabbitmqctl add_user USER PASSWORD",
            Permanent,
        ),
        12 => (
            "the virtual host does not exist, or this user has no access to it",
            "check it in the URL (rabbitmq-stream://HOST/VHOST), and grant access with rabbitmqctl set_permissions",
            Permanent,
        ),
        14 => ("a message exceeds the largest frame", "raise stream.frame_max of the server", Permanent),
        16 => (
            "access refused",
            "grant this user configure, write and read access to the stream and to STREAM.bridges: rabbitmqctl \
             set_permissions",
            Permanent,
        ),
        PRECONDITION_FAILED => (
            "a queue with this name exists that is not a stream, or the stream has impossible settings",
            "choose another name with ?stream=STREAM",
            Permanent,
        ),
        _ => ("an error of the server", "see the log of the server", Transient),
    };
    EngineError::new(format!("{address} replied: {what} ({code})"), remedy, kind)
}

/// The error for a message that no bridge wrote.
pub(super) fn foreign(stream: &str, offset: u64) -> EngineError {
    let remedy = "give each stream one of its own in RabbitMQ: ?stream=STREAM";
    EngineError::permanent(
        format!("no bridge wrote the message at offset {offset} of the stream \"{stream}\""),
        remedy,
    )
}

/// What to do about a message that exceeds the largest frame.
pub(super) const RAISE_FRAME: &str = "raise `stream.frame_max` of the server";

/// Returns that it is not known what the server removes: the protocol of streams has no request for that.
pub(super) fn retention() -> EngineRetention {
    let why = "the protocol of streams does not report `max-length-bytes` and `max-age`: see `rabbitmqctl list_queues name \
               arguments policy`";
    EngineRetention { unknown: Some(why.to_owned()), ..EngineRetention::default() }
}

/// The error for a leader that cannot be connected to.
pub(super) fn no_leader(address: &str, leader: &ServerAddress, cause: EngineError) -> EngineError {
    let what = format!("{address} names {leader} as the leader of the stream, but {}", cause.what);
    let reachable =
        || "let servers name themselves so that the bridge reaches them: stream.advertised_host".into();
    EngineError { what, remedy: cause.remedy.or_else(|| Some(reachable())), ..cause }
}

pub(super) fn changed(address: &str, stream: &str) -> EngineError {
    EngineError::transient(
        format!("the stream \"{stream}\" at {address} has another leader, or was made again"),
        "",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed_and_others_refused() {
        let target =
            RabbitmqTarget::parse("rabbitmq-stream://a:b%40c@example.org:7000/v%2Fw?stream=prices").unwrap();
        assert_eq!((target.stream(), &*target.address()), (Some("prices"), "example.org:7000"));
        assert_eq!((&*target.user, &*target.virtual_host), ("a", "v/w"));
        assert!(target.password == "b@c".into());
        let target = RabbitmqTarget::parse("rabbitmq-stream://feeds@[::1]/").unwrap().password("secret");
        assert_eq!((target.stream(), &*target.address()), (None, "[::1]:5552"));
        let safe = RabbitmqTarget::parse("rabbitmq-stream+tls://one,two:7/").unwrap();
        assert!(safe.tls.is_some() && safe.address() == "one:5551,two:7");
        assert!(target.clone().tls(TlsOptions::default()).is_err());
        assert_eq!((&*target.user, &*target.virtual_host), ("feeds", "/"));
        assert!(target.password == "secret".into());
        assert!(!format!("{target:?}").contains("secret"));
        let long = format!("rabbitmq-stream://a?stream={}", "x".repeat(241));
        for text in [
            "",
            "rabbitmq-stream",
            "rabbitmq-stream://",
            "http://a",
            "rabbitmq-stream://a/b/c",
            "rabbitmq-stream://a?stream=",
            "rabbitmq-stream://a?stream=amq.x",
            "rabbitmq-stream://a?key=b",
            &long,
        ] {
            assert!(RabbitmqTarget::parse(text).is_err(), "{text}");
        }
    }
}
