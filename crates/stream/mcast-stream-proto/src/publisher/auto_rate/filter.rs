//! Extremes of measurements over a time: of the last period and the present one.

use crate::{ClockTime, Nanos};

/// The least of the samples of one to two periods.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Least {
    before: Option<u64>,
    current: Option<u64>,
    began: ClockTime,
}

impl Least {
    pub(super) fn note(&mut self, now: ClockTime, sample: u64, period: Nanos) {
        if now.since(self.began) >= period {
            (self.before, self.current, self.began) = (self.current, None, now);
        }
        self.current = Some(self.current.map_or(sample, |least| least.min(sample)));
    }

    pub(super) fn get(&self) -> Option<u64> {
        self.before.into_iter().chain(self.current).min()
    }
}

/// The greatest of the samples of one to two periods. Time in which [`hold`](Self::hold) is called does not count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Greatest {
    before: u64,
    current: u64,
    elapsed: Nanos,
}

impl Greatest {
    /// Notes a sample that took `elapsed`.
    pub(super) fn note(&mut self, sample: u64, elapsed: Nanos, period: Nanos) {
        if self.elapsed >= period {
            *self = Self { before: self.current, current: 0, elapsed: Nanos::ZERO };
        }
        self.elapsed += elapsed;
        self.current = self.current.max(sample);
    }

    /// Notes a sample that is only a lower bound.
    pub(super) fn hold(&mut self, sample: u64) {
        self.current = self.current.max(sample);
    }

    /// Forgets everything but this sample.
    pub(super) fn restart(&mut self, sample: u64) {
        *self = Self { before: 0, current: sample, elapsed: Nanos::ZERO };
    }

    pub(super) fn get(&self) -> u64 {
        self.before.max(self.current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_are_forgotten_after_two_periods() {
        let (mut least, mut greatest) = (Least::default(), Greatest::default());
        assert_eq!((least.get(), greatest.get()), (None, 0));
        let period = Nanos(10);
        for (now, sample) in [(0, 5), (6, 50), (12, 60), (18, 70)] {
            least.note(ClockTime(now), sample, period);
            greatest.note(100 - sample, Nanos(6), period);
        }
        assert_eq!((least.get(), greatest.get()), (Some(5), 95));
        least.note(ClockTime(24), 70, period);
        greatest.note(30, Nanos(6), period);
        assert_eq!((least.get(), greatest.get()), (Some(60), 40));
        greatest.hold(45);
        assert_eq!(greatest.get(), 45);
    }
}
