//! The monotonic clock that the machines of a driver share.

use std::time::Instant;

use mcast_pace::ClockTime;

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    /// Creates a clock that starts now.
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    #[inline]
    pub(super) fn now(self) -> ClockTime {
        ClockTime::START + self.0.elapsed()
    }
}
