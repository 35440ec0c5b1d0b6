//! When repairs were sent: a subscriber cannot have counted yet what was sent just now.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::ClockTime;
use crate::span::{nanos, scaled};

/// The finest resolution.
const FINEST: Duration = Duration::from_micros(250);
/// For how long times are remembered.
const MEMORY: Duration = Duration::from_secs(1);
/// The number of intervals that the log of the group has, which is never shortened, and that of a subscriber.
const GROUP_INTERVALS: usize = 4_096;
const INTERVALS: usize = 512;

/// How many repairs were sent, in all and until some moment of the last second: a subscriber cannot have counted yet
/// what was sent since.
#[derive(Clone, Debug)]
pub(crate) struct SentLog {
    /// The beginning of each interval in which something was sent, and the number sent before it.
    intervals: VecDeque<(ClockTime, u64)>,
    total: u64,
    resolution: Duration,
    most: usize,
}

impl SentLog {
    /// Creates the log of the repairs to the group.
    pub(crate) const fn of_group() -> Self {
        Self { intervals: VecDeque::new(), total: 0, resolution: FINEST, most: GROUP_INTERVALS }
    }

    /// Creates the log of the repairs for a subscriber.
    pub(crate) fn of_subscriber() -> Self {
        Self { most: INTERVALS, ..Self::of_group() }
    }

    /// Returns the number sent in all.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// Notes that one was sent.
    pub(crate) fn note(&mut self, now: ClockTime) {
        if self.intervals.back().is_none_or(|(start, _)| now >= *start + self.resolution) {
            self.forget(now - MEMORY);
            if self.intervals.len() >= self.most {
                self.coarsen();
            }
            self.intervals.push_back((now, self.total));
        }
        self.total += 1;
    }

    /// Halves the resolution.
    fn coarsen(&mut self) {
        self.resolution = 2 * self.resolution;
        let mut is_kept = false;
        self.intervals.retain(|_| {
            is_kept = !is_kept;
            is_kept
        });
    }

    /// Forgets when those before this time were sent.
    pub(crate) fn forget(&mut self, time: ClockTime) {
        // The interval that contains the time is kept.
        while self.intervals.get(1).is_some_and(|(start, _)| *start <= time) {
            self.intervals.pop_front();
        }
        if self.intervals.len() <= 1 {
            self.resolution = FINEST;
        }
    }

    /// Returns how many were sent until this time, as if those of an interval were sent at equal distances.
    pub(crate) fn until(&self, time: ClockTime) -> u64 {
        let after = self.intervals.partition_point(|(start, _)| *start <= time);
        let Some((start, before)) = after.checked_sub(1).and_then(|last| self.intervals.get(last)) else {
            return self.intervals.front().map_or(self.total, |(_, before)| *before);
        };
        let end = self.intervals.get(after).map_or(self.total, |(_, before)| *before);
        before + scaled(end - before, nanos(time.since(*start).min(self.resolution)), nanos(self.resolution))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const MILLISECOND: u64 = SECOND / 1_000;

    #[test]
    fn what_was_sent_until_a_time_is_known_for_a_second() {
        for (mut log, error) in [(SentLog::of_group(), 1), (SentLog::of_subscriber(), 4)] {
            assert_eq!(log.until(ClockTime(5)), 0);
            for now in 0..4_000 {
                log.note(ClockTime(now * MILLISECOND));
            }
            assert_eq!(log.total(), 4_000);
            for millisecond in 3_000..4_000 {
                let sent = log.until(ClockTime(millisecond * MILLISECOND));
                assert!(sent.abs_diff(millisecond) <= error, "{sent} by {millisecond} ms");
            }
            assert_eq!(log.until(ClockTime(5 * SECOND)), 4_000);
            assert!(log.until(ClockTime(0)) >= 2_990, "what was sent long ago counts as sent");
            assert!(log.intervals.len() <= log.most);
        }
    }

    #[test]
    fn the_resolution_is_fine_if_what_was_reported_is_forgotten() {
        let mut log = SentLog::of_subscriber();
        for now in (0..100_000).map(|step| ClockTime(step * 10_000)) {
            log.note(now);
            log.forget(now - Duration::from_nanos(MILLISECOND));
        }
        assert_eq!(log.resolution, FINEST);
        assert!(log.until(ClockTime(SECOND - MILLISECOND)).abs_diff(99_900) <= 25);
    }
}
