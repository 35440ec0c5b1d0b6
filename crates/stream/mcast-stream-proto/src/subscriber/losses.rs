//! What a subscriber has lost of the incarnation that it follows, as its statuses report it.

use super::event::SubscriberStatistics;

/// The losses of an incarnation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LossAccount {
    /// The counters when the incarnation began: statuses report only what concerns that incarnation.
    missed_before: u64,
    lost_messages_before: u64,
    /// Datagrams that counted as missing, and had only been overtaken.
    overtaken: u64,
    /// Datagrams that were given up, and that no snapshot covers.
    given_up: u64,
}

impl LossAccount {
    /// Begins with an incarnation, of which this many datagrams and messages were lost when it was followed earlier.
    pub(super) const fn begin(statistics: &SubscriberStatistics, given_up: u64, lost_messages: u64) -> Self {
        Self {
            missed_before: statistics.missed,
            lost_messages_before: statistics.lost_messages - lost_messages,
            overtaken: 0,
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

    /// Returns how many datagrams were given up.
    pub(super) const fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Returns how many datagrams of the incarnation were missing when a later one had been sent, without those that
    /// had only been overtaken. The publisher must not take reordering for loss that a lower rate avoids.
    pub(super) const fn missed(&self, statistics: &SubscriberStatistics) -> u64 {
        (statistics.missed - self.missed_before).saturating_sub(self.overtaken)
    }

    /// Returns how many messages of the incarnation were reported as lost.
    pub(super) const fn lost_messages(&self, statistics: &SubscriberStatistics) -> u64 {
        statistics.lost_messages - self.lost_messages_before
    }
}
