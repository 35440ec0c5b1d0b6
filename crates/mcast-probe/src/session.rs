//! What a receiver knows of one session of a sender.

use std::time::Duration;

use crate::wire::{Header, Settings, UnixNanos};
use crate::{Histogram, Jitter, SequenceLog};

/// What the sender's clock and the receiver's have to do with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clocks {
    /// They are the same: delays are exact.
    Same,
    /// Of different machines: delays are right as far as the clocks agree.
    #[default]
    Unknown,
    /// Something arrived before it was sent, so they are apart: delays mean nothing.
    Apart,
}

/// What came of a session: sums over its streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many were sent, as far as is known.
    pub sent: u64,
    /// How many different ones came.
    pub received: u64,
    /// How many did not.
    pub lost: u64,
    /// How many came once more.
    pub duplicated: u64,
    /// How many came after one that was sent later.
    pub reordered: u64,
    /// How many came too late to tell whether they had come before.
    pub too_late: u64,
    /// How many were sent before the first was heard.
    pub unheard: u64,
    /// Bytes of payload that came, duplicates included.
    pub bytes: u64,
}

/// One session of one sender, as a receiver hears it on one interface.
#[derive(Debug, Default)]
pub struct Session {
    settings: Option<Settings>,
    /// For each stream number one more than its place in `streams`, or 0.
    places: Vec<u16>,
    streams: Vec<Stream>,
    bytes: u64,
    delays: Histogram,
    clock: u64,
    before_sent: u64,
    first: Option<UnixNanos>,
    last: UnixNanos,
    /// When something was last heard, by the receiver's own clock.
    heard: Duration,
}

#[derive(Debug, Default)]
struct Stream {
    log: SequenceLog,
    jitter: Jitter,
}

impl Session {
    /// A session of which nothing is known, heard by whoever has this clock (see
    /// [`Settings::clock`]).
    #[must_use]
    pub fn new(clock: u64) -> Self {
        Self { clock, ..Self::default() }
    }

    /// Whether the stream has been heard of.
    #[must_use]
    pub fn knows(&self, stream: u16) -> bool {
        self.place(stream).is_some()
    }

    /// A datagram of so many bytes came at this time, `now` by the receiver's own clock.
    pub fn data(&mut self, header: &Header, length: usize, arrival: UnixNanos, now: Duration) {
        let transit = arrival.since(header.time);
        let stream = self.stream(header.stream);
        stream.log.record(header.sequence);
        stream.jitter.record(transit);
        match u64::try_from(transit) {
            Ok(delay) => self.delays.record(delay),
            Err(_) => self.before_sent += 1,
        }
        self.bytes += length as u64;
        self.first.get_or_insert(arrival);
        self.last = self.last.max(arrival);
        self.heard = now;
    }

    /// A stream begins.
    pub fn open(&mut self, header: &Header, settings: &Settings, now: Duration) {
        self.settings = Some(*settings);
        self.stream(header.stream).log.open();
        self.heard = now;
    }

    /// A stream has ended. One that was not heard of before is none of this receiver's.
    pub fn close(&mut self, header: &Header, settings: &Settings, now: Duration) {
        self.settings = Some(*settings);
        if self.knows(header.stream) {
            self.stream(header.stream).log.close(header.sequence);
        }
        self.heard = now;
    }

    fn place(&self, stream: u16) -> Option<usize> {
        let place = *self.places.get(usize::from(stream))?;
        usize::from(place).checked_sub(1)
    }

    fn stream(&mut self, number: u16) -> &mut Stream {
        let place = self.place(number).unwrap_or_else(|| self.add_stream(number));
        &mut self.streams[place]
    }

    fn add_stream(&mut self, number: u16) -> usize {
        let least = usize::from(number) + 1;
        if self.places.len() < least {
            self.places.resize(least, 0);
        }
        self.streams.push(Stream::default());
        // A session has at most 65,535 streams: `Sessions` admits fewer.
        self.places[usize::from(number)] = u16::try_from(self.streams.len()).unwrap_or(u16::MAX);
        self.streams.len() - 1
    }

    /// How many streams were heard of.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// What the sender said of itself, if that was heard.
    #[must_use]
    pub const fn settings(&self) -> Option<&Settings> {
        self.settings.as_ref()
    }

    /// What came, in all.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { bytes: self.bytes, ..Totals::default() };
        for log in self.streams.iter().map(|stream| &stream.log) {
            totals.sent += log.sent();
            totals.received += log.received();
            totals.lost += log.lost();
            totals.duplicated += log.duplicated();
            totals.reordered += log.reordered();
            totals.too_late += log.too_late();
            totals.unheard += log.unheard();
        }
        totals
    }

    /// Whether the closing of every stream was heard.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !self.streams.is_empty() && self.streams.iter().all(|stream| stream.log.is_closed())
    }

    /// From the first arrival to the last.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let elapsed = self.first.map_or(0, |first| self.last.since(first));
        Duration::from_nanos(u64::try_from(elapsed).unwrap_or(0))
    }

    /// Interarrival jitter, of the stream that has most.
    #[must_use]
    pub fn jitter(&self) -> Duration {
        self.streams.iter().map(|stream| stream.jitter.value()).max().unwrap_or_default()
    }

    /// What the clocks have to do with each other.
    #[must_use]
    pub fn clocks(&self) -> Clocks {
        let same = self.clock != 0 && self.settings.is_some_and(|settings| settings.clock == self.clock);
        match (self.before_sent, same) {
            (0, true) => Clocks::Same,
            (0, false) => Clocks::Unknown,
            _ => Clocks::Apart,
        }
    }

    /// The times from sending to arrival; `None` where the clocks are apart.
    #[must_use]
    pub fn delays(&self) -> Option<&Histogram> {
        (self.clocks() != Clocks::Apart).then_some(&self.delays)
    }

    /// How long nothing has been heard.
    #[must_use]
    pub fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(self.heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Kind, SessionId};

    fn header(stream: u16, sequence: u64, time: u64) -> Header {
        Header { kind: Kind::Data, stream, session: SessionId(1), sequence, time: UnixNanos(time) }
    }

    fn hear(session: &mut Session, stream: u16, sequence: u64, sent: u64, arrived: u64) {
        session.data(&header(stream, sequence, sent), 100, UnixNanos(arrived), Duration::ZERO);
    }

    #[test]
    fn streams_are_counted_apart_and_summed_up() {
        let mut session = Session::new(0);
        session.open(&header(1, 0, 0), &Settings::default(), Duration::ZERO);
        session.open(&header(700, 0, 0), &Settings::default(), Duration::ZERO);
        for (stream, sequence) in [(1, 0), (700, 0), (1, 1), (700, 2), (700, 2)] {
            hear(&mut session, stream, sequence, 0, 10);
        }
        session.close(&header(1, 2, 0), &Settings::default(), Duration::ZERO);
        assert!(!session.is_closed());
        session.close(&header(700, 4, 0), &Settings::default(), Duration::ZERO);
        assert!(session.is_closed());
        let totals = session.totals();
        assert_eq!((totals.sent, totals.received, totals.lost, totals.duplicated), (6, 4, 2, 1));
        assert_eq!((totals.bytes, session.streams()), (500, 2));
    }

    #[test]
    fn a_stream_that_was_not_heard_of_closes_nothing() {
        let mut session = Session::new(0);
        hear(&mut session, 0, 0, 0, 1);
        session.close(&header(1, 1_000, 0), &Settings::default(), Duration::ZERO);
        assert_eq!((session.totals().sent, session.is_closed()), (1, false));
    }

    #[test]
    fn delays_count_only_while_nothing_arrives_before_it_was_sent() {
        let mut session = Session::new(7);
        assert_eq!(session.clocks(), Clocks::Unknown);
        let settings = Settings { clock: 7, ..Settings::default() };
        session.open(&header(0, 0, 0), &settings, Duration::ZERO);
        hear(&mut session, 0, 0, 1_000, 1_100);
        assert_eq!(session.clocks(), Clocks::Same);
        assert_eq!(session.delays().unwrap().min(), Some(Duration::from_nanos(100)));
        hear(&mut session, 0, 1, 2_000, 1_999);
        assert_eq!(session.clocks(), Clocks::Apart);
        assert!(session.delays().is_none());
    }

    #[test]
    fn time_runs_from_the_first_arrival_to_the_last() {
        let mut session = Session::new(0);
        assert_eq!(session.elapsed(), Duration::ZERO);
        for arrived in [5_000, 9_000, 8_000] {
            hear(&mut session, 0, arrived, 0, arrived);
        }
        assert_eq!(session.elapsed(), Duration::from_nanos(4_000));
    }

    #[test]
    fn silence_is_measured_by_the_receivers_own_clock() {
        let mut session = Session::new(0);
        session.data(&header(0, 0, 0), 1, UnixNanos(0), Duration::from_secs(3));
        assert_eq!(session.silence(Duration::from_secs(5)), Duration::from_secs(2));
        assert_eq!(session.silence(Duration::from_secs(1)), Duration::ZERO);
    }
}
