//! The stream as one flow beside others that fill the queue: like CUBIC beside flows that react to loss, and not
//! starved by those that do not (BBR).

use super::cubic::Cubic;
use crate::{ClockTime, Nanos};

/// Loss at which the window is reduced, whatever others do.
const SEVERE: f64 = 0.2;
/// For how many delays the window is not reduced after others did not react to loss. It is doubled each time in a row,
/// until it is this long.
const HOLD: u64 = 8;
const LONG_HOLD: Nanos = Nanos::from_millis(640);

/// What a sample shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowReport {
    pub(super) now: ClockTime,
    pub(super) queue: Nanos,
    pub(super) round_trip: Nanos,
    /// The round-trip time without queues.
    pub(super) base: Nanos,
    /// The time until a change of the rate shows.
    pub(super) delay: Nanos,
    /// Whether the rate held data back.
    pub(super) is_full: bool,
    /// The share of datagrams lost, if that indicates congestion.
    pub(super) loss: Option<f64>,
}

/// The last reduction: the window before it, the queue then, and the sum of the samples of the queue since.
#[derive(Clone, Copy, Debug)]
struct Reduction {
    before: Cubic,
    queue: Nanos,
    sum: Nanos,
    samples: u64,
}

/// A flow beside others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    cubic: Cubic,
    reduction: Option<Reduction>,
    hold_until: ClockTime,
    hold: u64,
}

impl Flow {
    /// Begins with this window, in segments.
    pub(super) fn new(now: ClockTime, window: f64) -> Self {
        Self { cubic: Cubic::new(now, window), reduction: None, hold_until: now, hold: HOLD }
    }

    /// Begins with slow start from this window.
    pub(super) fn starting(now: ClockTime, window: f64) -> Self {
        Self { cubic: Cubic::starting(now, window), ..Self::new(now, window) }
    }

    pub(super) const fn is_starting(&self) -> bool {
        self.cubic.is_starting()
    }

    pub(super) const fn window(&self) -> f64 {
        self.cubic.window()
    }

    /// Continues after a time without reports.
    pub(super) fn pause(&mut self, now: ClockTime) {
        self.cubic.pause(now);
        self.reduction = None;
    }

    /// Reduces the window because of a loss.
    pub(super) fn reduce(&mut self, now: ClockTime, queue: Nanos) {
        self.cubic.end_start(now);
        self.reduction = Some(Reduction { before: self.cubic, queue, sum: Nanos::ZERO, samples: 0 });
        self.cubic.reduce(now);
    }

    pub(super) fn observe(&mut self, report: &FlowReport) {
        let FlowReport { now, queue, round_trip, base, delay, is_full, loss } = *report;
        let elapsed = now.since(self.cubic.reduced());
        if let Some(mut reduction) = self.reduction.filter(|_| elapsed >= delay) {
            (reduction.sum, reduction.samples) = (reduction.sum + queue, reduction.samples + 1);
            self.reduction = Some(reduction);
            if elapsed >= 3 * delay {
                self.judge(now, &reduction, base, delay);
            }
        }
        let is_new = elapsed >= delay && self.reduction.is_none() && now >= self.hold_until;
        let reduces = loss.is_some_and(|loss| is_new || loss >= SEVERE && elapsed >= delay);
        if reduces {
            self.reduce(now, queue);
        } else if is_full {
            self.cubic.grow(now, round_trip);
        } else {
            self.cubic.pause(now);
        }
    }

    /// Undoes a reduction after which the queue is about as long as before: those that fill it do not react to loss. A
    /// longer queue is one that they would not fill.
    fn judge(&mut self, now: ClockTime, reduction: &Reduction, base: Nanos, delay: Nanos) {
        self.reduction = None;
        if 4 * reduction.sum >= 3 * reduction.samples * reduction.queue && 2 * reduction.queue <= 3 * base {
            self.cubic = reduction.before;
            self.cubic.pause(now);
            let hold = self.hold * delay;
            self.hold_until = now + hold;
            if hold < LONG_HOLD {
                self.hold *= 2;
            }
        } else {
            self.hold = HOLD;
        }
    }
}
