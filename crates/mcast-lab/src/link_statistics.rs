//! What a bad link has done so far.

use std::sync::atomic::Ordering::Relaxed;

use crate::lane::Counters;

/// What has crossed a bad link, in one direction or in both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStatistics {
    /// Datagrams that came in. Each is counted again below: forwarded, lost, or dropped from a full queue;
    /// unless it is still waiting to be overtaken.
    pub datagrams: u64,
    /// Datagrams that went on, at once or later.
    pub forwarded: u64,
    /// Datagrams that were lost, as the seed would have it.
    pub lost: u64,
    /// Of those that went on, how many did not go at once.
    pub delayed: u64,
    /// Of those that went on, how many went twice.
    pub duplicated: u64,
    /// Of those that went on, how many were overtaken.
    pub reordered: u64,
    /// Datagrams that found the queue before a rate-limited wire full.
    pub queue_full: u64,
    /// Frames that passed untouched because they are none of the impairment's business.
    pub untouched: u64,
    /// Frames that the machine could not carry in time, on their way into the link or out of it. They were lost by
    /// no seed: an experiment with overruns has failed, and needs less traffic or a faster machine.
    pub overruns: u64,
    /// Frames that could not be handed on: an interface was down, or they were too long or had no checksum, as
    /// when an interface was given its offloads back.
    pub unsent: u64,
}

impl LinkStatistics {
    pub(crate) fn read(counters: &Counters) -> Self {
        Self {
            datagrams: counters.datagrams.load(Relaxed),
            forwarded: counters.forwarded.load(Relaxed),
            lost: counters.lost.load(Relaxed),
            delayed: counters.delayed.load(Relaxed),
            duplicated: counters.duplicated.load(Relaxed),
            reordered: counters.reordered.load(Relaxed),
            queue_full: counters.queue_full.load(Relaxed),
            untouched: counters.untouched.load(Relaxed),
            overruns: counters.overruns.load(Relaxed),
            unsent: counters.unsent.load(Relaxed),
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            datagrams: self.datagrams + other.datagrams,
            forwarded: self.forwarded + other.forwarded,
            lost: self.lost + other.lost,
            delayed: self.delayed + other.delayed,
            duplicated: self.duplicated + other.duplicated,
            reordered: self.reordered + other.reordered,
            queue_full: self.queue_full + other.queue_full,
            untouched: self.untouched + other.untouched,
            overruns: self.overruns + other.overruns,
            unsent: self.unsent + other.unsent,
        }
    }
}
