//! One stream: the datagrams from one sender to one group and port, on one interface; and the state of the table at one moment,
//! as plain values that can be sorted and printed.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use mcast_group::{Group, InterfaceIndex};
use mcast_packet::sequence::SequenceField;
use mcast_packet::{ChecksumStatus, Ip, Tunnel, Udp};

use crate::announcements::StreamAnnouncement;
use crate::clock::{Clock, History, IntervalCounts, JitterMeter, JitterValue, Time};
use crate::ledger::{SequenceInfo, StreamIdentity};
use crate::members::{GroupMember, LogEntry};
use crate::queriers::{ObservedQuerier, PimNeighbor, RouterAdvertisement};
use crate::sequence_meter::{Format, SequenceMeter, SequenceStatistics};

/// What identifies a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    /// The group.
    pub group: Group,
    /// The destination port.
    pub port: u16,
    /// The source address.
    pub source: IpAddr,
    /// The source port.
    pub source_port: u16,
    /// The interface on which it was seen.
    pub interface: InterfaceIndex,
    /// The VLAN that the frames are tagged with.
    pub vlan: Option<u16>,
    /// The VLAN of the next tag, of frames with two.
    pub inner_vlan: Option<u16>,
    /// The number of the tunnel that the datagrams were in, which separates copies that came another way: see
    /// [`Row::tunnel`].
    pub tunnel: Option<NonZeroU16>,
}

/// The state of a stream.
#[derive(Debug)]
pub(crate) struct Stream {
    first: Time,
    last: Time,
    /// The interval in which it was first seen.
    first_interval: u64,
    datagrams: u64,
    bytes: u64,
    frame_bytes: u64,
    hop_limit: u8,
    /// The lowest and the highest hop limit seen.
    hop_limits: (u8, u8),
    bad_checksums: u64,
    fragmented: u64,
    incomplete: u64,
    outgoing: bool,
    history: History,
    sequence_meter: SequenceMeter,
    jitter: JitterMeter,
}

/// A datagram of the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram<'a> {
    pub(crate) ip: &'a Ip<'a>,
    pub(crate) udp: &'a Udp<'a>,
    pub(crate) group: Group,
    /// The length of the frame, or of the frames with the fragments.
    pub(crate) length: usize,
    /// Whether it was put together from fragments.
    pub(crate) is_reassembled: bool,
    pub(crate) outgoing: bool,
    pub(crate) sequence_info: Option<&'a SequenceInfo>,
}

impl Stream {
    pub(crate) fn new(now: Time, interval: u64, datagram: &Datagram<'_>) -> Self {
        let hop_limit = datagram.ip.hop_limit;
        Self {
            first: now,
            last: now,
            first_interval: interval,
            datagrams: 0,
            bytes: 0,
            frame_bytes: 0,
            hop_limit,
            hop_limits: (hop_limit, hop_limit),
            bad_checksums: 0,
            fragmented: 0,
            incomplete: 0,
            outgoing: datagram.outgoing,
            history: History::starting_at(interval),
            sequence_meter: SequenceMeter::default(),
            jitter: JitterMeter::default(),
        }
    }

    pub(crate) fn observe(
        &mut self,
        now: Time,
        interval: u64,
        datagram: &Datagram<'_>,
        field: Option<SequenceField>,
    ) {
        let Datagram { ip, udp, group, length, is_reassembled, outgoing, sequence_info } = *datagram;
        let bytes = payload_length(udp) as u64;
        self.last = self.last.max(now);
        self.datagrams += 1;
        self.bytes += bytes;
        self.frame_bytes += length as u64;
        self.hop_limit = ip.hop_limit;
        self.hop_limits = (self.hop_limits.0.min(ip.hop_limit), self.hop_limits.1.max(ip.hop_limit));
        self.bad_checksums += u64::from(matches!(udp.checksum, ChecksumStatus::Invalid { .. }));
        self.fragmented += u64::from(is_reassembled);
        self.outgoing = outgoing;
        let update =
            self.sequence_meter.observe(group, udp.destination_port, udp.payload, field, sequence_info);
        if update.is_new_session {
            self.jitter.start_again();
        }
        self.jitter.observe(now, update.sent);
        self.slot(interval, bytes, update.lost);
    }

    /// Records a datagram of which fragments are missing. Its number is missing like those that did not arrive at all.
    pub(crate) fn observe_incomplete(&mut self, now: Time) {
        self.last = self.last.max(now);
        self.incomplete += 1;
    }

    /// Returns whether the stream has been active beyond its first interval.
    pub(crate) fn has_lasted(&self, interval: u64) -> bool {
        interval > self.first_interval
    }

    pub(crate) fn quiet(&self, now: Time) -> Duration {
        now.since(self.last)
    }

    pub(crate) fn row(&self, key: StreamKey, tunnel: Option<Tunnel>, clock: &Clock, now: Time) -> Row {
        let current = clock.interval_of(now);
        // The first interval is reported while it is still running; after that, the latest complete one is.
        let (reported, span) = match current {
            0 => (0, now.since(clock.start()).min(clock.interval())),
            _ => (current - 1, clock.interval()),
        };
        let slot = self.history.slot(reported);
        Row {
            key,
            tunnel,
            age: now.since(self.first),
            quiet: self.quiet(now),
            datagrams: self.datagrams,
            bytes: self.bytes,
            frame_bytes: self.frame_bytes,
            hop_limit: self.hop_limit,
            hop_limits: self.hop_limits,
            now: StreamRate::of(slot.datagrams.into(), slot.bytes, span),
            lost_now: slot.lost.into(),
            mean: StreamRate::of(self.datagrams, self.bytes, now.since(clock.start())),
            history: self.history.before(current, self.first_interval),
            format: self.sequence_meter.format(),
            identity: self.sequence_meter.identity(),
            numbers: self.sequence_meter.numbers(),
            continuity_errors: self.sequence_meter.continuity_errors(),
            jitter: self.jitter.value(),
            bad_checksums: self.bad_checksums,
            fragmented: self.fragmented,
            incomplete: self.incomplete,
            outgoing: self.outgoing,
        }
    }

    fn slot(&mut self, interval: u64, bytes: u64, lost: i64) {
        let slot: &mut IntervalCounts = self.history.slot_mut(interval);
        slot.datagrams = slot.datagrams.saturating_add(1);
        slot.bytes = slot.bytes.saturating_add(bytes);
        let lost = lost.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
        slot.lost = slot.lost.saturating_add_signed(lost);
    }
}

/// Returns the payload length that the UDP header states, so that a fragmented datagram counts in full. If
/// the header is inconsistent, returns the length of the captured payload.
fn payload_length(udp: &Udp<'_>) -> usize {
    usize::from(udp.length).checked_sub(Udp::HEADER_LENGTH).unwrap_or(udp.payload.len())
}

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
    /// The tunnel that the datagrams were in, or the labels and headers around them.
    pub tunnel: Option<Tunnel>,
    /// Time since its first datagram.
    pub age: Duration,
    /// Time since its latest datagram.
    pub quiet: Duration,
    /// Datagrams in total.
    pub datagrams: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Bytes of the frames, with those of all fragments.
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
    /// Datagrams that arrived in fragments, all of which came.
    pub fragmented: u64,
    /// Datagrams of which fragments are missing, which count neither as datagrams nor as received.
    pub incomplete: u64,
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
    /// Packets to groups that are neither: other protocols, and fragments that belong to no datagram of a stream.
    pub other: u64,
    /// Datagrams to groups of which fragments are missing.
    pub incomplete: u64,
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
