//! One reading of a history, from the position on: what is requested, and how long that may take, in time for which the
//! process has run.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::wire::{AnswerStatus, RecordReader};
use crate::ClockTime;
use crate::random::Random;
use crate::subscriber::Cause;
use crate::wire::Position;

/// The interval of requests that bring nothing new, which doubles until the longest.
const FIRST_RETRY: Duration = Duration::from_millis(20);
const LONGEST_RETRY: Duration = Duration::from_millis(200);
/// The longest interval of requests that fail. A part of it is random, so that the clients of a server that restarts do
/// not come back all at once.
const LONGEST_FAILED_RETRY: Duration = Duration::from_secs(1);
/// A client adds a random time to the one that a server sends it away for: up to one part in this many.
const WAIT_JITTER: u32 = 8;
/// The shortest and the longest time for which a server can send a client away. Others count as these.
pub(super) const SHORTEST_WAIT: Duration = Duration::from_millis(50);
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest time after which a server can expect a client back. It stands for longer times, too.
pub const LONGEST_EXPECTED: Duration = LONGEST_WAIT;
/// A request on whose connection no byte arrives for this time is made again on another one: after an outage, a connection stays
/// stalled for as long again. It doubles each time, so that a server that is only slow is not asked again and again.
const SHORTEST_STALL: Duration = Duration::from_secs(1);
const LONGEST_STALL: Duration = Duration::from_secs(8);
/// The longest such time before the first byte: a server greets at once.
const LONGEST_OPENING: Duration = Duration::from_secs(3);
/// All subscribers that search a server see the same announcement. Each waits for a random part of this time before it
/// connects, so that the server can accept all.
const SPREAD: Duration = Duration::from_millis(500);

/// The request of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exchange {
    /// None is under way. The next one is sent when its time has come.
    None,
    /// The one with this number is under way.
    UnderWay(u64),
    /// It was answered, and ended like this. The next one follows once the records are taken.
    Answered(AnswerStatus),
}

/// Reading the history from the position on.
#[derive(Debug)]
pub(super) struct Reading {
    /// Why the messages are missing.
    pub(super) cause: Cause,
    exchange: Exchange,
    /// The frames of the answer, whose records are still to be taken. A message that is delivered is in the first.
    pub(super) frames: VecDeque<(Vec<u8>, RecordReader)>,
    /// When the position last advanced.
    pub(super) progress_at: RunTime,
    /// When the server last showed that it is there, or else when the reading began.
    answered_at: RunTime,
    /// When a byte of the answer last arrived, or else when it was requested.
    byte_at: RunTime,
    /// Whether any has.
    has_bytes: bool,
    /// The longest time without a byte of this answer, and how long that may be.
    slowest: Duration,
    stall: Duration,
    /// Whether it was reported that no server answers, and none has since.
    is_wait_reported: bool,
    /// Since when each answer has ended without anything new.
    lacks_since: Option<RunTime>,
    next_request_at: ClockTime,
    retry: Duration,
    /// Until when the server has sent this client away.
    away_until: Option<RunTime>,
    /// Whether that was reported, and no answer has arrived since.
    is_queue_reported: bool,
    /// The position of the last request.
    requested_from: Option<Position>,
    /// Whether a server has sent records, or that there are none at present.
    pub(super) is_answered: bool,
    /// Since when the answers reach the end of the history.
    pub(super) edge_since: Option<RunTime>,
}

impl Reading {
    /// Returns a reading that has brought nothing since `run`.
    pub(super) const fn new(now: ClockTime, run: RunTime, cause: Cause) -> Self {
        Self {
            cause,
            exchange: Exchange::None,
            frames: VecDeque::new(),
            progress_at: run,
            answered_at: run,
            byte_at: run,
            has_bytes: false,
            slowest: Duration::ZERO,
            stall: SHORTEST_STALL,
            is_wait_reported: false,
            lacks_since: None,
            next_request_at: now,
            retry: FIRST_RETRY,
            away_until: None,
            is_queue_reported: false,
            requested_from: None,
            is_answered: false,
            edge_since: None,
        }
    }

    /// Returns the request that is under way.
    pub(super) const fn request(&self) -> Option<u64> {
        match self.exchange {
            Exchange::UnderWay(id) => Some(id),
            Exchange::None | Exchange::Answered(_) => None,
        }
    }

    /// Returns when the next request may be sent; `None` while one is under way.
    pub(super) const fn next_request_at(&self) -> Option<ClockTime> {
        match self.exchange {
            Exchange::UnderWay(_) => None,
            Exchange::None | Exchange::Answered(_) => Some(self.next_request_at),
        }
    }

    /// Plans the next request, after the records of the last answer are taken; returns whether it is due.
    pub(super) fn is_due(&mut self, now: ClockTime, position: Option<Position>) -> bool {
        if let Exchange::Answered(status) = self.exchange {
            let has_advanced = position != self.requested_from;
            // At the end of a history, requests become rarer until there is something new.
            self.retry = if has_advanced { FIRST_RETRY } else { (2 * self.retry).min(LONGEST_RETRY) };
            let is_at_once = status == AnswerStatus::More && has_advanced;
            self.next_request_at = if is_at_once { now } else { now + self.retry };
            self.exchange = Exchange::None;
        }
        self.exchange == Exchange::None && now >= self.next_request_at
    }

    /// Notes that the request with this number is sent.
    pub(super) const fn ask(&mut self, run: RunTime, id: u64, from: Option<Position>) {
        (self.exchange, self.requested_from) = (Exchange::UnderWay(id), from);
        (self.byte_at, self.has_bytes, self.slowest) = (run, false, Duration::ZERO);
    }

    /// Notes that bytes of the answer have arrived, or that the records that have arrived are still to be taken.
    pub(super) fn record_bytes(&mut self, run: RunTime) {
        self.slowest = self.slowest.max(run.since(self.byte_at));
        (self.byte_at, self.has_bytes) = (run, true);
    }

    /// Whether a request is under way on whose connection nothing arrives.
    pub(super) fn is_stalled(&self, run: RunTime) -> bool {
        self.stalled_at().is_some_and(|at| run >= at)
    }

    /// When the request that is under way is stalled, if nothing arrives until then.
    fn stalled_at(&self) -> Option<RunTime> {
        let longest = if self.has_bytes { self.stall } else { self.stall.min(LONGEST_OPENING) };
        self.request().map(|_| self.byte_at + longest)
    }

    /// Gives up a request on whose connection nothing arrives, and waits for longer the next time.
    pub(super) fn give_up_stalled(&mut self, now: ClockTime, random: &mut Random) {
        self.stall = (2 * self.stall).min(LONGEST_STALL);
        self.fail(now, random);
    }

    /// Requests again soon, because the publisher is heard again: what is under way may have been stalled meanwhile.
    pub(super) fn begin_again(&mut self, now: ClockTime, run: RunTime, random: &mut Random) {
        self.lacks_since = None;
        let is_moving = self.request().is_some() && run < self.byte_at + SHORTEST_STALL;
        let is_away = self.away_until.is_some_and(|until| run < until);
        if !is_moving && !is_away && !matches!(self.exchange, Exchange::Answered(_)) {
            (self.exchange, self.retry, self.stall) = (Exchange::None, FIRST_RETRY, SHORTEST_STALL);
            self.next_request_at = now + random.below(SPREAD);
        }
    }

    pub(super) fn postpone_to(&mut self, at: ClockTime) {
        self.next_request_at = self.next_request_at.max(at);
    }

    /// Delays the next request, because other subscribers have found the same server at the same time.
    pub(super) fn spread(&mut self, now: ClockTime, random: &mut Random) {
        self.postpone_to(now + random.below(SPREAD));
    }

    /// Notes that a server has answered, or continues its answer.
    pub(super) fn record_answer(&mut self, run: RunTime) {
        self.record_bytes(run);
        (self.answered_at, self.is_wait_reported) = (run, false);
        (self.is_answered, self.is_queue_reported) = (true, false);
    }

    /// Notes the end of an answer.
    pub(super) fn record_end(&mut self, run: RunTime, status: AnswerStatus) {
        self.record_answer(run);
        // A server that takes its time is given as much again.
        self.stall = (2 * self.slowest).clamp(SHORTEST_STALL, LONGEST_STALL);
        if status == AnswerStatus::Edge {
            self.edge_since.get_or_insert(run);
        }
        // If there is something new among the records, that is not so.
        self.lacks_since.get_or_insert(run);
        self.exchange = Exchange::Answered(status);
    }

    /// Whether to report that no server has answered for this time.
    pub(super) fn reports_wait(&mut self, run: RunTime, timeout: Duration) -> bool {
        run >= self.answered_at + timeout && !core::mem::replace(&mut self.is_wait_reported, true)
    }

    /// Whether a server says, each time that it is asked, that it has nothing more.
    pub(super) const fn lacks_more(&self) -> bool {
        self.lacks_since.is_some()
    }

    /// Comes back after this time; returns whether that must be reported.
    pub(super) fn send_away(
        &mut self,
        now: ClockTime,
        run: RunTime,
        wait: Duration,
        random: &mut Random,
    ) -> bool {
        let wait = wait + random.below(wait / WAIT_JITTER);
        (self.away_until, self.next_request_at) = (Some(run + wait), now + wait);
        (self.answered_at, self.is_wait_reported) = (run + wait, false);
        self.exchange = Exchange::None;
        !core::mem::replace(&mut self.is_queue_reported, true)
    }

    /// Requests again after some time, because there is no answer, or no complete one.
    pub(super) fn fail(&mut self, now: ClockTime, random: &mut Random) {
        (self.exchange, self.lacks_since) = (Exchange::None, None);
        self.retry = (2 * self.retry).min(LONGEST_FAILED_RETRY);
        self.next_request_at = now + self.retry / 2 + random.below(self.retry / 2);
    }

    pub(super) const fn record_progress(&mut self, run: RunTime) {
        (self.progress_at, self.edge_since, self.lacks_since) = (run, None, None);
    }

    /// Returns when the timeout is over, which does not begin before `heard_since`. Until then, servers can send it away for at
    /// most `longest_away`.
    pub(super) fn given_up_at(
        &self,
        heard_since: RunTime,
        timeout: Duration,
        longest_away: Duration,
    ) -> RunTime {
        let since = self.lacks_since.unwrap_or(self.progress_at).max(heard_since);
        let away_until = self.away_until.map(|until| until.min(self.progress_at + longest_away));
        let over_at = away_until.map_or(since, |until| until.max(since)) + timeout;
        // What a server has said holds until it does not answer any more.
        let asked_until = self.stalled_at().filter(|_| self.lacks_more());
        asked_until.map_or(over_at, |until| until.max(over_at))
    }
}

/// A moment in the time for which the process has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RunTime(ClockTime);

impl RunTime {
    /// Returns the time since another moment; 0 if that is later.
    pub(super) fn since(self, earlier: Self) -> Duration {
        self.0.since(earlier.0)
    }
}

impl core::ops::Add<Duration> for RunTime {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0 + span)
    }
}

/// Counts the time for which the process runs. While it is suspended, or its machine is, nothing calls this.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunningClock {
    /// The time of the last call.
    seen: ClockTime,
    ran: RunTime,
}

impl RunningClock {
    /// The longest time between two calls while the process runs. Of a longer one, only this much counts.
    pub(super) const LONGEST_STEP: Duration = Duration::from_millis(250);

    pub(super) const fn new(now: ClockTime) -> Self {
        Self { seen: now, ran: RunTime(ClockTime::START) }
    }

    /// Notes that the process runs.
    #[inline]
    pub(super) fn note(&mut self, now: ClockTime) {
        self.ran = self.ran + now.since(self.seen).min(Self::LONGEST_STEP);
        self.seen = self.seen.max(now);
    }

    pub(super) const fn now(&self) -> RunTime {
        self.ran
    }

    /// Returns when this moment is reached if the process runs until then.
    pub(super) fn earliest(&self, moment: RunTime) -> ClockTime {
        self.seen + moment.since(self.ran)
    }

    /// Returns when [`note`](Self::note) has to be called at the latest.
    pub(super) fn next_note(&self) -> ClockTime {
        self.seen + Self::LONGEST_STEP
    }
}

/// Counts the time in which servers are asked or searched: that between two readings, in which the application may be busy, is
/// left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct AskingClock {
    /// When it was 0, if it had run since then.
    zero: RunTime,
    stopped_at: Option<RunTime>,
}

impl AskingClock {
    /// Returns a clock that does not run.
    pub(super) const fn new(run: RunTime) -> Self {
        Self { zero: run, stopped_at: Some(run) }
    }

    pub(super) fn start(&mut self, run: RunTime) {
        if let Some(at) = self.stopped_at.take() {
            self.zero = self.zero + run.since(at);
        }
    }

    pub(super) const fn stop(&mut self, run: RunTime) {
        self.stopped_at = Some(run);
    }

    pub(super) fn at(&self, run: RunTime) -> Duration {
        self.stopped_at.unwrap_or(run).since(self.zero)
    }

    /// Returns when it would have shown this time, if it had not stopped since.
    pub(super) fn moment(&self, asked: Duration) -> RunTime {
        self.zero + asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_calls_counts_as_one_step() {
        let mut clock = RunningClock::new(ClockTime(5));
        let start = clock.now();
        clock.note(ClockTime(5) + Duration::from_millis(100));
        clock.note(ClockTime(5) + Duration::from_secs(3_600));
        // A clock that goes back is not followed.
        clock.note(ClockTime(0));
        assert_eq!(clock.now().since(start), Duration::from_millis(100) + RunningClock::LONGEST_STEP);
        let moment = clock.now() + Duration::from_secs(1);
        assert_eq!(clock.earliest(moment), ClockTime(5) + Duration::from_secs(3_601));
        assert_eq!(clock.earliest(start), ClockTime(5) + Duration::from_secs(3_600), "it has been reached");
    }
}
