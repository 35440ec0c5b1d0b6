//! Waiting for descriptors.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
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
        match wait_once(descriptor, events, deadline) {
            Ok(false) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Waits like [`wait_for`], but may return `false` a little too early, and an error after a signal.
pub(crate) fn wait_once(
    descriptor: BorrowedFd<'_>,
    events: libc::c_short,
    deadline: Option<Instant>,
) -> io::Result<bool> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    Ok(poll(&mut [polled(descriptor, events)], left)? > 0)
}

/// Waits until one of the descriptors is readable, has an error, or is closed at its other end.
/// Returns `false` after the timeout, or when a signal handler ran in this thread.
pub fn wait_for_any(descriptors: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<bool> {
    let mut all: Vec<_> = descriptors.iter().map(|each| polled(*each, libc::POLLIN)).collect();
    match poll(&mut all, timeout) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        ready => Ok(ready? > 0),
    }
}

/// Returns whether a descriptor is readable, has an error, or is closed at its other end, without
/// waiting.
pub fn is_readable(descriptor: &impl AsFd) -> io::Result<bool> {
    wait_for_any(&[descriptor.as_fd()], Some(Duration::ZERO))
}

/// Returns the entry of a descriptor in a list to poll.
pub(crate) fn polled(descriptor: BorrowedFd<'_>, events: libc::c_short) -> libc::pollfd {
    libc::pollfd { fd: descriptor.as_raw_fd(), events, revents: 0 }
}

/// Waits for one of these; returns the number that is ready. Timers of repairs are finer than the
/// milliseconds of `poll`.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(crate) fn poll(polled: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let limit = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or_else(|_| i32::MAX.into()),
        tv_nsec: timeout.subsec_nanos() as _,
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `polled` is live and has the given length; `limit` is null or live.
    let count =
        unsafe { libc::ppoll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, limit, std::ptr::null()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Waits for one of these; returns the number that is ready.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(crate) fn poll(polled: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    // Rounded up: a wait that ends too early would be followed by many more. -1 means no limit.
    let milliseconds = timeout
        .map_or(-1, |timeout| timeout.as_micros().div_ceil(1000).try_into().unwrap_or(libc::c_int::MAX));
    // SAFETY: `polled` is live and has the given length.
    let count = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, milliseconds) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// `struct pollfd` of `poll.h`, the same on every Unix.
const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<libc::pollfd>() == 8 && offset_of!(libc::pollfd, events) == 4);
    assert!(offset_of!(libc::pollfd, revents) == 6 && libc::POLLIN == 1);
};
