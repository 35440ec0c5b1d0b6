//! Congestion control: finds out whether the publisher's own rate causes loss, and adapts the rate if it does.
//!
//! High loss alone proves nothing: a bad radio link loses as much at every rate, and repair copes with that. A link
//! that is too slow loses less when less is sent. So when loss is high, the publisher makes a trial: it slows down to
//! the rate that arrived. If loss falls, the publisher stays slow and probes for more. If not, it returns to its rate
//! and makes no other trial for a while (RFC 8084 demands a reaction and leaves its form open).
//!
//! The result of a trial holds for all subscribers that lose no more. If each made its own, twenty subscribers on one
//! lossy radio network would hold the publisher at half its rate, or half of that again, for most of the time.

use core::time::Duration;

use crate::ClockTime;
use crate::span::{count, per_second};

/// Loss at which the publisher begins a trial, in parts per million.
const HIGH: u32 = 200_000;
/// Loss below which the publisher probes for more, in parts per million.
const LOW: u32 = 100_000;
/// Loss below which the link carries more than this rate, in parts per million.
const NEGLIGIBLE: u32 = 20_000;
/// Time without trials after the first one that showed another cause; it doubles with each further one.
const FIRST_IMMUNITY: Duration = Duration::from_secs(5);
const LONGEST_IMMUNITY: Duration = Duration::from_secs(60);
/// A trial ends as failed after this many samples without less loss: the queue on the way may be full at first. A
/// sample that takes longer than `TRIAL_TIME` counts for several.
const TRIAL_SAMPLES: u64 = 3;
const TRIAL_TIME: Duration = Duration::from_millis(200);
/// A trial does not fail with fewer datagrams than this: with 32 of them, half of a loss of 75 % may be chance.
const TRIAL_DATAGRAMS: u64 = 64;
/// A limited rate is doubled when there is no sample for this long.
pub(crate) const LONGEST_SILENCE: Duration = Duration::from_secs(2);
/// A trial divides the rate by at most this: what arrives of a burst says little about the link.
const LARGEST_CUT: u64 = 8;
/// Near the capacity of the link, the rate grows by one part in this many with each good sample.
const STEP: u64 = 16;

/// The fate of some datagrams that were sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// The datagrams that arrived or were lost, and those of them that were lost.
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    /// The bytes that were sent in the time of the sample, and those that arrived.
    pub(crate) sent_bytes: u64,
    pub(crate) arrived_bytes: u64,
    /// The time that they took.
    pub(crate) elapsed: Duration,
}

impl Sample {
    fn loss(&self) -> u32 {
        let share = self.lost.min(self.sent) * 1_000_000 / self.sent.max(1);
        u32::try_from(share).unwrap_or(1_000_000)
    }

    fn arrived_rate(&self) -> u64 {
        per_second(self.arrived_bytes, self.elapsed)
    }
}

/// Returns whether this loss is significantly below `loss`: by 3.5 standard deviations, so that random loss at twenty
/// subscribers does not look like congestion now and then.
fn is_below(loss: u32, sent: u64, lost: u64) -> bool {
    let expected = sent * u64::from(loss) / 1_000_000;
    let fewer = expected.saturating_sub(lost);
    // Where hardly anything arrives, the variance is that of the few that do: behind a link that is a hundred times too
    // slow, an eighth of the rate loses 92 instead of 99 %.
    let variance = expected.min(4 * sent.saturating_sub(expected)).max(1);
    fewer * fewer > 12 * variance
}

/// The effect of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RateChange {
    /// The publisher slows down to this rate because of this loss.
    Slowed { loss: u32, rate: u64 },
    /// The limit is removed.
    Recovered,
    /// The rate is not the cause of this loss. No other trial begins before `until`; the next one that fails is
    /// followed by `immunity`. `certain` is the part of the loss that certainly does not depend on the rate.
    Cleared { loss: u32, until: ClockTime, immunity: Duration, certain: u32 },
}

/// The publisher has slowed down to see whether loss falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trial {
    /// The loss before the trial, and the rate that was sent.
    loss: u32,
    before: u64,
    /// The rate in the trial.
    rate: u64,
    /// The trial fails after this many more samples without less loss.
    samples: u64,
    /// The datagrams of its samples, their bytes, and the time that they took.
    sent: u64,
    lost: u64,
    sent_bytes: u64,
    elapsed: Duration,
}

impl Trial {
    const fn new(loss: u32, before: u64, rate: u64) -> Self {
        Self {
            loss,
            before,
            rate,
            samples: TRIAL_SAMPLES,
            sent: 0,
            lost: 0,
            sent_bytes: 0,
            elapsed: Duration::ZERO,
        }
    }

    fn with(self, sample: &Sample) -> Self {
        Self {
            samples: self.samples.saturating_sub(1 + count(sample.elapsed, TRIAL_TIME)),
            sent: self.sent + sample.sent,
            lost: self.lost + sample.lost.min(sample.sent),
            sent_bytes: self.sent_bytes + sample.sent_bytes,
            elapsed: self.elapsed + sample.elapsed,
            ..self
        }
    }

    /// Returns whether it has failed, unless its samples show less loss.
    const fn is_complete(&self) -> bool {
        self.samples == 0 && self.sent >= TRIAL_DATAGRAMS
    }

    /// Returns whether less was in fact sent than before: other subscribers may have caused as much.
    fn is_conclusive(&self) -> bool {
        per_second(self.sent_bytes, self.elapsed) <= self.before / 4 * 3
    }

    fn has_less_loss(&self) -> bool {
        is_below(self.loss, self.sent, self.lost)
    }

    /// Returns the loss that certainly does not depend on the rate: less was sent, and not less of it was lost.
    fn certain_loss(&self) -> u32 {
        let loss = self.loss_so_far();
        if self.is_conclusive() && loss >= self.loss / 10 * 9 { loss.min(self.loss) } else { 0 }
    }

    fn loss_so_far(&self) -> u32 {
        u32::try_from(self.lost * 1_000_000 / self.sent.max(1)).unwrap_or(1_000_000)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is no limit. No trial begins before this time.
    ///
    /// The last trial found that this loss, in parts per million, does not depend on the rate.
    Free { immune_until: ClockTime, cleared: u32 },
    /// The publisher has slowed down to see whether this loss falls. The trial fails after `samples` more without less
    /// loss.
    Trial(Trial),
    /// The link carries no more than about this rate.
    Limited { rate: u64 },
}

impl State {
    const FREE: Self = Self::Free { immune_until: ClockTime(0), cleared: 0 };
}

/// What the link carries, in bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Capacity {
    /// Nothing is known, or more than was known has passed since.
    Unknown,
    /// About this much, by what arrived of an unlimited rate: of a burst, much less than the link carries.
    Guessed(u64),
    /// This much arrived of a limited rate that was too high.
    Measured(u64),
}

impl Capacity {
    /// Returns the rate to try after `rate`, at which this share of the datagrams was lost, in parts per million.
    fn next_rate(&mut self, rate: u64, loss: u32) -> u64 {
        let (capacity, step, proof) = match *self {
            Self::Unknown => (u64::MAX, rate / STEP, u64::MAX),
            Self::Guessed(capacity) => (capacity, 2 * rate / STEP, 2 * capacity),
            Self::Measured(capacity) => (capacity, rate / STEP, capacity + capacity / 8),
        };
        if loss < NEGLIGIBLE && rate > proof {
            *self = Self::Unknown;
        }
        if loss < NEGLIGIBLE && rate < capacity / 4 * 3 { 2 * rate } else { rate + step.max(1) }
    }
}

/// Derives the rate from the samples of one subscriber.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateControl {
    state: State,
    immunity: Duration,
    /// The lowest rate, and the rate from which on the limit is removed. Bytes per second.
    slowest: u64,
    fastest: u64,
    capacity: Capacity,
    /// The loss of the last sample, in parts per million.
    loss: u32,
}

impl RateControl {
    pub(crate) const fn new(slowest: u64) -> Self {
        Self {
            state: State::FREE,
            immunity: FIRST_IMMUNITY,
            slowest,
            fastest: u64::MAX,
            capacity: Capacity::Unknown,
            loss: 0,
        }
    }

    /// Returns the limit in bytes per second, if there is one.
    pub(crate) const fn rate(&self) -> Option<u64> {
        match self.state {
            State::Free { .. } => None,
            State::Trial(Trial { rate, .. }) | State::Limited { rate } => Some(rate),
        }
    }

    /// Returns the loss that the last trial found not to depend on the rate, in parts per million, for as long as that
    /// holds.
    pub(crate) const fn cleared_loss(&self) -> u32 {
        match self.state {
            State::Free { cleared, .. } => cleared,
            State::Trial(_) | State::Limited { .. } => 0,
        }
    }

    /// Sets the lowest rate.
    pub(crate) fn set_slowest(&mut self, slowest: u64) {
        self.slowest = slowest;
        if let State::Trial(Trial { rate, .. }) | State::Limited { rate } = &mut self.state {
            *rate = slowest.max(*rate);
        }
    }

    /// Returns whether a trial is running.
    pub(crate) const fn is_on_trial(&self) -> bool {
        matches!(self.state, State::Trial(_))
    }

    /// Takes a sample of what was sent since the last change; `is_full` if that was as much as the rate allowed. No
    /// trial begins while another subscriber's trial runs.
    pub(crate) fn observe(
        &mut self,
        now: ClockTime,
        sample: Sample,
        is_full: bool,
        other_on_trial: bool,
    ) -> Option<RateChange> {
        let loss = sample.loss();
        self.loss = loss;
        match self.state {
            State::Free { immune_until, .. } => {
                // Of two trials at once, each would see the effect of the other.
                if loss >= HIGH && now >= immune_until && !other_on_trial {
                    self.begin_trial(&sample);
                }
                None
            }
            State::Trial(trial) => self.judge_trial(now, trial.with(&sample), &sample),
            // The estimate is out of date: measure again.
            State::Limited { .. } if loss >= HIGH => {
                if !other_on_trial {
                    self.begin_trial(&sample);
                }
                None
            }
            State::Limited { rate } => self.adjust(rate, loss, is_full),
        }
    }

    /// Judges a trial by all its samples, because one alone may be too small.
    fn judge_trial(&mut self, now: ClockTime, trial: Trial, sample: &Sample) -> Option<RateChange> {
        let Trial { loss: before, before: offered, rate, .. } = trial;
        // The last sample alone may show it: the first ones contain what was queued at the former rate.
        let has_fallen = trial.has_less_loss() || is_below(before, sample.sent, sample.lost);
        if !has_fallen {
            self.state = State::Trial(trial);
            return if trial.is_complete() { self.end_trial(now, &trial) } else { None };
        }
        // The rate caused most of the loss, so that the link carries about what is sent now.
        if trial.loss_so_far().min(sample.loss()) < before / 2 {
            (self.state, self.immunity) = (State::Limited { rate }, FIRST_IMMUNITY);
            return Some(RateChange::Slowed { loss: before, rate });
        }
        // Loss has fallen, but the rate is still too high: a queue inflated the first estimate.
        let rate = rate.min(self.below(sample.arrived_rate()));
        self.state = State::Trial(Trial::new(before, offered, rate));
        None
    }

    /// Takes over the result of another subscriber's trial: the rate is not the cause of this loss.
    pub(crate) fn learn(&mut self, loss: u32, until: ClockTime, immunity: Duration, certain: u32) {
        if let State::Free { immune_until, cleared } = &mut self.state
            && self.loss <= loss.saturating_add(loss / 2)
        {
            *immune_until = until.max(*immune_until);
            *cleared = certain.max(*cleared);
            self.immunity = self.immunity.max(immunity);
        }
    }

    /// Doubles a limited rate for each [`LONGEST_SILENCE`] without a sample, so that the estimate does not stay too
    /// low.
    pub(crate) fn relax_after(&mut self, silence: Duration) {
        for _ in 0..count(silence, LONGEST_SILENCE).min(u64::from(u64::BITS)) {
            self.relax();
        }
    }

    fn relax(&mut self) {
        self.state = match self.state {
            State::Limited { rate } if 2 * rate < self.fastest => State::Limited { rate: 2 * rate },
            State::Free { immune_until, cleared } => State::Free { immune_until, cleared },
            // Without samples, a trial has no result.
            State::Trial(_) | State::Limited { .. } => State::FREE,
        };
    }

    fn begin_trial(&mut self, sample: &Sample) {
        let (loss, arrived) = (sample.loss(), sample.arrived_rate());
        self.capacity = match self.state {
            _ if arrived <= 2 * self.slowest => Capacity::Unknown,
            State::Free { .. } => Capacity::Guessed(arrived),
            State::Trial(_) | State::Limited { .. } => Capacity::Measured(arrived),
        };
        let offered = per_second(sample.sent_bytes, sample.elapsed);
        // The limit is removed at the rate that was sent without one.
        if let State::Free { .. } = self.state {
            self.fastest = offered;
        }
        let rate = self.below(arrived).max(offered / LARGEST_CUT);
        self.state = State::Trial(Trial::new(loss, offered, rate));
    }

    /// Returns a little less than the rate that arrives, so that a queue on the way drains.
    fn below(&self, arrived: u64) -> u64 {
        (arrived / 4 * 3).max(self.slowest)
    }

    /// Ends a trial that showed another cause than the rate.
    fn end_trial(&mut self, now: ClockTime, trial: &Trial) -> Option<RateChange> {
        let until = now + self.immunity;
        let certain = trial.certain_loss();
        self.state = State::Free { immune_until: until, cleared: certain };
        self.immunity = (2 * self.immunity).min(LONGEST_IMMUNITY);
        let (loss, immunity) = (self.loss, self.immunity);
        // Others learn only from a trial in which less was sent. This one waits in any case.
        trial.is_conclusive().then_some(RateChange::Cleared { loss, until, immunity, certain })
    }

    fn adjust(&mut self, rate: u64, loss: u32, is_full: bool) -> Option<RateChange> {
        let next = match loss {
            LOW.. => {
                // What arrives of this rate is what the link carries.
                self.capacity = Capacity::Measured(rate - rate / 1_000_000 * u64::from(loss));
                (rate - rate / STEP).max(self.slowest)
            }
            // What was not sent cannot show that more would arrive.
            _ if !is_full => rate,
            _ => self.capacity.next_rate(rate, loss),
        };
        self.state = State::Limited { rate: next };
        if next < self.fastest {
            return None;
        }
        self.state = State::FREE;
        Some(RateChange::Recovered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const INTERVAL: u64 = SECOND / 10;

    /// Returns the sample for `rate` bytes per second on a link with this capacity and share of random loss.
    fn transmit(rate: u64, link: u64, random: f64) -> Sample {
        let sent = rate / 10 / 1_000;
        let arrived = (sent.min(link / 10 / 1_000) as f64 * (1.0 - random)) as u64;
        Sample {
            sent,
            lost: sent - arrived,
            sent_bytes: sent * 1_000,
            arrived_bytes: arrived * 1_000,
            elapsed: Duration::from_nanos(INTERVAL),
        }
    }

    fn run(control: &mut RateControl, offered: u64, link: u64, random: f64, rounds: u64) -> (u64, u64) {
        let (mut sent, mut arrived) = (0, 0);
        for round in 0..rounds {
            let rate = control.rate().map_or(offered, |rate| rate.min(offered));
            let sample = transmit(rate, link, random);
            (sent, arrived) = (sent + sample.sent, arrived + sample.sent - sample.lost);
            control.observe(ClockTime(round * INTERVAL), sample, rate < offered, false);
        }
        (sent, arrived)
    }

    #[test]
    fn a_bottleneck_loses_little() {
        let mut control = RateControl::new(10_000);
        let (sent, arrived) = run(&mut control, 50_000_000, 2_500_000, 0.0, 300);
        // The first sample was sent before anything was known.
        assert!(sent - 5_000 < arrived * 5 / 4, "{sent} datagrams sent, {arrived} arrived");
        assert!(arrived > 300 * 250 * 8 / 10, "only {arrived} arrived");
    }

    #[test]
    fn random_loss_hardly_lowers_the_rate() {
        let mut control = RateControl::new(10_000);
        let (sent, _) = run(&mut control, 1_000_000, u64::MAX, 0.3, 600);
        assert!(sent > 600 * 100 * 95 / 100, "{sent}");
    }

    #[test]
    fn the_result_of_a_trial_holds_for_subscribers_that_lose_no_more() {
        let until = ClockTime(10 * SECOND);
        let begins_after_learning = |random, now| {
            let mut control = RateControl::new(10_000);
            let sample = transmit(1_000_000, u64::MAX, random);
            control.observe(ClockTime(SECOND), sample, false, true);
            assert!(!control.is_on_trial(), "a second trial began");
            control.learn(300_000, until, FIRST_IMMUNITY, 0);
            control.observe(now, sample, false, false);
            control.is_on_trial()
        };
        assert!(!begins_after_learning(0.3, until - Duration::from_nanos(1)));
        assert!(begins_after_learning(0.3, until));
        assert!(
            begins_after_learning(0.6, until - Duration::from_nanos(1)),
            "a trial at lower loss does not explain twice as much"
        );
    }

    /// Other subscribers may cause as much traffic as before: then the trial shows nothing about the loss.
    #[test]
    fn a_trial_without_less_traffic_shows_nothing() {
        let end_of_trial = |rate| {
            let mut control = RateControl::new(10_000);
            control.observe(ClockTime(SECOND), transmit(1_000_000, u64::MAX, 0.3), false, false);
            assert!(control.is_on_trial());
            let samples = (1..=TRIAL_SAMPLES).map(|sample| ClockTime(SECOND + sample * INTERVAL));
            let change = samples
                .filter_map(|now| control.observe(now, transmit(rate, u64::MAX, 0.3), true, false))
                .next();
            assert!(!control.is_on_trial());
            (matches!(change, Some(RateChange::Cleared { .. })), control.cleared_loss())
        };
        assert_eq!(end_of_trial(500_000), (true, 300_000));
        assert_eq!(end_of_trial(1_000_000), (false, 0));
    }

    /// Behind a full link, repairs delay the data of a trial: its first sample may be small, and lossy by chance.
    #[test]
    fn a_trial_does_not_fail_with_few_datagrams() {
        let mut control = RateControl::new(10_000);
        control.observe(ClockTime(SECOND), transmit(1_300_000, 300_000, 0.0), false, false);
        let sample = |sent, lost| Sample {
            sent,
            lost,
            sent_bytes: sent * 1_000,
            arrived_bytes: (sent - lost) * 1_000,
            elapsed: Duration::from_secs(1),
        };
        assert_eq!(control.observe(ClockTime(2 * SECOND), sample(32, 18), true, false), None);
        assert!(control.is_on_trial());
        let change = control.observe(ClockTime(3 * SECOND), sample(115, 33), true, false);
        assert!(matches!(change, Some(RateChange::Slowed { .. })), "{change:?}");
    }

    #[test]
    fn the_limit_is_removed_when_the_link_recovers() {
        let mut control = RateControl::new(10_000);
        run(&mut control, 50_000_000, 2_500_000, 0.0, 50);
        assert!(control.rate().is_some());
        run(&mut control, 50_000_000, u64::MAX, 0.0, 100);
        assert_eq!(control.rate(), None);
    }
}
