//! The repairs to one subscriber, or to the group: their queue and their rate.

use alloc::collections::VecDeque;

use mcast_measure::TokenBucket;

use super::congestion::{HOPELESS, LONGEST_SILENCE, RateChange, RateControl, Sample};
use crate::SECOND;

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
    /// The rate without a limit, in bytes per second.
    floor: u64,
    pace: TokenBucket,
    control: RateControl,
    /// The present sample: its beginning, the repairs sent, their bytes, and how many were requested again.
    since: u64,
    sent: u64,
    bytes: u64,
    lost: u64,
    has_waited: bool,
    /// When the last repair was to be sent.
    active_at: u64,
    /// Bytes sent in all.
    total: u64,
    /// Bytes that new data had added to the repair allowance at the last call.
    share: u64,
}

impl RepairFlow {
    pub(crate) const fn new(floor: u64, datagram: usize, now: u64) -> Self {
        Self {
            waiting: VecDeque::new(),
            floor,
            pace: TokenBucket::new(floor, BURST, now),
            control: RateControl::new(64 * datagram as u64),
            since: now,
            sent: 0,
            bytes: 0,
            lost: 0,
            has_waited: false,
            active_at: now,
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
        self.pace.available_at(bytes)
    }

    /// Takes this many bytes from the allowance, to which new data has added `share` in all.
    pub(super) fn take(&mut self, bytes: u64, share: u64, now: u64) -> bool {
        self.end_pause(now);
        self.pace.refill(now);
        let added = share - core::mem::replace(&mut self.share, share);
        if self.control.rate().is_none() {
            self.pace.add(added);
        }
        let is_admitted = self.pace.take(bytes);
        self.has_waited |= !is_admitted;
        if is_admitted {
            (self.sent, self.bytes, self.total) = (self.sent + 1, self.bytes + bytes, self.total + bytes);
        }
        is_admitted
    }

    /// After a pause without repairs, drops the sample, and the limit as far as it is out of date.
    fn end_pause(&mut self, now: u64) {
        let pause = now.saturating_sub(core::mem::replace(&mut self.active_at, now));
        if pause >= LONGEST_SILENCE {
            (self.sent, self.bytes, self.lost, self.has_waited) = (0, 0, 0, false);
            self.control.relax_after(pause);
            self.keep_pace();
        }
        if self.sent == 0 {
            self.since = now;
        }
    }

    fn keep_pace(&mut self) {
        self.pace.set_rate(self.control.rate().map_or(self.floor, |rate| rate.min(self.floor)));
    }

    /// Adapts the rate to the share of repairs that were requested again, once a sample is complete.
    pub(super) fn adapt(&mut self, now: u64, round_trip: u64, is_single: bool) {
        let elapsed = now.saturating_sub(self.since);
        if self.sent < SAMPLE_REPAIRS || elapsed < SAMPLE_TIME.max(4 * round_trip) {
            return;
        }
        let arrived = self.bytes - self.bytes * self.lost.min(self.sent) / self.sent;
        let sample = Sample {
            sent: self.sent,
            lost: self.lost,
            sent_bytes: self.bytes,
            arrived_bytes: arrived,
            elapsed,
        };
        // More losses than repairs: most were sent before the trial, and say nothing about its rate.
        let is_stale = self.lost > self.sent && self.control.is_on_trial();
        let change = if is_stale { None } else { self.control.observe(now, sample, self.has_waited, false) };
        // If nothing arrives, every byte is wasted at every rate. Repairs to the group always miss some subscriber.
        if let Some(RateChange::Cleared { loss: HOPELESS.., .. }) = change
            && is_single
        {
            self.control.stay_slow();
        }
        self.keep_pace();
        (self.since, self.sent, self.bytes, self.lost, self.has_waited) = (now, 0, 0, 0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: u64 = 12_500_000;
    const DATAGRAM: u64 = 1_000;
    const MILLISECOND: u64 = SECOND / 1_000;

    /// Sends repairs for a second, of which this share arrives, in percent.
    fn repair_for_a_second(flow: &mut RepairFlow, start: u64, arriving: u64) {
        for now in (start..start + SECOND).step_by(MILLISECOND as usize) {
            for number in 0..100 {
                if flow.take(DATAGRAM, 0, now) && number >= arriving {
                    flow.note_lost();
                }
            }
            flow.adapt(now, MILLISECOND, true);
        }
    }

    /// What a link carried a minute ago says nothing about it now.
    #[test]
    fn a_limit_does_not_outlast_a_pause() {
        let mut flow = RepairFlow::new(FLOOR, DATAGRAM as usize, 0);
        repair_for_a_second(&mut flow, 0, 0);
        assert!(flow.control.rate().is_some(), "losing everything does not limit repairs");
        assert!(flow.take(DATAGRAM, 0, 61 * SECOND));
        assert_eq!(flow.control.rate(), None);
        let sent = (0..1_000).filter(|_| flow.take(DATAGRAM, 0, 61 * SECOND)).count() as u64;
        assert_eq!(sent + 1, BURST / DATAGRAM, "the bucket does not fill at the full rate");
    }
}
