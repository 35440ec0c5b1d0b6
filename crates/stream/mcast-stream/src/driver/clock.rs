//! A monotonic clock for the state machines, and its offset to the time of day.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::ClockTime;
use crate::wire::Incarnation;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

/// The clock's first value: some fields use 0 for "never".
const FIRST: ClockTime = ClockTime(1_000_000_000);

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    #[inline]
    pub(crate) fn now(&self) -> ClockTime {
        FIRST + self.start.elapsed()
    }

    pub(crate) fn until(&self, deadline: ClockTime) -> Duration {
        deadline.since(self.now()).into()
    }

    /// Returns the offset from this clock to nanoseconds since 1970.
    pub(crate) fn unix_offset(&self) -> Option<u64> {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_nanos();
        Some(u64::try_from(unix).ok()?.wrapping_sub(self.now().0))
    }
}

/// Returns an incarnation from the time of day: quarters of a second since 2024, so that a later one is greater.
pub(crate) fn incarnation() -> u32 {
    u32::try_from(since_2024().as_millis() / QUARTER.as_millis()).unwrap_or(u32::MAX).max(1)
}

/// Returns how far the clock is behind if it gives incarnation `now` after it gave `last` earlier. A difference of one
/// quarter of a second is a quick restart.
pub(crate) fn behind(now: Incarnation, last: Incarnation) -> Option<Duration> {
    let quarters = last.0.checked_sub(now.0).filter(|quarters| *quarters > 1)?;
    Some(QUARTER * quarters)
}

/// Waits until the quarter of a second of this incarnation is over, unless the clock was stepped since.
pub(crate) fn wait_for_the_next(incarnation: Incarnation) {
    let left = (QUARTER * incarnation.0.saturating_add(1)).saturating_sub(since_2024());
    if left <= QUARTER {
        std::thread::sleep(left);
    }
}

const QUARTER: Duration = Duration::from_millis(250);

fn since_2024() -> Duration {
    const START: Duration = Duration::from_secs(1_704_067_200);
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(START).saturating_sub(START)
}

/// Returns a random number from the system, through the keys that the standard library draws for its maps.
pub(crate) fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}
