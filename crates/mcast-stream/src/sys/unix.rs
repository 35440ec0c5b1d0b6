//! By `poll`.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// `struct pollfd` of `poll.h`, the same on every Unix.
const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<libc::pollfd>() == 8 && offset_of!(libc::pollfd, events) == 4);
    assert!(offset_of!(libc::pollfd, revents) == 6 && libc::POLLIN == 1);
};

/// Waits until one of the two may have something, or the time is over.
pub(crate) fn wait(receiver: &mcast::Receiver, control: &UdpSocket, timeout: Duration) -> io::Result<()> {
    let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut entries = [entry(receiver.as_fd().as_raw_fd()), entry(control.as_raw_fd())];
    match poll(&mut entries, timeout) {
        -1 => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            error => Err(error),
        },
        _ => Ok(()),
    }
}

/// Timers of repairs are finer than the milliseconds of `poll`.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn poll(entries: &mut [libc::pollfd], timeout: Duration) -> libc::c_int {
    let time =
        libc::timespec { tv_sec: timeout.as_secs().min(86_400) as _, tv_nsec: timeout.subsec_nanos() as _ };
    let count = entries.len() as libc::nfds_t;
    // SAFETY: entries and time outlive the call, the number of entries is told, and no signals are.
    unsafe { libc::ppoll(entries.as_mut_ptr(), count, &raw const time, std::ptr::null()) }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn poll(entries: &mut [libc::pollfd], timeout: Duration) -> libc::c_int {
    // Rounded up: a wait that ends too early would be followed by many more.
    let milliseconds = i32::try_from(timeout.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX);
    // SAFETY: the entries outlive the call, and their number is told.
    unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, milliseconds) }
}
