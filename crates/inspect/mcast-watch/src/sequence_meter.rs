//! Detects the payload format of a stream and counts what its sequence numbers show as missing.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use mcast_group::Group;
use mcast_measure::wire::{MessageType, SessionHeader};
use mcast_measure::{LossCounter, LossCounts, SequenceOrder};
use mcast_packet::Payload;
use mcast_packet::payload::{ContinuityTracker, MpegTs, Rtp, ServiceProtocol, recognize};
use mcast_packet::sequence::SequenceField;

use crate::clock::SendTime;
use crate::ledger::{self, Ledger, SequenceInfo, StreamIdentity};

/// The payload format of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Format {
    /// RTP (RFC 3550).
    Rtp,
    /// An MPEG transport stream in RTP.
    RtpMpegTs,
    /// An MPEG transport stream.
    MpegTs,
    /// MoldUDP64.
    MoldUdp64,
    /// Datagrams of `mcast perf` or `mcast ping`.
    Probe,
    /// A stream of `mcast publish`, as identified by the caller ([`SequenceInfo`]).
    Stream,
    /// A sequence number at a configured offset ([`WatchOptions::sequence`](crate::WatchOptions)).
    Field,
    /// PTP (IEEE 1588).
    Ptp,
    /// mDNS.
    Mdns,
    /// SSDP.
    Ssdp,
}

/// What the sequence numbers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// Datagrams.
    Datagrams,
    /// Messages within datagrams (MoldUDP64).
    Messages,
    /// Packets of an MPEG transport stream. Their counter has 4 bits, so the loss of 16 in a row goes
    /// unnoticed.
    Cells,
}

/// What the sequence numbers of a stream show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceStatistics {
    /// What the sequence numbers count.
    pub unit: Unit,
    /// Number received.
    pub received: u64,
    /// Number missing, not counting those that arrived late.
    pub missing: u64,
    /// Number received more than once.
    pub duplicates: u64,
    /// Number received after a higher one; `None` if the range of the counter is too small to determine it.
    pub reordered: Option<u64>,
    /// Number marked as retransmissions, whether they were missing or not; they count neither as duplicates
    /// nor as reordered. `None` if the format does not mark retransmissions.
    pub repairs: Option<u64>,
    /// Number of times the sender has restarted.
    pub restarts: u64,
}

/// Tracks the format and the sequence numbers of a stream.
///
/// ```
/// use mcast_watch::SequenceMeter;
///
/// let mut meter = SequenceMeter::default();
/// for number in [1_u16, 2, 3, 7] {
///     let field = "0:2".parse()?;
///     meter.observe("239.255.2.3".parse()?, 5000, &number.to_be_bytes(), Some(field), None);
/// }
/// assert_eq!(meter.numbers().map(|numbers| numbers.missing), Some(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct SequenceMeter {
    format: Option<Format>,
    sequence: Option<Box<Sequence>>,
    /// Accounting for a stream whose [`SequenceInfo`] the caller supplies.
    ledger: Option<Box<(StreamIdentity, Ledger)>>,
    /// Continuity counters of a transport stream, with or without RTP around it.
    continuity: Option<Box<ContinuityTracker>>,
    /// Number of consecutive datagrams with this format.
    consecutive: u32,
    /// The latest number of a stream that looks like RTP except for its port.
    unlikely_rtp: Option<u16>,
}

/// The sequence numbers of consecutive sessions of one sender.
#[derive(Clone, Debug)]
struct Sequence {
    counter: LossCounter,
    unit: Unit,
    /// The session that the numbers belong to: the SSRC of RTP, or a hash of the MoldUDP64 session.
    session: u64,
    /// The session before this one, whose last datagrams may arrive late.
    previous: Option<(u64, LossCounter)>,
    /// How many datagrams have arrived since this session began.
    age: u32,
    /// Counts of the sessions before these two.
    earlier: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    received: u64,
    missing: u64,
    duplicates: u64,
    reordered: u64,
    restarts: u64,
}

/// The sequence numbers that one datagram stands for.
#[derive(Clone, Copy, Debug)]
struct NumberRange {
    session: u64,
    first: u64,
    count: u64,
    /// Width of the number field.
    bits: u32,
}

/// What the payload of one datagram contains.
#[derive(Clone, Copy, Debug)]
struct PayloadInfo<'a> {
    format: Format,
    numbers: Option<NumberRange>,
    unit: Unit,
    sent: Option<SendTime>,
    cells: Option<MpegTs<'a>>,
}

/// What observing a datagram changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SequenceUpdate {
    /// Change in the number of missing sequence numbers; negative if late ones arrived.
    pub lost: i64,
    /// Whether the datagram belongs to a different session than the one before.
    pub is_new_session: bool,
    pub(crate) sent: Option<SendTime>,
}

impl SequenceMeter {
    /// RTP is recognized only after this many datagrams: its header is too generic for one to be conclusive.
    const CERTAIN_AFTER: u32 = 3;
    /// On a port that RTP does not use by convention, it is recognized only after this many.
    const CERTAIN_ON_ANY_PORT_AFTER: u32 = 16;

    /// Records a datagram. Its number is read from `field` if one is given, is the one in `sequence_info` if the
    /// caller knows the protocol, and is otherwise that of the format which the payload is recognized as.
    pub fn observe(
        &mut self,
        group: Group,
        port: u16,
        payload: &[u8],
        field: Option<SequenceField>,
        sequence_info: Option<&SequenceInfo>,
    ) -> SequenceUpdate {
        if let Some(sequence_info) = sequence_info {
            return self.record_supplied(sequence_info);
        }
        let recognized = self.dissect(group, port, payload, field);
        let is_likely = recognized.is_some();
        let Some(info) = recognized.or_else(|| self.continued_rtp(payload)) else {
            // One datagram that is something else does not refute numbers that many others had.
            if !self.is_certain() {
                *self = Self::default();
            }
            return SequenceUpdate { lost: 0, sent: None, is_new_session: false };
        };
        // Numbers of two formats cannot be compared: gaps between them would be inventions.
        if self.format.is_some_and(|format| !format.is_compatible_with(info.format)) {
            *self = Self::default();
        }
        let numbers = info.numbers.filter(|_| !is_likely);
        self.unlikely_rtp = numbers.map(|numbers| numbers.first as u16);
        let before = self.missing();
        let mut is_new_session = false;
        if let Some(numbers) = info.numbers {
            is_new_session = self.count(numbers, info.unit);
        }
        if let Some(cells) = &info.cells {
            self.continuity.get_or_insert_default().observe(cells);
        }
        self.format = Some(info.format);
        let restarts_detection = is_new_session && self.consecutive < Self::CERTAIN_AFTER;
        self.consecutive = if restarts_detection { 1 } else { self.consecutive.saturating_add(1) };
        let after = self.missing();
        let lost = i64::try_from(after).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX);
        SequenceUpdate { lost, sent: info.sent, is_new_session }
    }

    /// Records sequence information that the caller supplies.
    fn record_supplied(&mut self, sequence_info: &SequenceInfo) -> SequenceUpdate {
        if self.format.is_some_and(|format| format != Format::Stream) {
            *self = Self::default();
        }
        self.format = Some(Format::Stream);
        let before = self.missing();
        let is_new_session = match self.ledger.as_deref_mut() {
            Some((identity, ledger)) if identity.stream == sequence_info.identity.stream => {
                ledger.observe(sequence_info);
                let incarnation = identity.incarnation.max(sequence_info.identity.incarnation);
                let is_another = incarnation != identity.incarnation;
                *identity = StreamIdentity { incarnation, ..sequence_info.identity };
                is_another
            }
            _ => {
                let mut ledger = Ledger::new();
                ledger.observe(sequence_info);
                self.ledger.replace(Box::new((sequence_info.identity, ledger))).is_some()
            }
        };
        let after = i64::try_from(self.missing()).unwrap_or(i64::MAX);
        SequenceUpdate { lost: after - i64::try_from(before).unwrap_or(i64::MAX), sent: None, is_new_session }
    }

    /// Returns the stream's identity, if the caller supplied one.
    pub(crate) fn identity(&self) -> Option<StreamIdentity> {
        self.ledger.as_deref().map(|(identity, _)| *identity)
    }

    /// Returns the format, once it is certain.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        self.format.filter(|_| self.is_certain())
    }

    /// Returns the sequence statistics; `None` if the stream has no sequence numbers or its format is not
    /// certain yet.
    #[must_use]
    pub fn numbers(&self) -> Option<SequenceStatistics> {
        if !self.is_certain() {
            return None;
        }
        if let Some((_, ledger)) = self.ledger.as_deref() {
            return Some(statistics(ledger));
        }
        match &self.sequence {
            Some(sequence) => Some(sequence.numbers()),
            None => self.continuity.as_deref().map(cells),
        }
    }

    /// Returns the number of discontinuities of a transport stream, with or without RTP around it.
    pub(crate) fn continuity_errors(&self) -> Option<u64> {
        self.continuity.as_ref().filter(|_| self.is_certain()).map(|tracker| tracker.counts().errors)
    }

    fn missing(&self) -> u64 {
        self.numbers().map_or(0, |numbers| numbers.missing)
    }

    fn is_certain(&self) -> bool {
        let strict = self.format.is_some_and(|format| format != Format::Rtp);
        let needed = match self.unlikely_rtp {
            Some(_) => Self::CERTAIN_ON_ANY_PORT_AFTER,
            None => Self::CERTAIN_AFTER,
        };
        strict || self.consecutive >= needed
    }

    /// Returns what a datagram contains that looks like RTP except for its port, and continues the numbers of one before.
    fn continued_rtp<'a>(&self, payload: &'a [u8]) -> Option<PayloadInfo<'a>> {
        const LONGEST_GAP: u16 = 1_000;
        const LATEST: u16 = 16;
        let packet = Rtp::parse(payload).filter(Rtp::is_plausible)?;
        let continues = |latest: u16| {
            let ahead = packet.sequence.wrapping_sub(latest);
            let session = self.sequence.as_ref().map(|sequence| sequence.session);
            (ahead <= LONGEST_GAP || ahead.wrapping_neg() <= LATEST) && session == Some(packet.ssrc.into())
        };
        let may_be_rtp = self.format.is_none_or(Format::is_rtp);
        (may_be_rtp && self.unlikely_rtp.is_none_or(continues)).then(|| rtp(&packet))
    }

    fn dissect<'a>(
        &self,
        group: Group,
        port: u16,
        payload: &'a [u8],
        field: Option<SequenceField>,
    ) -> Option<PayloadInfo<'a>> {
        if let Some(field) = field {
            let number = field.read(payload)?;
            return Some(PayloadInfo {
                numbers: Some(NumberRange { session: 0, first: number, count: 1, bits: field.bits() }),
                ..plain(Format::Field)
            });
        }
        if let Some(header) = SessionHeader::decode(payload) {
            return Some(probe(&header));
        }
        // A stream known to be RTP may have packets that would not be recognized on their own.
        let is_rtp = self.format.is_some_and(Format::is_rtp);
        if let Some(sequence) = self.sequence.as_ref().filter(|_| is_rtp && self.is_certain())
            && let Some(packet) = Rtp::parse(payload)
            && u64::from(packet.ssrc) == sequence.session
        {
            return Some(rtp(&packet));
        }
        Some(match recognize(port, group.addr(), payload)? {
            Payload::Rtp(packet) => rtp(&packet),
            Payload::MpegTs(stream) => {
                PayloadInfo { cells: Some(stream), unit: Unit::Cells, ..plain(Format::MpegTs) }
            }
            Payload::MoldUdp64(mold) => {
                let mut session = DefaultHasher::new();
                mold.session.hash(&mut session);
                let numbers = NumberRange {
                    session: session.finish(),
                    first: mold.sequence,
                    count: mold.messages.len() as u64,
                    bits: 64,
                };
                PayloadInfo { numbers: Some(numbers), unit: Unit::Messages, ..plain(Format::MoldUdp64) }
            }
            Payload::Ptp(_) => plain(Format::Ptp),
            Payload::Service(service) if service.protocol() == ServiceProtocol::PtpV1 => plain(Format::Ptp),
            Payload::Mdns(_) => plain(Format::Mdns),
            Payload::Ssdp(_) => plain(Format::Ssdp),
            _ => return None,
        })
    }

    /// Records numbers, and returns whether they belong to a different session than the ones before.
    fn count(&mut self, numbers: NumberRange, unit: Unit) -> bool {
        let NumberRange { session, first, count, bits } = numbers;
        let mut is_new = false;
        let sequence = self.sequence.get_or_insert_with(|| Box::new(Sequence::new(session, bits, unit)));
        sequence.age = sequence.age.saturating_add(1);
        if sequence.session != session {
            if sequence.count_late(session, first, count) {
                return false;
            }
            sequence.change_to(session, bits);
            is_new = true;
        }
        sequence.counter.record_range(first, count);
        is_new
    }
}

impl Counts {
    fn plus(self, counts: LossCounts) -> Self {
        Self {
            received: self
                .received
                .saturating_add(counts.received)
                .saturating_add(counts.duplicates)
                .saturating_add(counts.strays),
            missing: self.missing.saturating_add(counts.missing),
            duplicates: self.duplicates.saturating_add(counts.duplicates),
            reordered: self.reordered.saturating_add(counts.reordered),
            restarts: self.restarts.saturating_add(counts.restarts),
        }
    }
}

impl Sequence {
    fn new(session: u64, bits: u32, unit: Unit) -> Self {
        let counter = LossCounter::new(bits);
        Self { counter, unit, session, previous: None, age: 0, earlier: Counts::default() }
    }

    /// Records numbers of the session before this one, if they continue it: the network has reordered the last
    /// datagrams of that session and the first of this one. Returns whether they do.
    fn count_late(&mut self, session: u64, first: u64, count: u64) -> bool {
        /// How many datagrams of both sessions may be mixed.
        const MIXED: u32 = 64;
        /// How many numbers of the earlier session may be missing before these.
        const LONGEST_GAP: u64 = 16;
        let age = self.age;
        let previous = self.previous.as_mut().filter(|(previous, _)| *previous == session && age <= MIXED);
        let Some((_, counter)) = previous else { return false };
        let mut continued = counter.clone();
        match continued.record_range(first, count) {
            SequenceOrder::Gap { missing } if missing > LONGEST_GAP => return false,
            SequenceOrder::Stray | SequenceOrder::Restart => return false,
            _ => *counter = continued,
        }
        true
    }

    /// Begins a session.
    fn change_to(&mut self, session: u64, bits: u32) {
        if let Some((_, counter)) = self.previous.take() {
            self.earlier = self.earlier.plus(counter.counts());
        }
        let counter = std::mem::replace(&mut self.counter, LossCounter::new(bits));
        self.previous = Some((std::mem::replace(&mut self.session, session), counter));
        self.earlier.restarts = self.earlier.restarts.saturating_add(1);
        self.age = 0;
    }

    fn sums(&self) -> Counts {
        let counters = [Some(&self.counter), self.previous.as_ref().map(|(_, counter)| counter)];
        let counts = counters.into_iter().flatten().map(LossCounter::counts);
        counts.fold(self.earlier, Counts::plus)
    }
    fn numbers(&self) -> SequenceStatistics {
        let Counts { received, missing, duplicates, reordered, restarts } = self.sums();
        let reordered = Some(reordered);
        SequenceStatistics {
            unit: self.unit,
            received,
            missing,
            duplicates,
            reordered,
            repairs: None,
            restarts,
        }
    }
}

fn statistics(ledger: &Ledger) -> SequenceStatistics {
    let ledger::Counts { received, missing, duplicates, reordered, repairs, restarts } = ledger.sums();
    let (reordered, repairs) = (Some(reordered), Some(repairs));
    SequenceStatistics { unit: Unit::Datagrams, received, missing, duplicates, reordered, repairs, restarts }
}

fn cells(tracker: &ContinuityTracker) -> SequenceStatistics {
    let counts = tracker.counts();
    SequenceStatistics {
        unit: Unit::Cells,
        received: counts.packets,
        missing: counts.missing,
        duplicates: counts.duplicates,
        reordered: None,
        repairs: None,
        restarts: 0,
    }
}

fn plain<'a>(format: Format) -> PayloadInfo<'a> {
    PayloadInfo { format, numbers: None, unit: Unit::Datagrams, sent: None, cells: None }
}

fn probe<'a>(header: &SessionHeader) -> PayloadInfo<'a> {
    // A path test numbers the probes of each of its cases, which are streams from 1 on.
    let is_ping = header.kind == MessageType::Probe && header.stream == 0;
    let is_sequenced = is_ping || header.kind == MessageType::Data;
    let session = header.session.0 ^ u64::from(header.stream).rotate_left(48);
    PayloadInfo {
        numbers: is_sequenced.then_some(NumberRange { session, first: header.sequence, count: 1, bits: 64 }),
        sent: is_sequenced.then_some(SendTime::Nanoseconds(header.time.0)),
        ..plain(Format::Probe)
    }
}

fn rtp<'a>(packet: &Rtp<'a>) -> PayloadInfo<'a> {
    let cells = packet.mpeg_ts();
    let sent = clock_rate(packet.payload_type)
        .map(|per_second| SendTime::Ticks { ticks: packet.timestamp, per_second });
    PayloadInfo {
        numbers: Some(NumberRange {
            session: packet.ssrc.into(),
            first: packet.sequence.into(),
            count: 1,
            bits: 16,
        }),
        sent,
        cells,
        ..plain(if cells.is_some() { Format::RtpMpegTs } else { Format::Rtp })
    }
}

/// Returns the RTP timestamp rate in ticks per second (RFC 3551 section 6); `None` for payload types whose
/// clock is negotiated elsewhere.
const fn clock_rate(payload_type: u8) -> Option<u32> {
    Some(match payload_type {
        0 | 3..=5 | 7..=9 | 12 | 13 | 15 | 18 => 8_000,
        6 => 16_000,
        10 | 11 => 44_100,
        16 => 11_025,
        17 => 22_050,
        14 | 25 | 26 | 28 | 31..=34 => 90_000,
        _ => return None,
    })
}

impl Format {
    /// Returns whether a stream of this format may contain a datagram that looks like `other`. RTP with a
    /// transport stream in it may have packets without one.
    fn is_compatible_with(self, other: Self) -> bool {
        self == other || (self.is_rtp() && other.is_rtp())
    }

    const fn is_rtp(self) -> bool {
        matches!(self, Self::Rtp | Self::RtpMpegTs)
    }
}

impl SequenceStatistics {
    /// Returns the share of sent numbers that is missing, from 0 to 1.
    #[must_use]
    pub fn loss(&self) -> f64 {
        let sent = self.received.saturating_sub(self.duplicates).saturating_add(self.missing);
        if sent == 0 { 0.0 } else { self.missing as f64 / sent as f64 }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rtp => "RTP",
            Self::RtpMpegTs => "RTP MPEG-TS",
            Self::MpegTs => "MPEG-TS",
            Self::MoldUdp64 => "MoldUDP64",
            Self::Probe => "mcast",
            Self::Stream => "mcast stream",
            Self::Field => "numbered",
            Self::Ptp => "PTP",
            Self::Mdns => "mDNS",
            Self::Ssdp => "SSDP",
        })
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Datagrams => "datagrams",
            Self::Messages => "messages",
            Self::Cells => "packets",
        })
    }
}
