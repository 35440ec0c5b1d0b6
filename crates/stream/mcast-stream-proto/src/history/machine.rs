//! Joins a history with the live stream, without sockets or clocks.
//!
//! There is one position: the next message to deliver. While it is before the oldest message that the live stream has
//! here, records come from the history, and the live stream waits in a backlog. Once the position has reached the
//! backlog, that is delivered, and then the live stream. A subscriber that starts in the past begins like this; a loss
//! that is healed leads back to it.

mod delivery;
mod live;
mod records;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;

use super::backlog::Backlog;
use super::config::{HistoryConfig, HistoryQuery, HistoryStart, HistoryStatistics};
use super::reading::{LONGEST_WAIT, Reading, SHORTEST_WAIT};
use super::record::Position;
use super::running::{RunTime, RunningClock};
use super::search::Search;
use super::wire::{AnswerFrame, AnswerStatus, RecordReader, RequestedStart};
use crate::random::Random;
use crate::subscriber::{Cause, HistoryAccount, Item, Message, Step, SubscriberEvent};
use crate::wire::Incarnation;
use crate::{ClockTime, Nanos};
use delivery::{Delivery, Reported, Stored};

/// How long servers can send away a start, again and again, before the patience counts: more than 10,000 turns take.
const LONGEST_AWAY: Nanos = Nanos::from_secs(6 * 3_600);
/// The same for a loss that is healed, while the live stream waits: this many times the patience.
const HEALING_AWAY: u64 = 12;
/// How long a start with a number waits for the live stream, which shows the present incarnation.
const LIVE_WAIT: Nanos = Nanos::from_millis(1_500);
/// How long after the end of a closed stream a live one is awaited: a publisher sends heartbeats every second.
const ABSENCE: Nanos = Nanos::from_secs(3);
/// How many times the patience a start waits for the first answer: while many connect, the system of the server drops SYNs,
/// which clients repeat after 1, 3 and 7 s.
const START_TIMEOUT: u64 = 3;
/// A full backlog ends the healing of a loss if the history has brought nothing for this time.
const STALL: Nanos = Nanos::SECOND;
/// The most records of an answer.
const RECORDS: u32 = 1 << 16;
/// The same while it is unknown where the history begins, and so how many are needed.
const FIRST_RECORDS: u32 = 256;

/// Where the next item comes from.
#[derive(Debug)]
enum Source {
    /// From the history; the live stream waits in the backlog.
    History(Reading),
    /// From the backlog, and then from the live stream.
    Live,
}

impl Source {
    const fn reading(&self) -> Option<&Reading> {
        match self {
            Self::History(reading) => Some(reading),
            Self::Live => None,
        }
    }

    const fn reading_mut(&mut self) -> Option<&mut Reading> {
        match self {
            Self::History(reading) => Some(reading),
            Self::Live => None,
        }
    }

    /// Returns the reading that has sent this request.
    fn reading_of(&mut self, id: u64) -> Option<&mut Reading> {
        self.reading_mut().filter(|reading| reading.request() == Some(id))
    }

    /// Returns these bytes of the first frame, which has the record that was taken last.
    fn stored(&self, range: &Range<usize>) -> &[u8] {
        let bytes = self.reading().and_then(|reading| reading.frames.front()?.0.get(range.clone()));
        debug_assert!(bytes.is_some(), "a frame is kept until its records are delivered");
        bytes.unwrap_or_default()
    }
}

/// Which losses are requested from the history before they are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Healing {
    /// All: what was published since a start in the past is read.
    CatchingUp,
    /// Besides what the configuration requests, what a publisher has discarded: it waits for a subscriber only once it
    /// knows it, so that this belongs to what was published since the start, too. The live stream was reached, and each
    /// request was answered.
    Reached,
    /// What the configuration requests: it started with the live stream, or the history did not answer.
    AsConfigured,
    /// None: the application is about to stop.
    Abandoned,
}

/// Delivers a history and then the live stream, each message once and in order.
///
/// Pass what the subscriber of the live stream delivers to [`handle_live_message`](Self::handle_live_message) and
/// [`handle_live_event`](Self::handle_live_event), and frames of the server to [`handle_frame`](Self::handle_frame).
/// [`poll_step`](Self::poll_step) returns what is to be delivered, [`poll_query`](Self::poll_query) what to request,
/// [`poll_search`](Self::poll_search) when to search a server. While it [is live](Self::is_live), messages of the live
/// stream need not be passed.
#[derive(Debug)]
pub struct HistoryMachine {
    config: HistoryConfig,
    clock: RunningClock,
    begun: RunTime,
    search: Search,
    source: Source,
    healing: Healing,
    delivery: Delivery,
    backlog: Backlog,
    /// The incarnation that the backlog entered last.
    backlog_entered: Option<Incarnation>,
    /// When the first message of the backlog arrived.
    filling_since: RunTime,
    last_request: u64,
    /// Since when no server has answered, although one was asked or searched.
    unanswered_since: Option<RunTime>,
    random: Random,
}

impl HistoryMachine {
    /// Returns a machine that starts at `now`.
    #[must_use]
    pub fn new(config: HistoryConfig, now: ClockTime) -> Self {
        let clock = RunningClock::new(now);
        let (source, healing) = match config.start {
            Some(_) => {
                let reading = Reading::new(now, clock.now(), Cause::NotInHistory);
                (Source::History(reading), Healing::CatchingUp)
            }
            None => (Source::Live, Healing::AsConfigured),
        };
        Self {
            clock,
            begun: clock.now(),
            search: Search::new(),
            source,
            healing,
            delivery: Delivery::new(&config),
            backlog: Backlog::default(),
            backlog_entered: None,
            filling_since: clock.now(),
            last_request: 0,
            unanswered_since: None,
            random: Random::new(config.seed),
            config,
        }
    }

    /// Begins with another stream, at its live end. The counters remain.
    pub fn restart(&mut self, now: ClockTime) {
        let config = HistoryConfig { start: None, ..self.config.clone() };
        let (statistics, last_request, random) = (self.statistics(), self.last_request, self.random.clone());
        *self = Self { last_request, random, ..Self::new(config, now) };
        self.delivery.statistics = statistics;
    }

    /// Stops waiting for the history, for an application that is about to stop.
    pub const fn abandon(&mut self) {
        self.healing = Healing::Abandoned;
    }

    /// Notes that the publisher advertises a server of its stream, at this address or at one that is announced.
    pub fn handle_advertisement(&mut self, at: Option<SocketAddr>) {
        self.search.record_advertised(at);
    }

    /// Whether it searches a server, so that announcements and the searches of others are to be passed.
    #[must_use]
    pub const fn is_searching(&self) -> bool {
        self.search.is_under_way()
    }

    /// Returns whether to send a search now.
    pub fn poll_search(&mut self, now: ClockTime) -> bool {
        self.clock.note(now);
        self.search.poll(now, self.clock.now(), &mut self.random)
    }

    /// Takes the address of a server that is announced.
    pub fn handle_server(&mut self, now: ClockTime, server: SocketAddr) {
        self.clock.note(now);
        if self.search.find(server)
            && let Some(reading) = self.source.reading_mut()
        {
            reading.spread(now, &mut self.random);
        }
    }

    /// Notes that another subscriber searches a server of this stream.
    pub fn handle_search(&mut self, now: ClockTime) {
        self.clock.note(now);
        self.search.overhear(now, self.clock.now(), &mut self.random);
    }

    /// Takes a frame of the answer to a request, from this server. Returns `false` if it is malformed: then the
    /// connection is not to be used any more.
    pub fn handle_frame(&mut self, now: ClockTime, id: u64, server: SocketAddr, frame: Vec<u8>) -> bool {
        self.clock.note(now);
        let run = self.clock.now();
        let Some(reading) = self.source.reading_of(id) else { return true };
        match AnswerFrame::read(&frame) {
            Ok(AnswerFrame::Records) => {
                let Ok(reader) = RecordReader::new(&frame) else { return self.fail(now) };
                reading.record_answer();
                reading.frames.push_back((frame, reader));
                self.delivery.server = Some(server);
                self.record_answer();
            }
            Ok(AnswerFrame::End { status: status @ (AnswerStatus::More | AnswerStatus::Edge), .. }) => {
                reading.record_end(run, status);
                self.record_answer();
            }
            Ok(AnswerFrame::End { .. }) => self.handle_failure(now, id),
            Ok(AnswerFrame::Retry { wait, .. }) => {
                let wait = wait.clamp(SHORTEST_WAIT, LONGEST_WAIT);
                if reading.send_away(now, run, wait, &mut self.random) {
                    let expected = (2 * wait).into();
                    self.delivery.push_event(SubscriberEvent::HistoryQueued { server, expected });
                }
                self.search.record_answer();
            }
            Err(_) => return self.fail(now),
        }
        true
    }

    fn record_answer(&mut self) {
        self.search.record_answer();
        self.unanswered_since = None;
    }

    fn fail(&mut self, now: ClockTime) -> bool {
        self.delivery.statistics.malformed += 1;
        if let Some(id) = self.request() {
            self.handle_failure(now, id);
        }
        false
    }

    /// Notes that a request has no answer, or no complete one.
    pub fn handle_failure(&mut self, now: ClockTime, id: u64) {
        self.clock.note(now);
        if let Some(reading) = self.source.reading_of(id) {
            reading.fail(now, &mut self.random);
            self.search.record_failure();
        }
    }

    /// Returns the next message or event; `None` if there is none at present. When it [is live](Self::is_live)
    /// afterwards, the live stream is next.
    pub fn poll_step(&mut self, now: ClockTime) -> Option<Step> {
        self.delivery.release();
        self.clock.note(now);
        loop {
            if let Some(step) = self.delivery.poll() {
                return Some(step);
            }
            if self.has_stopped() {
                return None;
            }
            match self.source {
                Source::History(_) => self.advance_history(now)?,
                Source::Live => self.advance_live(now)?,
            }
        }
    }

    /// Returns the message that [`poll_step`](Self::poll_step) returned last.
    #[must_use]
    pub fn item(&self) -> Option<Item<'_>> {
        let (number, key, bytes) = match self.delivery.returned()? {
            Stored::InFrame(number, key, range) => (*number, *key, self.source.stored(range)),
            Stored::FromBacklog(number, key, bytes) => (*number, *key, &**bytes),
        };
        let incarnation = self.position().map_or(Incarnation(0), |position| position.incarnation);
        Some(Item::Message(Message { incarnation, number, key, bytes }))
    }

    /// Returns what to request now.
    pub fn poll_query(&mut self, now: ClockTime) -> Option<HistoryQuery> {
        self.clock.note(now);
        let reading = self.source.reading()?;
        let is_abandoned = self.healing == Healing::Abandoned;
        if reading.request().is_some() || !reading.frames.is_empty() || is_abandoned || self.is_reached() {
            return None;
        }
        let server = self.server(now)?;
        let start = self.due_request(now)?;
        self.last_request += 1;
        self.source.reading_mut()?.ask(self.last_request, self.delivery.position);
        Some(HistoryQuery { id: self.last_request, start, count: self.needed(), server })
    }

    /// Returns the server to ask: `Some(None)` if servers are named, and `None` as long as none is found.
    fn server(&mut self, now: ClockTime) -> Option<Option<SocketAddr>> {
        if !self.config.searches {
            return Some(None);
        }
        if self.search.proceed(now, self.clock.now()) {
            self.source.reading_mut()?.spread(now, &mut self.random);
        }
        self.search.server().map(Some)
    }

    /// Returns where the request starts that is due now.
    fn due_request(&mut self, now: ClockTime) -> Option<RequestedStart> {
        let reading = self.source.reading_mut()?;
        if !reading.is_due(now, self.delivery.position) {
            return None;
        }
        let start = match (self.delivery.position, self.config.start) {
            (Some(position), _) => RequestedStart::At(position),
            // The live stream shows the incarnation that the number belongs to.
            (None, Some(HistoryStart::Number(_))) if self.clock.now() < self.begun + LIVE_WAIT => {
                reading.postpone_to(self.clock.earliest(self.begun + LIVE_WAIT));
                return None;
            }
            (None, Some(HistoryStart::Number(number))) => RequestedStart::Latest(number),
            (None, Some(HistoryStart::Time(time))) => RequestedStart::Time(time),
            (None, Some(HistoryStart::Oldest | HistoryStart::At(_)) | None) => RequestedStart::Oldest,
        };
        Some(start)
    }

    /// Returns how many records to request. Those that the live stream has are not needed.
    fn needed(&self) -> u32 {
        match (self.delivery.position, self.backlog.front()) {
            (None, Some(_)) => FIRST_RECORDS,
            (Some(position), Some(front)) if position.incarnation == front.incarnation => {
                let count = front.number.ahead_of(position.number);
                u32::try_from(count).unwrap_or(RECORDS).clamp(1, RECORDS)
            }
            (_, None) | (Some(_), Some(_)) => RECORDS,
        }
    }

    /// Returns the latest time for the next call of [`poll_step`](Self::poll_step), [`poll_query`](Self::poll_query) and
    /// [`poll_search`](Self::poll_search). Much later calls show that the process did not run.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<ClockTime> {
        let reading = self.source.reading()?;
        let needs_search = self.config.searches && self.search.server().is_none();
        let retry = reading.next_request_at().filter(|_| !needs_search).unwrap_or(ClockTime::NEVER);
        // Without a live stream to continue with, nothing is given up.
        let given_up = match self.backlog.front() {
            Some(_) => self.clock.earliest(self.given_up_at(reading)),
            None => ClockTime::NEVER,
        };
        retry.min(self.search.deadline()).min(given_up).min(self.clock.next_note()).unless_never()
    }

    /// Whether the live stream is delivered and nothing waits here, so that its messages need not be passed.
    #[inline]
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.is_idle() && !self.is_ahead()
    }

    /// Whether everything that was passed is delivered.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.source, Source::Live) && self.backlog.is_empty() && self.delivery.is_idle()
    }

    /// Whether it starts with a message that is still to be published.
    fn is_ahead(&self) -> bool {
        self.delivery.position.zip(self.backlog.next).is_some_and(|(position, next)| position > next)
    }

    /// Whether a message of the live stream can be passed. If not, deliver what is here first.
    #[must_use]
    pub fn has_room(&self) -> bool {
        matches!(self.source, Source::History(_)) || self.backlog.bytes() < self.config.backlog
    }

    /// Whether the live stream has no publisher, and everything in the history was delivered up to its end.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.delivery.has_ended()
    }

    /// Whether a loss has stopped it.
    #[must_use]
    pub const fn has_stopped(&self) -> bool {
        self.delivery.has_stopped()
    }

    /// Returns what to add to the counters of the subscriber.
    #[must_use]
    pub const fn statistics(&self) -> HistoryStatistics {
        self.delivery.statistics
    }

    /// Returns the request that is under way.
    #[must_use]
    pub fn request(&self) -> Option<u64> {
        self.source.reading()?.request()
    }

    /// Whether another frame can be passed. If not, deliver what is here first.
    #[must_use]
    pub fn wants_frame(&self) -> bool {
        self.source.reading().is_none_or(|reading| reading.frames.len() < 2)
    }

    /// Returns the position of the next message to deliver, once it is known.
    #[must_use]
    pub const fn position(&self) -> Option<Position> {
        self.delivery.position
    }

    /// Returns what the application has been given of the incarnation that it is in, and what was reported to it as lost.
    #[must_use]
    pub fn account(&self) -> HistoryAccount {
        let Reported { begun, since, lost, is_loss_unknown, last } = self.delivery.reported;
        let position = self.delivery.position.filter(|_| self.delivery.is_entered());
        HistoryAccount {
            // Before that is known, nothing was given.
            position: position.unwrap_or(Position::START),
            begun,
            since,
            lost,
            is_loss_unknown,
            last,
            is_live: self.is_live(),
            is_reading: !self.is_idle(),
        }
    }
}
