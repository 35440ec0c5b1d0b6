//! Where a stream is kept in RabbitMQ, and what goes wrong there.

use std::io;

use crate::error::{EngineError, EngineErrorKind, any};
use crate::limits::EngineRetention;
use crate::server::{EngineAccess, ServerUrl, UrlForm};
use crate::tls::TlsOptions;

/// The ports that the plugin listens on by default.
const PORT: u16 = 5552;
const TLS_PORT: u16 = 5551;
const FORM: UrlForm = UrlForm {
    engine: "RabbitMQ",
    schemes: &[("rabbitmq-stream", false, PORT), ("rabbitmq-stream+tls", true, TLS_PORT)],
    parameter: "stream",
    form: "rabbitmq-stream://[USER@]HOST[:PORT][,HOST[:PORT]][/VHOST][?stream=STREAM], or rabbitmq-stream+tls:// for TLS",
    is_tls_optional: false,
    check_tls: TlsOptions::check,
};
/// The longest name that RabbitMQ allows is 255 bytes, of which ".bridges" takes some.
const LONGEST_NAME: usize = 240;

/// A stream in RabbitMQ, which is created if it does not exist.
#[derive(Clone, Debug)]
pub struct RabbitmqTarget {
    pub(super) url: ServerUrl,
    pub(super) virtual_host: String,
    pub(super) stream: String,
}

impl RabbitmqTarget {
    /// Parses `rabbitmq-stream://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…][/VHOST][?stream=STREAM]`, or
    /// `rabbitmq-stream+tls://…` for TLS. Without a stream, it is `name`. By default, user and password are `guest`, and the
    /// virtual host is `/`. From the first server that can be used, the bridge continues to the one that leads the stream.
    ///
    /// # Errors
    /// If it is not such a URL, names no stream that RabbitMQ allows, or the options of TLS cannot be used.
    pub fn parse(url: &str, access: EngineAccess, name: Option<&str>) -> Result<Self, EngineError> {
        let mut url = FORM.parse(url, access)?;
        let virtual_host = match &url.path[..] {
            [] => "/".to_owned(),
            [name] => name.clone(),
            _ => return Err(FORM.invalid("its path has slashes, which are written %2F")),
        };
        if url.user.is_empty() {
            url.user = "guest".to_owned();
        }
        url.password.get_or_insert_with(|| "guest".into());
        let stream = url.parameter.as_deref().or(name);
        let stream = stream.ok_or_else(|| any::unnamed("stream", "?stream=STREAM"))?.to_owned();
        if stream.is_empty() || stream.len() > LONGEST_NAME || stream.starts_with("amq.") {
            let remedy = "bytes that does not begin with \"amq.\": ?stream=STREAM";
            let remedy = format_args!("choose one of at most {LONGEST_NAME} {remedy}");
            return Err(any::invalid_name(stream, "a stream in RabbitMQ", remedy));
        }
        Ok(Self { url, virtual_host, stream })
    }
}

/// The codes of responses that are handled, not only reported.
pub(super) const OK: u16 = 1;
pub(super) const NO_STREAM: u16 = 2;
pub(super) const STREAM_EXISTS: u16 = 5;
const NOT_AVAILABLE: u16 = 6;
pub(super) const PRECONDITION_FAILED: u16 = 17;
pub(super) const NO_PUBLISHER: u16 = 18;

pub(super) fn unreachable(address: &str, cause: &io::Error) -> EngineError {
    let remedy = "check that the server runs, that its plugin for streams is enabled (rabbitmq-plugins enable \
                  rabbitmq_stream), and that a firewall admits its port";
    crate::server::unreachable(address, cause, remedy)
}

/// What to do about an address at which something else listens.
pub(super) const PORT_OF_STREAMS: &str =
    "check host and port: streams have a port of their own, by default 5552";

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
    let message = format_args!("the message at offset {offset} of the stream \"{stream}\"");
    any::foreign(message, "give each stream one of its own in RabbitMQ: ?stream=STREAM")
}

/// What to do about a message that exceeds the largest frame.
pub(super) const RAISE_FRAME: &str = "raise `stream.frame_max` of the server";

/// Returns that it is not known what the server removes: the protocol of streams has no request for that.
pub(super) fn retention() -> EngineRetention {
    let why = "the protocol of streams does not report `max-length-bytes` and `max-age`: see `rabbitmqctl list_queues name \
               arguments policy`";
    EngineRetention { unknown: Some(why.to_owned()), ..EngineRetention::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<RabbitmqTarget, EngineError> {
        RabbitmqTarget::parse(url, EngineAccess::default(), Some("ticks"))
    }

    #[test]
    fn urls_are_parsed_and_others_refused() {
        let target = parse("rabbitmq-stream://a:b%40c@example.org:7000/v%2Fw?stream=prices").unwrap();
        assert_eq!((&*target.stream, &*target.url.servers.to_string()), ("prices", "example.org:7000"));
        assert_eq!((&*target.url.user, &*target.virtual_host), ("a", "v/w"));
        assert_eq!(target.url.read_password().unwrap(), "b@c");
        let target = parse("rabbitmq-stream://feeds@[::1]/").unwrap();
        assert_eq!((&*target.stream, &*target.url.servers.to_string()), ("ticks", "[::1]:5552"));
        assert_eq!((&*target.url.user, &*target.virtual_host), ("feeds", "/"));
        assert_eq!(target.url.read_password().unwrap(), "guest");
        let safe = parse("rabbitmq-stream+tls://one,two:7/").unwrap();
        assert!(safe.url.tls.is_some() && safe.url.servers.to_string() == "one:5551,two:7");
        let access = EngineAccess { password: Some("secret".into()), ..EngineAccess::default() };
        let target = RabbitmqTarget::parse("rabbitmq-stream://feeds@a?stream=x", access, None).unwrap();
        assert_eq!(target.url.read_password().unwrap(), "secret");
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
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
