//! Ending a wait from another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Operation, Result};
use mcast_sys::poller::Poller;

/// Ends a receiver's wait from another thread.
///
/// A wake-up ends one call: the current wait, or else the next. That call returns an error of kind
/// [`ErrorKind::Woken`](crate::ErrorKind::Woken); a [`Reader`](crate::Reader) returns `None`.
#[derive(Clone, Debug)]
pub struct Waker {
    pub(super) poller: Arc<Poller>,
    pub(super) woken: Arc<AtomicBool>,
}

impl Waker {
    /// Wakes the receiver.
    ///
    /// # Errors
    /// The system's error; no case is known.
    pub fn wake(&self) -> Result<()> {
        self.woken.store(true, Ordering::Release);
        self.poller.wake().map_err(|error| Error::os(Operation::Receive, error))
    }
}
