//! What a source may repeat without being tested.

use std::time::Duration;

use mcast_pace::TokenBucket;

use super::contents::ROUND_TRIP;

/// Repeats of a source that is not known: they are sent while nothing has been learned. A loop has no more than these.
const FIRST: u64 = 16;
/// After this long, what was learned is tested again, after twice as long the next time, and so on.
const FIRST_PERIOD: Duration = Duration::from_secs(10);
const LONGEST_PERIOD: Duration = Duration::from_secs(640);
/// No loop pauses for this long: after it, all repeats are available again.
const PAUSE: Duration = ROUND_TRIP.saturating_mul(2);

/// The repeats that a source may send. They are learned while the relay sends none of them on, and thus from originals
/// only. Nothing is gained by the passage of time before that.
#[derive(Debug)]
pub(super) struct Allowance {
    bucket: TokenBucket,
    last: Duration,
    period: Duration,
    /// When it has to be learned again. `None` before it was learned.
    until: Option<Duration>,
}

/// Repeats that arrived while none was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) count: u64,
    pub(super) window: Duration,
    /// Whether it may vary.
    pub(super) has_slack: bool,
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
    pub(super) fn new(now: Duration) -> Self {
        Self::with(now, TokenBucket::new(0, FIRST, nanoseconds(now)))
    }

    /// Returns that of a source that has been part of a loop.
    pub(super) fn none(now: Duration) -> Self {
        Self::with(now, TokenBucket::new(0, 0, nanoseconds(now)))
    }

    fn with(now: Duration, bucket: TokenBucket) -> Self {
        Self { bucket, last: now, period: FIRST_PERIOD, until: None }
    }

    /// Learns from the repeats that arrived while none was sent, and from those that are about to be sent.
    pub(super) fn learn(&mut self, now: Duration, rate: Rate, held: u64) {
        let is_renewal = self.is_expired(now);
        let most = match (rate.count, rate.has_slack) {
            (0, _) => 0,
            (count, true) => count * 3 / 2 + 4,
            (count, false) => count + 1,
        };
        let count = rate.count;
        let rate = Rate { count: most, ..rate }.within(Duration::from_secs(1));
        let burst = (rate / 2).max(FIRST + if count == 0 { held } else { 0 });
        self.bucket = TokenBucket::new(rate, burst, nanoseconds(now));
        self.period = if is_renewal { (self.period * 2).min(LONGEST_PERIOD) } else { FIRST_PERIOD };
        (self.last, self.until) = (now, Some(now + self.period));
    }

    /// Uses one repeat. Returns whether there was one.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        if self.is_expired(now) {
            return false;
        }
        if now.saturating_sub(std::mem::replace(&mut self.last, now)) >= PAUSE {
            self.bucket.add(u64::MAX);
        }
        self.bucket.refill(nanoseconds(now));
        self.bucket.take(1)
    }

    /// Returns whether it has been learned, and has to be learned again.
    pub(super) fn is_expired(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| now >= until)
    }

    /// Returns whether it has been learned and not expired.
    pub(super) fn is_known(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
