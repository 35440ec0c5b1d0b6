//! One stream: the datagrams from one sender to one group and port, on one interface.

use std::net::IpAddr;
use std::time::Duration;

use mcast_group::{Group, InterfaceIndex};
use mcast_packet::sequence::SequenceField;
use mcast_packet::{ChecksumStatus, Ip, Udp};

use crate::clock::{Clock, Time};
use crate::history::{History, IntervalCounts, JitterMeter};
use crate::ledger::SequenceInfo;
use crate::report::{Row, StreamRate};
use crate::sequence_meter::SequenceMeter;

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
    /// The length of the frame.
    pub(crate) length: usize,
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
        let Datagram { ip, udp, group, length, outgoing, sequence_info } = *datagram;
        let bytes = payload_length(udp) as u64;
        self.last = self.last.max(now);
        self.datagrams += 1;
        self.bytes += bytes;
        self.frame_bytes += length as u64;
        self.hop_limit = ip.hop_limit;
        self.hop_limits = (self.hop_limits.0.min(ip.hop_limit), self.hop_limits.1.max(ip.hop_limit));
        self.bad_checksums += u64::from(matches!(udp.checksum, ChecksumStatus::Invalid { .. }));
        self.fragmented += u64::from(ip.fragment.is_some());
        self.outgoing = outgoing;
        let update =
            self.sequence_meter.observe(group, udp.destination_port, udp.payload, field, sequence_info);
        if update.is_new_session {
            self.jitter.start_again();
        }
        self.jitter.observe(now, update.sent);
        self.slot(interval, bytes, update.lost);
    }

    /// Returns whether the stream has been active beyond its first interval.
    pub(crate) fn has_lasted(&self, interval: u64) -> bool {
        interval > self.first_interval
    }

    pub(crate) fn quiet(&self, now: Time) -> Duration {
        now.since(self.last)
    }

    pub(crate) fn row(&self, key: StreamKey, clock: &Clock, now: Time) -> Row {
        let current = clock.interval_of(now);
        // The first interval is reported while it is still running; after that, the latest complete one is.
        let (reported, span) = match current {
            0 => (0, now.since(clock.start()).min(clock.interval())),
            _ => (current - 1, clock.interval()),
        };
        let slot = self.history.slot(reported);
        Row {
            key,
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
