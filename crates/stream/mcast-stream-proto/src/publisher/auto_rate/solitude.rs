//! Finds out whether others fill the queue: the publisher sends less than arrived before, and compares by how much the
//! queue should shrink if the stream were alone with by how much it does.

use crate::{ClockTime, Nanos};

/// The queue must have had time to shrink by this, and by a quarter, before anything is concluded.
const CONCLUSIVE: Nanos = Nanos::from_millis(8);

/// Samples that must agree: some are delayed elsewhere, for instance by a process that is not scheduled.
const ENOUGH: u8 = 3;

/// The verdict of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Open,
    /// The queue shrinks less than half as fast as that of a lone stream.
    Shared,
}

/// A time in which the queue is longer than it should be, and less is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct SolitudeTest {
    since: ClockTime,
    /// What arrived before it, in bytes per second.
    pub(super) rate: u64,
    /// The queue when less sending could show.
    queue: Nanos,
    /// By how much it should have shrunk since.
    expected: Nanos,
    /// How many samples in a row showed that others fill the queue.
    shared: u8,
}

impl SolitudeTest {
    pub(super) const fn new(now: ClockTime, rate: u64, queue: Nanos) -> Self {
        Self { since: now, rate, queue, expected: Nanos::ZERO, shared: 0 }
    }

    /// Takes a sample that took `elapsed`, in which `sent` bytes per second were sent. `delay` is the time until a
    /// change of the rate shows.
    pub(super) fn observe(
        &mut self,
        now: ClockTime,
        queue: Nanos,
        sent: u64,
        elapsed: Nanos,
        delay: Nanos,
    ) -> Verdict {
        if now.since(self.since) <= delay {
            self.queue = queue;
            return Verdict::Open;
        }
        let less = self.rate.saturating_sub(sent);
        let drained = u128::from(elapsed.0) * u128::from(less) / u128::from(self.rate.max(1));
        self.expected += Nanos(u64::try_from(drained).unwrap_or(u64::MAX));
        let shrunk = self.queue - queue;
        let is_conclusive = self.expected >= CONCLUSIVE.max(self.queue / 4);
        let is_shared = is_conclusive && 2 * shrunk < self.expected;
        self.shared = if is_shared { self.shared + 1 } else { 0 };
        if self.shared >= ENOUGH { Verdict::Shared } else { Verdict::Open }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Nanos = Nanos::from_millis(1);

    /// Sends half of the rate for a while; the queue shrinks by this share of what a lone stream would cause.
    fn test(share: f64) -> Verdict {
        let mut test = SolitudeTest::new(ClockTime(0), 1_000_000, 40 * MILLISECOND);
        let mut queue = 40.0;
        for step in 1..=8 {
            let now = ClockTime(10 * step * MILLISECOND.0);
            if step > 2 {
                queue -= 5.0 * share;
            }
            let queue = Nanos((queue * 1e6) as u64);
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
