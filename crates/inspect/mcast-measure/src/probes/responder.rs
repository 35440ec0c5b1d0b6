//! What a session knows of the probes it sent, and of those who reply.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use mcast_pace::ClockTime;

use super::MAX_RESPONDERS;
use crate::wire::ProbeReply;
use crate::{Histogram, LossCounter, SequenceOrder};

/// Maximum number of probes whose send times are retained.
pub(super) const MAX_TIMES: usize = 4_096;
/// The results of a case that a session does not have.
static NO_RESULTS: ProbeResults = ProbeResults::new(0);

/// The probes sent so far, with the send times of the latest.
#[derive(Clone, Debug, Default)]
pub(super) struct SentProbes {
    discarded: u64,
    pub(super) times: VecDeque<ClockTime>,
}

impl SentProbes {
    /// Counts a probe as sent now, and returns its number.
    pub(super) fn record(&mut self, now: ClockTime) -> u64 {
        if self.times.len() == MAX_TIMES {
            self.times.pop_front();
            self.discarded += 1;
        }
        let number = self.count();
        self.times.push_back(now);
        number
    }

    /// Returns the number of probes sent.
    pub(super) fn count(&self) -> u64 {
        self.discarded + self.times.len() as u64
    }

    /// Returns the send time of a probe, if it is still retained.
    pub(super) fn time_of(&self, number: u64) -> Option<ClockTime> {
        let index = usize::try_from(number.checked_sub(self.discarded)?).ok()?;
        self.times.get(index).copied()
    }

    /// Returns the number of probes sent before `time`.
    pub(super) fn before(&self, time: ClockTime) -> u64 {
        self.discarded + self.times.partition_point(|sent| *sent < time) as u64
    }
}

/// The replies to the probes sent by multicast, or to those sent by unicast.
#[derive(Clone, Debug)]
pub struct ProbeResults {
    /// The first probe that is included in the statistics.
    pub(super) first: u64,
    replies: LossCounter,
    round_trips: Histogram,
}

impl ProbeResults {
    /// Creates empty results, which include the probes from `first` on.
    pub(super) const fn new(first: u64) -> Self {
        Self { first, replies: LossCounter::of_session(), round_trips: Histogram::new() }
    }

    /// Records a reply; a duplicate has no round-trip time.
    pub(super) fn record(&mut self, number: u64, round_trip: Duration) {
        if !matches!(self.replies.record(number), SequenceOrder::Duplicate | SequenceOrder::Stray) {
            self.round_trips.record_duration(round_trip);
        }
    }

    /// Returns the number of probes with a reply.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.replies.counts().received
    }

    /// Returns the number of duplicate replies.
    #[must_use]
    pub const fn duplicated(&self) -> u64 {
        self.replies.counts().duplicates
    }

    /// Returns the round-trip times.
    #[must_use]
    pub const fn round_trips(&self) -> &Histogram {
        &self.round_trips
    }

    /// Returns the number of probes to include: those that have been answered or whose timeout has passed.
    pub(super) fn sent(&self, expired: u64) -> u64 {
        let end = expired.max(self.replies.next().unwrap_or(0));
        end.saturating_sub(self.first).max(self.received())
    }
}

/// A host that replies to probes.
#[derive(Clone, Debug)]
pub struct RespondingHost {
    /// The address of its first reply.
    pub address: IpAddr,
    /// Its random id, because several responders may share an address.
    pub id: u64,
    /// The port on which it replies to unicast probes; 0 for none.
    pub unicast_port: u16,
    /// Minimum and maximum number of routers on the path, if both ends report hop limits.
    pub hops: Option<(u8, u8)>,
    /// The indices of the interfaces on which it received probes to the group, as reported by its host.
    pub interfaces: BTreeSet<u32>,
    /// Time from its join to the first probe that reached it, if it joined after probing started; `None` if
    /// it had joined before.
    pub join_to_first: Option<Duration>,
    pub(super) multicast: Vec<ProbeResults>,
    pub(super) unicast: ProbeResults,
    pub(super) unicast_sent: SentProbes,
}

impl RespondingHost {
    /// Returns the results of the probes of a case that were sent to the group; a ping has one case, 0.
    #[must_use]
    pub fn multicast(&self, case: usize) -> &ProbeResults {
        self.multicast.get(case).unwrap_or(&NO_RESULTS)
    }

    /// Returns the results of the probes sent to this responder by unicast.
    #[must_use]
    pub const fn unicast(&self) -> &ProbeResults {
        &self.unicast
    }

    pub(super) fn update(&mut self, reply: &ProbeReply) {
        self.unicast_port = reply.unicast_port;
        if self.interfaces.len() < MAX_RESPONDERS {
            self.interfaces.insert(reply.interface);
        }
        if let Some(hops) = reply.hops() {
            let (min, max) = self.hops.unwrap_or((hops, hops));
            self.hops = Some((min.min(hops), max.max(hops)));
        }
    }
}
