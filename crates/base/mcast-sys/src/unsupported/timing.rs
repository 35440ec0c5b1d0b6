//! The fallback for systems without Linux's options for precise timing.

use std::io;
use std::time::Duration;

use super::socket::Socket;
use crate::KernelClock;

impl Socket {
    /// Fails: not supported.
    pub fn set_busy_poll(&self, _time: Duration) -> io::Result<()> {
        unsupported()
    }

    /// Fails: not supported.
    pub fn enable_hardware_time(&self) -> io::Result<()> {
        unsupported()
    }

    /// Fails: not supported.
    pub fn set_launch_clock(&self, _clock: KernelClock) -> io::Result<()> {
        unsupported()
    }
}

/// Fails: not supported.
pub fn clock_time(_clock: KernelClock) -> io::Result<Duration> {
    unsupported()
}

/// Fails: not supported.
pub fn pin_to_processor(_processor: usize) -> io::Result<()> {
    unsupported()
}

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}
