//! What went wrong, and what to do about it.

use std::fmt::Display;
use std::io;

use serde_json::Value;

use super::protocol::ProtocolError;
use crate::engine::EngineError;
use crate::tls;

/// An error that JetStream reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) code: u64,
    pub(super) description: String,
}

/// The codes of errors that are handled, not only reported.
pub(super) const NO_MESSAGE: u64 = 10037;
pub(super) const NO_STREAM: u64 = 10059;
pub(super) const WRONG_LAST_ID: u64 = 10070;
pub(super) const WRONG_LAST_SEQUENCE: u64 = 10071;
pub(super) const REPEATED_ID: u64 = 10201;

impl ApiError {
    /// Returns the error in a response, if it contains one.
    pub(super) fn of(response: &Value) -> Option<Self> {
        let error = response.get("error")?;
        let description = error["description"].as_str().unwrap_or_default().to_owned();
        Some(Self { code: error["err_code"].as_u64().unwrap_or_default(), description })
    }
}

fn error(what: String, remedy: &str, is_transient: bool) -> EngineError {
    EngineError { what, remedy: (!remedy.is_empty()).then(|| remedy.into()), is_transient }
}

pub(super) fn unreachable(address: &str, cause: &io::Error) -> EngineError {
    if let Some(error) = tls::engine_error(address, cause) {
        return error;
    }
    let remedy = "check that the server runs and that a firewall admits its port";
    error(format!("{address} cannot be reached: {cause}"), remedy, true)
}

pub(super) fn silent(address: &str) -> EngineError {
    error(format!("{address} does not respond"), "", true)
}

pub(super) fn closed(address: &str) -> EngineError {
    error(format!("{address} closed the connection"), "", true)
}

pub(super) fn broken(address: &str, cause: &ProtocolError) -> EngineError {
    error(format!("{address}: {cause}"), "check host and port: nats://HOST[:PORT]", true)
}

pub(super) fn unexpected(address: &str) -> EngineError {
    error(format!("{address} sent a response of an unexpected form"), "", true)
}

/// The error for a server that says nothing of itself.
pub(super) fn may_expect_tls(cause: EngineError) -> EngineError {
    let remedy = "if the server expects TLS first (`handshake_first`), write tls+first://HOST";
    EngineError { remedy: Some(remedy.into()), ..cause }
}

pub(super) fn no_tls(address: &str) -> EngineError {
    let remedy = "enable TLS on the server, or write nats://HOST without options of TLS";
    error(format!("{address} does not speak TLS"), remedy, true)
}

pub(super) fn too_old(address: &str, version: &Value) -> EngineError {
    let version = version.as_str().unwrap_or_default();
    error(format!("{address} is NATS {version}"), "use NATS 2.11 or later", false)
}

/// The error for a line `-ERR` of the server.
pub(super) fn rejected(address: &str, text: &str) -> EngineError {
    let lower = text.to_ascii_lowercase();
    let (remedy, is_transient) = if lower.starts_with("authorization")
        || lower.starts_with("user authentication")
    {
        (
            "give the right user and password: nats://USER@HOST and --password-file FILE, which has a token if there is no \
             user, or a file of credentials: --credentials FILE",
            false,
        )
    } else if lower.starts_with("permissions") {
        (
            "allow this user to publish to $JS.API.> and $KV.mcast-bridges.>, and to the subject of the stream, and to \
             subscribe to _INBOX.>",
            false,
        )
    } else {
        ("", true)
    };
    error(format!("{address} replied: {text}"), remedy, is_transient)
}

pub(super) fn no_jetstream(address: &str) -> EngineError {
    let remedy = "start the server with JetStream (nats-server --jetstream); its log shows whether it was disabled, for \
                  instance because the disk is full";
    error(format!("JetStream does not respond at {address}"), remedy, true)
}

pub(super) fn no_direct_get(address: &str, stream: &str) -> EngineError {
    let remedy = format!("allow direct access: nats stream edit {stream} --allow-direct");
    error(format!("{address} does not return messages of the stream \"{stream}\" directly"), &remedy, true)
}

/// The error for one that JetStream reports.
pub(super) fn api(address: &str, cause: &ApiError) -> EngineError {
    const FULL: &str = "make room: raise the limits of the stream or of JetStream, or remove old messages with \
                        `nats stream purge --keep`";
    let remedy = match cause.code {
        // Resources, storage, and what the store reports, such as the limits of a stream that discards new messages.
        10023 | 10028 | 10047 | 10077 | 10122 => FULL,
        // A message, or its headers, of more than the stream allows.
        10054 | 10097 => "raise the largest size of a message that the stream allows",
        10039 | 10076 => "enable JetStream for the account of this user",
        // Other streams have this subject, or have their names in another form.
        10065 => "choose another stream with ?stream=STREAM: the subject belongs to one of another name",
        _ => "",
    };
    let is_transient = !matches!(cause.code, 10039 | 10054 | 10065 | 10076 | 10097);
    error(format!("{address} replied: {} ({})", cause.description, cause.code), remedy, is_transient)
}

/// The error for a message that no bridge wrote.
pub(super) fn foreign(stream: &str, sequence: impl Display) -> EngineError {
    let remedy = "give each stream one of its own in NATS: ?stream=STREAM";
    error(format!("no bridge wrote message {sequence} of the stream \"{stream}\""), remedy, false)
}

pub(super) fn other_subjects(stream: &str) -> EngineError {
    let remedy = "choose another one with ?stream=STREAM, or let the bridge create it";
    error(
        format!("the stream \"{stream}\" does not have exactly one subject without wildcards"),
        remedy,
        false,
    )
}

/// The error for a stream with several copies that takes no batches.
pub(super) fn no_batches(stream: &str) -> EngineError {
    let what = format!("the stream \"{stream}\" has several copies, and does not take batches");
    let remedy = format!("set `allow_atomic` of the stream \"{stream}\" (NATS 2.12.1 or later)");
    error(what, &remedy, false)
}

/// The error for servers that do not agree on the last message yet.
pub(super) fn copies_differ(address: &str) -> EngineError {
    error(format!("the leader of the stream changes ({address})"), "", true)
}

pub(super) fn too_large(address: &str, size: usize, most: usize) -> EngineError {
    let what =
        format!("a message of {size} bytes with its headers exceeds the {most} bytes that {address} allows");
    error(what, "raise `max_payload` of the server", false)
}
