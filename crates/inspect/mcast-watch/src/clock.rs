//! The table's clock, which does not follow large steps back, and the intervals it is divided into.

use std::time::{Duration, SystemTime};

/// Maps packet timestamps to table time, which never falls far behind the latest time seen.
///
/// The system clock can be set back, and capture files can be concatenated. Steps back of up to 5 s, as when
/// several interfaces deliver out of order, are kept; after a larger one, table time continues from the
/// latest time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Option<Time>,
    latest: Time,
    /// Nanoseconds added to each incoming timestamp.
    offset: u64,
    interval: u64,
}

impl Clock {
    /// Packets from several interfaces are assumed to be out of order by at most this, in nanoseconds.
    const DISORDER: u64 = 5_000_000_000;

    pub(crate) fn new(interval: Duration) -> Self {
        Self { start: None, latest: Time::default(), offset: 0, interval: nanoseconds(interval).max(1) }
    }

    /// Converts a system time to table time and advances the clock to it.
    pub(crate) fn advance(&mut self, time: Time) -> Time {
        let mut adjusted = self.adjusted(time).as_nanos();
        let latest = self.latest.as_nanos();
        if adjusted.saturating_add(Self::DISORDER) < latest {
            self.offset = self.offset.saturating_add(latest - adjusted);
            adjusted = latest;
        }
        let adjusted = Time::from_nanos(adjusted);
        self.start.get_or_insert(adjusted);
        self.latest = self.latest.max(adjusted);
        adjusted
    }

    /// Converts a system time to table time without advancing the clock.
    pub(crate) fn adjusted(&self, time: Time) -> Time {
        Time::from_nanos(time.as_nanos().saturating_add(self.offset))
    }

    /// Returns the start of the first interval.
    pub(crate) fn start(&self) -> Time {
        self.start.unwrap_or(self.latest)
    }

    pub(crate) fn latest(&self) -> Time {
        self.latest
    }

    /// Returns the number of the interval that contains `time`; the first is 0.
    pub(crate) fn interval_of(&self, time: Time) -> u64 {
        nanoseconds(time.since(self.start())) / self.interval
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval)
    }
}

/// A point in time: nanoseconds since 1970-01-01 UTC. Times out of range saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// Returns the time that many nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Returns the time that many seconds after the epoch.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Returns nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the time elapsed since `earlier`; zero if `self` is before it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns the time `span` later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(span)))
    }
}

/// Returns the span in nanoseconds, saturating.
pub(crate) fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, nanoseconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn time_continues_after_the_clock_is_set_back() {
        let mut clock = Clock::new(SECOND);
        clock.advance(Time::from_secs(1_000));
        clock.advance(Time::from_secs(1_010));
        assert_eq!(clock.advance(Time::from_secs(100)), Time::from_secs(1_010));
        assert_eq!(clock.advance(Time::from_secs(103)), Time::from_secs(1_013));
        assert_eq!(clock.interval_of(clock.latest()), 13);
    }

    #[test]
    fn small_steps_back_are_kept() {
        let mut clock = Clock::new(SECOND);
        clock.advance(Time::from_secs(1_000));
        assert_eq!(clock.advance(Time::from_secs(997)), Time::from_secs(997));
        assert_eq!(clock.interval_of(Time::from_secs(997)), 0);
        assert_eq!(clock.latest(), Time::from_secs(1_000));
    }
}
