//! Waiting for descriptors.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    ptr,
    time::Duration,
};

use super::check;

/// Waits until one of the descriptors is readable, has an error, or is closed at its other end.
///
/// Returns false after the timeout, or when a signal interrupted the wait.
pub(crate) fn wait_readable(descriptors: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<bool> {
    let pollfd = |descriptor: &BorrowedFd<'_>| libc::pollfd {
        fd: descriptor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut polled: Vec<_> = descriptors.iter().map(pollfd).collect();
    let timeout = timeout.map(timespec);
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    let count = polled.len() as libc::nfds_t;
    // SAFETY: the count is that of the pollfds, and the timeout is null or outlives the call.
    match check(unsafe { libc::ppoll(polled.as_mut_ptr(), count, timeout, ptr::null()) }) {
        Ok(ready) => Ok(ready > 0),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns whether a descriptor is readable, has an error, or is closed at its other end, without waiting.
pub(crate) fn is_readable(descriptor: &impl AsFd) -> io::Result<bool> {
    wait_readable(&[descriptor.as_fd()], Some(Duration::ZERO))
}

fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        // Capped at 68 years, so that it fits the narrowest type of this field.
        tv_sec: i32::try_from(duration.as_secs()).unwrap_or(i32::MAX).into(),
        tv_nsec: duration.subsec_nanos().cast_signed().into(),
    }
}
