//! The backend for unsupported systems: every operation fails with a reason.
#![allow(missing_docs, reason = "the contract at the head of the crate describes these items")]

pub mod interface;
pub mod joined;
pub mod layout;
pub mod poller;
pub mod remedies;
pub mod route;
pub mod socket;
pub mod watch;

use std::io;

use crate::{ErrorKind, Operation};

/// Returns why an interface that is up has no route to IPv6 groups, and a remedy if it differs from
/// that of the error kind.
pub fn why_no_ipv6(_loopback: bool) -> (&'static str, Option<&'static str>) {
    ("IPv6 is disabled on the interface", None)
}

/// Returns the meaning of a system error of this operation.
pub fn error_kind(_operation: Operation, error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    }
}

/// Returns whether leaving failed because the interface, and the membership with it, is gone.
pub fn is_gone(_error: &io::Error) -> bool {
    false
}

/// Returns `false`: there is no known limit.
pub fn raise_descriptor_limit() -> bool {
    false
}

/// Returns the error of every operation.
fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this library does not support this operating system yet"))
}
