//! The fallback for systems without Linux's options for precise timing.

use std::io;
use std::time::Duration;

use super::socket::Socket;
use crate::timing::LaunchClock;

impl Socket {
    pub(crate) fn set_busy_poll(&self, _time: Duration) -> io::Result<()> {
        unsupported()
    }

    pub(crate) fn enable_hardware_time(&self) -> io::Result<()> {
        unsupported()
    }

    pub(crate) fn set_launch_clock(&self, _clock: LaunchClock) -> io::Result<()> {
        unsupported()
    }
}

pub(crate) fn clock_time(_clock: LaunchClock) -> io::Result<Duration> {
    unsupported()
}

pub(crate) fn pin_to_processor(_processor: usize) -> io::Result<()> {
    unsupported()
}

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}
