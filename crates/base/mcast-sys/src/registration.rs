//! Registering a descriptor with tokio.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

/// Registers a duplicate of this descriptor with the current tokio runtime; fails outside of one.
pub fn register(descriptor: BorrowedFd<'_>, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // Outside a runtime, tokio would panic.
    Handle::try_current().map_err(io::Error::other)?;
    let own = descriptor.try_clone_to_owned()?;
    // SAFETY: an `OwnedFd` returns the same open descriptor for as long as it lives, and only the
    // registration holds this one.
    unsafe { AsyncFd::register_with_interest(own, interest) }.map_err(io::Error::from)
}
