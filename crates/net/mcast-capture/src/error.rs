//! Errors of a live capture.

use std::{fmt, io};

use mcast_sys::{ClassifiedError, FailureClass, Operation, capture};

/// An error of a live capture: what failed, on which interface, and why. [`Self::remedy`] returns what to do
/// about it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Inner>);

/// The parts of an error, in a box so that a `Result` stays small.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} on {interface}: {}", reason(.kind, *.kind == ErrorKind::System, .os.as_ref()))]
struct Inner {
    operation: &'static str,
    interface: String,
    kind: ErrorKind,
    #[source]
    os: Option<io::Error>,
}

/// Returns the reason for a failure: the system's error where the kind does not describe it.
pub(crate) fn reason(kind: &impl fmt::Display, is_system: bool, os: Option<&io::Error>) -> String {
    os.filter(|_| is_system).map_or_else(|| kind.to_string(), ToString::to_string)
}

/// The right that capturing needs, and how to get it.
const CAPTURE_RIGHT: (&str, &str) = if cfg!(any(target_vendor = "apple", target_os = "freebsd")) {
    (
        "it needs permission to read /dev/bpf*",
        "run it as root, or give one of your groups read access to /dev/bpf*",
    )
} else {
    (
        "it needs permission to capture (CAP_NET_RAW)",
        "run it as root, or grant the program the capability once: sudo setcap cap_net_raw+ep PROGRAM",
    )
};

/// The cause of an error, for programs to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The right to capture is missing; on Linux, `CAP_NET_RAW`.
    #[error("{}", CAPTURE_RIGHT.0)]
    Permission,
    /// There is no interface with this name or index.
    #[error("no such interface")]
    NoSuchInterface,
    /// The interface is down, went down, or was deleted.
    #[error("the interface is down")]
    InterfaceDown,
    /// The interface carries neither Ethernet nor plain IP; the number is Linux' `ARPHRD_*`.
    #[error("the interface carries neither Ethernet nor plain IP (link type {0})")]
    LinkType(u16),
    /// This system cannot capture, or not with this option. The text names what is missing.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The system reported an error: [`std::error::Error::source`].
    #[error("unknown system error")]
    System,
}

impl Error {
    pub(crate) fn new(operation: &'static str, interface: impl fmt::Display, kind: ErrorKind) -> Self {
        Self(Box::new(Inner { operation, interface: interface.to_string(), kind, os: None }))
    }

    pub(crate) fn from_os(operation: &'static str, interface: impl fmt::Display, os: io::Error) -> Self {
        let kind = match os.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::Permission,
            io::ErrorKind::NetworkDown => ErrorKind::InterfaceDown,
            _ => match capture::missing(&os) {
                Some(need) => ErrorKind::Unsupported(need),
                None if is_gone(&os) => ErrorKind::NoSuchInterface,
                None => ErrorKind::System,
            },
        };
        Self(Box::new(Inner { operation, interface: interface.to_string(), kind, os: Some(os) }))
    }

    /// Returns the cause.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the interface, as the caller named it.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.0.interface
    }

    /// Returns what to do about the error, if anything helps.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        Some(match self.0.kind {
            ErrorKind::Permission => CAPTURE_RIGHT.1,
            ErrorKind::NoSuchInterface => "run `mcast interfaces` to list the interfaces",
            ErrorKind::InterfaceDown => "bring the interface up; the capture then continues",
            ErrorKind::LinkType(_) => "capture on the Ethernet interface below it",
            ErrorKind::Unsupported(_) | ErrorKind::System => return None,
        })
    }
}

/// Returns whether the system knows no such interface.
fn is_gone(os: &io::Error) -> bool {
    mcast_sys::error_kind(Operation::Open, os) == mcast_sys::ErrorKind::NoSuchInterface
}

impl ClassifiedError for Error {
    fn class(&self) -> Option<FailureClass> {
        Some(match self.0.kind {
            ErrorKind::Permission => FailureClass::Permission,
            _ => FailureClass::Environment,
        })
    }

    fn remedy(&self) -> Option<String> {
        self.remedy().map(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_right_is_reported_with_a_remedy() {
        let os = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = Error::from_os("capture", "eth0", os);
        assert_eq!(error.kind(), ErrorKind::Permission);
        assert_eq!(error.to_string(), "cannot capture on eth0: it needs permission to capture (CAP_NET_RAW)");
        let remedy =
            "run it as root, or grant the program the capability once: sudo setcap cap_net_raw+ep PROGRAM";
        assert_eq!(error.remedy(), Some(remedy));
    }
}
