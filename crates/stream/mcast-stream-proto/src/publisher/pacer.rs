//! The rate of the stream: data, repairs and control datagrams together keep to it.

use mcast_pace::TokenBucket;

use crate::{ClockTime, Nanos};

/// Bytes that pacing admits at once.
const BURST: u64 = 65_536;
/// The burst of a slowed publisher is this fraction of its rate per second.
const BURST_TIME: u64 = 100;
/// The same for an automatic rate.
const AUTO_BURST_TIME: u64 = 500;
/// Each kind of control datagram uses at most one part in this many of the rate.
const CONTROL_SHARE: u64 = 16;

/// Holds back what exceeds the rate, if there is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacer {
    bucket: Option<TokenBucket>,
    rate: Option<u64>,
    /// The configured rate, and the length of the longest datagram.
    configured: Option<u64>,
    longest: u64,
    /// How often a datagram of data was delayed.
    held_back: u64,
    /// Bytes that were counted.
    taken: u64,
}

impl Pacer {
    /// Creates the pacer of a publisher with this configured rate, whose datagrams are at most `longest` bytes.
    pub(super) fn new(configured: Option<u64>, longest: usize, now: ClockTime) -> Self {
        let longest = longest as u64;
        let bucket = configured.map(|rate| TokenBucket::new(rate, BURST.max(longest), now.0));
        Self { bucket, rate: configured, configured, longest, held_back: 0, taken: 0 }
    }

    /// Returns the present rate in bytes per second.
    pub(super) const fn rate(&self) -> Option<u64> {
        self.rate
    }

    /// Returns how often data was delayed.
    pub(super) const fn held_back(&self) -> u64 {
        self.held_back
    }

    /// Returns how many bytes were sent.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// Sets the automatic rate, whose bursts are short.
    pub(super) fn set_rate(&mut self, now: ClockTime, rate: u64) {
        if self.rate == Some(rate) {
            return;
        }
        self.rate = Some(rate);
        let burst = (rate / AUTO_BURST_TIME).clamp(2 * self.longest, BURST.max(2 * self.longest));
        let mut bucket = self.bucket.unwrap_or_else(|| TokenBucket::new(rate, burst, now.0));
        bucket.refill(now.0);
        bucket.set_rate(rate);
        bucket.set_capacity(burst);
        self.bucket = Some(bucket);
    }

    #[inline]
    pub(super) fn refill(&mut self, now: ClockTime) {
        if let Some(bucket) = &mut self.bucket {
            bucket.refill(now.0);
        }
    }

    /// Limits the rate to what the links of the subscribers were found to carry, or no longer. Returns whether it was
    /// limited before and is not now.
    pub(super) fn limit(&mut self, now: ClockTime, found: Option<u64>) -> bool {
        let rate = [found, self.configured].into_iter().flatten().min();
        if rate == self.rate {
            return false;
        }
        self.rate = rate;
        let burst = match rate {
            Some(rate) if rate != self.configured.unwrap_or(u64::MAX) => {
                (rate / BURST_TIME).clamp(2 * self.longest, BURST.max(2 * self.longest))
            }
            _ => BURST.max(self.longest),
        };
        self.bucket = match (self.bucket, rate) {
            (Some(mut bucket), Some(rate)) => {
                bucket.refill(now.0);
                bucket.set_rate(rate);
                bucket.set_capacity(burst);
                Some(bucket)
            }
            (None, Some(rate)) => Some(TokenBucket::new(rate, burst, now.0)),
            (_, None) => None,
        };
        rate == self.configured
    }

    /// Takes the bytes of a datagram of data, if the rate admits them.
    #[inline]
    pub(super) const fn take_data(&mut self, bytes: u64) -> bool {
        let is_admitted = self.take(bytes);
        if !is_admitted {
            self.held_back += 1;
        }
        is_admitted
    }

    /// Takes this many bytes, if the rate admits them.
    #[inline]
    pub(super) const fn take(&mut self, bytes: u64) -> bool {
        let is_admitted = match &mut self.bucket {
            Some(bucket) => bucket.take(bytes),
            None => true,
        };
        if is_admitted {
            self.taken += bytes;
        }
        is_admitted
    }

    /// Takes the bytes of a control datagram, which is sent at once.
    pub(super) const fn charge(&mut self, bytes: u64) {
        self.taken += bytes;
        if let Some(bucket) = &mut self.bucket {
            bucket.spend(bytes);
        }
    }

    /// Returns whether the rate admits this many bytes now.
    pub(super) const fn has(&self, bytes: u64) -> bool {
        match &self.bucket {
            Some(bucket) => bucket.has(bytes),
            None => true,
        }
    }

    /// Returns when the rate admits this many bytes.
    pub(super) fn when(&self, bytes: u64) -> ClockTime {
        self.bucket.as_ref().map_or(ClockTime(0), |bucket| ClockTime(bucket.available_at(bytes)))
    }

    /// Returns the shortest time between control datagrams of this size, so that they use little of the rate.
    pub(super) fn spacing(&self, bytes: u64) -> Nanos {
        self.rate.map_or(Nanos::ZERO, |rate| bytes * (CONTROL_SHARE * Nanos::SECOND) / rate.max(1))
    }
}
