//! Blocking on futures and descriptors.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::Result;

/// Runs a future to completion on this thread.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(work)
}

/// Waits until the descriptor is readable.
pub(super) fn wait_readable(socket: &impl AsFd) -> io::Result<()> {
    super::sys::wait(socket.as_fd().as_raw_fd())
}
