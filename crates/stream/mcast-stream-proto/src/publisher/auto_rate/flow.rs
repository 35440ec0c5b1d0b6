//! The stream as one flow beside others that fill the queue: like CUBIC (RFC 9438) beside flows that react to loss, and
//! not starved by those that do not (BBR). Whether there are others shows when it sends less for a moment.

use core::time::Duration;

use crate::ClockTime;
use crate::span::share;

/// Loss at which the window is reduced although others did not react to the last reduction.
const SEVERE: f64 = 0.2;
/// For how many delays the window is not reduced after others did not react to a reduction: the first time, and twice as
/// many each time in a row until that is longer than [`LONG_HOLD`].
const FIRST_HOLD: u32 = 8;
const LONG_HOLD: Duration = Duration::from_millis(640);

/// What a sample shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowReport {
    pub(super) now: ClockTime,
    pub(super) queue: Duration,
    pub(super) round_trip: Duration,
    /// The round-trip time without queues.
    pub(super) base: Duration,
    /// The time until a change of the rate shows.
    pub(super) delay: Duration,
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
    queue: Duration,
    arrived: u64,
    queues: Duration,
    arrivals: u64,
    samples: u32,
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
            && self.arrivals <= self.arrived.saturating_mul(self.samples.into()) / 16 * 15
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
    hold: u32,
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
    pub(super) fn reduce(&mut self, now: ClockTime, queue: Duration, arrived: u64) {
        self.cubic.end_start(now);
        let before = self.cubic;
        self.reduction =
            Some(Reduction { before, queue, arrived, queues: Duration::ZERO, arrivals: 0, samples: 0 });
        self.cubic.reduce(now);
    }

    pub(super) fn observe(&mut self, report: &FlowReport) {
        let FlowReport { now, queue, round_trip, base, delay, is_full, loss, arrived, average } = *report;
        let elapsed = now.since(self.cubic.reduced());
        if let Some(mut reduction) = self.reduction.filter(|_| elapsed >= delay) {
            reduction.add(report);
            self.reduction = Some(reduction);
            // The reduction shows after one delay. Two more show what others did.
            if elapsed >= 3 * delay {
                self.judge(now, &reduction, base, delay);
            }
        }
        // Losses before that are those of the window before the last reduction.
        let is_judged = elapsed >= delay && self.reduction.is_none();
        let reduces = loss.is_some_and(|loss| is_judged && (now >= self.hold_until || loss >= SEVERE));
        if reduces {
            self.reduce(now, queue, average);
        } else if is_full {
            self.cubic.grow(now, round_trip, window_at(arrived.max(average), round_trip));
        } else {
            // A window that the stream does not fill must not grow meanwhile.
            self.cubic.pause(now);
        }
    }

    /// Undoes a reduction after which the queue is as long as before: others took what the stream left, because they do not
    /// react to loss. A queue of more than one and a half round-trip times is not filled by such flows.
    fn judge(&mut self, now: ClockTime, reduction: &Reduction, base: Duration, delay: Duration) {
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

/// The queue must have had time to shrink by this, and by a quarter, before anything is concluded.
const CONCLUSIVE: Duration = Duration::from_millis(8);

/// Samples that must agree: some are delayed elsewhere, for instance by a process that is not scheduled.
const ENOUGH: u8 = 3;

/// The verdict of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Open,
    /// The queue shrinks less than half as fast as that of a lone stream.
    Shared,
}

/// A time in which the queue is longer than it should be, and less is sent than arrived before: if the stream were alone, the
/// queue would shrink by the difference. How much it does shows whether others fill it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SolitudeTest {
    since: ClockTime,
    /// What arrived before it, in bytes per second.
    pub(super) rate: u64,
    /// The queue when less sending could show.
    queue: Duration,
    /// By how much it should have shrunk since.
    expected: Duration,
    /// How many samples in a row showed that others fill the queue.
    shared: u8,
}

impl SolitudeTest {
    pub(super) const fn new(now: ClockTime, rate: u64, queue: Duration) -> Self {
        Self { since: now, rate, queue, expected: Duration::ZERO, shared: 0 }
    }

    /// Takes a sample that took `elapsed`, in which `sent` bytes per second were sent. `delay` is the time until a
    /// change of the rate shows.
    pub(super) fn observe(
        &mut self,
        now: ClockTime,
        queue: Duration,
        sent: u64,
        elapsed: Duration,
        delay: Duration,
    ) -> Verdict {
        // The queue is still that of the rate before the test.
        if now.since(self.since) <= delay {
            self.queue = queue;
            return Verdict::Open;
        }
        let less = self.rate.saturating_sub(sent);
        self.expected += share(elapsed, less, self.rate);
        let shrunk = self.queue.saturating_sub(queue);
        let is_conclusive = self.expected >= CONCLUSIVE.max(self.queue / 4);
        let is_shared = is_conclusive && 2 * shrunk < self.expected;
        self.shared = if is_shared { self.shared + 1 } else { 0 };
        if self.shared >= ENOUGH { Verdict::Shared } else { Verdict::Open }
    }
}

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
        // Fast convergence: a flow that did not reach its former window again leaves room to others.
        let has_shrunk = self.window < self.greatest;
        self.greatest = if has_shrunk { self.window * (1.0 + BETA) / 2.0 } else { self.window };
        self.window = (self.window * BETA).max(LEAST);
        self.peak = cube_root((self.greatest - self.window).max(0.0) / C);
        (self.reduced, self.reduced_to) = (now, self.window);
        (self.friendly, self.updated) = (self.window, now);
    }

    /// Grows for the time since the last call. In slow start, the window is at most twice what arrives per round trip: time
    /// alone does not show that the path carries it.
    pub(super) fn grow(&mut self, now: ClockTime, round_trip: Duration, arriving: f64) {
        let trip = round_trip.as_secs_f64().max(1e-6);
        let rounds = now.since(self.updated).as_secs_f64() / trip;
        self.updated = now;
        self.friendly += FRIENDLY * rounds;
        // The target is that of one round trip later, as in the RFC.
        let at = now.since(self.reduced).as_secs_f64() + trip - self.peak;
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
pub(super) fn window_at(rate: u64, round_trip: Duration) -> f64 {
    rate as f64 * round_trip.as_secs_f64() / SEGMENT
}

/// Returns the rate with this window, in bytes per second.
pub(super) fn rate_of(window: f64, round_trip: Duration) -> u64 {
    (window * SEGMENT / round_trip.max(Duration::from_nanos(1)).as_secs_f64()) as u64
}

/// Returns the cube root, by Newton's method from above.
fn cube_root(x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    // `core` has no `cbrt`.
    let mut root = x.max(1.0);
    for _ in 0..64 {
        root -= (root * root * root - x) / (3.0 * root * root);
    }
    root
}

/// The least of the samples of one to two periods.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Least {
    before: Option<Duration>,
    current: Option<Duration>,
    began: ClockTime,
}

impl Least {
    pub(super) fn note(&mut self, now: ClockTime, sample: Duration, period: Duration) {
        if now.since(self.began) >= period {
            (self.before, self.current, self.began) = (self.current, None, now);
        }
        self.current = Some(self.current.map_or(sample, |least| least.min(sample)));
    }

    pub(super) fn get(&self) -> Option<Duration> {
        self.before.into_iter().chain(self.current).min()
    }
}

/// The greatest of the samples of one to two periods. Time in which [`hold`](Self::hold) is called does not count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Greatest<T> {
    before: T,
    current: T,
    elapsed: Duration,
}

impl<T: Copy + Ord + Default> Greatest<T> {
    /// Notes a sample that took `elapsed`.
    pub(super) fn note(&mut self, sample: T, elapsed: Duration, period: Duration) {
        if self.elapsed >= period {
            *self = Self { before: self.current, current: T::default(), elapsed: Duration::ZERO };
        }
        self.elapsed += elapsed;
        self.current = self.current.max(sample);
    }

    /// Notes a sample that is only a lower bound.
    pub(super) fn hold(&mut self, sample: T) {
        self.current = self.current.max(sample);
    }

    /// Forgets everything but this sample.
    pub(super) fn restart(&mut self, sample: T) {
        *self = Self { before: T::default(), current: sample, elapsed: Duration::ZERO };
    }

    pub(super) fn get(&self) -> T {
        self.before.max(self.current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: ClockTime = ClockTime(1_000_000_000);

    /// Returns the window some samples after a reduction from 100 segments, if the queue stays as it is and this much of 1,000
    /// arrives. The reduction is judged after eight.
    fn after_reduction(samples: u32, arrived: u64, loss: Option<f64>) -> f64 {
        let queue = Duration::from_millis(20);
        let mut flow = Flow::new(START, 100.0);
        flow.reduce(START, queue, 1_000);
        for step in 1..=samples {
            flow.observe(&FlowReport {
                now: START + step * Duration::from_millis(20),
                queue,
                round_trip: Duration::from_millis(40),
                base: Duration::from_millis(20),
                delay: Duration::from_millis(60),
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

#[cfg(test)]
mod solitude_tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// Sends half of the rate for a while; the queue shrinks by this share of what a lone stream would cause.
    fn test(share: f64) -> Verdict {
        let mut test = SolitudeTest::new(ClockTime(0), 1_000_000, 40 * MILLISECOND);
        let mut queue = 40.0;
        for step in 1..=8 {
            let now = ClockTime::START + 10 * step * MILLISECOND;
            if step > 2 {
                queue -= 5.0 * share;
            }
            let queue = Duration::from_nanos((queue * 1e6) as u64);
            if test.observe(now, queue, 500_000, 10 * MILLISECOND, 20 * MILLISECOND) == Verdict::Shared {
                return Verdict::Shared;
            }
        }
        Verdict::Open
    }

    #[test]
    fn a_queue_that_does_not_shrink_is_shared() {
        assert_eq!(test(1.0), Verdict::Open);
        assert_eq!(test(0.7), Verdict::Open);
        assert_eq!(test(0.3), Verdict::Shared);
        assert_eq!(test(0.0), Verdict::Shared);
    }
}

#[cfg(test)]
mod cubic_tests {
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
        let round_trip = Duration::from_millis(20);
        // K is the cube root of 300 / 0.4, 9.1 seconds.
        while cubic.window() < 1_000.0 {
            now = now + round_trip;
            cubic.grow(now, round_trip, 0.0);
            assert!(now < ClockTime::START + Duration::from_secs(11));
        }
        assert!(now > ClockTime::START + Duration::from_secs(8), "{now:?}");
    }

    #[test]
    fn slow_start_waits_for_what_is_sent_to_arrive() {
        let round_trip = Duration::from_millis(20);
        let mut cubic = Cubic::starting(ClockTime(0), 100.0);
        for step in 1..100 {
            cubic.grow(ClockTime(0) + step * round_trip, round_trip, 100.0);
        }
        assert!((199.0..=200.0).contains(&cubic.window()), "{cubic:?}");
    }

    #[test]
    fn slow_start_ends_with_the_first_reduction() {
        let round_trip = Duration::from_millis(20);
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

#[cfg(test)]
mod filter_tests {
    use super::*;

    #[test]
    fn extremes_are_forgotten_after_two_periods() {
        let (mut least, mut greatest) = (Least::default(), Greatest::default());
        assert_eq!((least.get(), greatest.get()), (None, 0));
        let period = Duration::from_nanos(10);
        for (now, sample) in [(0, 5), (6, 50), (12, 60), (18, 70)] {
            least.note(ClockTime(now), Duration::from_nanos(sample), period);
            greatest.note(100 - sample, Duration::from_nanos(6), period);
        }
        assert_eq!((least.get(), greatest.get()), (Some(Duration::from_nanos(5)), 95));
        least.note(ClockTime(24), Duration::from_nanos(70), period);
        greatest.note(30, Duration::from_nanos(6), period);
        assert_eq!((least.get(), greatest.get()), (Some(Duration::from_nanos(60)), 40));
        greatest.hold(45);
        assert_eq!(greatest.get(), 45);
    }
}
