//! The process's limit on open file descriptors.

/// Raises the process's soft limit on file descriptors (`RLIMIT_NOFILE`) as far as the system
/// allows. Returns whether the limit grew.
///
/// The library never does this on its own: child processes inherit the limit, and `select(2)` fails
/// for descriptors of 1,024 and above, the usual soft limit. A receiver needs one descriptor per
/// IPv6 group, so joining very many groups can fail with
/// [`ErrorKind::LimitReached`](crate::ErrorKind::LimitReached); raise the limit before joining, or
/// after that error. Windows has no such limit, and nothing changes there.
pub fn raise_descriptor_limit() -> bool {
    mcast_sys::raise_descriptor_limit()
}
