//! What is known of the link to one subscriber.

use super::congestion::RateControl;
use super::model::PathModel;
use crate::ClockTime;
use crate::wire::Sequence;

/// The lowest rate to which a link can limit the publisher, in bytes per second.
const SLOWEST: u64 = 65_536;

/// What is known of the link to one subscriber.
#[derive(Debug)]
pub(in crate::publisher) struct Link {
    pub(super) mark: LossMark,
    /// The rate that it carries.
    pub(super) control: RateControl,
    /// What its path carries, if the rate is automatic, and since when that is less than the configured floor.
    pub(super) path: PathModel,
    pub(super) slow_since: Option<ClockTime>,
}

impl Link {
    pub(in crate::publisher) fn new() -> Self {
        Self {
            mark: LossMark::default(),
            control: RateControl::new(SLOWEST),
            path: PathModel::new(),
            slow_since: None,
        }
    }

    /// Restarts sampling at `sent`: earlier losses have another cause than the rate.
    pub(in crate::publisher) const fn begin_at(&mut self, sent: Sequence) {
        self.mark.begin_at(sent);
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
