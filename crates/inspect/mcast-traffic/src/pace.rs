//! Waits until datagrams or messages are due, the deadline has passed, or the signal to stop is set.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mcast::{Outgoing, PaceDecision, Pacer, Rate};

/// The times at which datagrams are due.
#[derive(Debug)]
pub struct Pace {
    pacer: Option<Pacer>,
    together: usize,
    deadline: Option<Instant>,
    stop: StopSignal,
}

impl Pace {
    /// Creates a pace; without a rate, datagrams are always due. `together` datagrams count as one, and must be at least
    /// one.
    #[must_use]
    pub fn new(
        rate: Option<Rate>,
        together: usize,
        deadline: Option<Instant>,
        stop: impl Into<StopSignal>,
    ) -> Self {
        Self { pacer: rate.map(Pacer::new), together: together.max(1), deadline, stop: stop.into() }
    }

    /// Waits until some of these datagrams are due, and returns how many; `None` after the deadline or the signal.
    pub fn wait(&mut self, datagrams: &[Outgoing<'_>]) -> Option<usize> {
        loop {
            let now = Instant::now();
            if self.stop.is_set() || self.deadline.is_some_and(|deadline| now >= deadline) {
                return None;
            }
            let Some(pacer) = &mut self.pacer else { return Some(datagrams.len()) };
            let sizes = datagrams.chunks(self.together).map(|chunk| chunk[0].payload().len());
            match pacer.allow(now, sizes) {
                PaceDecision::Now(count) => return Some((count * self.together).min(datagrams.len())),
                PaceDecision::After(time) => {
                    let end = self.deadline.map_or(time, |end| end.saturating_duration_since(now));
                    self.stop.pause(time.min(end));
                }
            }
        }
    }
}

/// The times at which messages are due. A rate in bits is the publisher's own.
#[derive(Debug)]
pub struct MessagePacer(Option<Pacer>);

impl MessagePacer {
    /// The longest wait for a message before `meanwhile` is called again.
    const POLL_INTERVAL: Duration = Duration::from_millis(50);

    /// Creates a pacer; without a rate of messages, they are always due.
    #[must_use]
    pub fn new(rate: Option<Rate>) -> Self {
        Self(rate.filter(|rate| matches!(rate, Rate::Datagrams(_))).map(Pacer::new))
    }

    /// Waits until the next message is due, and calls `meanwhile` at least every 50 ms. Returns `false` after the
    /// signal.
    pub fn wait(&mut self, stop: &StopSignal, mut meanwhile: impl FnMut()) -> bool {
        let Some(pacer) = &mut self.0 else { return true };
        while let PaceDecision::After(time) = pacer.allow(Instant::now(), [0]) {
            meanwhile();
            if stop.sleep(time.min(Self::POLL_INTERVAL)) {
                return false;
            }
        }
        true
    }
}

/// Waits longer than this end early when the signal is set.
const LONG: Duration = Duration::from_millis(20);

/// A request to stop, which ends the waits of this crate. Clones share it. A signal handler on a thread of its own may
/// set it.
#[derive(Clone, Debug, Default)]
pub struct StopSignal {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    is_set: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl StopSignal {
    /// Sets the signal, and wakes threads that sleep.
    pub fn set(&self) {
        self.state.is_set.store(true, Ordering::Release);
        // A thread that has checked the flag and does not sleep yet holds the lock.
        drop(self.state.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.state.changed.notify_all();
    }

    /// Returns whether the signal is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.state.is_set.load(Ordering::Acquire)
    }

    /// Sleeps for this time or until the signal is set; returns whether it is set.
    pub fn sleep(&self, time: Duration) -> bool {
        let guard = self.state.lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.state.changed.wait_timeout_while(guard, time, |()| !self.is_set()));
        self.is_set()
    }

    /// Waits for a part of `time`, which the signal may end early. A caller that repeats this until a moment is
    /// reached waits with a precision of microseconds.
    pub(crate) fn pause(&self, time: Duration) {
        if time > LONG {
            self.sleep(time - LONG);
        } else {
            mcast::pause(time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sent_before_it_is_due() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(Rate::Datagrams(1_000.0)), 1, None, StopSignal::default());
        for number in 0..20 {
            assert_eq!(pace.wait(&[Outgoing::new(b"x")]), Some(1));
            assert!(start.elapsed() >= Duration::from_millis(number));
        }
    }

    #[test]
    fn datagrams_sent_together_count_once() {
        let mut pace = Pace::new(Some(Rate::Datagrams(10.0)), 3, None, StopSignal::default());
        assert_eq!(pace.wait(&[Outgoing::new(b"x"); 6]), Some(3));
    }

    #[test]
    fn the_deadline_ends_the_wait() {
        let deadline = Some(Instant::now() + Duration::from_millis(5));
        let mut pace = Pace::new(Some(Rate::Datagrams(0.001)), 1, deadline, StopSignal::default());
        assert_eq!(pace.wait(&[Outgoing::new(b"x")]), Some(1));
        assert_eq!(pace.wait(&[Outgoing::new(b"x")]), None);
    }

    #[test]
    fn without_a_rate_everything_is_due() {
        let mut pace = Pace::new(None, 1, None, StopSignal::default());
        assert_eq!(pace.wait(&[Outgoing::new(b"x"); 5]), Some(5));
    }

    #[test]
    fn tiny_rates_do_not_overflow_the_clock() {
        for rate in [f64::MIN_POSITIVE, 1e-30, 1e-10] {
            let mut pacer = MessagePacer::new(Some(Rate::Datagrams(rate)));
            assert!(pacer.wait(&StopSignal::default(), || {}));
            assert!(matches!(pacer.0.unwrap().allow(Instant::now(), [0]), PaceDecision::After(_)));
        }
    }

    #[test]
    fn messages_are_paced_while_something_else_happens() {
        let mut pacer = MessagePacer::new(Some(Rate::Datagrams(50.0)));
        let (start, mut calls) = (Instant::now(), 0);
        (0..3).for_each(|_| assert!(pacer.wait(&StopSignal::default(), || calls += 1)));
        assert!(start.elapsed() >= Duration::from_millis(40) && calls >= 2, "{calls}");
    }
}
