//! The window of a TCP flow beside others: CUBIC (RFC 9438), from reports of loss instead of acknowledgements.

use crate::{ClockTime, Nanos};

/// The constants of RFC 9438.
const BETA: f64 = 0.7;
const C: f64 = 0.4;
/// Segments per round trip by which a flow with this `BETA` grows to share fairly with one that halves its window.
const FRIENDLY: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
const LEAST: f64 = 2.0;
/// A segment of TCP, with its headers.
const SEGMENT: f64 = 1_500.0;

/// A congestion window, in segments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cubic {
    window: f64,
    greatest: f64,
    /// The time from the last reduction to the point where the window is as large as before, in seconds.
    peak: f64,
    reduced: ClockTime,
    reduced_to: f64,
    updated: ClockTime,
    friendly: f64,
    /// Slow start: no loss has shown yet how large the window may be.
    is_starting: bool,
}

impl Cubic {
    /// Begins with this window.
    pub(super) fn new(now: ClockTime, window: f64) -> Self {
        let window = window.max(LEAST);
        Self {
            window,
            greatest: window,
            peak: 0.0,
            reduced: now,
            reduced_to: window,
            updated: now,
            friendly: window,
            is_starting: false,
        }
    }

    /// Begins with slow start.
    pub(super) fn starting(now: ClockTime, window: f64) -> Self {
        Self { is_starting: true, ..Self::new(now, window) }
    }

    pub(super) const fn is_starting(&self) -> bool {
        self.is_starting
    }

    /// Ends slow start.
    pub(super) fn end_start(&mut self, now: ClockTime) {
        if self.is_starting {
            *self = Self::new(now, self.window);
        }
    }

    pub(super) const fn window(&self) -> f64 {
        self.window
    }

    /// Returns when the window was last reduced.
    pub(super) const fn reduced(&self) -> ClockTime {
        self.reduced
    }

    /// Reduces the window because of congestion.
    pub(super) fn reduce(&mut self, now: ClockTime) {
        self.end_start(now);
        let has_shrunk = self.window < self.greatest;
        self.greatest = if has_shrunk { self.window * (1.0 + BETA) / 2.0 } else { self.window };
        self.window = (self.window * BETA).max(LEAST);
        self.peak = cube_root((self.greatest - self.window).max(0.0) / C);
        (self.reduced, self.reduced_to) = (now, self.window);
        (self.friendly, self.updated) = (self.window, now);
    }

    /// Grows for the time since the last call. In slow start, the window is at most twice what arrives per round trip: time
    /// alone does not show that the path carries it.
    pub(super) fn grow(&mut self, now: ClockTime, round_trip: Nanos, arriving: f64) {
        let trip = seconds(round_trip).max(1e-6);
        let rounds = seconds(now.since(self.updated)) / trip;
        self.updated = now;
        self.friendly += FRIENDLY * rounds;
        let at = seconds(now.since(self.reduced)) + trip - self.peak;
        let target = (C * at * at * at + self.greatest).max(self.friendly);
        let target = if self.is_starting { 2.0 * arriving } else { target };
        if target > self.window {
            // At most one and a half times per round trip.
            self.window = target.min(self.window * (1.0 + 0.5 * rounds.min(1.0)));
        }
    }

    /// Excuses a time in which the flow did not send as it was allowed to.
    pub(super) fn pause(&mut self, now: ClockTime) {
        self.reduced = self.reduced + now.since(self.updated);
        self.updated = now;
    }
}

/// Returns the window with this rate in bytes per second, in segments.
pub(super) fn window_at(rate: u64, round_trip: Nanos) -> f64 {
    rate as f64 * seconds(round_trip) / SEGMENT
}

/// Returns the rate with this window, in bytes per second.
pub(super) fn rate_of(window: f64, round_trip: Nanos) -> u64 {
    (window * SEGMENT / seconds(round_trip.max(Nanos(1)))) as u64
}

fn seconds(span: Nanos) -> f64 {
    span.0 as f64 / Nanos::SECOND.0 as f64
}

/// Returns the cube root, by Newton's method from above.
fn cube_root(x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let mut root = x.max(1.0);
    for _ in 0..64 {
        root -= (root * root * root - x) / (3.0 * root * root);
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cube_roots_are_exact_enough() {
        for x in [0.0, 0.001, 0.5, 1.0, 27.0, 1e6, 1e12] {
            let root = cube_root(x);
            assert!((root * root * root - x).abs() <= 1e-6 * x, "{x}: {root}");
        }
    }

    #[test]
    fn the_window_returns_to_where_it_was_reduced() {
        let mut cubic = Cubic::new(ClockTime(0), 1_000.0);
        let mut now = ClockTime(0);
        cubic.reduce(now);
        assert!((cubic.window() - 700.0).abs() < 1.0);
        let round_trip = Nanos::from_millis(20);
        // K is the cube root of 300 / 0.4, 9.1 seconds.
        while cubic.window() < 1_000.0 {
            now = now + round_trip;
            cubic.grow(now, round_trip, 0.0);
            assert!(now < ClockTime(11 * Nanos::SECOND.0));
        }
        assert!(now > ClockTime(8 * Nanos::SECOND.0), "{now:?}");
    }

    #[test]
    fn slow_start_waits_for_what_is_sent_to_arrive() {
        let round_trip = Nanos::from_millis(20);
        let mut cubic = Cubic::starting(ClockTime(0), 100.0);
        for step in 1..100 {
            cubic.grow(ClockTime(0) + step * round_trip, round_trip, 100.0);
        }
        assert!((199.0..=200.0).contains(&cubic.window()), "{cubic:?}");
    }

    #[test]
    fn slow_start_ends_with_the_first_reduction() {
        let round_trip = Nanos::from_millis(20);
        let (mut cubic, mut now) = (Cubic::starting(ClockTime(0), 10.0), ClockTime(0));
        for _ in 0..10 {
            now = now + round_trip;
            cubic.grow(now, round_trip, cubic.window());
        }
        assert!(cubic.is_starting() && cubic.window() > 500.0, "{cubic:?}");
        cubic.reduce(now);
        let reduced = cubic.window();
        cubic.grow(now + round_trip, round_trip, reduced);
        assert!(!cubic.is_starting() && cubic.window() < 1.1 * reduced, "{cubic:?}");
    }
}
