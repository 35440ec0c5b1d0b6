//! The receiver's statistics of one session.

use std::time::Duration;

use mcast_pace::ClockTime;

use crate::wire::{ReceiverReport, SessionHeader, SessionSettings, UnixNanos};
use crate::{ClockRelation, DropCounts, Histogram, Jitter, LossCounter};

/// The totals of a session over all its streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionTotals {
    /// Datagrams sent, as far as known.
    pub sent: u64,
    /// Distinct datagrams received.
    pub received: u64,
    /// Datagrams sent but not received.
    pub lost: u64,
    /// Duplicates.
    pub duplicated: u64,
    /// Datagrams received after one that was sent later.
    pub reordered: u64,
    /// Datagrams too old to be recognized as duplicates or not.
    pub too_late: u64,
    /// Datagrams sent before the first one received.
    pub before_first: u64,
    /// Bytes of payload received, duplicates included.
    pub bytes: u64,
}

impl SessionTotals {
    /// Returns the increase since an earlier moment.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            sent: self.sent.saturating_sub(earlier.sent),
            received: self.received.saturating_sub(earlier.received),
            lost: self.lost.saturating_sub(earlier.lost),
            duplicated: self.duplicated.saturating_sub(earlier.duplicated),
            reordered: self.reordered.saturating_sub(earlier.reordered),
            too_late: self.too_late.saturating_sub(earlier.too_late),
            before_first: self.before_first.saturating_sub(earlier.before_first),
            bytes: self.bytes.saturating_sub(earlier.bytes),
        }
    }
}

/// What a receiver's system has counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemCounters {
    /// Datagrams dropped, by drop point.
    pub drops: DropCounts,
    /// Receive calls that returned datagrams.
    pub receive_calls: u64,
    /// Coalesced buffers received (UDP GRO).
    pub coalesced: u64,
}

/// One session of one sender, as received on one interface.
#[derive(Debug, Default)]
pub struct Session {
    settings: Option<SessionSettings>,
    /// For each stream number, its index in `streams` plus one, or 0.
    stream_indices: Vec<u16>,
    streams: Vec<Stream>,
    bytes: u64,
    delays: Histogram,
    clock: u64,
    negative_delays: u64,
    first: Option<UnixNanos>,
    last: UnixNanos,
    /// Time of the latest message, by the receiver's own clock.
    last_message: ClockTime,
    /// The system's counters before the session.
    before: SystemCounters,
    reports: u32,
    /// The totals at the end of the last interval.
    shown: SessionTotals,
    /// The end of the last interval, from the first arrival on.
    shown_until: Duration,
}

/// What a session has received in an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionInterval {
    /// Its start, from the first arrival of the session on. It is the end of the interval before.
    pub from: Duration,
    /// Its end.
    pub to: Duration,
    /// What was received in it.
    pub totals: SessionTotals,
}

#[derive(Debug)]
struct Stream {
    counter: LossCounter,
    /// Whether its end has been received.
    is_closed: bool,
    jitter: Jitter,
}

impl Session {
    /// Creates an empty session for a receiver whose clock has this id (see [`SessionSettings::clock`]), and whose
    /// system had these counters before.
    #[must_use]
    pub fn new(clock: u64, before: SystemCounters) -> Self {
        Self { clock, before, ..Self::default() }
    }

    /// Returns whether anything of the stream has been received.
    #[must_use]
    pub fn has_stream(&self, stream: u16) -> bool {
        self.index_of(stream).is_some()
    }

    /// Records a datagram of `length` bytes that arrived at `arrival`, which is `now` by the receiver's own
    /// clock.
    pub fn data(&mut self, header: &SessionHeader, length: usize, arrival: UnixNanos, now: ClockTime) {
        let transit = arrival.since(header.time);
        let stream = self.stream(header.stream);
        stream.counter.record(header.sequence);
        stream.jitter.record(transit);
        match u64::try_from(transit) {
            Ok(delay) => self.delays.record(delay),
            Err(_) => self.negative_delays += 1,
        }
        self.bytes += length as u64;
        self.first.get_or_insert(arrival);
        self.last = self.last.max(arrival);
        self.last_message = now;
    }

    /// Records the start of a stream.
    pub fn open(&mut self, header: &SessionHeader, settings: &SessionSettings, now: ClockTime) {
        self.settings = Some(*settings);
        self.stream(header.stream).counter.begin(0);
        self.last_message = now;
    }

    /// Records the end of a stream. The end of a stream of which nothing was received is ignored.
    pub fn close(&mut self, header: &SessionHeader, settings: &SessionSettings, now: ClockTime) {
        self.settings = Some(*settings);
        if self.has_stream(header.stream) {
            let stream = self.stream(header.stream);
            stream.counter.reach(header.sequence);
            stream.is_closed = true;
        }
        self.last_message = now;
    }

    fn index_of(&self, stream: u16) -> Option<usize> {
        let index = *self.stream_indices.get(usize::from(stream))?;
        usize::from(index).checked_sub(1)
    }

    fn stream(&mut self, number: u16) -> &mut Stream {
        let index = self.index_of(number).unwrap_or_else(|| self.add_stream(number));
        &mut self.streams[index]
    }

    fn add_stream(&mut self, number: u16) -> usize {
        let length = usize::from(number) + 1;
        if self.stream_indices.len() < length {
            self.stream_indices.resize(length, 0);
        }
        self.streams.push(Stream {
            counter: LossCounter::of_session(),
            is_closed: false,
            jitter: Jitter::default(),
        });
        // A session has at most 65,535 streams: `Sessions` admits fewer.
        self.stream_indices[usize::from(number)] = u16::try_from(self.streams.len()).unwrap_or(u16::MAX);
        self.streams.len() - 1
    }

    /// Returns the number of streams received.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Returns the sender's settings, if they have been received.
    #[must_use]
    pub const fn settings(&self) -> Option<&SessionSettings> {
        self.settings.as_ref()
    }

    /// Returns the totals over all streams.
    #[must_use]
    pub fn totals(&self) -> SessionTotals {
        let mut totals = SessionTotals { bytes: self.bytes, ..SessionTotals::default() };
        for counter in self.streams.iter().map(|stream| &stream.counter) {
            let counts = counter.counts();
            totals.sent += counts.received + counts.missing;
            totals.received += counts.received;
            totals.lost += counts.missing;
            totals.duplicated += counts.duplicates;
            totals.reordered += counts.reordered;
            totals.too_late += counts.strays;
            totals.before_first += counter.first().unwrap_or(0);
        }
        totals
    }

    /// Returns the interval that ends at `time`, if a multiple of `length` has passed since the first arrival and since the
    /// last interval. Once all streams are closed, what is left is [`rest`](Self::rest).
    pub fn interval(&mut self, time: UnixNanos, length: Duration) -> Option<SessionInterval> {
        let since = u64::try_from(time.since(self.first?)).map_or(Duration::ZERO, Duration::from_nanos);
        let multiples = |span: Duration| span.as_nanos().checked_div(length.as_nanos());
        let is_over = multiples(since) > multiples(self.shown_until);
        (!self.is_closed() && is_over).then(|| self.until(since))
    }

    /// Returns the interval from the last one to the last arrival.
    pub fn rest(&mut self) -> SessionInterval {
        self.until(self.elapsed().max(self.shown_until))
    }

    fn until(&mut self, to: Duration) -> SessionInterval {
        let totals = self.totals();
        let from = std::mem::replace(&mut self.shown_until, to);
        SessionInterval { from, to, totals: totals.since(&std::mem::replace(&mut self.shown, totals)) }
    }

    /// Returns the next report of a receiver with this random id, whose system now has these counters.
    pub fn report(&mut self, receiver: u64, now: &SystemCounters) -> ReceiverReport {
        self.reports = self.reports.saturating_add(1);
        let totals = self.totals();
        ReceiverReport {
            receiver,
            number: self.reports,
            sent: totals.sent,
            received: totals.received,
            lost: totals.lost,
            duplicated: totals.duplicated,
            reordered: totals.reordered,
            before_first: totals.before_first,
            bytes: totals.bytes,
            elapsed: self.elapsed(),
            jitter: self.jitter(),
            delays: self.delays().and_then(Histogram::percentiles),
            clocks: self.clocks(),
            receive_calls: now.receive_calls.saturating_sub(self.before.receive_calls),
            closed: self.is_closed(),
            gro: now.coalesced > self.before.coalesced,
            drops: now.drops.since(&self.before.drops),
        }
    }

    /// Returns whether the end of every stream has been received.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !self.streams.is_empty() && self.streams.iter().all(|stream| stream.is_closed)
    }

    /// Returns the time from the first arrival to the last.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let elapsed = self.first.map_or(0, |first| self.last.since(first));
        Duration::from_nanos(u64::try_from(elapsed).unwrap_or(0))
    }

    /// Returns the interarrival jitter of the stream with the highest.
    #[must_use]
    pub fn jitter(&self) -> Duration {
        self.streams.iter().map(|stream| stream.jitter.value()).max().unwrap_or_default()
    }

    /// Returns how the clocks relate.
    #[must_use]
    pub fn clocks(&self) -> ClockRelation {
        let same = self.clock != 0 && self.settings.is_some_and(|settings| settings.clock == self.clock);
        match (self.negative_delays, same) {
            (0, true) => ClockRelation::Same,
            (0, false) => ClockRelation::Unknown,
            _ => ClockRelation::Apart,
        }
    }

    /// Returns the times from sending to arrival; `None` if the clocks differ.
    #[must_use]
    pub fn delays(&self) -> Option<&Histogram> {
        (self.clocks() != ClockRelation::Apart).then_some(&self.delays)
    }

    /// Returns the time since the latest message.
    #[must_use]
    pub fn silence(&self, now: ClockTime) -> Duration {
        now.since(self.last_message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MessageType, SessionId};

    const START: ClockTime = ClockTime(0);

    fn header(stream: u16, sequence: u64, time: u64) -> SessionHeader {
        let time = UnixNanos(time);
        SessionHeader { stream, sequence, time, ..SessionHeader::new(MessageType::Data, SessionId(1)) }
    }

    fn receive(session: &mut Session, stream: u16, sequence: u64, sent: u64, arrived: u64) {
        session.data(&header(stream, sequence, sent), 100, UnixNanos(arrived), START);
    }

    #[test]
    fn streams_are_counted_separately_and_totalled() {
        let mut session = Session::new(0, SystemCounters::default());
        session.open(&header(1, 0, 0), &SessionSettings::default(), START);
        session.open(&header(700, 0, 0), &SessionSettings::default(), START);
        for (stream, sequence) in [(1, 0), (700, 0), (1, 1), (700, 2), (700, 2)] {
            receive(&mut session, stream, sequence, 0, 10);
        }
        session.close(&header(1, 2, 0), &SessionSettings::default(), START);
        assert!(!session.is_closed());
        session.close(&header(700, 4, 0), &SessionSettings::default(), START);
        assert!(session.is_closed());
        let totals = session.totals();
        assert_eq!((totals.sent, totals.received, totals.lost, totals.duplicated), (6, 4, 2, 1));
        assert_eq!((totals.bytes, session.streams()), (500, 2));
    }

    #[test]
    fn closing_an_unknown_stream_has_no_effect() {
        let mut session = Session::new(0, SystemCounters::default());
        receive(&mut session, 0, 0, 0, 1);
        session.close(&header(1, 1_000, 0), &SessionSettings::default(), START);
        assert_eq!((session.totals().sent, session.is_closed()), (1, false));
    }

    #[test]
    fn delays_are_dropped_once_one_is_negative() {
        let mut session = Session::new(7, SystemCounters::default());
        assert_eq!(session.clocks(), ClockRelation::Unknown);
        let settings = SessionSettings { clock: 7, ..SessionSettings::default() };
        session.open(&header(0, 0, 0), &settings, START);
        receive(&mut session, 0, 0, 1_000, 1_100);
        assert_eq!(session.clocks(), ClockRelation::Same);
        assert_eq!(session.delays().unwrap().min(), Some(Duration::from_nanos(100)));
        receive(&mut session, 0, 1, 2_000, 1_999);
        assert_eq!(session.clocks(), ClockRelation::Apart);
        assert!(session.delays().is_none());
    }

    #[test]
    fn elapsed_time_spans_first_to_last_arrival() {
        let mut session = Session::new(0, SystemCounters::default());
        assert_eq!(session.elapsed(), Duration::ZERO);
        for arrived in [5_000, 9_000, 8_000] {
            receive(&mut session, 0, arrived, 0, arrived);
        }
        assert_eq!(session.elapsed(), Duration::from_nanos(4_000));
    }

    #[test]
    fn silence_is_measured_by_the_receivers_own_clock() {
        let mut session = Session::new(0, SystemCounters::default());
        let at = |seconds| START + Duration::from_secs(seconds);
        session.data(&header(0, 0, 0), 1, UnixNanos(0), at(3));
        assert_eq!(session.silence(at(5)), Duration::from_secs(2));
        assert_eq!(session.silence(at(1)), Duration::ZERO);
    }
}
