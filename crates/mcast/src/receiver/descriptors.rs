//! Opening more sockets than a process may have at first.

use std::io;

use crate::sys;
use crate::sys::socket::Socket;

/// Opens a socket; where the process has no descriptors left, raises its own soft limit to the
/// hard one, once, and tries again.
pub(crate) fn with_more_descriptors(open: impl Fn() -> io::Result<Socket>) -> io::Result<Socket> {
    match open() {
        Err(error) if sys::descriptors_exhausted(&error) && sys::raise_descriptor_limit() => open(),
        result => result,
    }
}
