//! When messages are due, by their recorded times.

use mcast_stream::{ClockTime, Nanos};

/// Repeats the recorded times at a speed. Where these go back, because another bridge with another clock has recorded
/// them, there is no pause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The speed; `None`: as fast as possible.
    speed: Option<f64>,
    /// When the last message was due, and its recorded time in nanoseconds.
    last: Option<(ClockTime, u64)>,
}

impl Pace {
    pub(super) const fn new(speed: Option<f64>) -> Self {
        Self { speed, last: None }
    }

    /// Forgets the last message, so that the next one is due at once.
    pub(super) const fn restart(&mut self) {
        self.last = None;
    }

    /// Returns when a message with this recorded time is due.
    pub(super) fn due(&self, now: ClockTime, time: u64) -> ClockTime {
        let (Some(speed), Some((due, last))) = (self.speed, self.last) else { return now };
        let pause = time.saturating_sub(last) as f64 / speed;
        // Conversions of floating-point numbers saturate.
        due + Nanos(pause as u64)
    }

    /// Notes that a message with this recorded time was published.
    pub(super) fn advance(&mut self, now: ClockTime, time: u64) {
        let due = self.due(now, time);
        self.last = Some((due, self.last.map_or(time, |(_, last)| last.max(time))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;
    const START: ClockTime = ClockTime(5_000_000_000 * MILLISECOND);

    #[test]
    fn recorded_pauses_are_divided_by_the_speed() {
        let mut pace = Pace::new(Some(10.0));
        pace.advance(START, 70_000 * MILLISECOND);
        assert_eq!(pace.due(START, 71_000 * MILLISECOND), START + Nanos::from_millis(100));
        // It was published late, and the next one is due at its own time.
        pace.advance(START + Nanos::SECOND, 71_000 * MILLISECOND);
        assert_eq!(pace.due(START, 72_000 * MILLISECOND), START + Nanos::from_millis(200));
    }

    #[test]
    fn times_that_go_back_make_no_pause() {
        let mut pace = Pace::new(Some(1.0));
        pace.advance(START, 70_000 * MILLISECOND);
        pace.advance(START, 60_000 * MILLISECOND);
        assert_eq!(pace.due(START, 65_000 * MILLISECOND), START);
        assert_eq!(pace.due(START, 70_500 * MILLISECOND), START + Nanos::from_millis(500));
    }

    #[test]
    fn without_a_speed_everything_is_due() {
        let mut pace = Pace::new(None);
        pace.advance(START, 1);
        assert_eq!(pace.due(START, u64::MAX), START);
    }
}
