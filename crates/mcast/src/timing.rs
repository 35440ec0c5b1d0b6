//! Support for low latency and precise timing: pinning threads to processors, and clocks for launch
//! times.

use std::time::Duration;

use crate::error::{Error, Operation, Result};
use crate::sys;

/// The clock of launch times, which must be the one that the interface's queue discipline uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LaunchClock {
    /// Time since an arbitrary start, without steps; used by `fq`.
    Monotonic,
    /// International atomic time; used by `etf`.
    Tai,
}

impl LaunchClock {
    /// Returns the time on this clock.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) except on Linux.
    pub fn now(self) -> Result<Duration> {
        sys::timing::clock_time(self).map_err(|error| Error::os(Operation::Send, error))
    }
}

/// Pins the calling thread to one processor, counted from 0.
///
/// # Errors
/// If the processor does not exist or the thread may not run on it;
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) except on Linux.
pub fn pin_to_processor(processor: usize) -> Result<()> {
    sys::timing::pin_to_processor(processor)
        .map_err(|error| Error::os(Operation::Open, error).detail(format!("processor {processor}")))
}
