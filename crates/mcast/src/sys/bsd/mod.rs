//! macOS and Apple's other systems, and FreeBSD.

pub(crate) mod interface;
#[cfg_attr(target_vendor = "apple", path = "apple.rs")]
#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
mod os;
pub(crate) mod route;
pub(crate) mod watch;

pub(crate) use super::errno::error_kind;

/// What to do when a limit was reached.
pub(crate) const LIMIT_REMEDY: &str = "raise the limit that was met: descriptors (`ulimit -n`), or socket memory (`sysctl kern.ipc.maxsockbuf`)";

/// The bytes of an address, which says so itself.
pub(crate) fn sockaddr_length(address: &libc::sockaddr) -> usize {
    address.sa_len.into()
}
