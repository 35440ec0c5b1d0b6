//! One direction of the link between the publisher and one subscriber.

use mcast_sim::Dice;

/// The impairments of a link. Times are in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Quality {
    pub(crate) loss: f64,
    /// The probabilities per datagram to enter and to leave a burst, in which everything is lost.
    pub(crate) burst: Option<(f64, f64)>,
    /// Each datagram whose number is a multiple of this is lost.
    pub(crate) every: Option<u64>,
    /// The datagram with this number is lost.
    pub(crate) kth: Option<u64>,
    pub(crate) duplicate: f64,
    pub(crate) delay: u64,
    pub(crate) jitter: u64,
    pub(crate) corrupt: f64,
    /// Bytes per second.
    pub(crate) rate: Option<u64>,
    /// The size of the drop-tail queue in bytes.
    pub(crate) queue: u64,
    /// The time in which nothing passes.
    pub(crate) cut: Option<(u64, u64)>,
}

impl Quality {
    /// A link without delay.
    pub(crate) const FREE: Self = Self { delay: 0, ..Self::GOOD };
    pub(crate) const GOOD: Self = Self {
        loss: 0.0,
        burst: None,
        every: None,
        kth: None,
        duplicate: 0.0,
        delay: 100_000,
        jitter: 0,
        corrupt: 0.0,
        rate: None,
        queue: 200_000,
        cut: None,
    };
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) quality: Quality,
    dice: Dice,
    in_burst: bool,
    passed: u64,
    busy_until: u64,
}

impl Link {
    pub(crate) fn new(quality: Quality, seed: u64) -> Self {
        Self { quality, dice: Dice::new(seed), in_burst: false, passed: 0, busy_until: 0 }
    }

    /// Returns when each copy of a datagram arrives, and whether it is corrupted.
    pub(crate) fn send(&mut self, now: u64, length: usize) -> Vec<(u64, bool)> {
        let quality = &self.quality;
        self.passed += 1;
        if let Some((fall, rise)) = quality.burst {
            self.in_burst = if self.in_burst { !self.dice.chance(rise) } else { self.dice.chance(fall) };
        }
        let is_cut = quality.cut.is_some_and(|(from, to)| (from..to).contains(&now));
        let is_nth = quality.every.is_some_and(|every| self.passed.is_multiple_of(every))
            || quality.kth == Some(self.passed);
        let is_burst = self.in_burst && quality.burst.is_some();
        if is_cut || is_nth || is_burst || self.dice.chance(quality.loss) {
            return Vec::new();
        }
        let mut at = now + quality.delay;
        if let Some(rate) = quality.rate {
            let time = length as u64 * 1_000_000_000 / rate;
            let start = self.busy_until.max(now);
            if start - now > quality.queue * 1_000_000_000 / rate {
                return Vec::new();
            }
            self.busy_until = start + time;
            at = self.busy_until + quality.delay;
        }
        let copies = if self.dice.chance(quality.duplicate) { 2 } else { 1 };
        let one = |dice: &mut Dice| (at + dice.below(quality.jitter + 1), dice.chance(quality.corrupt));
        (0..copies).map(|_| one(&mut self.dice)).collect()
    }
}
