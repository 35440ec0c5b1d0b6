//! The monotonic clock that the machines of a driver share.

use std::time::Instant;

use mcast_http::HttpClock;
use mcast_pace::ClockTime;

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    /// Creates a clock that starts now.
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    /// Returns the same clock for HTTP.
    pub(super) const fn http(self) -> HttpClock {
        HttpClock::since(self.0)
    }

    #[inline]
    pub(super) fn now(self) -> ClockTime {
        ClockTime::START + self.0.elapsed()
    }
}
