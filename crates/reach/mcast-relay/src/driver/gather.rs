//! When datagrams gather in the sockets of a leg: those that only HTTP clients receive are written together every few
//! milliseconds, so that a wake-up for each of them would be in vain.

use std::time::Duration;

use mcast::Batch;
use mcast_pace::ClockTime;

/// The longest time in which datagrams gather.
pub(super) const LONGEST: Duration = Duration::from_millis(4);
/// Below this, it saves little.
const SHORTEST: Duration = Duration::from_micros(250);
/// What the system counts for a datagram beside its bytes, or less.
const OVERHEAD: usize = 1_024;

/// What was received at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gathered {
    pub(super) buffers: usize,
    pub(super) bytes: usize,
    /// Whether there may be more.
    pub(super) is_full: bool,
}

impl Gathered {
    pub(super) fn of(batch: &Batch) -> Self {
        let bytes = batch.buffers().map(|buffer| buffer.payload.len()).sum();
        Self { buffers: batch.buffers().count(), bytes, is_full: batch.len() >= batch.capacity() }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.buffers += other.buffers;
        self.bytes += other.bytes;
    }
}

/// How long datagrams gather in the sockets of a leg, so that they take at most a small part of their memory.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    pause: Duration,
    /// Until when nothing is received; meanwhile, the sockets are not waited for.
    pub(super) until: Option<ClockTime>,
}

impl Gathering {
    /// Notes what was received after the last pause, by sockets with this memory.
    pub(super) fn pause(&mut self, now: ClockTime, gathered: &Gathered, memory: usize) {
        let taken = gathered.bytes.saturating_add(gathered.buffers.saturating_mul(OVERHEAD));
        if taken > memory / 8 {
            self.pause /= 2;
        } else if taken <= memory / 16 {
            self.pause = (2 * self.pause).clamp(SHORTEST, LONGEST);
        }
        self.until = (self.pause >= SHORTEST).then(|| now + self.pause);
    }

    /// Whether datagrams have gathered for the longest time.
    pub(super) fn is_longest(&self) -> bool {
        self.until.is_some() && self.pause == LONGEST
    }

    /// Returns when to receive.
    pub(super) const fn deadline(&self) -> Option<ClockTime> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: usize = 4 << 20;

    /// Returns how long is paused at last if this number of datagrams of a frame arrives per second.
    fn pause_at(rate: f64, memory: usize) -> Duration {
        let mut gathering = Gathering::default();
        for _ in 0..100 {
            let buffers = (rate * gathering.pause.as_secs_f64()) as usize;
            let gathered = Gathered { buffers, bytes: buffers * 1_400, is_full: false };
            gathering.pause(ClockTime::START, &gathered, memory);
            let taken = buffers * (1_400 + OVERHEAD);
            assert!(taken <= memory / 4, "{taken} bytes gather in {memory}");
        }
        gathering.pause
    }

    #[test]
    fn fewer_datagrams_gather_if_they_would_take_much_of_the_memory() {
        assert_eq!(pause_at(10.0, MEMORY), LONGEST);
        assert_eq!(pause_at(30_000.0, MEMORY), LONGEST);
        assert!((SHORTEST..LONGEST).contains(&pause_at(100_000.0, MEMORY)));
        assert!((SHORTEST..LONGEST).contains(&pause_at(30_000.0, MEMORY / 10)));
        assert!(pause_at(1_000_000.0, MEMORY) <= SHORTEST);
    }
}
