//! Reading records from the engine ahead of publishing them, and when to publish: after subscribers have joined, at the recorded pace.

use std::collections::VecDeque;
use std::time::Duration;

use mcast_stream::ClockTime;

use super::{ReverseRefusal, StartAt};
use crate::engine::StoredStream;
use crate::record::{ArrivalTime, Position, StreamRecord};

/// Records are read ahead up to this many bytes, and one response more.
const AHEAD: usize = 2 << 20;
/// The first interval at which the end of the stream is read again, which doubles until the longest.
const FIRST_POLL: Duration = Duration::from_millis(2);
const LONGEST_POLL: Duration = Duration::from_millis(64);

/// What a bridge requests of an engine's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceRequest {
    /// The stream that it holds.
    Describe,
    /// The position to start at.
    Locate(StartAt),
    /// The next records from this position on.
    Read(Position),
}

/// The response of an engine's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceResponse {
    /// The stream that it holds; `None` if it holds none yet.
    Described(Option<StoredStream>),
    /// The position to start at, and whether messages with that incarnation may still be appended there; `None` if it is
    /// not known yet.
    Located(Option<(Position, bool)>),
    /// Records, in order. None: there are no more at present.
    Records(Vec<StreamRecord>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Down,
    /// Connected, but what the engine holds is not known.
    Unknown,
    Ready,
}

/// The records that were read, and what to read next.
#[derive(Debug)]
pub(super) struct Reading {
    connection: Connection,
    stored: Option<StoredStream>,
    /// The number of the last request, and whether it has no response.
    number: u64,
    is_waiting: bool,
    /// Where it was found to start.
    start: Option<Position>,
    /// The next position to read.
    from: Option<Position>,
    queue: VecDeque<StreamRecord>,
    bytes: usize,
    /// Whether the last response had no records.
    is_at_end: bool,
    poll_at: ClockTime,
    interval: Duration,
}

impl Reading {
    pub(super) const fn new() -> Self {
        Self {
            connection: Connection::Down,
            stored: None,
            number: 0,
            is_waiting: false,
            start: None,
            from: None,
            queue: VecDeque::new(),
            bytes: 0,
            is_at_end: false,
            poll_at: ClockTime(0),
            interval: FIRST_POLL,
        }
    }

    pub(super) const fn connected(&mut self, now: ClockTime) {
        (self.connection, self.is_waiting, self.poll_at) = (Connection::Unknown, false, now);
    }

    pub(super) const fn disconnected(&mut self) {
        (self.connection, self.is_waiting) = (Connection::Down, false);
    }

    /// Returns the response, unless nobody waits for it any more.
    pub(super) fn accept(&mut self, number: u64, response: SourceResponse) -> Option<SourceResponse> {
        let is_awaited = self.is_waiting && self.number == number;
        self.is_waiting = self.is_waiting && !is_awaited;
        is_awaited.then_some(response)
    }

    /// Notes what the engine holds; returns whether that is known for the first time.
    pub(super) fn described(
        &mut self,
        now: ClockTime,
        stored: Option<StoredStream>,
    ) -> Result<bool, ReverseRefusal> {
        let Some(stored) = stored else {
            self.wait(now);
            return Ok(false);
        };
        let before = self.stored.replace(stored);
        if let Some(before) = before.filter(|before| before.stream != stored.stream) {
            return Err(ReverseRefusal::StreamChanged { from: before.stream, to: stored.stream });
        }
        (self.connection, self.poll_at, self.interval) = (Connection::Ready, now, FIRST_POLL);
        Ok(before.is_none())
    }

    pub(super) fn located(&mut self, now: ClockTime, position: Option<(Position, bool)>) {
        match position {
            Some((position, _)) => self.start(now, position),
            None => self.wait(now),
        }
    }

    pub(super) fn records(&mut self, now: ClockTime, records: Vec<StreamRecord>) {
        self.is_at_end = records.is_empty();
        let Some(last) = records.last() else { return self.wait(now) };
        self.from = Some(last.position.following());
        self.bytes += records.iter().map(StreamRecord::size).sum::<usize>();
        self.queue.extend(records);
        (self.poll_at, self.interval) = (now, FIRST_POLL);
    }

    /// Returns the next request and its number.
    pub(super) fn poll(&mut self, now: ClockTime, start: Option<StartAt>) -> Option<(u64, SourceRequest)> {
        if self.is_waiting || now < self.poll_at {
            return None;
        }
        let request = match (self.connection, self.from) {
            (Connection::Down, _) => return None,
            (Connection::Unknown, _) => SourceRequest::Describe,
            (Connection::Ready, None) => SourceRequest::Locate(start?),
            (Connection::Ready, Some(_)) if self.bytes >= AHEAD => return None,
            (Connection::Ready, Some(from)) => SourceRequest::Read(from),
        };
        self.number += 1;
        self.is_waiting = true;
        Some((self.number, request))
    }

    /// Reads from this position on.
    pub(super) fn start(&mut self, now: ClockTime, position: Position) {
        self.stop();
        (self.start, self.from) = (Some(position), Some(position));
        (self.poll_at, self.interval) = (now, FIRST_POLL);
    }

    /// Reads nothing more, and discards what was read.
    pub(super) fn stop(&mut self) {
        if self.connection == Connection::Ready {
            self.is_waiting = false;
        }
        (self.start, self.from) = (None, None);
        self.queue.clear();
        (self.bytes, self.is_at_end) = (0, false);
    }

    pub(super) fn front(&self) -> Option<&StreamRecord> {
        self.queue.front()
    }

    pub(super) fn pop(&mut self) -> Option<StreamRecord> {
        let record = self.queue.pop_front()?;
        self.bytes -= record.size();
        Some(record)
    }

    /// Returns the position that it started at.
    pub(super) const fn start_position(&self) -> Option<Position> {
        self.start
    }

    pub(super) const fn stored(&self) -> Option<StoredStream> {
        self.stored
    }

    /// Whether everything that the engine holds was read.
    pub(super) fn is_at_end(&self) -> bool {
        self.is_at_end && self.queue.is_empty()
    }

    /// Returns when the next request is due.
    pub(super) fn deadline(&self, locates: bool) -> ClockTime {
        let is_idle = self.is_waiting
            || match self.connection {
                Connection::Down => true,
                Connection::Unknown => false,
                Connection::Ready => self.bytes >= AHEAD || self.from.is_none() && !locates,
            };
        if is_idle { ClockTime::NEVER } else { self.poll_at }
    }

    fn wait(&mut self, now: ClockTime) {
        self.poll_at = now + self.interval;
        self.interval = (2 * self.interval).min(LONGEST_POLL);
    }
}

/// The shortest time, in which bridges that began at the same time hear each other. Incarnations are counted in such
/// times, so that they do not get ahead of the time of day.
const LEAST: Duration = Duration::from_millis(250);
/// After this time, a bridge reports that it waits for more subscribers.
const LONG: Duration = Duration::from_secs(5);
/// How often to look for subscribers.
const INTERVAL: Duration = Duration::from_millis(10);

/// A bridge that has begun and publishes nothing yet. A publisher does not wait for subscribers that it does not know,
/// so that those of the former bridge join first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    since: ClockTime,
    /// How many subscribers to wait for.
    required: u64,
    /// How many subscribers to wait for until the time is over.
    expected: u64,
    limit: Duration,
    is_reported: bool,
}

impl Claim {
    pub(super) const fn new(since: ClockTime, required: u64, expected: u64, limit: Duration) -> Self {
        Self { since, required, expected, limit, is_reported: false }
    }

    pub(super) fn is_over(&self, now: ClockTime, subscribers: u64) -> bool {
        let is_expected = subscribers >= self.expected || now >= self.since + self.limit;
        now >= self.since + LEAST && subscribers >= self.required && is_expected
    }

    /// Returns how many subscribers it waits for, once, when that takes long.
    pub(super) fn report(&mut self, now: ClockTime, subscribers: u64) -> Option<u64> {
        if self.is_reported || subscribers >= self.required || now < self.since + LONG {
            return None;
        }
        self.is_reported = true;
        Some(self.required)
    }

    pub(super) fn deadline(&self, now: ClockTime) -> ClockTime {
        (now + INTERVAL).max(self.since + LEAST)
    }
}

/// Repeats the recorded times at a speed. Where these go back, because another bridge with another clock has recorded
/// them, there is no pause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The speed; `None`: as fast as possible.
    speed: Option<f64>,
    /// When the last message was due, and its recorded time.
    last: Option<(ClockTime, ArrivalTime)>,
}

impl Pace {
    pub(super) const fn new(speed: Option<f64>) -> Self {
        Self { speed, last: None }
    }

    /// Forgets the last message, so that the next one is due at once.
    pub(super) const fn restart(&mut self) {
        self.last = None;
    }

    /// Returns when a message with this recorded time is due.
    pub(super) fn due(&self, now: ClockTime, time: ArrivalTime) -> ClockTime {
        let (Some(speed), Some((due, last))) = (self.speed, self.last) else { return now };
        let pause = time.0.saturating_sub(last.0) as f64 / speed;
        // Conversions of floating-point numbers saturate.
        due + Duration::from_nanos(pause as u64)
    }

    /// Notes that a message with this recorded time was published.
    pub(super) fn advance(&mut self, now: ClockTime, time: ArrivalTime) {
        let due = self.due(now, time);
        self.last = Some((due, self.last.map_or(time, |(_, last)| last.max(time))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::UnixMillis;

    const START: ClockTime = ClockTime(5_000_000_000_000_000);

    fn at(milliseconds: u64) -> ArrivalTime {
        UnixMillis(milliseconds).into()
    }

    #[test]
    fn recorded_pauses_are_divided_by_the_speed() {
        let mut pace = Pace::new(Some(10.0));
        pace.advance(START, at(70_000));
        assert_eq!(pace.due(START, at(71_000)), START + Duration::from_millis(100));
        // It was published late, and the next one is due at its own time.
        pace.advance(START + Duration::from_secs(1), at(71_000));
        assert_eq!(pace.due(START, at(72_000)), START + Duration::from_millis(200));
    }

    #[test]
    fn times_that_go_back_make_no_pause() {
        let mut pace = Pace::new(Some(1.0));
        pace.advance(START, at(70_000));
        pace.advance(START, at(60_000));
        assert_eq!(pace.due(START, at(65_000)), START);
        assert_eq!(pace.due(START, at(70_500)), START + Duration::from_millis(500));
    }

    #[test]
    fn without_a_speed_everything_is_due() {
        let mut pace = Pace::new(None);
        pace.advance(START, ArrivalTime(1));
        assert_eq!(pace.due(START, ArrivalTime(u64::MAX)), START);
    }
}
