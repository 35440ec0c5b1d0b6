//! Raising the rate until loss starts.

/// A rate that was tried, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The rate that was asked for, in datagrams a second.
    pub asked: f64,
    /// The rate at which was sent.
    pub achieved: f64,
    /// The share that was lost, from 0 to 1.
    pub lost: f64,
}

/// Where loss starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Knee {
    /// Nothing (or no more than allowed) was lost at `clean` datagrams a second, and something at
    /// `lossy`. Without `clean`, something was lost at every rate.
    Between {
        /// The highest rate without loss.
        clean: Option<f64>,
        /// The lowest rate with loss.
        lossy: f64,
    },
    /// Nothing was lost at the highest rate that the sender could or should send.
    Above {
        /// That rate.
        clean: f64,
        /// Whether it is all that the sender could do.
        sender_limit: bool,
    },
    /// Not enough was tried.
    Unknown,
}

/// Doubles the rate until something is lost, then narrows it down. A loss counts when it shows a
/// second time.
#[derive(Clone, Debug)]
pub struct Sweep {
    start: f64,
    most: f64,
    allowed: f64,
    steps: Vec<Step>,
    clean: Option<f64>,
    lossy: Option<f64>,
    /// A rate at which something was lost once.
    suspect: Option<f64>,
    /// A rate that the sender did not reach, and how often.
    short: Option<(f64, u32)>,
    sender_limit: bool,
    /// How often something was lost at a rate below one that was clean.
    chance: u32,
}

/// Loss and no loss this close together are close enough.
const NARROW: f64 = 1.05;
/// A sender below this share of what it should send can do no more.
const SHORT: f64 = 0.9;
/// It is believed when it shows so often.
const SHORT_TIMES: u32 = 4;
/// Below so many datagrams a second no rate is looked for.
const LEAST: f64 = 1.0;
const MOST_STEPS: usize = 60;
/// Loss below a rate that was clean is chance, and so often chance is enough.
const MOST_CHANCE: u32 = 3;

impl Sweep {
    /// From `start` datagrams a second to at most `most`; up to the share `allowed` may be lost.
    #[must_use]
    pub fn new(start: f64, most: f64, allowed: f64) -> Self {
        let start = start.max(LEAST);
        Self {
            start,
            most: most.max(start),
            allowed,
            steps: Vec::new(),
            clean: None,
            lossy: None,
            suspect: None,
            short: None,
            sender_limit: false,
            chance: 0,
        }
    }

    /// The rate to try next; `None` when the knee is found.
    #[must_use]
    pub fn next_rate(&self) -> Option<f64> {
        if self.steps.len() >= MOST_STEPS || self.chance >= MOST_CHANCE {
            return None;
        }
        if let Some(again) = self.suspect.or_else(|| self.short.map(|(rate, _)| rate)) {
            return Some(again);
        }
        match (self.clean, self.lossy) {
            (None, None) => Some(self.start),
            (Some(clean), None) => {
                let is_last = self.sender_limit || clean >= self.most * SHORT;
                (!is_last).then(|| (clean * 2.0).clamp(self.start, self.most))
            }
            (None, Some(lossy)) => (lossy > LEAST).then(|| (lossy / 4.0).max(LEAST)),
            (Some(clean), Some(lossy)) => (lossy > clean * NARROW).then(|| (clean * lossy).sqrt().max(LEAST)),
        }
    }

    /// What came of a rate that was tried.
    pub fn record(&mut self, step: Step) {
        self.steps.push(step);
        let achieved = step.achieved.clamp(0.0, step.asked);
        if step.lost <= self.allowed {
            self.suspect = None;
            self.note_reach(step.asked, achieved);
            self.clean = Some(self.clean.map_or(achieved, |clean| clean.max(achieved)));
            // A rate that lost something before and now does not contradicts itself: look above it.
            self.lossy = self.lossy.filter(|lossy| *lossy > achieved);
        } else if self.suspect.take().is_some() {
            self.short = None;
            self.note_loss(step.asked, achieved);
        } else {
            self.suspect = Some(step.asked);
        }
    }

    /// A sender that falls short once may have been held up.
    fn note_reach(&mut self, asked: f64, achieved: f64) {
        let times = self.short.take().map_or(1, |(_, times)| times + 1);
        if achieved >= asked * SHORT {
            return;
        }
        match times {
            SHORT_TIMES => self.sender_limit = true,
            _ => self.short = Some((asked, times)),
        }
    }

    /// Who falls short in bursts may lose something at less than a path carries.
    fn note_loss(&mut self, asked: f64, achieved: f64) {
        let clean = self.clean.unwrap_or(0.0);
        match [achieved, asked].into_iter().find(|rate| *rate > clean) {
            Some(rate) => self.lossy = Some(self.lossy.map_or(rate, |lossy| lossy.min(rate))),
            None => self.chance += 1,
        }
    }

    /// The rates that were tried, in that order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Where loss starts, as far as was tried.
    #[must_use]
    pub const fn knee(&self) -> Knee {
        match (self.clean, self.lossy) {
            (clean, Some(lossy)) => Knee::Between { clean, lossy },
            (Some(clean), None) => Knee::Above { clean, sender_limit: self.sender_limit },
            (None, None) => Knee::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sweeps over a path that carries so many a second, from a sender that can do so many.
    fn sweep(start: f64, most: f64, path: f64, sender: f64) -> Sweep {
        let mut sweep = Sweep::new(start, most, 0.0);
        while let Some(asked) = sweep.next_rate() {
            let achieved = asked.min(sender);
            let lost = (1.0 - path / achieved).max(0.0);
            sweep.record(Step { asked, achieved, lost });
        }
        sweep
    }

    proptest! {
        #[test]
        fn the_knee_is_found_wherever_it_is(path in 10.0..1e7_f64, start in 1.0..1e6_f64) {
            let sweep = sweep(start, 1e8, path, 1e9);
            let Knee::Between { clean: Some(clean), lossy } = sweep.knee() else {
                return Err(TestCaseError::fail(format!("{:?}", sweep.knee())));
            };
            prop_assert!(clean <= path && path < lossy, "{clean} {path} {lossy}");
            prop_assert!(lossy <= clean * NARROW * 1.000_001);
            prop_assert!(sweep.steps().len() < MOST_STEPS);
        }

        #[test]
        fn nonsense_ends_it_all_the_same(
            steps in proptest::collection::vec((any::<f64>(), any::<f64>()), MOST_STEPS),
        ) {
            let mut sweep = Sweep::new(1_000.0, 1e7, 0.001);
            for (achieved, lost) in steps {
                let Some(asked) = sweep.next_rate() else { break };
                prop_assert!(asked.is_finite() && asked > 0.0);
                let achieved = if achieved.is_nan() { 0.0 } else { achieved };
                sweep.record(Step { asked, achieved, lost });
            }
            prop_assert_eq!(sweep.next_rate(), None);
        }
    }

    #[test]
    fn a_sender_that_can_do_no_more_ends_it() {
        let sweep = sweep(1_000.0, 1e8, 1e9, 50_000.0);
        assert_eq!(sweep.knee(), Knee::Above { clean: 50_000.0, sender_limit: true });
    }

    #[test]
    fn a_sender_that_was_held_up_is_asked_again() {
        let mut sweep = Sweep::new(1_000.0, 2_000.0, 0.0);
        sweep.record(Step { asked: 1_000.0, achieved: 700.0, lost: 0.0 });
        assert_eq!(sweep.next_rate(), Some(1_000.0));
        sweep.record(Step { asked: 1_000.0, achieved: 1_000.0, lost: 0.0 });
        assert_eq!(sweep.next_rate(), Some(2_000.0));
    }

    #[test]
    fn loss_below_a_rate_that_was_clean_is_chance() {
        let mut sweep = Sweep::new(1_000.0, 1e6, 0.0);
        let mut step = |asked, achieved, lost| {
            sweep.record(Step { asked, achieved, lost });
            sweep.knee()
        };
        step(1_000.0, 1_000.0, 0.0);
        step(2_000.0, 900.0, 0.1);
        assert_eq!(step(2_000.0, 900.0, 0.1), Knee::Between { clean: Some(1_000.0), lossy: 2_000.0 });
        step(900.0, 900.0, 0.1);
        assert_eq!(step(900.0, 900.0, 0.1), Knee::Between { clean: Some(1_000.0), lossy: 2_000.0 });
        assert_eq!(sweep.chance, 1);
    }

    #[test]
    fn the_highest_rate_asked_for_ends_it() {
        let sweep = sweep(1_000.0, 5_000.0, 1e9, 1e9);
        assert_eq!(sweep.knee(), Knee::Above { clean: 5_000.0, sender_limit: false });
        assert_eq!(sweep.steps().len(), 4);
    }

    #[test]
    fn loss_at_every_rate_is_told() {
        let mut sweep = Sweep::new(100.0, 1e6, 0.0);
        while let Some(asked) = sweep.next_rate() {
            sweep.record(Step { asked, achieved: asked, lost: 0.01 });
        }
        assert_eq!(sweep.knee(), Knee::Between { clean: None, lossy: 1.0 });
    }

    #[test]
    fn a_loss_that_does_not_show_again_is_chance() {
        let mut sweep = Sweep::new(1_000.0, 2_000.0, 0.0);
        let step = |asked, lost| Step { asked, achieved: asked, lost };
        sweep.record(step(1_000.0, 0.2));
        assert_eq!(sweep.next_rate(), Some(1_000.0));
        sweep.record(step(1_000.0, 0.0));
        assert_eq!(sweep.next_rate(), Some(2_000.0));
        assert_eq!(Sweep::new(1.0, 2.0, 0.0).knee(), Knee::Unknown);
    }
}
