//! What a source may repeat without being tested.

use std::time::Duration;

use mcast_pace::{ClockTime, TokenBucket};

use super::contents::ROUND_TRIP;

/// Repeats of a source that is not known: they are sent while nothing has been learned. A loop has no more than these.
const FIRST: u64 = 16;
/// The least number of repeats that a source may send before it is tested again.
const LEAST: u64 = 256;
/// A source whose repeats have been shown to be independent of those of the relay may send those of this time.
const INDEPENDENT_PERIOD: Duration = Duration::from_secs(10);
/// What was learned is tested again after this time of repeats at the latest.
const LONGEST_PERIOD: Duration = Duration::from_secs(640);
/// No loop pauses for this long: after it, all repeats are available again.
const PAUSE: Duration = ROUND_TRIP.saturating_mul(2);

/// The repeats that a source may send. They are learned while the relay sends none of them on, and thus from originals
/// only. Nothing is gained by the passage of time: a source may send as many as it has sent originals, then it is tested
/// again. So if its originals end while their copies circulate, there are at most twice as many copies.
#[derive(Debug)]
pub(super) struct Allowance {
    bucket: TokenBucket,
    /// The repeats after a pause.
    burst: u64,
    last: ClockTime,
    /// Repeats that it may send before the next test.
    credit: u64,
    /// Repeats that it has sent since the last test.
    sent: u64,
    /// What is known to be original, because it arrived while none was sent, or because tests before and after it found so.
    originals: u64,
    /// When it was learned. `None` before that.
    learned: Option<ClockTime>,
}

/// Repeats that arrived while none was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) count: u64,
    pub(super) window: Duration,
    /// Whether it may vary.
    pub(super) has_slack: bool,
    /// All repeats that arrived while none was sent, also before that time.
    pub(super) originals: u64,
    /// Whether it has been shown that it does not depend on what the relay sends.
    pub(super) is_independent: bool,
}

impl Rate {
    /// Returns how many arrive in this time.
    pub(super) fn within(self, time: Duration) -> u64 {
        let count = u128::from(self.count) * time.as_micros() / self.window.as_micros().max(1);
        u64::try_from(count).unwrap_or(u64::MAX)
    }
}

impl Allowance {
    /// Returns the allowance of a source that is not known.
    pub(super) fn new(now: ClockTime) -> Self {
        Self::with(now, FIRST)
    }

    /// Returns that of a source that has been part of a loop.
    pub(super) fn none(now: ClockTime) -> Self {
        Self::with(now, 0)
    }

    fn with(now: ClockTime, burst: u64) -> Self {
        let bucket = TokenBucket::new(0, burst, now.0);
        Self { bucket, burst, last: now, credit: burst, sent: 0, originals: 0, learned: None }
    }

    /// Learns from the repeats that arrived while none was sent, and from those that are about to be sent.
    pub(super) fn learn(&mut self, now: ClockTime, rate: Rate, held: u64) {
        let most = match (rate.count, rate.has_slack) {
            (0, _) => 0,
            (count, true) => count * 3 / 2 + 4,
            (count, false) => count + 1,
        };
        let count = rate.count;
        // What was sent since the last test was original if as many still arrive.
        let confirmed = self.learned.map_or(0, |learned| self.sent.min(rate.within(now - learned)));
        self.originals = self.originals.saturating_add(confirmed).saturating_add(rate.originals);
        let rate = Rate { count: most, ..rate };
        let least = if rate.is_independent { rate.within(INDEPENDENT_PERIOD).max(LEAST) } else { LEAST };
        self.credit = self.originals.min(rate.within(LONGEST_PERIOD)).max(least);
        let per_second = rate.within(Duration::from_secs(1));
        self.burst = (per_second / 2).max(FIRST + if count == 0 { held } else { 0 });
        self.bucket = TokenBucket::new(per_second, self.burst, now.0);
        (self.last, self.learned, self.sent) = (now, Some(now), 0);
    }

    /// Uses one repeat. Returns whether there was one.
    pub(super) fn take(&mut self, now: ClockTime) -> bool {
        if now - std::mem::replace(&mut self.last, now) >= PAUSE {
            self.bucket.add(u64::MAX);
            self.credit = self.credit.max(self.burst);
        }
        self.bucket.refill(now.0);
        if self.credit == 0 || !self.bucket.take(1) {
            return false;
        }
        self.credit -= 1;
        self.sent += 1;
        true
    }

    /// Returns whether it has been learned and is not used up.
    pub(super) const fn is_known(&self) -> bool {
        self.learned.is_some() && self.credit > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends a repeat every millisecond until none is allowed; returns how many were.
    fn spend(allowance: &mut Allowance, from: ClockTime) -> u64 {
        (0..1_000_000).take_while(|number| allowance.take(from + Duration::from_millis(*number))).count()
            as u64
    }

    /// 1,000 repeats per second, of which these are known to be original.
    fn rate(originals: u64) -> Rate {
        let window = Duration::from_secs(1);
        Rate { count: 1_000, window, has_slack: true, originals, is_independent: false }
    }

    #[test]
    fn a_source_repeats_as_many_datagrams_as_it_has_sent_originals() {
        let mut allowance = Allowance::new(ClockTime::START);
        assert_eq!(spend(&mut allowance, ClockTime::START), FIRST);
        allowance.learn(ClockTime::START + Duration::from_secs(1), rate(700), 0);
        assert_eq!(spend(&mut allowance, ClockTime::START + Duration::from_secs(1)), 700);
        // They continued: what was sent was original.
        allowance.learn(ClockTime::START + Duration::from_secs(3), rate(700), 0);
        assert_eq!(spend(&mut allowance, ClockTime::START + Duration::from_secs(3)), 700 + 700 + 700);
    }

    #[test]
    fn a_source_that_does_not_depend_on_the_relay_is_tested_after_ten_seconds() {
        let mut allowance = Allowance::new(ClockTime::START);
        allowance.learn(ClockTime::START, Rate { is_independent: true, has_slack: false, ..rate(700) }, 0);
        assert_eq!(spend(&mut allowance, ClockTime::START), 10 * 1_001);
    }
}
