//! The time for which this process has run, in which patience is measured.

use crate::{ClockTime, Nanos};

/// A moment in the time for which the process has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RunTime(Nanos);

impl RunTime {
    /// Returns the time since another moment; 0 if that is later.
    pub(super) fn since(self, earlier: Self) -> Nanos {
        self.0 - earlier.0
    }
}

impl core::ops::Add<Nanos> for RunTime {
    type Output = Self;

    fn add(self, span: Nanos) -> Self {
        Self(self.0 + span)
    }
}

/// Counts the time for which the process runs. While it is suspended, or its machine is, nothing calls this.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunningClock {
    /// The time of the last call.
    seen: ClockTime,
    ran: RunTime,
}

impl RunningClock {
    /// The longest time between two calls while the process runs. Of a longer one, only this much counts.
    pub(super) const LONGEST_STEP: Nanos = Nanos::from_millis(250);

    pub(super) const fn new(now: ClockTime) -> Self {
        Self { seen: now, ran: RunTime(Nanos::ZERO) }
    }

    /// Notes that the process runs.
    #[inline]
    pub(super) fn note(&mut self, now: ClockTime) {
        self.ran = self.ran + now.since(self.seen).min(Self::LONGEST_STEP);
        self.seen = self.seen.max(now);
    }

    pub(super) const fn now(&self) -> RunTime {
        self.ran
    }

    /// Returns when this moment is reached if the process runs until then.
    pub(super) fn earliest(&self, moment: RunTime) -> ClockTime {
        self.seen + moment.since(self.ran)
    }

    /// Returns when [`note`](Self::note) has to be called at the latest.
    pub(super) fn next_note(&self) -> ClockTime {
        self.seen + Self::LONGEST_STEP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_calls_counts_as_one_step() {
        let mut clock = RunningClock::new(ClockTime(5));
        let start = clock.now();
        clock.note(ClockTime(5) + Nanos::from_millis(100));
        clock.note(ClockTime(5) + Nanos::from_secs(3_600));
        // A clock that goes back is not followed.
        clock.note(ClockTime(0));
        assert_eq!(clock.now().since(start), Nanos::from_millis(100) + RunningClock::LONGEST_STEP);
        let moment = clock.now() + Nanos::SECOND;
        assert_eq!(clock.earliest(moment), ClockTime(5) + Nanos::from_secs(3_601));
        assert_eq!(clock.earliest(start), ClockTime(5) + Nanos::from_secs(3_600), "it has been reached");
    }
}
