//! All unsafe code: thin, safe wrappers of system calls that neither std nor the netlink crates offer.

pub(crate) mod ethernet;
pub(crate) mod host_access;
pub(crate) mod multicast_routing;
pub(crate) mod namespace;
pub(crate) mod offload;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod scoped;
mod socket_option;
pub(crate) mod warden;
pub(crate) mod watchdog;

use std::io;

/// Converts the result of a system call: a negative number becomes the last OS error.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
