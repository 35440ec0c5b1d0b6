//! Exit statuses, and the mapping from errors to them.

use std::io;

use mcast::group::WellKnown;
use mcast::{ErrorKind, Operation};
use mcast_stream::StreamError;
use mcast_stream::publisher::{ConfigError, Refusal};

use crate::suggestion::closest;

/// The exit statuses, as help and the manual describe them.
pub(crate) const STATUSES: &[(&str, &str)] = &[
    ("0", "success"),
    ("1", "the answer is no (too few datagrams, too much loss, a fault found)"),
    ("2", "wrong usage"),
    ("3", "missing permission"),
    ("4", "environment (no such interface, no route, no such file)"),
    ("130", "Ctrl-C"),
];

/// The environment variables that every subcommand reads.
pub(crate) const VARIABLES: &[(&str, &str)] = &[
    ("NO_COLOR", "disables colours, which otherwise are used on terminals only"),
    ("CLICOLOR_FORCE", "forces colours where standard output is not a terminal"),
    ("COLUMNS", "the width of lines where standard output is not a terminal"),
];

/// Success.
pub(crate) const SUCCESS: u8 = 0;
/// The command ran, and the answer is no.
const NO: u8 = 1;
/// A usage error.
pub(crate) const USAGE: u8 = 2;
/// A permission is missing.
const PERMISSION: u8 = 3;
/// Something in the environment is missing: an interface, a kernel feature, a file.
const ENVIRONMENT: u8 = 4;

/// The outcome of a subcommand that ran to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Success.
    Yes,
    /// The command ran, and the answer is no: too few datagrams, too much loss, a fault found.
    No,
    /// The command ran, and the answer is unknown because a permission is missing.
    NotPermitted,
    /// A signal ended the command, with its exit status: 130 after Ctrl-C.
    Interrupted(u8),
    /// Another program ran instead, and ended with this exit status.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only labs on Linux run other programs"))]
    Delegated(u8),
}

impl Outcome {
    /// Returns `Yes` or `No`.
    pub(crate) fn of(answer: bool) -> Self {
        if answer { Self::Yes } else { Self::No }
    }
}

impl From<Outcome> for u8 {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Yes => SUCCESS,
            Outcome::No => NO,
            Outcome::NotPermitted => PERMISSION,
            Outcome::Interrupted(status) | Outcome::Delegated(status) => status,
        }
    }
}

/// A failure that the command itself finds, with its exit status and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    status: u8,
    message: String,
    remedy: Option<String>,
}

impl Failure {
    /// A usage error.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { status: USAGE, message: message.into(), remedy: None }
    }

    /// The command ran, and did not find what was requested.
    pub(crate) fn no(message: impl Into<String>) -> Self {
        Self { status: NO, message: message.into(), remedy: None }
    }

    /// Something in the environment is missing.
    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self { status: ENVIRONMENT, message: message.into(), remedy: None }
    }

    /// A permission is missing.
    pub(crate) fn permission(message: impl Into<String>) -> Self {
        Self { status: PERMISSION, message: message.into(), remedy: None }
    }

    /// Adds a remedy.
    pub(crate) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// Returns the exit status for a failure; `None` for a broken pipe, which is not a failure: the reader stopped
/// reading.
pub(crate) fn status(error: &anyhow::Error) -> Option<u8> {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return Some(failure.status);
        }
        if let Some(error) = cause.downcast_ref::<mcast::Error>() {
            return Some(of_kind(error.kind()));
        }
        if let Some(status) = cause.downcast_ref::<StreamError>().and_then(of_stream) {
            return Some(status);
        }
        if let Some(error) = cause.downcast_ref::<mcast_capture::Error>() {
            let is_permission = error.kind() == mcast_capture::ErrorKind::Permission;
            return Some(if is_permission { PERMISSION } else { ENVIRONMENT });
        }
        if cause.is::<mcast::ParseError>() {
            return Some(USAGE);
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return of_system(error.kind());
        }
    }
    Some(ENVIRONMENT)
}

/// Returns the remedy for a failure, if one is known.
pub(crate) fn remedy(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let own = cause.downcast_ref::<Failure>().and_then(|failure| failure.remedy.clone());
        own.or_else(|| cause.downcast_ref::<mcast::Error>().and_then(remedy_of))
            .or_else(|| cause.downcast_ref::<StreamError>().and_then(remedy_of_stream))
            .or_else(|| cause.downcast_ref::<mcast_capture::Error>().and_then(remedy_of_capture))
            .or_else(|| cause.downcast_ref::<mcast_capture::FileError>()?.remedy().map(Into::into))
            .or_else(|| suggested_name(cause.downcast_ref::<mcast::ParseError>()?))
    })
}

/// Returns the library's own remedy, or for a missing permission one that depends on what the command was doing.
fn remedy_of(error: &mcast::Error) -> Option<String> {
    let right = match (error.kind(), error.operation()) {
        (ErrorKind::Permission, Operation::Open) => {
            "use a port of at least 1024, or give the command the capability CAP_NET_BIND_SERVICE"
        }
        (ErrorKind::Permission, Operation::Send) => {
            "a firewall on this machine rejects it: allow outgoing multicast there (`nft list ruleset`)"
        }
        (ErrorKind::SourceNeeded, _) => {
            return Some(
                "name the source: SOURCE@GROUP:PORT (or `-s SOURCE`); --any-source joins without one, which RFC 4607 does not intend".into(),
            );
        }
        _ => return error.remedy(),
    };
    Some(error.remedy().unwrap_or_else(|| right.into()))
}

/// Returns a suggestion for a misspelled name.
fn suggested_name(error: &mcast::ParseError) -> Option<String> {
    let text = error.part().unwrap_or_else(|| error.text());
    let (place, _port) = text.rsplit_once(':').unwrap_or((text, ""));
    let text = place.split('%').next()?;
    // With another colon it is a scheme or an address, not a name with a port.
    if text.contains(':') || !text.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        return None;
    }
    let name = closest(text, WellKnown::all().iter().map(|known| known.name))?;
    Some(format!("did you mean `{name}`? `mcast explain --names` lists all names"))
}

/// Returns the library's own remedy, with this program as the one that gets the capability.
pub(crate) fn remedy_of_capture(error: &mcast_capture::Error) -> Option<String> {
    error.remedy().map(|remedy| remedy.replace("PROGRAM", "\"$(command -v mcast)\""))
}

fn remedy_of_stream(error: &StreamError) -> Option<String> {
    let remedy = match error {
        StreamError::Socket(error) => return remedy_of(error),
        StreamError::Refused(Refusal::TooLong { .. }) => {
            "the retransmission buffer must hold all of it: with --history 32M a message may have 16 MiB"
        }
        StreamError::Settings(ConfigError::History(_)) => "the default, --history 8M, holds several thousand",
        StreamError::MixedFamilies => "run one publisher per family, or select a family with -4 or -6",
        _ => return None,
    };
    Some(remedy.into())
}

/// Returns the exit status for an error of a stream; `None` if its cause determines it.
fn of_stream(error: &StreamError) -> Option<u8> {
    match error {
        StreamError::Socket(error) => Some(of_kind(error.kind())),
        StreamError::Settings(_)
        | StreamError::Refused(Refusal::TooLong { .. })
        | StreamError::TooManyPaths(_)
        | StreamError::Name(_)
        | StreamError::MixedFamilies => Some(USAGE),
        StreamError::NoSuchStream(_) => Some(NO),
        _ => None,
    }
}

fn of_kind(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::SourceNeeded | ErrorKind::Mismatch | ErrorKind::TooLarge => USAGE,
        ErrorKind::Permission => PERMISSION,
        _ => ENVIRONMENT,
    }
}

fn of_system(kind: io::ErrorKind) -> Option<u8> {
    match kind {
        io::ErrorKind::BrokenPipe => None,
        io::ErrorKind::PermissionDenied => Some(PERMISSION),
        _ => Some(ENVIRONMENT),
    }
}
