//! Statistics of a bad link.

use std::sync::atomic::Ordering::Relaxed;

use crate::lane::Counters;

/// The statistics of a bad link, for one direction or for both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStatistics {
    /// Datagrams that entered the link. Each is also counted as forwarded, lost, or dropped at a full queue, unless it
    /// is still waiting to be overtaken.
    pub datagrams: u64,
    /// Datagrams that were forwarded, or are in flight.
    pub forwarded: u64,
    /// Datagrams that were lost as the seed decided.
    pub lost: u64,
    /// Forwarded datagrams that were delayed.
    pub delayed: u64,
    /// Forwarded datagrams that were duplicated.
    pub duplicated: u64,
    /// Forwarded datagrams that were overtaken.
    pub reordered: u64,
    /// Datagrams that were dropped because the queue of a rate-limited link was full.
    pub queue_full: u64,
    /// Frames that passed unchanged because they are outside the scope of the impairment.
    pub untouched: u64,
    /// Frames that the kernel dropped on their way into the link or out of it, because the machine was too slow. The
    /// seed did not decide these losses, so an experiment with overruns is not reproducible: it needs less traffic
    /// or a faster machine.
    pub overruns: u64,
    /// Frames that could not be sent: an interface was down, or the frame was too long or had no checksum, which
    /// happens after the offloads of an interface were turned on again.
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
