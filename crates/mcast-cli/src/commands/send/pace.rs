//! Evenly, not in bursts: each datagram has its own time, counted from the start.

use std::thread;
use std::time::{Duration, Instant};

use crate::arguments::Rate;
use crate::interrupt::Interrupt;

/// A sleep may last longer than it should by about so much: the rest is waited for awake.
const SLEEP_ERROR: Duration = Duration::from_micros(150);
/// Who is later than this does not catch up: what is missed by then is not sent in a burst.
const MOST_LATE: f64 = 0.010;
/// Sleeps longer than this end early at an interrupt.
const LONG: Duration = Duration::from_millis(20);

/// The times at which datagrams are due.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<Rate>,
    start: Instant,
    /// When the next one is due, in seconds from the start.
    due: f64,
}

impl Pace {
    pub(super) fn new(rate: Option<Rate>, start: Instant) -> Self {
        Self { rate, start, due: 0.0 }
    }

    /// Whether there are times to keep.
    pub(super) fn is_kept(&self) -> bool {
        self.rate.is_some()
    }

    /// Waits until the next datagram of so many bytes is due, or an interrupt comes, or the
    /// deadline; says whether it is due.
    pub(super) fn wait(&mut self, bytes: usize, deadline: Option<Instant>, interrupt: &Interrupt) -> bool {
        let is_over = |now| interrupt.has_come() || deadline.is_some_and(|deadline| now >= deadline);
        let Some(rate) = self.rate else { return !is_over(Instant::now()) };
        // A time too far to be told is never reached: the loop ends with the deadline.
        let due = Duration::try_from_secs_f64(self.due).ok().and_then(|due| self.start.checked_add(due));
        loop {
            let now = Instant::now();
            if is_over(now) {
                return false;
            }
            let left = due.map(|due| due.saturating_duration_since(now));
            let left_in_all = deadline.map(|deadline| deadline.saturating_duration_since(now));
            match left.into_iter().chain(left_in_all).min() {
                Some(Duration::ZERO) => break,
                Some(time) if time > LONG => drop(interrupt.sleep(time - SLEEP_ERROR)),
                Some(time) if time > SLEEP_ERROR => thread::sleep(time - SLEEP_ERROR),
                Some(_) => std::hint::spin_loop(),
                None => drop(interrupt.sleep(Duration::from_secs(3_600))),
            }
        }
        self.due = self.next(rate.seconds_for(bytes), self.start.elapsed().as_secs_f64());
        true
    }

    /// When the one after this is due.
    fn next(&self, step: f64, now: f64) -> f64 {
        (self.due + step).max(now - MOST_LATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_is_caught_up_with_but_not_for_long() {
        let pace = Pace { rate: None, start: Instant::now(), due: 1.0 };
        assert_eq!(pace.next(0.001, 1.0005), 1.001);
        assert_eq!(pace.next(0.001, 1.005), 1.001);
        assert_eq!(pace.next(0.001, 5.0), 5.0 - MOST_LATE);
    }

    #[test]
    fn nothing_is_sent_before_it_is_due() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(Rate::Datagrams(1_000.0)), start);
        let interrupt = Interrupt::default();
        for number in 0..20 {
            assert!(pace.wait(1, None, &interrupt));
            assert!(start.elapsed() >= Duration::from_millis(number));
        }
    }

    #[test]
    fn the_deadline_ends_the_wait() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(Rate::Datagrams(0.001)), start);
        let interrupt = Interrupt::default();
        let deadline = Some(start + Duration::from_millis(5));
        assert!(pace.wait(1, deadline, &interrupt));
        assert!(!pace.wait(1, deadline, &interrupt));
    }
}
