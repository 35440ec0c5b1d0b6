//! The backend for unsupported systems: every operation fails with a reason.

pub(crate) mod interface;
pub(crate) mod joined;
pub(crate) mod layout;
pub(crate) mod poller;
pub(crate) mod remedies;
pub(crate) mod route;
pub(crate) mod socket;
pub(crate) mod watch;

use std::io;

use crate::error::{ErrorKind, Operation};

/// Returns why an interface that is up has no route to IPv6 groups, and a remedy if it differs from
/// that of the error kind.
pub(crate) fn why_no_ipv6(_loopback: bool) -> (&'static str, Option<&'static str>) {
    ("IPv6 is disabled on the interface", None)
}

pub(crate) fn error_kind(_operation: Operation, error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    }
}

pub(crate) fn is_gone(_error: &io::Error) -> bool {
    false
}

pub(crate) fn raise_descriptor_limit() -> bool {
    false
}

/// Returns the error of every operation.
fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this library does not support this operating system yet"))
}
