//! The stream as one flow beside others that fill the queue: like CUBIC beside flows that react to loss, and not
//! starved by those that do not (BBR).

use super::cubic::{Cubic, window_at};
use crate::{ClockTime, Nanos};

/// Loss at which the window is reduced although others did not react to the last reduction.
const SEVERE: f64 = 0.2;
/// For how many delays the window is not reduced after others did not react to a reduction: the first time, and twice as
/// many each time in a row until that is longer than [`LONG_HOLD`].
const FIRST_HOLD: u64 = 8;
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
    /// What arrived, in bytes per second: in this sample, and on average in the last ones.
    pub(super) arrived: u64,
    pub(super) average: u64,
}

/// The last reduction: the window before it, and the queue and what arrived then and since.
#[derive(Clone, Copy, Debug)]
struct Reduction {
    before: Cubic,
    queue: Nanos,
    arrived: u64,
    queues: Nanos,
    arrivals: u64,
    samples: u64,
}

impl Reduction {
    fn add(&mut self, report: &FlowReport) {
        self.queues += report.queue;
        self.arrivals = self.arrivals.saturating_add(report.arrived);
        self.samples += 1;
    }

    /// Whether the queue is as long as before although less of the stream passes it: at least seven tenths as long, with
    /// fifteen sixteenths of the stream at most.
    fn is_without_effect(&self) -> bool {
        10 * self.queues >= 7 * self.samples * self.queue
            && self.arrivals <= self.arrived.saturating_mul(self.samples) / 16 * 15
    }
}

/// A flow beside others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    cubic: Cubic,
    /// A reduction that is not judged yet.
    reduction: Option<Reduction>,
    /// Until when the window is not reduced, unless the loss is severe.
    hold_until: ClockTime,
    /// How many delays the next such time lasts.
    hold: u64,
}

impl Flow {
    /// Begins with this window, in segments.
    pub(super) fn new(now: ClockTime, window: f64) -> Self {
        Self { cubic: Cubic::new(now, window), reduction: None, hold_until: now, hold: FIRST_HOLD }
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

    /// Reduces the window because of a loss, with this queue, and this much arriving.
    pub(super) fn reduce(&mut self, now: ClockTime, queue: Nanos, arrived: u64) {
        self.cubic.end_start(now);
        let before = self.cubic;
        self.reduction =
            Some(Reduction { before, queue, arrived, queues: Nanos::ZERO, arrivals: 0, samples: 0 });
        self.cubic.reduce(now);
    }

    pub(super) fn observe(&mut self, report: &FlowReport) {
        let FlowReport { now, queue, round_trip, base, delay, is_full, loss, arrived, average } = *report;
        let elapsed = now.since(self.cubic.reduced());
        if let Some(mut reduction) = self.reduction.filter(|_| elapsed >= delay) {
            reduction.add(report);
            self.reduction = Some(reduction);
            if elapsed >= 3 * delay {
                self.judge(now, &reduction, base, delay);
            }
        }
        let is_judged = elapsed >= delay && self.reduction.is_none();
        let reduces = loss.is_some_and(|loss| is_judged && (now >= self.hold_until || loss >= SEVERE));
        if reduces {
            self.reduce(now, queue, average);
        } else if is_full {
            self.cubic.grow(now, round_trip, window_at(arrived.max(average), round_trip));
        } else {
            self.cubic.pause(now);
        }
    }

    /// Undoes a reduction after which the queue is as long as before: others took what the stream left, because they do not
    /// react to loss. A queue of more than one and a half round-trip times is not filled by such flows.
    fn judge(&mut self, now: ClockTime, reduction: &Reduction, base: Nanos, delay: Nanos) {
        self.reduction = None;
        if reduction.is_without_effect() && 2 * reduction.queue <= 3 * base {
            self.cubic = reduction.before;
            self.cubic.pause(now);
            let hold = self.hold * delay;
            self.hold_until = now + hold;
            if hold < LONG_HOLD {
                self.hold *= 2;
            }
        } else {
            self.hold = FIRST_HOLD;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: ClockTime = ClockTime(Nanos::SECOND.0);

    /// Returns the window some samples after a reduction from 100 segments, if the queue stays as it is and this much of 1,000
    /// arrives. The reduction is judged after eight.
    fn after_reduction(samples: u64, arrived: u64, loss: Option<f64>) -> f64 {
        let queue = Nanos::from_millis(20);
        let mut flow = Flow::new(START, 100.0);
        flow.reduce(START, queue, 1_000);
        for step in 1..=samples {
            flow.observe(&FlowReport {
                now: START + step * Nanos::from_millis(20),
                queue,
                round_trip: Nanos::from_millis(40),
                base: Nanos::from_millis(20),
                delay: Nanos::from_millis(60),
                is_full: true,
                loss,
                arrived,
                average: arrived,
            });
        }
        flow.window()
    }

    #[test]
    fn a_reduction_whose_room_others_take_is_undone() {
        assert!(after_reduction(10, 700, None) >= 100.0);
    }

    /// As much arrives as before: the stream itself fills the queue, and still sends too much.
    #[test]
    fn a_reduction_that_was_not_enough_is_not_undone() {
        assert!(after_reduction(10, 1_000, None) < 85.0);
    }

    /// A flow that begins sends more than the link carries for a moment, whatever the stream does.
    #[test]
    fn losses_count_once_until_the_reduction_is_judged() {
        assert!(after_reduction(8, 700, Some(0.5)) >= 70.0);
    }

    #[test]
    fn a_severe_loss_reduces_again_once_a_reduction_was_judged() {
        assert!(after_reduction(10, 1_000, Some(0.5)) < 60.0);
    }
}
