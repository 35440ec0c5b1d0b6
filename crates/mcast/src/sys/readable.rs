//! Waiting for one descriptor.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Waits until the descriptor is readable (or failed, which a read then reports); returns `false`
/// on timeout. Without a timeout it waits without limit.
pub(crate) fn readable(descriptor: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<bool> {
    wait_for(descriptor, libc::POLLIN, timeout)
}

/// Waits until one of these events (`POLL…`) happens; returns `false` on timeout.
pub(crate) fn wait_for(
    descriptor: BorrowedFd<'_>,
    events: libc::c_short,
    timeout: Option<Duration>,
) -> io::Result<bool> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let mut poll = libc::pollfd { fd: descriptor.as_raw_fd(), events, revents: 0 };
        // SAFETY: `poll` is one valid `pollfd`, and the descriptor is borrowed for the call.
        match unsafe { libc::poll(&raw mut poll, 1, milliseconds_until(deadline)) } {
            0 if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
            0 => return Ok(false),
            count if count > 0 => return Ok(true),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Returns the time left, rounded up so that a wait never ends early and spins; -1 means no limit.
fn milliseconds_until(deadline: Option<Instant>) -> libc::c_int {
    let Some(deadline) = deadline else { return -1 };
    let left = deadline.saturating_duration_since(Instant::now());
    left.as_micros().div_ceil(1000).try_into().unwrap_or(libc::c_int::MAX)
}
