//! The state of the table at one moment, as plain values that can be sorted and printed.

use std::time::Duration;

use crate::announcements::StreamAnnouncement;
use crate::clock::Time;
use crate::history::{IntervalCounts, JitterValue};
use crate::ledger::StreamIdentity;
use crate::log::LogEntry;
use crate::members::GroupMember;
use crate::queriers::ObservedQuerier;
use crate::routers::{PimNeighbor, RouterAdvertisement};
use crate::sequence_meter::{Format, SequenceStatistics};
use crate::stream::StreamKey;

/// Everything the table knows at one moment.
#[derive(Clone, Debug, Default)]
pub struct WatchReport {
    /// The time of the report.
    pub time: Time,
    /// Time since the start of the first interval.
    pub watched: Duration,
    /// The streams, sorted by group, port, source and interface.
    pub streams: Vec<Row>,
    /// The hosts that have reported group membership, sorted by group and host.
    pub members: Vec<GroupMember>,
    /// The queriers, sorted by interface and address.
    pub queriers: Vec<ObservedQuerier>,
    /// PIM routers that send Hello messages.
    pub pim_neighbors: Vec<PimNeighbor>,
    /// Routers that send multicast router advertisements (RFC 4286).
    pub routers: Vec<RouterAdvertisement>,
    /// The announced streams by name, those without a readable name last.
    pub announced: Vec<StreamAnnouncement>,
    /// The latest IGMP, MLD and PIM messages, newest first.
    pub log: Vec<LogEntry>,
    /// Totals over all traffic.
    pub totals: WatchTotals,
}

/// The state of one stream.
#[derive(Clone, Debug)]
pub struct Row {
    /// What identifies the stream.
    pub key: StreamKey,
    /// Time since its first datagram.
    pub age: Duration,
    /// Time since its latest datagram.
    pub quiet: Duration,
    /// Datagrams in total.
    pub datagrams: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Bytes of the frames that contain a UDP header; later fragments are not counted.
    pub frame_bytes: u64,
    /// The TTL or hop limit of the latest datagram.
    pub hop_limit: u8,
    /// The lowest and the highest TTL or hop limit seen.
    pub hop_limits: (u8, u8),
    /// The rate in the latest complete interval; during the first interval, the rate so far.
    pub now: StreamRate,
    /// Newly missing sequence numbers in that interval, in the unit of [`Self::numbers`].
    pub lost_now: u64,
    /// The mean rate since the start of the first interval.
    pub mean: StreamRate,
    /// The complete intervals, oldest first, back to the stream's first interval or as far as they are
    /// retained.
    pub history: Vec<IntervalCounts>,
    /// The payload format, if it is certain.
    pub format: Option<Format>,
    /// The stream's identity, if the caller supplied one
    /// ([`ObservedPacket::sequence_info`](crate::ObservedPacket)).
    pub identity: Option<StreamIdentity>,
    /// What its sequence numbers show, if it has any.
    pub numbers: Option<SequenceStatistics>,
    /// Discontinuities of a transport stream, by its continuity counters.
    pub continuity_errors: Option<u64>,
    /// Interarrival jitter.
    pub jitter: Option<JitterValue>,
    /// Datagrams with a wrong checksum, which the system does not deliver to programs.
    pub bad_checksums: u64,
    /// Datagrams that arrived in fragments.
    pub fragmented: u64,
    /// Whether this machine sent its latest datagram.
    pub outgoing: bool,
}

/// A rate of datagrams and payload.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StreamRate {
    /// Datagrams per second.
    pub datagrams_per_second: f64,
    /// Bits of payload per second.
    pub bits_per_second: f64,
}

/// Totals over all traffic, including that of evicted streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct WatchTotals {
    /// Datagrams sent to groups.
    pub datagrams: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// IGMP, MLD, router discovery and PIM messages.
    pub control: u64,
    /// Packets to groups that are neither: other protocols, and later fragments.
    pub other: u64,
    /// Packets that could not be decoded completely.
    pub malformed: u64,
    /// Streams evicted because the table was full. A stream that returns and is evicted again counts again.
    pub streams_evicted: u64,
    /// Members evicted because the table was full.
    pub members_evicted: u64,
    /// Announcements omitted because too many streams are announced.
    pub announcements_omitted: u64,
}

impl WatchReport {
    /// Returns the other hosts that have reported membership of the stream's group where it was seen.
    pub fn members_of(&self, stream: &StreamKey) -> impl Iterator<Item = &GroupMember> {
        let StreamKey { group, interface, vlan, .. } = *stream;
        let first = self.members.partition_point(|member| member.group < group);
        let of_group = self.members[first..].iter().take_while(move |member| member.group == group);
        of_group.filter(move |member| {
            member.interface == interface && member.vlan == vlan && !member.is_this_machine
        })
    }

    /// Returns the name under which a stream is announced on its interface.
    #[must_use]
    pub fn announced_name(&self, row: &Row) -> Option<&str> {
        let identity = row.identity?;
        let is_it = |announced: &&StreamAnnouncement| {
            announced.identity.stream == identity.stream && announced.interface == row.key.interface
        };
        self.announced.iter().find(is_it)?.name()
    }
}

impl StreamRate {
    pub(crate) fn of(datagrams: u64, bytes: u64, time: Duration) -> Self {
        if time.is_zero() {
            return Self::default();
        }
        let seconds = time.as_secs_f64();
        Self {
            datagrams_per_second: datagrams as f64 / seconds,
            bits_per_second: bytes as f64 * 8.0 / seconds,
        }
    }
}
