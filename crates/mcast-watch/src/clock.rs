//! The time of the table, which never goes back, and the intervals it is cut into.

use std::time::Duration;

use crate::time::{Time, nanoseconds};

/// Turns the times that packets carry into times that never run far behind the latest.
///
/// A system's clock can be set back, and files can be put together of several. A small step back is the
/// disorder of several interfaces and stays; after a larger one, time goes on from where it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Option<Time>,
    latest: Time,
    /// What is added to the times that come, in nanoseconds.
    offset: u64,
    interval: u64,
}

impl Clock {
    /// Packets of several interfaces come no further out of order.
    const DISORDER: u64 = 5_000_000_000;

    pub(crate) fn new(interval: Duration) -> Self {
        Self { start: None, latest: Time::default(), offset: 0, interval: nanoseconds(interval).max(1) }
    }

    /// The time of the table for a time of the system.
    pub(crate) fn tell(&mut self, time: Time) -> Time {
        let mut told = time.as_nanos().saturating_add(self.offset);
        let latest = self.latest.as_nanos();
        if told.saturating_add(Self::DISORDER) < latest {
            self.offset = self.offset.saturating_add(latest - told);
            told = latest;
        }
        let told = Time::from_nanos(told);
        self.start.get_or_insert(told);
        self.latest = self.latest.max(told);
        told
    }

    /// When the first interval began.
    pub(crate) fn start(&self) -> Time {
        self.start.unwrap_or(self.latest)
    }

    pub(crate) fn latest(&self) -> Time {
        self.latest
    }

    /// The number of the interval that the time lies in; the first is 0.
    pub(crate) fn interval_of(&self, time: Time) -> u64 {
        nanoseconds(time.since(self.start())) / self.interval
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_clock_that_is_set_back_goes_on_from_where_it_was() {
        let mut clock = Clock::new(SECOND);
        clock.tell(Time::from_secs(1_000));
        clock.tell(Time::from_secs(1_010));
        assert_eq!(clock.tell(Time::from_secs(100)), Time::from_secs(1_010));
        assert_eq!(clock.tell(Time::from_secs(103)), Time::from_secs(1_013));
        assert_eq!(clock.interval_of(clock.latest()), 13);
    }

    #[test]
    fn a_little_disorder_is_left_as_it_is() {
        let mut clock = Clock::new(SECOND);
        clock.tell(Time::from_secs(1_000));
        assert_eq!(clock.tell(Time::from_secs(997)), Time::from_secs(997));
        assert_eq!(clock.interval_of(Time::from_secs(997)), 0);
        assert_eq!(clock.latest(), Time::from_secs(1_000));
    }
}
