//! Everything unsafe: thin, safe doors to system calls that neither std nor the netlink crates offer.

pub(crate) mod ethernet;
pub(crate) mod guardian;
pub(crate) mod multicast_routing;
pub(crate) mod namespace;
pub(crate) mod offload;
pub(crate) mod passage;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod scoped;
mod socket_option;
pub(crate) mod warden;

use std::io;

/// Turns the -1 of a system call into its error.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
