//! Waiting for descriptors.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
    time::Duration,
};

use super::check;

/// Waits until one of the descriptors has something to read, an error to tell, or its other end closed.
///
/// False when the time is over first, or when a signal ended the wait.
pub(crate) fn wait_readable(descriptors: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<bool> {
    let one = |descriptor: &BorrowedFd<'_>| libc::pollfd {
        fd: descriptor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut polled: Vec<_> = descriptors.iter().map(one).collect();
    let timeout = timeout.map(timespec);
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    let count = polled.len() as libc::nfds_t;
    // SAFETY: as many pollfds as said, and a timeout that is null or outlives the call.
    match check(unsafe { libc::ppoll(polled.as_mut_ptr(), count, timeout, ptr::null()) }) {
        Ok(ready) => Ok(ready > 0),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
    }
}

fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        // Sixty-eight years are enough, and fit the narrowest type that this field has.
        tv_sec: i32::try_from(duration.as_secs()).unwrap_or(i32::MAX).into(),
        tv_nsec: duration.subsec_nanos().cast_signed().into(),
    }
}
