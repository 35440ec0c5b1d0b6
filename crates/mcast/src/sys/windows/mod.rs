//! Windows.

pub(crate) mod interface;
pub(crate) mod joined;
mod readable;
pub(crate) mod route;
mod signal;
pub(crate) mod watch;

use std::io;

use windows_sys::Win32::Networking::WinSock::WSAGetLastError;

use crate::error::{ErrorKind, Operation};

/// What to do when a limit was reached.
pub(crate) const LIMIT_REMEDY: &str = "close sockets, or join fewer groups and sources on each";

fn last_socket_error() -> io::Error {
    // SAFETY: it only reads this thread's last error.
    io::Error::from_raw_os_error(unsafe { WSAGetLastError() })
}
/// TEMP
pub(crate) fn error_kind(_operation: Operation, _error: &io::Error) -> ErrorKind {
    ErrorKind::Other
}
