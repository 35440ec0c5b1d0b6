//! Errors of a live capture.

use std::fmt;
use std::io;

use mcast_sys::{ClassifiedError, FailureClass, Operation, capture};

/// An error of a live capture: what failed, on which interface, and why. [`Self::remedy`] returns what to do
/// about it.
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    operation: &'static str,
    interface: String,
    kind: ErrorKind,
    os: Option<io::Error>,
}

/// The right that capturing needs, and how to get it.
const CAPTURE_RIGHT: (&str, &str) = if cfg!(any(target_vendor = "apple", target_os = "freebsd")) {
    (
        "it needs the right to read /dev/bpf*",
        "run it as root, or give one of your groups read access to /dev/bpf*",
    )
} else {
    (
        "it needs the right to capture (CAP_NET_RAW)",
        "run it as root, or grant the program the capability once: sudo setcap cap_net_raw+ep PROGRAM",
    )
};

/// The cause of an error, for programs to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The right to capture is missing; on Linux, `CAP_NET_RAW`.
    Permission,
    /// There is no interface with this name or index.
    NoSuchInterface,
    /// The interface is down, went down, or was deleted.
    InterfaceDown,
    /// The interface carries neither Ethernet nor plain IP; the number is Linux' `ARPHRD_*`.
    LinkType(u16),
    /// This system cannot capture, or not with this option. The text names what is missing.
    Unsupported(&'static str),
    /// The system reported an error: [`std::error::Error::source`].
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

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { operation, interface, kind, os } = &*self.0;
        write!(f, "cannot {operation} on {interface}: ")?;
        match (kind, os) {
            (ErrorKind::Permission, _) => f.write_str(CAPTURE_RIGHT.0)?,
            (ErrorKind::NoSuchInterface, _) => f.write_str("no such interface")?,
            (ErrorKind::InterfaceDown, _) => f.write_str("the interface is down")?,
            (ErrorKind::LinkType(number), _) => {
                write!(f, "the interface carries neither Ethernet nor plain IP (link type {number})")?;
            }
            (ErrorKind::Unsupported(need), _) => f.write_str(need)?,
            (ErrorKind::System, Some(os)) => os.fmt(f)?,
            (ErrorKind::System, None) => f.write_str("unknown system error")?,
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.os.as_ref().map(|os| os as _)
    }
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
        assert_eq!(error.to_string(), "cannot capture on eth0: it needs the right to capture (CAP_NET_RAW)");
        let remedy =
            "run it as root, or grant the program the capability once: sudo setcap cap_net_raw+ep PROGRAM";
        assert_eq!(error.remedy(), Some(remedy));
    }
}
