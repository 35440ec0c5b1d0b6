//! Exit statuses: what they are, and how what failed maps to them.

use std::io;

use mcast::{ErrorKind, Operation};
use mcast_stream::StreamError;
use mcast_stream::sender::{ConfigError, Refusal};

/// What the help and the manual say about them.
pub(crate) const TABLE: &str = "\
Exit status: 0 success; 1 it ran and the answer is no (fewer than asked for, too much lost);
2 usage; 3 a right is missing; 4 environment (no such interface, no route); 130 Ctrl-C.";

/// What was asked for happened.
pub(crate) const SUCCESS: u8 = 0;
/// It ran, and the answer is no.
const NO: u8 = 1;
/// What was typed makes no sense.
pub(crate) const USAGE: u8 = 2;
/// A right is missing.
const PERMISSION: u8 = 3;
/// What is needed is not there: an interface, a kernel feature, a file.
const ENVIRONMENT: u8 = 4;

/// How a subcommand that ran to its end ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// What was asked for happened.
    Yes,
    /// It ran, and the answer is no: fewer than asked for, too much lost, a fault found.
    No,
    /// A signal ended it, with the exit status that belongs to it: 130 after Ctrl-C.
    Interrupted(u8),
    /// It ran a program in its stead, which ended with this exit status.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only labs do, and they are Linux'"))]
    Handed(u8),
}

impl Outcome {
    /// `Yes` or `No`.
    pub(crate) fn of(answer: bool) -> Self {
        if answer { Self::Yes } else { Self::No }
    }
}

impl From<Outcome> for u8 {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Yes => SUCCESS,
            Outcome::No => NO,
            Outcome::Interrupted(status) | Outcome::Handed(status) => status,
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
    /// What was typed makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { status: USAGE, message: message.into(), remedy: None }
    }

    /// It ran, and what was looked for did not turn up.
    pub(crate) fn no(message: impl Into<String>) -> Self {
        Self { status: NO, message: message.into(), remedy: None }
    }

    /// What is needed is not there.
    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self { status: ENVIRONMENT, message: message.into(), remedy: None }
    }

    /// A right is missing.
    pub(crate) fn permission(message: impl Into<String>) -> Self {
        Self { status: PERMISSION, message: message.into(), remedy: None }
    }

    /// The same with what to do about it.
    pub(crate) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// The exit status for a failure; `None` for a broken pipe, which is none: whoever read has had
/// enough.
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
            let is_right = error.kind() == mcast_capture::ErrorKind::Permission;
            return Some(if is_right { PERMISSION } else { ENVIRONMENT });
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

/// What to do about a failure, where that can be said.
pub(crate) fn remedy(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let own = cause.downcast_ref::<Failure>().and_then(|failure| failure.remedy.clone());
        own.or_else(|| cause.downcast_ref::<mcast::Error>().and_then(remedy_of))
            .or_else(|| cause.downcast_ref::<StreamError>().and_then(remedy_of_stream))
            .or_else(|| cause.downcast_ref::<mcast_capture::Error>()?.remedy().map(Into::into))
            .or_else(|| cause.downcast_ref::<mcast_capture::FileError>()?.remedy().map(Into::into))
    })
}

/// The library's own remedy; and which right is missing, which depends on what the command was
/// doing.
fn remedy_of(error: &mcast::Error) -> Option<String> {
    let right = match (error.kind(), error.operation()) {
        (ErrorKind::Permission, Operation::Open) => {
            "take a port from 1024 up, or give the command the capability CAP_NET_BIND_SERVICE"
        }
        (ErrorKind::Permission, Operation::Send) => {
            "a firewall on this machine refuses it: let multicast out there (`nft list ruleset`)"
        }
        (ErrorKind::SourceNeeded, _) => {
            return Some(
                "name the source: SOURCE@GROUP:PORT (or `-s SOURCE`), or join any source with --any-source, which RFC 4607 does not mean these groups for".into(),
            );
        }
        _ => return error.remedy(),
    };
    Some(error.remedy().unwrap_or_else(|| right.into()))
}

fn remedy_of_stream(error: &StreamError) -> Option<String> {
    let remedy = match error {
        StreamError::Socket(error) => return remedy_of(error),
        StreamError::Refused(Refusal::TooLong { .. }) => {
            "the history must hold all of it: with --history 32M a message may have 16 MiB"
        }
        StreamError::Settings(ConfigError::History(_)) => "the default, --history 8M, holds some thousand",
        StreamError::MixedFamilies => "publish twice, or leave the other family away (-4, -6)",
        _ => return None,
    };
    Some(remedy.into())
}

/// Of a stream; `None` where what is behind it says more.
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
