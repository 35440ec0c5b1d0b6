//! The losses of an incarnation, as statuses report them.

use super::event::SubscriberStatistics;
use crate::wire::Sequence;

/// The losses of an incarnation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LossAccount {
    /// The counters when the incarnation began: statuses report only what concerns that incarnation.
    missed_before: u64,
    lost_messages_before: u64,
    /// Datagrams that counted as missing, and had only been overtaken.
    overtaken: u64,
    /// The datagrams that were discarded because there was no room for them, and that do not count as missing yet: from the
    /// first to before the second, and how many of these.
    discarded: (Sequence, Sequence, u64),
    /// Datagrams that were given up, and that no snapshot covers.
    given_up: u64,
}

impl LossAccount {
    /// Begins with an incarnation, of which this many datagrams and messages were lost when it was followed earlier.
    pub(super) const fn begin(
        statistics: &SubscriberStatistics,
        (given_up, lost_messages): (u64, u64),
    ) -> Self {
        Self {
            missed_before: statistics.missed,
            lost_messages_before: statistics.lost_messages - lost_messages,
            overtaken: 0,
            discarded: (Sequence(0), Sequence(0), 0),
            given_up,
        }
    }

    /// Notes datagrams that were given up.
    pub(super) const fn record_given_up(&mut self, count: u64) {
        self.given_up = self.given_up.saturating_add(count);
    }

    /// Notes that a missing datagram arrived, and was not a repair.
    pub(super) const fn record_overtaken(&mut self) {
        self.overtaken = self.overtaken.saturating_add(1);
    }

    /// Notes a datagram that arrived when there was no room for it.
    pub(super) const fn record_discarded(&mut self, sequence: Sequence) {
        let (first, end, count) = self.discarded;
        if count == 0 {
            self.discarded = (sequence, Sequence(sequence.0 + 1), 1);
        } else if sequence.0 >= end.0 {
            // A copy on another path counts once.
            self.discarded = (first, Sequence(sequence.0 + 1), count + 1);
        }
    }

    /// Notes that datagrams count as missing: the link has not lost those of them that were discarded.
    pub(super) fn record_missing(&mut self, from: Sequence, to: Sequence) {
        let (first, end, count) = &mut self.discarded;
        let known = to.0.min(end.0).saturating_sub(from.0.max(first.0)).min(*count);
        if to.0 > first.0 {
            *first = to;
            *count = if to.0 >= end.0 { 0 } else { *count - known };
        }
        self.overtaken = self.overtaken.saturating_add(known);
    }

    /// Returns how many datagrams of the incarnation were missing when a later one had been sent, without those that
    /// had only been overtaken. The publisher must not take reordering for loss that a lower rate avoids.
    pub(super) const fn missed(&self, statistics: &SubscriberStatistics) -> u64 {
        (statistics.missed - self.missed_before).saturating_sub(self.overtaken)
    }

    /// Returns how many datagrams were given up, and how many messages of the incarnation were reported as lost.
    pub(super) const fn reported(&self, statistics: &SubscriberStatistics) -> (u64, u64) {
        (self.given_up, statistics.lost_messages - self.lost_messages_before)
    }
}
