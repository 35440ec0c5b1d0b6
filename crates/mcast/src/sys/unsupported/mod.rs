//! Systems that nobody has brought this library to yet: everything is refused, with a reason.

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

/// Why an interface that is up reaches no IPv6 group, and what to do where that is not the kind's
/// own remedy.
pub(crate) fn why_no_ipv6(_loopback: bool) -> (&'static str, Option<&'static str>) {
    ("IPv6 is off there", None)
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

pub(crate) fn descriptors_exhausted(_error: &io::Error) -> bool {
    false
}

pub(crate) fn raise_descriptor_limit() -> bool {
    false
}

/// The one answer.
fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this library does not support this operating system yet"))
}
