//! When each datagram is due.

use std::time::{Duration, SystemTime};

/// The smallest backward step of recorded times that means that the clock was set back. Smaller ones are
/// reordering between interfaces.
const SET_BACK: Duration = Duration::from_secs(1);
/// The latest due time, because the times in a file may exceed the range of the clock.
const LATEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Computes when recorded datagrams are due, without a clock of its own.
///
/// Gaps are kept, divided by the speed. Reordering by less than a second is kept, too; a clock that was set
/// back during the recording is bridged without a gap.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// let mut schedule = mcast_capture::ReplaySchedule::new(2.0, None);
/// let recorded = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
/// assert_eq!(schedule.due(recorded), Duration::ZERO);
/// assert_eq!(schedule.due(recorded + Duration::from_secs(10)), Duration::from_secs(5));
/// ```
#[derive(Clone, Debug)]
pub struct ReplaySchedule {
    speed: f64,
    max_gap: Option<Duration>,
    /// The latest recorded time of this round, and its due time from the start.
    last: Option<(SystemTime, Duration)>,
    /// The earliest begin of the next round, from the start.
    begin: Duration,
    /// The number of datagrams in this round so far.
    datagrams: u32,
    clock_jumps: u64,
}

impl ReplaySchedule {
    /// Creates a schedule at `speed` times the recorded speed, in which no gap is longer than `max_gap`.
    #[must_use]
    pub const fn new(speed: f64, max_gap: Option<Duration>) -> Self {
        Self { speed, max_gap, last: None, begin: Duration::ZERO, datagrams: 0, clock_jumps: 0 }
    }

    /// Returns when a datagram with this recorded time is due, after the first one: at most a hundred years.
    pub fn due(&mut self, recorded: SystemTime) -> Duration {
        let due = match self.last {
            None => self.begin,
            Some((last, due)) => match recorded.duration_since(last) {
                Ok(gap) => due.saturating_add(self.shortened(gap)).min(LATEST),
                Err(back) if back.duration() < SET_BACK => {
                    due.saturating_sub(self.shortened(back.duration())).max(self.begin)
                }
                Err(_) => {
                    self.clock_jumps += 1;
                    self.last = Some((recorded, due));
                    due
                }
            },
        };
        if self.last.is_none_or(|(last, _)| recorded >= last) {
            self.last = Some((recorded, due));
        }
        self.datagrams = self.datagrams.saturating_add(1);
        due
    }

    /// Starts another round. Its first datagram follows the last one after the mean gap.
    pub fn next_round(&mut self) {
        let Some((_, end)) = self.last.take() else { return };
        let length = end.saturating_sub(self.begin);
        let gaps = self.datagrams.saturating_sub(1);
        let mean = length.checked_div(gaps).unwrap_or_default();
        self.begin = end.saturating_add(mean).min(LATEST);
        self.datagrams = 0;
    }

    /// Returns how often the clock was set back during the recording.
    #[must_use]
    pub const fn clock_jumps(&self) -> u64 {
        self.clock_jumps
    }

    fn shortened(&self, gap: Duration) -> Duration {
        let gap = match self.speed {
            1.0 => gap,
            speed => Duration::try_from_secs_f64(gap.as_secs_f64() / speed).unwrap_or(LATEST),
        };
        self.max_gap.map_or(gap, |most| gap.min(most))
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(milliseconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(1_000_000 + milliseconds)
    }

    /// Returns due times in milliseconds from the start.
    fn due(schedule: &mut ReplaySchedule, recorded: &[u64]) -> Vec<u128> {
        recorded.iter().map(|time| schedule.due(at(*time)).as_millis()).collect()
    }

    fn schedule(speed: f64, max_gap: Option<u64>) -> ReplaySchedule {
        ReplaySchedule::new(speed, max_gap.map(Duration::from_millis))
    }

    #[test]
    fn gaps_follow_speed_and_maximum() {
        assert_eq!(due(&mut schedule(1.0, None), &[5, 7, 7, 107]), [0, 2, 2, 102]);
        assert_eq!(due(&mut schedule(2.0, None), &[5, 7, 7, 107]), [0, 1, 1, 51]);
        assert_eq!(due(&mut schedule(0.5, None), &[5, 7]), [0, 4]);
        assert_eq!(due(&mut schedule(1.0, Some(10)), &[5, 7, 3_007, 3_008]), [0, 2, 12, 13]);
    }

    #[test]
    fn rounds_follow_one_another_at_the_mean_gap() {
        let mut schedule = schedule(1.0, None);
        assert_eq!(due(&mut schedule, &[0, 5, 20]), [0, 5, 20]);
        schedule.next_round();
        assert_eq!(due(&mut schedule, &[0, 5, 20]), [30, 35, 50]);
    }

    #[test]
    fn due_times_stay_within_the_range_of_the_clock() {
        let far =
            UNIX_EPOCH.checked_add(Duration::from_secs(i64::MAX as u64)).unwrap_or_else(SystemTime::now);
        for speed in [1.0, 1e-6, 1e6] {
            let mut schedule = schedule(speed, None);
            for recorded in [UNIX_EPOCH, far, UNIX_EPOCH, far] {
                assert!(schedule.due(recorded) <= LATEST, "{speed}");
            }
            schedule.next_round();
            assert!(schedule.due(far) <= LATEST);
        }
    }

    #[test]
    fn reordering_is_kept_and_a_clock_that_was_set_back_is_bridged() {
        let mut schedule = schedule(1.0, None);
        assert_eq!(due(&mut schedule, &[5_000, 5_010, 5_007, 5_012]), [0, 10, 7, 12]);
        assert_eq!(schedule.clock_jumps(), 0);
        assert_eq!(due(&mut schedule, &[1_000, 1_003]), [12, 15]);
        assert_eq!(schedule.clock_jumps(), 1);
    }
}
