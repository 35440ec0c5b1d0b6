//! Descriptors with tokio's reactor.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

/// Registers a duplicate of a descriptor, to wait until it can be read.
pub(crate) fn readable(descriptor: BorrowedFd<'_>) -> io::Result<AsyncFd<OwnedFd>> {
    // Outside a runtime tokio would panic.
    Handle::try_current().map_err(io::Error::other)?;
    let own = descriptor.try_clone_to_owned()?;
    // SAFETY: an `OwnedFd` is open and stays the same for as long as it lives, and nothing else has this one.
    let registered = unsafe { AsyncFd::register_with_interest(own, Interest::READABLE) };
    registered.map_err(io::Error::from)
}
