//! Finds the rate at which loss starts.

/// A rate that was tested, and its result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SweepStep {
    /// The requested rate in datagrams per second.
    pub requested: f64,
    /// The rate that the sender achieved.
    pub achieved: f64,
    /// The loss in percent.
    pub lost_percent: f64,
}

/// The rate at which loss starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Knee {
    /// Loss was at most the tolerated one at `clean` datagrams per second, and higher at `lossy`. Without
    /// `clean`, loss was too high at every rate.
    Between {
        /// The highest rate without loss.
        clean: Option<f64>,
        /// The lowest rate with loss.
        lossy: f64,
    },
    /// No loss at the highest rate that the sender could send or was allowed to.
    Above {
        /// That rate.
        clean: f64,
        /// Whether the sender could not send faster.
        sender_limit: bool,
    },
    /// There were too few tests.
    Unknown,
}

/// Doubles the rate until there is loss, then narrows the range. Loss must occur twice at a rate to count.
#[derive(Clone, Debug)]
pub struct Sweep {
    start: f64,
    limit: f64,
    allowed: f64,
    steps: Vec<SweepStep>,
    clean: Option<f64>,
    lossy: Option<f64>,
    /// A rate with loss that has not been confirmed yet.
    suspect: Option<f64>,
    /// A rate that the sender did not reach, and the number of attempts.
    shortfall: Option<(f64, u32)>,
    sender_limit: bool,
    /// Number of times there was loss at a rate below a clean one.
    random_losses: u32,
}

/// The search ends when the lossy and the clean rate differ by less than this factor.
const RESOLUTION: f64 = 1.05;
/// A sender that achieves less than this share of the requested rate is at its limit.
const MIN_ACHIEVED_SHARE: f64 = 0.9;
/// Number of attempts after which the sender's limit is accepted.
const MAX_SHORTFALLS: u32 = 4;
/// The lowest rate tested, in datagrams per second.
const MIN_RATE: f64 = 1.0;
const MAX_STEPS: usize = 60;
/// Loss at a rate below a clean one is random; the sweep ends after this many occurrences.
const MAX_RANDOM_LOSSES: u32 = 3;

impl Sweep {
    /// Creates a sweep from `start` to at most `limit` datagrams per second, tolerating a loss of
    /// `allowed` percent.
    #[must_use]
    pub fn new(start: f64, limit: f64, allowed: f64) -> Self {
        let start = start.max(MIN_RATE);
        Self {
            start,
            limit: limit.max(start),
            allowed,
            steps: Vec::new(),
            clean: None,
            lossy: None,
            suspect: None,
            shortfall: None,
            sender_limit: false,
            random_losses: 0,
        }
    }

    /// Returns the next rate to test; `None` when the sweep is complete.
    #[must_use]
    pub fn next_rate(&self) -> Option<f64> {
        if self.steps.len() >= MAX_STEPS || self.random_losses >= MAX_RANDOM_LOSSES {
            return None;
        }
        if let Some(again) = self.suspect.or_else(|| self.shortfall.map(|(rate, _)| rate)) {
            return Some(again);
        }
        match (self.clean, self.lossy) {
            (None, None) => Some(self.start),
            (Some(clean), None) => {
                let is_complete = self.sender_limit || clean >= self.limit * MIN_ACHIEVED_SHARE;
                (!is_complete).then(|| (clean * 2.0).clamp(self.start, self.limit))
            }
            (None, Some(lossy)) => (lossy > MIN_RATE).then(|| (lossy / 4.0).max(MIN_RATE)),
            (Some(clean), Some(lossy)) => {
                (lossy > clean * RESOLUTION).then(|| (clean * lossy).sqrt().max(MIN_RATE))
            }
        }
    }

    /// Records the result of a test.
    pub fn record(&mut self, step: SweepStep) {
        self.steps.push(step);
        let achieved = step.achieved.clamp(0.0, step.requested);
        if step.lost_percent <= self.allowed {
            self.suspect = None;
            self.record_shortfall(step.requested, achieved);
            self.clean = Some(self.clean.map_or(achieved, |clean| clean.max(achieved)));
            // A rate that had loss before and now has none is inconsistent, so the search continues above it.
            self.lossy = self.lossy.filter(|lossy| *lossy > achieved);
        } else if self.suspect.take().is_some() {
            self.shortfall = None;
            self.record_loss(step.requested, achieved);
        } else {
            self.suspect = Some(step.requested);
        }
    }

    /// Handles a sender that did not reach the rate. One shortfall may be due to a temporary stall, so the
    /// rate is tested again.
    fn record_shortfall(&mut self, requested: f64, achieved: f64) {
        let times = self.shortfall.take().map_or(1, |(_, times)| times + 1);
        if achieved >= requested * MIN_ACHIEVED_SHARE {
            return;
        }
        match times {
            MAX_SHORTFALLS => self.sender_limit = true,
            _ => self.shortfall = Some((requested, times)),
        }
    }

    /// Handles confirmed loss. A sender that falls short sends in bursts and may lose datagrams below the
    /// capacity of the path.
    fn record_loss(&mut self, requested: f64, achieved: f64) {
        let clean = self.clean.unwrap_or(0.0);
        match [achieved, requested].into_iter().find(|rate| *rate > clean) {
            Some(rate) => self.lossy = Some(self.lossy.map_or(rate, |lossy| lossy.min(rate))),
            None => self.random_losses += 1,
        }
    }

    /// Returns the tests in order.
    #[must_use]
    pub fn steps(&self) -> &[SweepStep] {
        &self.steps
    }

    /// Returns the rate at which loss starts, as far as known.
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

    /// Runs a sweep over a path with capacity `path`, from a sender with a maximum rate `sender`.
    fn sweep(start: f64, limit: f64, path: f64, sender: f64) -> Sweep {
        let mut sweep = Sweep::new(start, limit, 0.0);
        while let Some(requested) = sweep.next_rate() {
            let achieved = requested.min(sender);
            let lost = (1.0 - path / achieved).max(0.0);
            sweep.record(SweepStep { requested, achieved, lost_percent: lost });
        }
        sweep
    }

    proptest! {
        #[test]
        fn knee_is_found_at_any_rate(path in 10.0..1e7_f64, start in 1.0..1e6_f64) {
            let sweep = sweep(start, 1e8, path, 1e9);
            let Knee::Between { clean: Some(clean), lossy } = sweep.knee() else {
                return Err(TestCaseError::fail(format!("{:?}", sweep.knee())));
            };
            prop_assert!(clean <= path && path < lossy, "{clean} {path} {lossy}");
            prop_assert!(lossy <= clean * RESOLUTION * 1.000_001);
            prop_assert!(sweep.steps().len() < MAX_STEPS);
        }

        #[test]
        fn sweep_ends_for_any_results(
            steps in proptest::collection::vec((any::<f64>(), any::<f64>()), MAX_STEPS),
        ) {
            let mut sweep = Sweep::new(1_000.0, 1e7, 0.001);
            for (achieved, lost) in steps {
                let Some(requested) = sweep.next_rate() else { break };
                prop_assert!(requested.is_finite() && requested > 0.0);
                let achieved = if achieved.is_nan() { 0.0 } else { achieved };
                sweep.record(SweepStep { requested, achieved, lost_percent: lost });
            }
            prop_assert_eq!(sweep.next_rate(), None);
        }
    }

    #[test]
    fn sender_limit_ends_the_sweep() {
        let sweep = sweep(1_000.0, 1e8, 1e9, 50_000.0);
        assert_eq!(sweep.knee(), Knee::Above { clean: 50_000.0, sender_limit: true });
    }

    #[test]
    fn rate_is_repeated_after_one_shortfall() {
        let mut sweep = Sweep::new(1_000.0, 2_000.0, 0.0);
        sweep.record(SweepStep { requested: 1_000.0, achieved: 700.0, lost_percent: 0.0 });
        assert_eq!(sweep.next_rate(), Some(1_000.0));
        sweep.record(SweepStep { requested: 1_000.0, achieved: 1_000.0, lost_percent: 0.0 });
        assert_eq!(sweep.next_rate(), Some(2_000.0));
    }

    #[test]
    fn loss_below_a_clean_rate_is_random() {
        let mut sweep = Sweep::new(1_000.0, 1e6, 0.0);
        let mut step = |requested, achieved, lost| {
            sweep.record(SweepStep { requested, achieved, lost_percent: lost });
            sweep.knee()
        };
        step(1_000.0, 1_000.0, 0.0);
        step(2_000.0, 900.0, 0.1);
        assert_eq!(step(2_000.0, 900.0, 0.1), Knee::Between { clean: Some(1_000.0), lossy: 2_000.0 });
        step(900.0, 900.0, 0.1);
        assert_eq!(step(900.0, 900.0, 0.1), Knee::Between { clean: Some(1_000.0), lossy: 2_000.0 });
        assert_eq!(sweep.random_losses, 1);
    }

    #[test]
    fn highest_requested_rate_ends_the_sweep() {
        let sweep = sweep(1_000.0, 5_000.0, 1e9, 1e9);
        assert_eq!(sweep.knee(), Knee::Above { clean: 5_000.0, sender_limit: false });
        assert_eq!(sweep.steps().len(), 4);
    }

    #[test]
    fn loss_at_every_rate_is_reported() {
        let mut sweep = Sweep::new(100.0, 1e6, 0.0);
        while let Some(requested) = sweep.next_rate() {
            sweep.record(SweepStep { requested, achieved: requested, lost_percent: 0.01 });
        }
        assert_eq!(sweep.knee(), Knee::Between { clean: None, lossy: 1.0 });
    }

    #[test]
    fn unconfirmed_loss_is_ignored() {
        let mut sweep = Sweep::new(1_000.0, 2_000.0, 0.0);
        let step = |requested, lost| SweepStep { requested, achieved: requested, lost_percent: lost };
        sweep.record(step(1_000.0, 0.2));
        assert_eq!(sweep.next_rate(), Some(1_000.0));
        sweep.record(step(1_000.0, 0.0));
        assert_eq!(sweep.next_rate(), Some(2_000.0));
        assert_eq!(Sweep::new(1.0, 2.0, 0.0).knee(), Knee::Unknown);
    }
}
