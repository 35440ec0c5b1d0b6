//! For those who count microseconds: processors for threads, clocks for launch times.

use std::time::Duration;

use crate::error::{Error, Operation, Result};
use crate::sys;

/// The clock by which launch times are told: the one that the interface's queue discipline keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LaunchClock {
    /// Time since some start that never steps: what `fq` keeps.
    Monotonic,
    /// International atomic time: what `etf` keeps.
    Tai,
}

impl LaunchClock {
    /// The time on this clock.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) except on Linux.
    pub fn now(self) -> Result<Duration> {
        sys::timing::clock_time(self).map_err(|error| Error::os(Operation::Send, error))
    }
}

/// Keeps the calling thread on one processor, counted from 0.
///
/// # Errors
/// When there is no such processor, or the thread may not run there;
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) except on Linux.
pub fn pin_to_processor(processor: usize) -> Result<()> {
    sys::timing::pin_to_processor(processor)
        .map_err(|error| Error::os(Operation::Open, error).detail(format!("processor {processor}")))
}
