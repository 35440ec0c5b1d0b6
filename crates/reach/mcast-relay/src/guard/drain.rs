//! Sends what was held back of a source that a test has acquitted, in its order and not at once.
//!
//! A test may err. A source that sends copies back sends more while these are sent, which is noticed.

use std::collections::VecDeque;
use std::time::Duration;

use super::allowance::Rate;
use super::contents::ROUND_TRIP;
use super::suspect::{HeldRepeats, PendingRepeat};

/// Repeats that are sent together.
const AT_ONCE: u32 = 16;

#[derive(Debug)]
pub(super) struct Drain {
    pub(super) held: HeldRepeats,
    next: Duration,
    /// The time for [`AT_ONCE`] repeats.
    interval: Duration,
    /// Arrivals in each window that are no more than before.
    expected: u64,
    window_started: Duration,
    count: u64,
}

impl Drain {
    pub(super) fn new(now: Duration, rate: Rate, held: HeldRepeats) -> Self {
        let expected = rate.within(ROUND_TRIP);
        // Twice as fast as they arrive, and within a window if no more do.
        let in_window = (expected * 2).max(held.len() as u64).max(1);
        let interval = ROUND_TRIP * AT_ONCE / u32::try_from(in_window).unwrap_or(u32::MAX);
        Self { held, next: now, interval, expected, window_started: now, count: 0 }
    }

    /// Returns when to call [`Self::poll`].
    pub(super) const fn deadline(&self) -> Duration {
        self.next
    }

    /// Counts an arrival. Returns whether more arrive than before.
    pub(super) fn arrive(&mut self, now: Duration) -> bool {
        if now >= self.window_started + ROUND_TRIP {
            (self.window_started, self.count) = (now, 0);
        }
        self.count += 1;
        self.count > self.expected * 3 / 2 + 4
    }

    /// Returns the repeats to send now, if it is time.
    pub(super) fn poll(&mut self, now: Duration) -> Option<VecDeque<PendingRepeat>> {
        if now < self.next || self.held.len() == 0 {
            return None;
        }
        self.next = now + self.interval;
        Some(self.held.take(AT_ONCE as usize))
    }
}
