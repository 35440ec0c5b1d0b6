//! What a stream carries, and what of it is missing by its own numbers.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use mcast_group::Group;
use mcast_packet::Payload;
use mcast_packet::payload::{ContinuityTracker, MpegTs, Rtp, recognize};
use mcast_packet::sequence::{SequenceField, SequenceTracker};
use mcast_probe::wire::{Header, Kind};

use crate::jitter::Sent;
use crate::ledger::{self, Identity, Ledger, Numbered};

/// What a stream carries.
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
    /// A stream of `mcast publish`, as the caller has told ([`Numbered`]).
    Stream,
    /// A number at a place that was told.
    Field,
    /// PTP (IEEE 1588).
    Ptp,
    /// mDNS.
    Mdns,
    /// SSDP.
    Ssdp,
}

/// What is numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// Each datagram.
    Datagrams,
    /// The messages in the datagrams.
    Messages,
    /// The cells of a transport stream; a run of 16 that is lost goes unnoticed.
    Cells,
}

/// What the numbers of a stream say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Numbers {
    /// What is numbered.
    pub unit: Unit,
    /// How many came.
    pub received: u64,
    /// How many are missing, and have not come since.
    pub missing: u64,
    /// How many came more than once.
    pub duplicates: u64,
    /// How many came after a higher one; `None` where the numbers are too small to tell.
    pub reordered: Option<u64>,
    /// How many were sent again and said so, whether they were missing or not; they are neither duplicates nor
    /// reordered. `None` where numbers do not tell.
    pub repairs: Option<u64>,
    /// How often the sender has started again.
    pub restarts: u64,
}

/// Reads the numbers of a stream.
#[derive(Debug, Default)]
pub(crate) struct Numbering {
    format: Option<Format>,
    sequence: Option<Box<Sequence>>,
    /// Of a stream that the caller has told of.
    ledger: Option<Box<(Identity, Ledger)>>,
    /// RTP around it or not.
    continuity: Option<Box<ContinuityTracker>>,
    /// How many datagrams in a row have looked so.
    seen: u32,
}

/// The numbers of one sender's session after another.
#[derive(Debug)]
struct Sequence {
    tracker: SequenceTracker,
    unit: Unit,
    /// Whose numbers they are: RTP's source, MoldUDP64's session.
    session: u64,
    /// What was counted in sessions before.
    before: Sums,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    received: u64,
    missing: u64,
    duplicates: u64,
    reordered: u64,
    restarts: u64,
}

/// What a datagram says of itself.
#[derive(Clone, Copy, Debug)]
struct Dissected<'a> {
    format: Format,
    /// Session, number, how many numbers it stands for, and their bits.
    number: Option<(u64, u64, u64, u32)>,
    unit: Unit,
    sent: Option<Sent>,
    cells: Option<MpegTs<'a>>,
}

/// What a datagram told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// How many more are missing now; negative when some came late.
    pub(crate) lost: i64,
    pub(crate) sent: Option<Sent>,
    /// Another session's numbers begin.
    pub(crate) another_session: bool,
}

impl Numbering {
    /// RTP has so little form that one datagram says nothing.
    const CERTAIN_AFTER: u32 = 3;

    pub(crate) fn observe(
        &mut self,
        group: Group,
        port: u16,
        payload: &[u8],
        field: Option<SequenceField>,
        numbered: Option<&Numbered>,
    ) -> Told {
        if let Some(numbered) = numbered {
            return self.take(numbered);
        }
        let Some(found) = self.dissect(group, port, payload, field) else {
            if !self.is_certain() {
                *self = Self::default();
            }
            return Told { lost: 0, sent: None, another_session: false };
        };
        if self.format.is_some_and(|format| !format.goes_with(found.format)) {
            *self = Self::default();
        }
        let before = self.missing();
        let mut another_session = false;
        if let Some((session, number, run, bits)) = found.number {
            another_session = self.count(session, number, run, bits, found.unit);
        }
        if let Some(cells) = &found.cells {
            self.continuity.get_or_insert_default().observe(cells);
        }
        self.format = Some(found.format);
        let starts_anew = another_session && self.seen < Self::CERTAIN_AFTER;
        self.seen = if starts_anew { 1 } else { self.seen.saturating_add(1) };
        let after = self.missing();
        let lost = i64::try_from(after).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX);
        Told { lost, sent: found.sent, another_session }
    }

    /// Takes what the caller says, who knows.
    fn take(&mut self, numbered: &Numbered) -> Told {
        if self.format.is_some_and(|format| format != Format::Stream) {
            *self = Self::default();
        }
        self.format = Some(Format::Stream);
        let before = self.missing();
        let another_session = match self.ledger.as_deref_mut() {
            Some((identity, ledger)) if identity.stream == numbered.identity.stream => {
                ledger.observe(numbered);
                let incarnation = identity.incarnation.max(numbered.identity.incarnation);
                let is_another = incarnation != identity.incarnation;
                *identity = Identity { incarnation, ..numbered.identity };
                is_another
            }
            _ => {
                let mut ledger = Ledger::default();
                ledger.observe(numbered);
                self.ledger.replace(Box::new((numbered.identity, ledger))).is_some()
            }
        };
        let after = i64::try_from(self.missing()).unwrap_or(i64::MAX);
        Told { lost: after - i64::try_from(before).unwrap_or(i64::MAX), sent: None, another_session }
    }

    /// Which stream the caller said that it is.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.ledger.as_deref().map(|(identity, _)| *identity)
    }

    /// What it carries, once that is certain.
    pub(crate) fn format(&self) -> Option<Format> {
        self.format.filter(|_| self.is_certain())
    }

    /// What the numbers say; `None` if there are none, or nothing is certain yet.
    pub(crate) fn numbers(&self) -> Option<Numbers> {
        if !self.is_certain() {
            return None;
        }
        if let Some((_, ledger)) = self.ledger.as_deref() {
            return Some(told(ledger));
        }
        match &self.sequence {
            Some(sequence) => Some(sequence.numbers()),
            None => self.continuity.as_deref().map(cells),
        }
    }

    /// Places where a transport stream leaps, in RTP or not.
    pub(crate) fn continuity_errors(&self) -> Option<u64> {
        self.continuity.as_ref().filter(|_| self.is_certain()).map(|tracker| tracker.counts().errors)
    }

    fn missing(&self) -> u64 {
        self.numbers().map_or(0, |numbers| numbers.missing)
    }

    fn is_certain(&self) -> bool {
        let strict = self.format.is_some_and(|format| format != Format::Rtp);
        strict || self.seen >= Self::CERTAIN_AFTER
    }

    fn dissect<'a>(
        &self,
        group: Group,
        port: u16,
        payload: &'a [u8],
        field: Option<SequenceField>,
    ) -> Option<Dissected<'a>> {
        if let Some(field) = field {
            let number = field.read(payload)?;
            return Some(Dissected { number: Some((0, number, 1, field.bits())), ..plain(Format::Field) });
        }
        if let Some(header) = Header::decode(payload) {
            return Some(probe(&header));
        }
        // A stream that is RTP for certain may have packets that by themselves would not pass for it.
        let is_rtp = self.format.is_some_and(Format::is_rtp);
        if let Some(known) = self.sequence.as_ref().filter(|_| is_rtp && self.is_certain())
            && let Some(packet) = Rtp::parse(payload)
            && u64::from(packet.ssrc) == known.session
        {
            return Some(rtp(&packet));
        }
        Some(match recognize(port, group.addr(), payload)? {
            Payload::Rtp(packet) => rtp(&packet),
            Payload::MpegTs(stream) => {
                Dissected { cells: Some(stream), unit: Unit::Cells, ..plain(Format::MpegTs) }
            }
            Payload::MoldUdp64(mold) => {
                let mut session = DefaultHasher::new();
                mold.session.hash(&mut session);
                let number = (session.finish(), mold.sequence, mold.messages.len() as u64, 64);
                Dissected { number: Some(number), unit: Unit::Messages, ..plain(Format::MoldUdp64) }
            }
            Payload::Ptp(_) => plain(Format::Ptp),
            Payload::Mdns(_) => plain(Format::Mdns),
            Payload::Ssdp(_) => plain(Format::Ssdp),
            _ => return None,
        })
    }

    /// Counts a number, and says whether it is the first of another session than before.
    fn count(&mut self, session: u64, number: u64, run: u64, bits: u32, unit: Unit) -> bool {
        let mut another = false;
        let sequence = self.sequence.get_or_insert_with(|| Box::new(Sequence::new(session, bits, unit)));
        if sequence.session != session {
            let before = Sums { restarts: sequence.sums().restarts + 1, ..sequence.sums() };
            **sequence = Sequence { before, ..Sequence::new(session, bits, unit) };
            another = true;
        }
        sequence.tracker.observe_run(number, run);
        another
    }
}

impl Sequence {
    fn new(session: u64, bits: u32, unit: Unit) -> Self {
        Self { tracker: SequenceTracker::new(bits), unit, session, before: Sums::default() }
    }

    fn sums(&self) -> Sums {
        let (now, before) = (self.tracker.counts(), self.before);
        Sums {
            received: before.received.saturating_add(now.received),
            missing: before.missing.saturating_add(now.missing),
            duplicates: before.duplicates.saturating_add(now.duplicates),
            reordered: before.reordered.saturating_add(now.reordered),
            restarts: before.restarts.saturating_add(now.restarts),
        }
    }

    fn numbers(&self) -> Numbers {
        let Sums { received, missing, duplicates, reordered, restarts } = self.sums();
        let reordered = Some(reordered);
        Numbers { unit: self.unit, received, missing, duplicates, reordered, repairs: None, restarts }
    }
}

fn told(ledger: &Ledger) -> Numbers {
    let ledger::Sums { received, missing, duplicates, reordered, repairs, restarts } = ledger.sums();
    let (reordered, repairs) = (Some(reordered), Some(repairs));
    Numbers { unit: Unit::Datagrams, received, missing, duplicates, reordered, repairs, restarts }
}

fn cells(tracker: &ContinuityTracker) -> Numbers {
    let counts = tracker.counts();
    Numbers {
        unit: Unit::Cells,
        received: counts.cells,
        missing: counts.missing,
        duplicates: counts.duplicates,
        reordered: None,
        repairs: None,
        restarts: 0,
    }
}

fn plain<'a>(format: Format) -> Dissected<'a> {
    Dissected { format, number: None, unit: Unit::Datagrams, sent: None, cells: None }
}

fn probe<'a>(header: &Header) -> Dissected<'a> {
    let numbered = matches!(header.kind, Kind::Data | Kind::Probe);
    let session = header.session.0 ^ u64::from(header.stream).rotate_left(48);
    Dissected {
        number: numbered.then_some((session, header.sequence, 1, 64)),
        sent: numbered.then_some(Sent::Nanoseconds(header.time.0)),
        ..plain(Format::Probe)
    }
}

fn rtp<'a>(packet: &Rtp<'a>) -> Dissected<'a> {
    let cells = packet.mpeg_ts();
    let sent =
        clock_rate(packet.payload_type).map(|per_second| Sent::Ticks { ticks: packet.timestamp, per_second });
    Dissected {
        number: Some((packet.ssrc.into(), packet.sequence.into(), 1, 16)),
        sent,
        cells,
        ..plain(if cells.is_some() { Format::RtpMpegTs } else { Format::Rtp })
    }
}

/// How many ticks of its time make a second (RFC 3551 section 6); `None` for payload types whose clock is
/// agreed on elsewhere.
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
    /// RTP with a transport stream in it may have a packet without.
    fn goes_with(self, other: Self) -> bool {
        self == other || (self.is_rtp() && other.is_rtp())
    }

    const fn is_rtp(self) -> bool {
        matches!(self, Self::Rtp | Self::RtpMpegTs)
    }
}

impl Numbers {
    /// The share that is missing of what was sent, from 0 to 1.
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
            Self::Cells => "cells",
        })
    }
}
