//! Whether loss is the sender's own doing, and how fast it may send if it is.
//!
//! High loss alone says nothing: a bad radio link loses as much however slowly one sends, and repair copes with that.
//! A link that is too slow loses less when less is sent. So when loss is high, the sender slows down to what arrived,
//! looks whether loss falls, and either stays slow and probes for more, or returns to its rate and does not ask again
//! for a while (RFC 8084 demands the reaction, not its form).

use super::bucket::SECOND;

/// Loss from which on the sender asks whether it is the cause, in parts per million.
const HIGH: u32 = 200_000;
/// Below this it probes for more.
const LOW: u32 = 100_000;
/// Having found that loss is not its doing it does not ask again for so long, then twice that, and so on.
const FIRST_IMMUNITY: u64 = 5 * SECOND;
const LONGEST_IMMUNITY: u64 = 60 * SECOND;
/// So many samples may show as much loss as before, until it is clear that the rate is not the cause.
const TRIAL_SAMPLES: u8 = 2;
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing limits it. Loss is not looked at before this time.
    Free { immune_until: u64 },
    /// It has slowed down to see whether this loss falls.
    Trial { loss: u32, rate: u64, samples: u8 },
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
}

impl RateControl {
    pub(crate) const fn new(slowest: u64) -> Self {
        Self {
            state: State::Free { immune_until: 0 },
            immunity: FIRST_IMMUNITY,
            slowest,
            fastest: u64::MAX,
            taken: 0,
        }
    }

    /// Bytes per second, if there is a limit.
    pub(crate) const fn rate(&self) -> Option<u64> {
        match self.state {
            State::Free { .. } => None,
            State::Trial { rate, .. } | State::Limited { rate } => Some(rate),
        }
    }

    /// Takes a sample of what was sent since the last change, and as much more as the rate allowed if `is_full`.
    pub(crate) fn observe(&mut self, now: u64, sample: Sample, is_full: bool) -> Option<Change> {
        let loss = sample.loss();
        match self.state {
            State::Free { immune_until } if loss < HIGH || now < immune_until => None,
            State::Free { .. } => {
                let share = u64::from(1_000_000 - loss.min(999_000));
                self.fastest = (sample.rate() / share).saturating_mul(1_000_000);
                self.try_slower(&sample)
            }
            State::Trial { loss: before, rate, .. } if loss < before / 2 => {
                (self.state, self.immunity) = (State::Limited { rate }, FIRST_IMMUNITY);
                Some(Change::Slowed { loss: before, rate })
            }
            // The queue on the way may still be full of what was sent before.
            State::Trial { loss, rate, samples: samples @ 1.. } => {
                self.state = State::Trial { loss, rate, samples: samples - 1 };
                None
            }
            State::Trial { .. } => {
                self.state = State::Free { immune_until: now + self.immunity };
                self.immunity = (2 * self.immunity).min(LONGEST_IMMUNITY);
                None
            }
            // What it was found to be is no longer so: it looks anew.
            State::Limited { .. } if loss >= HIGH => self.try_slower(&sample),
            State::Limited { rate } => self.adjust(rate, loss, is_full),
        }
    }

    /// Nothing came of late that tells anything: it goes faster, so that something does.
    pub(crate) fn relax(&mut self) {
        self.state = match self.state {
            State::Trial { rate, .. } | State::Limited { rate } if 2 * rate < self.fastest => {
                State::Limited { rate: 2 * rate }
            }
            State::Free { immune_until } => State::Free { immune_until },
            _ => State::Free { immune_until: 0 },
        };
    }

    /// Slows down to a little less than what arrives, so that a queue on the way drains.
    fn try_slower(&mut self, sample: &Sample) -> Option<Change> {
        let arrived = sample.rate();
        self.taken = arrived;
        let rate = (arrived / 4 * 3).max(self.slowest);
        self.state = State::Trial { loss: sample.loss(), rate, samples: TRIAL_SAMPLES };
        None
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
            control.observe(round * INTERVAL, sample, rate < offered);
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
    fn it_recovers_when_the_link_does() {
        let mut control = RateControl::new(10_000);
        run(&mut control, 50_000_000, 2_500_000, 0.0, 50);
        assert!(control.rate().is_some());
        run(&mut control, 50_000_000, u64::MAX, 0.0, 100);
        assert_eq!(control.rate(), None);
    }
}
