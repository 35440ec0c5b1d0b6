//! One stream: the datagrams from one sender to one group and port, on one interface, their counts by interval, and their
//! interarrival jitter.

use std::net::IpAddr;
use std::time::Duration;

use mcast_group::{Group, InterfaceIndex};
use mcast_measure::Jitter;
use mcast_packet::sequence::SequenceField;
use mcast_packet::{ChecksumStatus, Ip, Udp};

use crate::clock::{Clock, Time};
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

/// Counts of one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IntervalCounts {
    /// Datagrams.
    pub datagrams: u32,
    /// Bytes of payload.
    pub bytes: u64,
    /// Newly missing sequence numbers, in the unit of its sequence numbers ([`Unit`](crate::Unit)).
    pub lost: u32,
}

/// A ring buffer of the most recent intervals.
#[derive(Clone, Debug)]
pub(crate) struct History {
    slots: [IntervalCounts; Self::LENGTH],
    /// The latest interval written to.
    newest: u64,
}

impl History {
    /// Number of intervals retained.
    pub(crate) const LENGTH: usize = 60;

    pub(crate) const fn starting_at(interval: u64) -> Self {
        const EMPTY: IntervalCounts = IntervalCounts { datagrams: 0, bytes: 0, lost: 0 };
        Self { slots: [EMPTY; Self::LENGTH], newest: interval }
    }

    /// Returns the counts of `interval` for writing, or those of the newest interval if it is too old to be
    /// retained.
    pub(crate) fn slot_mut(&mut self, interval: u64) -> &mut IntervalCounts {
        let ahead = interval.saturating_sub(self.newest).min(Self::LENGTH as u64);
        for skipped in interval - ahead..interval {
            self.slots[index_of(skipped + 1)] = IntervalCounts::default();
        }
        self.newest = self.newest.max(interval);
        let interval = if self.retains(interval) { interval } else { self.newest };
        &mut self.slots[index_of(interval)]
    }

    /// Returns the counts of `interval`; zero if it is not retained.
    pub(crate) fn slot(&self, interval: u64) -> IntervalCounts {
        if self.retains(interval) { self.slots[index_of(interval)] } else { IntervalCounts::default() }
    }

    /// Returns the counts of the retained intervals before `interval`, from `first` at the earliest, oldest
    /// first.
    pub(crate) fn before(&self, interval: u64, first: u64) -> Vec<IntervalCounts> {
        let start = interval.saturating_sub(Self::LENGTH as u64 - 1).max(first);
        (start..interval).map(|interval| self.slot(interval)).collect()
    }

    const fn retains(&self, interval: u64) -> bool {
        interval <= self.newest && self.newest - interval < Self::LENGTH as u64
    }
}

const fn index_of(interval: u64) -> usize {
    (interval % History::LENGTH as u64) as usize
}

/// Interarrival jitter of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JitterValue {
    /// The mean difference, smoothed as in RFC 3550 section 6.4.1.
    pub jitter: Duration,
    /// The quantity whose differences are measured.
    pub basis: JitterBasis,
}

/// The quantity whose differences make up the jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JitterBasis {
    /// Transit times of consecutive datagrams, as in RFC 3550; the payload carries a send time.
    Transit,
    /// Intervals between consecutive datagrams; the payload carries no send time, so irregular sending counts
    /// as jitter too.
    Gap,
}

/// The send time that a datagram carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendTime {
    /// Nanoseconds of the sender's clock, with an arbitrary origin.
    Nanoseconds(u64),
    /// Ticks of a 32-bit clock that wraps, and its rate.
    Ticks { ticks: u32, per_second: u32 },
}

/// Measures the jitter of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct JitterMeter {
    jitter: Jitter,
    basis: Option<JitterBasis>,
    last: Option<Time>,
    /// The sender's clock, unwrapped.
    ticks: i64,
    last_ticks: Option<u32>,
    samples: u32,
}

impl JitterMeter {
    /// Records a datagram that arrived at `now`.
    pub(crate) fn observe(&mut self, now: Time, sent: Option<SendTime>) {
        let basis = if sent.is_some() { JitterBasis::Transit } else { JitterBasis::Gap };
        let last = self.last.replace(now);
        if self.basis != Some(basis) {
            *self = Self { basis: Some(basis), last: Some(now), ..Self::default() };
        }
        let measured = match (sent, last) {
            (Some(SendTime::Nanoseconds(sent)), _) => now.as_nanos().wrapping_sub(sent).cast_signed(),
            (Some(SendTime::Ticks { ticks, per_second }), _) => self.transit(now, ticks, per_second),
            (None, Some(last)) => now.as_nanos().wrapping_sub(last.as_nanos()).cast_signed(),
            (None, None) => return,
        };
        self.jitter.record(measured);
        self.samples = self.samples.saturating_add(1);
    }

    /// Resets the measurement, because a new sender's clock has a different origin.
    pub(crate) fn start_again(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }

    /// Returns the jitter once there are at least two samples.
    pub(crate) fn value(&self) -> Option<JitterValue> {
        let basis = self.basis.filter(|_| self.samples >= 2)?;
        Some(JitterValue { jitter: self.jitter.value(), basis })
    }

    fn transit(&mut self, now: Time, ticks: u32, per_second: u32) -> i64 {
        let step = self.last_ticks.replace(ticks).map_or(0, |last| ticks.wrapping_sub(last).cast_signed());
        self.ticks = self.ticks.saturating_add(i64::from(step));
        let sent = i128::from(self.ticks) * 1_000_000_000 / i128::from(per_second.max(1));
        // Truncation affects forged timestamps only; the meter accepts any number.
        (i128::from(now.as_nanos()) - sent) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_datagrams_count_in_their_own_interval() {
        let mut history = History::starting_at(5);
        history.slot_mut(5).datagrams += 1;
        history.slot_mut(7).datagrams += 1;
        history.slot_mut(6).datagrams += 4;
        let counts: Vec<_> = history.before(8, 5).iter().map(|slot| slot.datagrams).collect();
        assert_eq!(counts, [1, 4, 1]);
        assert_eq!(history.slot(8), IntervalCounts::default());
    }

    #[test]
    fn silence_clears_only_expired_intervals() {
        let mut history = History::starting_at(0);
        for interval in 0..60 {
            history.slot_mut(interval).datagrams = 1;
        }
        history.slot_mut(62).datagrams = 1;
        let sum = |history: &History, until| {
            history.before(until, 0).iter().map(|slot| slot.datagrams).sum::<u32>()
        };
        // Of the first sixty, intervals 4 to 59 remain; 62 is new.
        assert_eq!(
            (sum(&history, 63), history.slot(2), history.slot(61)),
            (57, IntervalCounts::default(), IntervalCounts::default())
        );
        history.slot_mut(10_000).datagrams = 1;
        assert_eq!(sum(&history, 10_001), 1);
    }

    #[test]
    fn datagrams_older_than_the_history_count_in_the_newest_interval() {
        let mut history = History::starting_at(100);
        history.slot_mut(1).datagrams += 1;
        assert_eq!(history.slot(100).datagrams, 1);
    }

    fn at(milliseconds: u64) -> Time {
        Time::from_nanos(1_700_000_000_000_000_000 + milliseconds * 1_000_000)
    }

    #[test]
    fn jitter_without_send_times_measures_uneven_gaps() {
        let mut meter = JitterMeter::default();
        (0..100).for_each(|n| meter.observe(at(n * 20), None));
        assert_eq!(meter.value(), Some(JitterValue { jitter: Duration::ZERO, basis: JitterBasis::Gap }));
        (100..400).for_each(|n| meter.observe(at(n * 20 + n % 2), None));
        // Gaps alternate between 19 and 21 ms.
        let jitter = meter.value().unwrap().jitter.as_secs_f64();
        assert!((0.0019..=0.0020).contains(&jitter), "{jitter}");
    }

    #[test]
    fn jitter_with_send_times_ignores_irregular_sending() {
        let mut meter = JitterMeter::default();
        for n in [0_u64, 3, 4, 50, 51, 90] {
            let ticks = (u32::MAX - 1_000).wrapping_add((n * 90) as u32);
            meter.observe(at(n), Some(SendTime::Ticks { ticks, per_second: 90_000 }));
        }
        assert_eq!(meter.value(), Some(JitterValue { jitter: Duration::ZERO, basis: JitterBasis::Transit }));
    }

    #[test]
    fn one_datagram_has_no_jitter() {
        let mut meter = JitterMeter::default();
        meter.observe(at(0), None);
        assert_eq!(meter.value(), None);
    }
}
