//! Pacer: the rate of the stream, to which data, repairs and control datagrams keep together, and that of repairs.
//!
//! Input: what is about to be sent, in bytes. Output: whether it is admitted now, and when it will be. What the links of the
//! subscribers carry is found out by `auto_rate`, which sets the rates.
//!
//! Promises: on average no more is sent than the rate, and at once no more than a burst; control datagrams are sent at once, and
//! delay what follows them instead.

use core::time::Duration;

use mcast_pace::TokenBucket;

use crate::ClockTime;
use crate::span::time_for;

/// Bytes that pacing admits at once.
pub(super) const BURST: u64 = 65_536;
/// Each kind of control datagram uses at most one part in this many of the rate.
const CONTROL_SHARE: u64 = 16;

/// Holds back what exceeds the rate, if there is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacer {
    pub(super) bucket: Option<TokenBucket>,
    pub(super) rate: Option<u64>,
    /// The configured rate, and the length of the longest datagram.
    pub(super) configured: Option<u64>,
    pub(super) longest: u64,
    /// How often a datagram of data was delayed.
    pub(super) held_back: u64,
    /// Bytes that were counted.
    pub(super) taken: u64,
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

    #[inline]
    pub(super) fn refill(&mut self, now: ClockTime) {
        if let Some(bucket) = &mut self.bucket {
            bucket.refill(now.0);
        }
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
    pub(super) fn spacing(&self, bytes: u64) -> Duration {
        self.rate.map_or(Duration::ZERO, |rate| time_for(bytes.saturating_mul(CONTROL_SHARE), rate))
    }
}

/// The burst of repairs to one subscriber, or to the group, in bytes.
pub(super) const REPAIR_BURST: u64 = 131_072;

/// A rate of repairs, to which new data adds as long as no link was found to be too slow.
#[derive(Debug)]
pub(super) struct RepairPace {
    /// The rate without a limit, in bytes per second.
    pub(super) floor: u64,
    pub(super) bucket: TokenBucket,
    pub(super) is_limited: bool,
    /// Bytes that new data had added at the last call.
    share: u64,
    /// How often a repair had to wait.
    pub(super) denied: u64,
}

impl RepairPace {
    pub(super) const fn new(floor: u64, now: ClockTime) -> Self {
        Self {
            floor,
            bucket: TokenBucket::new(floor, REPAIR_BURST, now.0),
            is_limited: false,
            share: 0,
            denied: 0,
        }
    }

    /// Returns whether this many bytes are admitted; new data has added `share` bytes in all.
    pub(super) fn admits(&mut self, bytes: u64, share: u64, now: ClockTime) -> bool {
        self.bucket.refill(now.0);
        let added = share - core::mem::replace(&mut self.share, share);
        if !self.is_limited {
            self.bucket.add(added);
        }
        let is_admitted = self.bucket.has(bytes);
        self.denied += u64::from(!is_admitted);
        is_admitted
    }
}
