//! Whether loss is the sender's own doing, and how fast it may send if it is.
//!
//! High loss alone says nothing: a bad radio link loses as much however slowly one sends, and repair copes with that.
//! A link that is too slow loses less when less is sent. So when loss is high, the sender slows down to what arrived:
//! a trial. Either loss falls, then it stays slow and probes for more; or it does not, then the sender returns to its
//! rate and makes no other trial for a while (RFC 8084 demands the reaction, not its form).
//!
//! What one trial shows holds for all receivers that lose no more. If each made its own, twenty receivers on one lossy
//! radio network would hold the sender at half its rate, or half of that again, for most of the time.

use super::bucket::SECOND;

/// Loss from which on the sender asks whether it is the cause, in parts per million.
const HIGH: u32 = 200_000;
/// Below this it probes for more.
const LOW: u32 = 100_000;
/// From this loss on, next to nothing arrives.
pub(crate) const HOPELESS: u32 = 900_000;
/// Having found that loss is not its doing, it makes no other trial for this long, then twice that, and so on.
const FIRST_IMMUNITY: u64 = 5 * SECOND;
const LONGEST_IMMUNITY: u64 = 60 * SECOND;
/// A trial may show as much loss as before for this many samples, or this many times this long, until it is clear that
/// the rate is not the cause: the queue on the way may still be full.
const TRIAL_SAMPLES: u64 = 3;
const TRIAL_TIME: u64 = SECOND / 5;
/// A rate that probes for more grows by this share with each good sample.
const STEP: u64 = 16;

/// What became of some datagrams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    /// Bytes that arrived, in how many nanoseconds.
    pub(crate) bytes: u64,
    pub(crate) elapsed: u64,
}

impl Sample {
    fn loss(&self) -> u32 {
        let share = self.lost.min(self.sent) * 1_000_000 / self.sent.max(1);
        u32::try_from(share).unwrap_or(1_000_000)
    }

    /// Whether this is less than a loss by more than chance explains: 3.5 standard deviations, so that twenty receivers
    /// with random loss don't make it look like congestion now and then.
    fn is_below(&self, loss: u32) -> bool {
        let expected = self.sent * u64::from(loss) / 1_000_000;
        let fewer = expected.saturating_sub(self.lost);
        fewer * fewer > 12 * expected
    }

    fn rate(&self) -> u64 {
        let rate = u128::from(self.bytes) * u128::from(SECOND) / u128::from(self.elapsed.max(1));
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

/// What a sample has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// To a rate, because of this loss.
    Slowed { loss: u32, rate: u64 },
    /// No limit any more.
    Recovered,
    /// The rate is not the cause of this loss. It makes no other trial until then, and after the next none for this
    /// long.
    Cleared { loss: u32, until: u64, immunity: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing limits it. It makes no trial before this time.
    Free { immune_until: u64 },
    /// It has slowed down to see whether this loss falls. This many more samples may show that it does not.
    Trial { loss: u32, rate: u64, samples: u64 },
    /// The link takes no more than about this.
    Limited { rate: u64 },
}

/// Decides how fast to send from what arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateControl {
    state: State,
    immunity: u64,
    /// It is never slower than this, and free again from `fastest` on. Bytes per second.
    slowest: u64,
    fastest: u64,
    /// What arrived when it last slowed down.
    taken: u64,
    /// The loss of the last sample, in parts per million.
    loss: u32,
}

impl RateControl {
    pub(crate) const fn new(slowest: u64) -> Self {
        Self {
            state: State::Free { immune_until: 0 },
            immunity: FIRST_IMMUNITY,
            slowest,
            fastest: u64::MAX,
            taken: 0,
            loss: 0,
        }
    }

    /// Bytes per second, if there is a limit.
    pub(crate) const fn rate(&self) -> Option<u64> {
        match self.state {
            State::Free { .. } => None,
            State::Trial { rate, .. } | State::Limited { rate } => Some(rate),
        }
    }

    /// Whether it has slowed down to see whether loss falls.
    pub(crate) const fn is_on_trial(&self) -> bool {
        matches!(self.state, State::Trial { .. })
    }

    /// Takes a sample of what was sent since the last change; `is_full` if that was as much as the rate allowed. While
    /// somebody else makes a trial it begins none of its own.
    pub(crate) fn observe(
        &mut self,
        now: u64,
        sample: Sample,
        is_full: bool,
        others_try: bool,
    ) -> Option<Change> {
        let loss = sample.loss();
        self.loss = loss;
        match self.state {
            State::Free { immune_until } => {
                if loss >= HIGH && now >= immune_until && !others_try {
                    self.begin_trial(&sample);
                }
                None
            }
            State::Trial { loss: before, rate, .. } if sample.is_below(before) => {
                if loss < before / 2 {
                    (self.state, self.immunity) = (State::Limited { rate }, FIRST_IMMUNITY);
                    return Some(Change::Slowed { loss: before, rate });
                }
                // It has fallen, but this is still too fast: a queue had let more pass when the trial began.
                let rate = rate.min(self.below(sample.rate()));
                self.state = State::Trial { loss: before, rate, samples: TRIAL_SAMPLES };
                None
            }
            State::Trial { loss, rate, samples } => {
                let samples = samples.saturating_sub(1 + sample.elapsed / TRIAL_TIME);
                self.state = State::Trial { loss, rate, samples };
                (samples == 0).then(|| self.end_trial(now))
            }
            // What it was found to be is no longer so: it looks anew.
            State::Limited { .. } if loss >= HIGH => {
                if !others_try {
                    self.begin_trial(&sample);
                }
                None
            }
            State::Limited { rate } => self.adjust(rate, loss, is_full),
        }
    }

    /// Takes over that the rate is not the cause of a loss that another receiver has, until then and thereafter for
    /// this long.
    pub(crate) fn learn(&mut self, loss: u32, until: u64, immunity: u64) {
        if let State::Free { immune_until } = &mut self.state
            && self.loss <= loss.saturating_add(loss / 2)
        {
            *immune_until = until.max(*immune_until);
            self.immunity = self.immunity.max(immunity);
        }
    }

    /// Sends as little as it may until something arrives.
    pub(crate) const fn stay_slow(&mut self) {
        self.state = State::Limited { rate: self.slowest };
    }

    /// Nothing came of late that tells anything: it goes faster, so that something does.
    pub(crate) fn relax(&mut self) {
        self.state = match self.state {
            State::Limited { rate } if 2 * rate < self.fastest => State::Limited { rate: 2 * rate },
            State::Free { immune_until } => State::Free { immune_until },
            State::Trial { .. } | State::Limited { .. } => State::Free { immune_until: 0 },
        };
    }

    fn begin_trial(&mut self, sample: &Sample) {
        let (loss, arrived) = (sample.loss(), sample.rate());
        if matches!(self.state, State::Free { .. }) {
            let share = u64::from(1_000_000 - loss.min(999_000));
            let offered = u128::from(arrived) * 1_000_000 / u128::from(share);
            self.fastest = u64::try_from(offered).unwrap_or(u64::MAX);
        }
        self.taken = arrived;
        self.state = State::Trial { loss, rate: self.below(arrived), samples: TRIAL_SAMPLES };
    }

    /// A little less than what arrives, so that a queue on the way drains.
    fn below(&self, arrived: u64) -> u64 {
        (arrived / 4 * 3).max(self.slowest)
    }

    /// The rate was not the cause.
    fn end_trial(&mut self, now: u64) -> Change {
        let until = now + self.immunity;
        self.state = State::Free { immune_until: until };
        self.immunity = (2 * self.immunity).min(LONGEST_IMMUNITY);
        Change::Cleared { loss: self.loss, until, immunity: self.immunity }
    }

    fn adjust(&mut self, rate: u64, loss: u32, is_full: bool) -> Option<Change> {
        let next = match loss {
            LOW.. => (rate - rate / STEP).max(self.slowest),
            _ if !is_full => rate,
            // Far from what the link took when it was last full, or if that is not known, it need not feel its way.
            _ if rate < self.taken / 4 * 3 || self.taken <= 2 * self.slowest => 2 * rate,
            _ => rate + (rate / STEP).max(1),
        };
        self.state = State::Limited { rate: next };
        if next < self.fastest {
            return None;
        }
        self.state = State::Free { immune_until: 0 };
        Some(Change::Recovered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: u64 = SECOND / 10;

    /// What arrives of so many bytes per second on a link that takes so many and loses so much by itself.
    fn pass(rate: u64, link: u64, random: f64) -> Sample {
        let sent = rate / 10 / 1_000;
        let arrived = (sent.min(link / 10 / 1_000) as f64 * (1.0 - random)) as u64;
        Sample { sent, lost: sent - arrived, bytes: arrived * 1_000, elapsed: INTERVAL }
    }

    fn run(control: &mut RateControl, offered: u64, link: u64, random: f64, rounds: u64) -> (u64, u64) {
        let (mut sent, mut arrived) = (0, 0);
        for round in 0..rounds {
            let rate = control.rate().map_or(offered, |rate| rate.min(offered));
            let sample = pass(rate, link, random);
            (sent, arrived) = (sent + sample.sent, arrived + sample.sent - sample.lost);
            control.observe(round * INTERVAL, sample, rate < offered, false);
        }
        (sent, arrived)
    }

    #[test]
    fn behind_a_bottleneck_little_is_sent_in_vain() {
        let mut control = RateControl::new(10_000);
        let (sent, arrived) = run(&mut control, 50_000_000, 2_500_000, 0.0, 300);
        // The first sample was sent before anything was known.
        assert!(sent - 5_000 < arrived * 5 / 4, "{sent} were sent for {arrived}");
        assert!(arrived > 300 * 250 * 8 / 10, "only {arrived} arrived");
    }

    #[test]
    fn loss_that_is_not_its_doing_slows_it_little() {
        let mut control = RateControl::new(10_000);
        let (sent, _) = run(&mut control, 1_000_000, u64::MAX, 0.3, 600);
        assert!(sent > 600 * 100 * 95 / 100, "{sent}");
    }

    #[test]
    fn what_a_trial_shows_holds_for_those_who_lose_no_more() {
        let until = 10 * SECOND;
        let begins_after_learning = |random, now| {
            let mut control = RateControl::new(10_000);
            let sample = pass(1_000_000, u64::MAX, random);
            control.observe(SECOND, sample, false, true);
            assert!(!control.is_on_trial(), "it has begun a second trial");
            control.learn(300_000, until, FIRST_IMMUNITY);
            control.observe(now, sample, false, false);
            control.is_on_trial()
        };
        assert!(!begins_after_learning(0.3, until - 1));
        assert!(begins_after_learning(0.3, until));
        assert!(begins_after_learning(0.6, until - 1), "another's loss does not explain twice as much");
    }

    #[test]
    fn it_recovers_when_the_link_does() {
        let mut control = RateControl::new(10_000);
        run(&mut control, 50_000_000, 2_500_000, 0.0, 50);
        assert!(control.rate().is_some());
        run(&mut control, 50_000_000, u64::MAX, 0.0, 100);
        assert_eq!(control.rate(), None);
    }
}
