//! Clocks for launch times.

use std::time::Duration;

use mcast_sys::{KernelClock, timing};

use crate::error::{Error, Operation, Result};

/// The clock of launch times, which must be the one that the interface's queue discipline uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
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
        timing::clock_time(self.of_kernel()).map_err(|error| Error::os(Operation::Send, error))
    }

    /// Returns this clock as the kernel knows it.
    pub(crate) const fn of_kernel(self) -> KernelClock {
        match self {
            Self::Monotonic => KernelClock::Monotonic,
            Self::Tai => KernelClock::Tai,
        }
    }
}
