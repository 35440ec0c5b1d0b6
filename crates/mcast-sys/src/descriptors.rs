//! The process's limit on open file descriptors.

use super::platform::layout::most_descriptors;

/// Raises the soft limit to the hard limit; returns whether it grew.
pub fn raise_descriptor_limit() -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live for the call.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    let most = most_descriptors(limit.rlim_max);
    if !known || limit.rlim_cur >= most {
        return false;
    }
    limit.rlim_cur = most;
    // SAFETY: `limit` is live for the call.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0 }
}
