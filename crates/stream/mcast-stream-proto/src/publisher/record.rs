//! What is recorded of each subscriber: what it has acknowledged, lost and been sent, and the order of all by a number.

use alloc::collections::binary_heap::PeekMut;
use alloc::collections::{BinaryHeap, VecDeque};
use core::cmp::Reverse;
use core::time::Duration;

use crate::ClockTime;
use crate::span::{nanos, scaled};
use crate::wire::{Acknowledgement, MessageNumber, Sequence, SubscriberId, SubscriberName};

/// The least number of datagrams in a measurement of loss.
pub(super) const SAMPLE: u64 = 64;
/// The finest resolution.
const FINEST: Duration = Duration::from_micros(250);
/// For how long times are remembered.
const MEMORY: Duration = Duration::from_secs(1);
/// The number of intervals that the log of the group has, which is never shortened, and that of a subscriber.
const GROUP_INTERVALS: usize = 4_096;
const INTERVALS: usize = 512;

/// What a subscriber has reported about acknowledgements. It is kept after the subscriber's departure.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AckRecord {
    pub(super) name: Option<SubscriberName>,
    /// Whether it was reported that another subscriber uses its name.
    pub(super) is_name_reported: bool,
    pub(super) reported: Option<Acknowledgement>,
    /// The first message that was published after it joined, and the first after it departed.
    pub(super) owes: (MessageNumber, Option<MessageNumber>),
}

impl AckRecord {
    /// Notes that the subscriber joined, or returned, before this message was published.
    pub(super) fn join(&mut self, next: MessageNumber) {
        match self.owes {
            (_, Some(_)) => self.owes.1 = None,
            _ => self.owes = (next, None),
        }
    }

    /// Notes that the subscriber departed before this message was published.
    pub(super) const fn depart(&mut self, next: MessageNumber) {
        self.owes.1 = Some(next);
    }

    /// Takes a report. Statuses may be overtaken on the way: the ranges of a subscriber only move forward.
    ///
    /// `was_expected`: the publisher has just started, so that a subscriber that begins with an earlier message than the next one
    /// when it was first heard was there before.
    pub(super) fn record(&mut self, report: Acknowledgement, has_lost: bool, was_expected: bool) {
        let known = match self.reported {
            // A snapshot may cover messages that were published after the subscriber joined.
            None if !has_lost => {
                let least = if was_expected { MessageNumber(0) } else { self.owes.0 };
                self.owes.0 = report.since.max(least);
                report
            }
            None => report,
            Some(known) if report.since < known.since => return,
            Some(known) if report.since > known.since => {
                // After a loss, everything before it counts no more, unless it is settled.
                if report.received < known.received {
                    return;
                }
                report
            }
            Some(known) => Acknowledgement {
                since: known.since,
                received: known.received.max(report.received),
                processed: known.processed.max(report.processed),
            },
        };
        self.reported = Some(known);
    }
}

/// The counters of a subscriber at the beginning of a loss sample.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LossMark {
    pub(super) highest: Sequence,
    pub(super) received: u64,
    pub(super) missed: u32,
    /// Datagrams before `highest` that had neither arrived nor counted as lost yet.
    pub(super) undecided: u64,
    /// Bytes of repairs sent to other subscribers only.
    pub(super) other_repairs: u64,
    /// How often pacing had delayed a datagram.
    pub(super) held_back: u64,
    pub(super) since: Option<ClockTime>,
    /// The time of the last sample, and the number of datagrams received by then.
    pub(super) last_sample: (ClockTime, u64),
    /// Losses before this datagram belong to another rate.
    pub(super) from: Sequence,
}

impl LossMark {
    /// Restarts sampling at `sent`: earlier losses have another cause than the rate.
    pub(super) const fn begin_at(&mut self, sent: Sequence) {
        (self.since, self.from) = (None, sent);
    }
}

/// Returns by how much a count of missing datagrams has grown, modulo 2^32. It is lower when datagrams have arrived that
/// had only been overtaken.
pub(super) const fn newly_missed(before: u32, now: u32) -> u32 {
    let growth = now.wrapping_sub(before);
    if growth > i32::MAX as u32 { 0 } else { growth }
}

/// The share of datagrams that a subscriber loses, from its statuses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LossMeter {
    pub(super) highest: Sequence,
    pub(super) missed: u32,
    /// In parts per million, smoothed.
    pub(super) share: u64,
}

impl LossMeter {
    /// Notes how many datagrams the subscriber knows of, and how many of them it missed. Returns both numbers of a complete
    /// sample. In a crowd, where each reports rarely, the first one begins with the first report.
    pub(super) fn note(
        &mut self,
        highest: Sequence,
        missed: u32,
        is_large_group: bool,
    ) -> Option<(u64, u64)> {
        let sent = highest.ahead_of(self.highest);
        let is_first = self.highest == Sequence::default();
        if sent < SAMPLE && !(is_first && is_large_group) {
            return None;
        }
        let lost = u64::from(missed.saturating_sub(self.missed)).min(sent);
        (self.highest, self.missed) = (highest, missed);
        if is_first {
            return None;
        }
        self.share = (3 * self.share + lost * 1_000_000 / sent) / 4;
        Some((sent, lost))
    }
}

/// Subscribers by a number that only grows while they are in it, the least first.
///
/// An entry may have an older number, or be of a subscriber that no longer counts: that is corrected when it is the
/// first one. So a status costs time that grows with the logarithm of the number of subscribers.
#[derive(Debug)]
pub(super) struct Ranking(BinaryHeap<Reverse<(Sequence, SubscriberId)>>);

impl Ranking {
    pub(super) const fn new() -> Self {
        Self(BinaryHeap::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn add(&mut self, id: SubscriberId, number: Sequence) {
        self.0.push(Reverse((number, id)));
    }

    /// Returns the subscriber with the least number. `number_of` returns the present number of a subscriber, and `None` if
    /// it does not count.
    pub(super) fn least(
        &mut self,
        number_of: impl Fn(SubscriberId) -> Option<Sequence>,
    ) -> Option<(SubscriberId, Sequence)> {
        while let Some(mut first) = self.0.peek_mut() {
            let Reverse((known, id)) = *first;
            match number_of(id) {
                Some(number) if number == known => return Some((id, known)),
                // Numbers only grow: an entry that is out of date is too small, and so comes up here.
                Some(number) => *first = Reverse((number, id)),
                None => _ = PeekMut::pop(first),
            }
        }
        None
    }
}

impl FromIterator<(SubscriberId, Sequence)> for Ranking {
    fn from_iter<I: IntoIterator<Item = (SubscriberId, Sequence)>>(all: I) -> Self {
        Self(all.into_iter().map(|(id, number)| Reverse((number, id))).collect())
    }
}

/// How many repairs were sent, in all and until some moment of the last second: a subscriber cannot have counted yet
/// what was sent since.
#[derive(Clone, Debug)]
pub(super) struct SentLog {
    /// The beginning of each interval in which something was sent, and the number sent before it.
    intervals: VecDeque<(ClockTime, u64)>,
    total: u64,
    resolution: Duration,
    most: usize,
}

impl SentLog {
    /// Creates the log of the repairs to the group.
    pub(super) const fn of_group() -> Self {
        Self { intervals: VecDeque::new(), total: 0, resolution: FINEST, most: GROUP_INTERVALS }
    }

    /// Creates the log of the repairs for a subscriber.
    pub(super) fn of_subscriber() -> Self {
        Self { most: INTERVALS, ..Self::of_group() }
    }

    /// Returns the number sent in all.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// Notes that one was sent.
    pub(super) fn note(&mut self, now: ClockTime) {
        if self.intervals.back().is_none_or(|(start, _)| now >= *start + self.resolution) {
            self.forget(now - MEMORY);
            if self.intervals.len() >= self.most {
                self.coarsen();
            }
            self.intervals.push_back((now, self.total));
        }
        self.total += 1;
    }

    /// Halves the resolution.
    fn coarsen(&mut self) {
        self.resolution = 2 * self.resolution;
        let mut is_kept = false;
        self.intervals.retain(|_| {
            is_kept = !is_kept;
            is_kept
        });
    }

    /// Forgets when those before this time were sent.
    pub(super) fn forget(&mut self, time: ClockTime) {
        // The interval that contains the time is kept.
        while self.intervals.get(1).is_some_and(|(start, _)| *start <= time) {
            self.intervals.pop_front();
        }
        if self.intervals.len() <= 1 {
            self.resolution = FINEST;
        }
    }

    /// Returns how many were sent until this time, as if those of an interval were sent at equal distances.
    pub(super) fn until(&self, time: ClockTime) -> u64 {
        let after = self.intervals.partition_point(|(start, _)| *start <= time);
        let Some((start, before)) = after.checked_sub(1).and_then(|last| self.intervals.get(last)) else {
            return self.intervals.front().map_or(self.total, |(_, before)| *before);
        };
        let end = self.intervals.get(after).map_or(self.total, |(_, before)| *before);
        before + scaled(end - before, nanos(time.since(*start).min(self.resolution)), nanos(self.resolution))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const MILLISECOND: u64 = SECOND / 1_000;

    #[test]
    fn what_was_sent_until_a_time_is_known_for_a_second() {
        for (mut log, error) in [(SentLog::of_group(), 1), (SentLog::of_subscriber(), 4)] {
            assert_eq!(log.until(ClockTime(5)), 0);
            for now in 0..4_000 {
                log.note(ClockTime(now * MILLISECOND));
            }
            assert_eq!(log.total(), 4_000);
            for millisecond in 3_000..4_000 {
                let sent = log.until(ClockTime(millisecond * MILLISECOND));
                assert!(sent.abs_diff(millisecond) <= error, "{sent} by {millisecond} ms");
            }
            assert_eq!(log.until(ClockTime(5 * SECOND)), 4_000);
            assert!(log.until(ClockTime(0)) >= 2_990, "what was sent long ago counts as sent");
            assert!(log.intervals.len() <= log.most);
        }
    }

    #[test]
    fn the_resolution_is_fine_if_what_was_reported_is_forgotten() {
        let mut log = SentLog::of_subscriber();
        for now in (0..100_000).map(|step| ClockTime(step * 10_000)) {
            log.note(now);
            log.forget(now - Duration::from_nanos(MILLISECOND));
        }
        assert_eq!(log.resolution, FINEST);
        assert!(log.until(ClockTime(SECOND - MILLISECOND)).abs_diff(99_900) <= 25);
    }
}
