//! Waits until datagrams are due, the deadline has passed, or an interrupt arrives.

use std::thread;
use std::time::{Duration, Instant};

use mcast::{Outgoing, PaceDecision, Pacer, Rate};

use crate::interrupt::Interrupt;

/// How much longer a sleep may last than requested. The last part of a wait is therefore spent spinning.
pub(crate) const SLEEP_ERROR: Duration =
    if cfg!(windows) { Duration::from_millis(2) } else { Duration::from_micros(150) };
/// Waits longer than this end early at an interrupt.
const LONG: Duration = Duration::from_millis(20);

/// The times at which datagrams are due.
#[derive(Debug)]
pub(crate) struct Pace {
    pacer: Option<Pacer>,
    together: usize,
    deadline: Option<Instant>,
    interrupt: Interrupt,
}

impl Pace {
    /// Creates a pace. `together` datagrams count as one.
    pub(crate) fn new(
        rate: Option<Rate>,
        together: usize,
        deadline: Option<Instant>,
        interrupt: Interrupt,
    ) -> Self {
        Self { pacer: rate.map(Pacer::new), together, deadline, interrupt }
    }

    /// Waits until some of these datagrams are due, and returns how many; `None` after the deadline or an interrupt.
    pub(crate) fn wait(&mut self, datagrams: &[Outgoing<'_>]) -> Option<usize> {
        loop {
            let now = Instant::now();
            if self.is_over(now) {
                return None;
            }
            let Some(pacer) = &mut self.pacer else { return Some(datagrams.len()) };
            let sizes = datagrams.chunks(self.together).map(|chunk| chunk[0].payload().len());
            match pacer.allow(now, sizes) {
                PaceDecision::Now(count) => return Some((count * self.together).min(datagrams.len())),
                PaceDecision::After(time) => self.pause(now, time),
            }
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.interrupt.has_arrived() || self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Waits for this time with a precision of microseconds; an interrupt or the deadline may end the wait early.
    fn pause(&self, now: Instant, time: Duration) {
        let left = self.deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(now));
        match time.min(left) {
            time if time > LONG => drop(self.interrupt.sleep(time - SLEEP_ERROR)),
            time if time > SLEEP_ERROR => thread::sleep(time - SLEEP_ERROR),
            _ => std::hint::spin_loop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sent_before_it_is_due() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(Rate::Datagrams(1_000.0)), 1, None, Interrupt::default());
        for number in 0..20 {
            assert_eq!(pace.wait(&[Outgoing::new(b"x")]), Some(1));
            assert!(start.elapsed() >= Duration::from_millis(number));
        }
    }

    #[test]
    fn datagrams_sent_together_count_once() {
        let mut pace = Pace::new(Some(Rate::Datagrams(10.0)), 3, None, Interrupt::default());
        assert_eq!(pace.wait(&[Outgoing::new(b"x"); 6]), Some(3));
    }

    #[test]
    fn the_deadline_ends_the_wait() {
        let deadline = Some(Instant::now() + Duration::from_millis(5));
        let mut pace = Pace::new(Some(Rate::Datagrams(0.001)), 1, deadline, Interrupt::default());
        assert_eq!(pace.wait(&[Outgoing::new(b"x")]), Some(1));
        assert_eq!(pace.wait(&[Outgoing::new(b"x")]), None);
    }

    #[test]
    fn without_a_rate_everything_is_due() {
        let mut pace = Pace::new(None, 1, None, Interrupt::default());
        assert_eq!(pace.wait(&[Outgoing::new(b"x"); 5]), Some(5));
    }
}
