//! Ending a wait from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Operation, Result};
use crate::sys::poller::Poller;

/// Ends a receiver's wait from another thread.
///
/// A wake-up ends one call, the one that waits now or else the next: it returns an error of kind
/// [`ErrorKind::Woken`](crate::ErrorKind::Woken), and a [`Reader`](crate::Reader) returns `None`.
#[derive(Clone, Debug)]
pub struct Waker {
    pub(super) poller: Arc<Poller>,
    pub(super) woken: Arc<AtomicBool>,
}

impl Waker {
    /// Wakes the receiver.
    ///
    /// # Errors
    /// When the system refuses, which it has no known reason for.
    pub fn wake(&self) -> Result<()> {
        self.woken.store(true, Ordering::Release);
        self.poller.wake().map_err(|error| Error::os(Operation::Receive, error))
    }
}
