//! Systems that nobody has brought this library to yet: everything is refused, with a reason.

pub(crate) mod interface;
pub(crate) mod joined;
pub(crate) mod route;
pub(crate) mod watch;

use std::io;

use crate::error::{ErrorKind, Operation};

/// What to do when a limit was reached.
pub(crate) const LIMIT_REMEDY: &str = "raise the limit that was met";

pub(crate) fn error_kind(_operation: Operation, error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    }
}

/// The one answer.
fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this library does not support this operating system yet"))
}
