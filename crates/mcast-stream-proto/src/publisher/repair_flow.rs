//! The repairs to one subscriber, or to the group: their queue and their rate.

use alloc::collections::VecDeque;

use super::congestion::{HOPELESS, RateChange, RateControl, Sample};
use crate::bucket::{Bucket, SECOND};

/// The burst of repairs to one subscriber, in bytes.
const BURST: u64 = 131_072;
/// The least number of repairs in a sample, and its least duration.
const SAMPLE_REPAIRS: u64 = 64;
const SAMPLE_TIME: u64 = SECOND / 50;

/// The repairs to one subscriber, or to the group: their queue and their rate. Repairs that are requested again show
/// that the rate exceeds the capacity of the link.
#[derive(Debug)]
pub(crate) struct RepairFlow {
    pub(super) waiting: VecDeque<u64>,
    pace: Bucket,
    control: RateControl,
    /// The present sample: its beginning, the repairs sent, their bytes, and how many were requested again.
    since: u64,
    sent: u64,
    bytes: u64,
    lost: u64,
    has_waited: bool,
    /// Bytes sent in all.
    total: u64,
    /// Bytes that new data had added to the repair allowance at the last call.
    share: u64,
}

impl RepairFlow {
    pub(crate) const fn new(floor: u64, datagram: usize, now: u64) -> Self {
        Self {
            waiting: VecDeque::new(),
            pace: Bucket::new(floor, BURST, now),
            control: RateControl::new(64 * datagram as u64),
            since: now,
            sent: 0,
            bytes: 0,
            lost: 0,
            has_waited: false,
            share: 0,
            total: 0,
        }
    }

    /// Returns how many bytes were sent in all.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// Notes that a repair was requested again, so that it did not arrive.
    pub(super) const fn note_lost(&mut self) {
        self.lost += 1;
    }

    /// Returns when a repair of this many bytes is admitted.
    pub(super) fn when(&self, bytes: u64) -> u64 {
        self.pace.when(bytes)
    }

    /// Takes this many bytes from the allowance, to which new data has added `share` in all.
    pub(super) fn take(&mut self, bytes: u64, share: u64, now: u64) -> bool {
        self.pace.refill(now);
        let added = share - core::mem::replace(&mut self.share, share);
        if self.control.rate().is_none() {
            self.pace.add(added);
        }
        let is_admitted = self.pace.take(bytes);
        if self.sent == 0 {
            self.since = now;
        }
        self.has_waited |= !is_admitted;
        if is_admitted {
            (self.sent, self.bytes, self.total) = (self.sent + 1, self.bytes + bytes, self.total + bytes);
        }
        is_admitted
    }

    /// Adapts the rate to the share of repairs that were requested again, once a sample is complete.
    pub(super) fn adapt(&mut self, now: u64, round_trip: u64, floor: u64, is_single: bool) {
        let elapsed = now.saturating_sub(self.since);
        if self.sent < SAMPLE_REPAIRS || elapsed < SAMPLE_TIME.max(4 * round_trip) {
            return;
        }
        let arrived = self.bytes - self.bytes * self.lost.min(self.sent) / self.sent;
        let sample =
            Sample { sent: self.sent, lost: self.lost, offered: self.bytes, bytes: arrived, elapsed };
        // More losses than repairs: most were sent before the trial, and say nothing about its rate.
        let is_stale = self.lost > self.sent && self.control.is_on_trial();
        let change = if is_stale { None } else { self.control.observe(now, sample, self.has_waited, false) };
        // If nothing arrives, every byte is wasted at every rate. Repairs to the group always miss some subscriber.
        if let Some(RateChange::Cleared { loss: HOPELESS.., .. }) = change
            && is_single
        {
            self.control.stay_slow();
        }
        self.pace.set_rate(self.control.rate().map_or(floor, |rate| rate.min(floor)));
        (self.since, self.sent, self.bytes, self.lost, self.has_waited) = (now, 0, 0, 0, false);
    }
}
