//! Waiting for one socket.

use std::io;
use std::os::windows::io::{AsRawSocket, BorrowedSocket};
use std::time::{Duration, Instant};

use windows_sys::Win32::Networking::WinSock::{POLLRDNORM, SOCKET, WSAPOLL_EVENT_FLAGS, WSAPOLLFD, WSAPoll};

use super::errors::last_socket_error;

/// Waits until the socket is readable (or failed, which a read then reports); returns `false` on
/// timeout. Without a timeout it waits without limit.
pub(crate) fn readable(socket: BorrowedSocket<'_>, timeout: Option<Duration>) -> io::Result<bool> {
    wait_for(socket, POLLRDNORM, timeout)
}

/// Waits until one of these events (`POLL…`) happens; returns `false` on timeout.
pub(crate) fn wait_for(
    socket: BorrowedSocket<'_>,
    events: WSAPOLL_EVENT_FLAGS,
    timeout: Option<Duration>,
) -> io::Result<bool> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let mut poll = WSAPOLLFD { fd: socket.as_raw_socket() as SOCKET, events, revents: 0 };
        // SAFETY: `poll` is one valid entry, and the socket is borrowed for the call.
        match unsafe { WSAPoll(&raw mut poll, 1, milliseconds_until(deadline)) } {
            0 if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
            0 => return Ok(false),
            count if count > 0 => return Ok(true),
            _ => return Err(last_socket_error()),
        }
    }
}

/// Returns the time left, rounded up so that a wait never ends early and spins; -1 means no limit.
pub(crate) fn milliseconds_until(deadline: Option<Instant>) -> i32 {
    let Some(deadline) = deadline else { return -1 };
    let left = deadline.saturating_duration_since(Instant::now());
    left.as_micros().div_ceil(1000).try_into().unwrap_or(i32::MAX)
}
