//! Joins a history with the live stream, without sockets or clocks.
//!
//! There is one position: the next message to deliver. While it is before the oldest message that the live stream has
//! here, records come from the history, and the live stream waits in a backlog. Once the position has reached the
//! backlog, that is delivered, and then the live stream. A subscriber that starts in the past begins like this; a loss
//! that is healed leads back to it.

#[cfg(test)]
mod tests;

use core::time::Duration;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;

use super::backlog::{Backlog, LiveContent, LiveItem};
use super::reading::{LONGEST_WAIT, Reading, SHORTEST_WAIT};
use super::record::{HistoryContent, HistoryRecord, Position};
use super::running::{RunTime, RunningClock};
use super::search::{self, Search};
use super::wire::{AnswerFrame, AnswerStatus, RecordReader, RequestedStart};
use crate::random::Random;
use crate::subscriber::{Cause, HistoryAccount, Item, Message, Step, SubscriberEvent, SubscriberStatistics};
use crate::wire::{Incarnation, MessageKey, MessageNumber};
use crate::{ClockTime, Nanos};

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

/// Where to start in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryStart {
    /// With the oldest message that the history or the publisher has.
    Oldest,
    /// With this message of the present incarnation; of the latest one in the history if there is no publisher.
    Number(MessageNumber),
    /// With the first message of this time or later, in milliseconds since 1970.
    Time(u64),
    /// With the message at this position, or the next one: where an application continues that has stored how far it came
    /// ([`Message::position`](crate::subscriber::Message::position)).
    At(Position),
}

/// Settings of a [`HistoryMachine`].
#[derive(Clone, Debug)]
pub struct HistoryConfig {
    /// Where to start. Default: with the live stream.
    pub start: Option<HistoryStart>,
    /// Whether losses are requested from the history before they are reported. Default: no; after a start in the past
    /// those of [`Cause::Unrecoverable`], until no server answers.
    pub heal: bool,
    /// Whether nothing more is delivered after a loss. Default: no.
    pub stops: bool,
    /// The memory for the live stream while messages come from the history, in bytes. Default: 64 MiB. If it is full,
    /// the oldest messages in it are discarded, and come from the history as well.
    pub backlog: usize,
    /// Whether servers are searched: [`search`](HistoryMachine::poll_search) returns what is to be sent, and
    /// [`server_found`](HistoryMachine::handle_server) takes what is found. Default: no, because they are named.
    pub searches: bool,
    /// How long to wait for a history that brings nothing new. Default: 5 s, longer than bridges wait for each other. A
    /// start waits three times as long for the first answer, from when the live stream is known; with
    /// [`HistoryStart::Oldest`] only 1.5 s if nothing shows that there is a server. The time for which this process does
    /// not run does not count. The time for which servers that serve others first send this
    /// client away does not count: at most 6 hours of a start, or 12 times the patience of a loss that is healed,
    /// without a record between.
    pub timeout: Duration,
    /// With [`HistoryStart::At`]: the application has processed all messages from this one on to before that position, and
    /// none of them was reported as lost. A subscriber with a [name](crate::subscriber::SubscriberConfig::name)
    /// acknowledges them, because its former process may have ended before it did. Default: none.
    pub processed_since: Option<MessageNumber>,
    /// Seed of random times. It should differ between subscribers. Default: 0.
    pub seed: u64,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        let timeout = Duration::from_secs(5);
        let (start, processed_since) = (None, None);
        let (heal, stops, searches) = (false, false, false);
        Self { start, heal, stops, backlog: 64 << 20, searches, timeout, processed_since, seed: 0 }
    }
}

/// The publisher that the live stream comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveIdentity {
    /// The incarnation that its messages have in a history: that of their origin, if it reads them from an engine.
    pub content: Incarnation,
    /// Its own incarnation.
    pub own: Incarnation,
}

/// What to request of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Identifies the request; a later one replaces it.
    pub id: u64,
    /// Where to start.
    pub start: RequestedStart,
    /// The most records.
    pub count: u32,
    /// The server that was found; `None` if servers are named.
    pub server: Option<SocketAddr>,
}

/// What the machine adds to the counters of its subscriber. The sums wrap.
#[derive(Clone, Copy, Debug, Default)]
pub struct HistoryStatistics {
    messages: u64,
    message_bytes: u64,
    lost: u64,
    unknown: u64,
    from_history: u64,
    malformed: u64,
}

impl HistoryStatistics {
    /// Adds to the counters of the subscriber of the live stream, so that they count what was delivered.
    pub fn add_to(&self, statistics: &mut SubscriberStatistics) {
        statistics.messages = statistics.messages.wrapping_add(self.messages);
        statistics.message_bytes = statistics.message_bytes.wrapping_add(self.message_bytes);
        statistics.lost_messages = statistics.lost_messages.wrapping_add(self.lost);
        statistics.unknown_losses = statistics.unknown_losses.wrapping_add(self.unknown);
        statistics.from_history += self.from_history;
        statistics.malformed += self.malformed;
    }
}

/// The message that was delivered last.
#[derive(Debug)]
enum Current {
    /// It is in the first frame.
    Stored(MessageNumber, Option<MessageKey>, Range<usize>),
    Live(MessageNumber, Option<MessageKey>, Box<[u8]>),
}

/// How what is delivered relates to a start in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// What was published since the start is read. Losses on the way are requested from the history.
    CatchingUp,
    /// The live stream was reached, and each request was answered. A publisher waits for a subscriber only once it
    /// knows it: what it discarded before belongs to what was published since the start, too.
    Reached,
    /// It started with the live stream, or the history did not answer.
    Live,
}

/// What was reported to the application of the incarnation that was entered, and given to it.
#[derive(Clone, Copy, Debug, Default)]
struct Reported {
    /// The first message that was to be given to it.
    begun: MessageNumber,
    /// The first message after the last loss, or else the first of all; what the application had processed before counts.
    since: MessageNumber,
    /// Messages that were reported as lost.
    lost: u64,
    /// Whether an unknown number of them was.
    is_loss_unknown: bool,
    /// The last message that was given to it from here.
    last: Option<MessageNumber>,
}

impl Reported {
    const fn begin(first: MessageNumber) -> Self {
        Self { begun: first, since: first, lost: 0, is_loss_unknown: false, last: None }
    }

    fn record_loss(&mut self, first: MessageNumber, end: MessageNumber) {
        (self.since, self.lost) = (end, self.lost.saturating_add(end.ahead_of(first)));
    }
}

/// Delivers a history and then the live stream, each message once and in order.
///
/// Pass what the subscriber of the live stream delivers to [`handle_live_message`](Self::handle_live_message) and
/// [`handle_live_event`](Self::handle_live_event), and frames of the server to [`handle_frame`](Self::handle_frame). [`poll_step`](Self::poll_step) returns
/// what is to be delivered, [`poll_query`](Self::poll_query) what to request, [`poll_search`](Self::poll_search) when to search a server. While it [is live](Self::is_live), messages of the
/// live stream need not be passed.
#[derive(Debug)]
pub struct HistoryMachine {
    config: HistoryConfig,
    clock: RunningClock,
    begun: RunTime,
    search: Search,
    /// `None`: the live stream is delivered, after its backlog.
    reading: Option<Reading>,
    /// The next message to deliver. `None` until the start is known.
    position: Option<Position>,
    /// The incarnation of the content that was entered, and the number it was reported under.
    entered: Option<(Incarnation, Incarnation)>,
    /// How the entered incarnation ends has been reported.
    is_tail_known: bool,
    start: Start,
    live: Option<(LiveIdentity, SocketAddr)>,
    /// The incarnation that the backlog entered last.
    backlog_entered: Option<Incarnation>,
    backlog: Backlog,
    /// When the first message of the backlog arrived.
    filling_since: RunTime,
    last_request: u64,
    frames: VecDeque<(Vec<u8>, RecordReader)>,
    server: Option<SocketAddr>,
    events: VecDeque<SubscriberEvent>,
    /// The next message, after the events.
    pending: Option<Current>,
    current: Option<Current>,
    /// Since when no server has answered, although one was asked or searched.
    unanswered_since: Option<RunTime>,
    is_abandoned: bool,
    has_stopped: bool,
    has_ended: bool,
    statistics: HistoryStatistics,
    reported: Reported,
    random: Random,
}

impl HistoryMachine {
    /// Returns a machine that starts at `now`.
    #[must_use]
    pub fn new(config: HistoryConfig, now: ClockTime) -> Self {
        let clock = RunningClock::new(now);
        let reading = config.start.map(|_| Reading::new(now, clock.now(), Cause::NotInHistory));
        let position = match config.start {
            Some(HistoryStart::At(position)) => Some(position),
            _ => None,
        };
        Self {
            clock,
            begun: clock.now(),
            search: Search::new(),
            start: if reading.is_some() { Start::CatchingUp } else { Start::Live },
            reading,
            position,
            entered: None,
            is_tail_known: false,
            live: None,
            backlog_entered: None,
            backlog: Backlog::default(),
            filling_since: clock.now(),
            last_request: 0,
            frames: VecDeque::new(),
            server: None,
            events: VecDeque::new(),
            pending: None,
            current: None,
            unanswered_since: None,
            is_abandoned: false,
            has_stopped: false,
            has_ended: false,
            statistics: HistoryStatistics::default(),
            reported: Reported::default(),
            random: Random::new(config.seed),
            config,
        }
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
        self.reading.is_none() && self.backlog.is_empty() && self.events.is_empty() && self.pending.is_none()
    }

    /// Whether it starts with a message that is still to be published.
    fn is_ahead(&self) -> bool {
        self.position.zip(self.backlog.next).is_some_and(|(position, next)| position > next)
    }

    /// Whether a message of the live stream can be passed. If not, deliver what is here first.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.reading.is_some() || self.backlog.bytes() < self.config.backlog
    }

    /// Whether the live stream has no publisher, and everything in the history was delivered up to its end.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether a loss has stopped it.
    #[must_use]
    pub const fn has_stopped(&self) -> bool {
        self.has_stopped
    }

    /// Returns what to add to the counters of the subscriber.
    #[must_use]
    pub const fn statistics(&self) -> HistoryStatistics {
        self.statistics
    }

    /// Returns the request that is under way.
    #[must_use]
    pub fn request(&self) -> Option<u64> {
        self.reading.and_then(|reading| reading.request())
    }

    /// Whether another frame can be passed. If not, deliver what is here first.
    #[must_use]
    pub fn wants_frame(&self) -> bool {
        self.frames.len() < 2
    }

    /// Begins with another stream, at its live end. The counters remain.
    pub fn restart(&mut self, now: ClockTime) {
        let config = HistoryConfig { start: None, ..self.config.clone() };
        let (statistics, last_request, random) = (self.statistics, self.last_request, self.random.clone());
        *self = Self { statistics, last_request, random, ..Self::new(config, now) };
    }

    /// Stops waiting for the history, for an application that is about to stop.
    pub const fn abandon(&mut self) {
        self.is_abandoned = true;
    }

    /// Returns the latest time for the next call of [`poll_step`](Self::poll_step), [`poll_query`](Self::poll_query) and
    /// [`poll_search`](Self::poll_search). Much later calls show that the process did not run.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<ClockTime> {
        let reading = self.reading.as_ref()?;
        let needs_search = self.config.searches && self.search.server().is_none();
        let retry = reading.next_request_at().filter(|_| !needs_search).unwrap_or(ClockTime::NEVER);
        // Without a live stream to continue with, nothing is given up.
        let given_up = match self.backlog.front() {
            Some(_) => self.clock.earliest(self.given_up_at(reading)),
            None => ClockTime::NEVER,
        };
        retry.min(self.search.deadline()).min(given_up).min(self.clock.next_note()).unless_never()
    }

    /// Returns when the history is given up if it brings nothing new.
    fn given_up_at(&self, reading: &Reading) -> RunTime {
        let timeout = match self.is_catching_up() && !reading.is_answered {
            true if self.has_no_server() => {
                search::SHORT.min(START_TIMEOUT * Nanos::from(self.config.timeout))
            }
            true => START_TIMEOUT * Nanos::from(self.config.timeout),
            false => self.config.timeout.into(),
        };
        // A server that only ever serves others would hold the client forever.
        let longest_away = if self.is_catching_up() {
            LONGEST_AWAY
        } else {
            HEALING_AWAY * Nanos::from(self.config.timeout)
        };
        reading.given_up_at(timeout, longest_away)
    }

    /// Whether it starts with the oldest message that there is, and nothing shows that a server has older ones than the
    /// publisher.
    fn has_no_server(&self) -> bool {
        self.is_at_oldest() && self.config.searches && !self.search.exists()
    }

    /// Whether it starts with the oldest message, and has not found it yet.
    fn is_at_oldest(&self) -> bool {
        self.config.start == Some(HistoryStart::Oldest) && self.position.is_none()
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
            && let Some(reading) = &mut self.reading
        {
            reading.spread(now, &mut self.random);
        }
    }

    /// Notes that another subscriber searches a server of this stream.
    pub fn handle_search(&mut self, now: ClockTime) {
        self.clock.note(now);
        self.search.overhear(now, self.clock.now(), &mut self.random);
    }

    /// Takes a message of the live stream, while it [is not live](Self::is_live).
    pub fn handle_live_message(&mut self, now: ClockTime, identity: LiveIdentity, message: &Message<'_>) {
        self.clock.note(now);
        self.record_live(identity, None);
        let at = Position::new(identity.content, message.number);
        self.backlog.next = Some(at.following());
        self.statistics.messages = self.statistics.messages.wrapping_sub(1);
        self.statistics.message_bytes =
            self.statistics.message_bytes.wrapping_sub(message_length(message.key, message.bytes));
        if !self.backlog.has_messages() {
            self.filling_since = self.clock.now();
        }
        let content = LiveContent::Message { key: message.key, bytes: message.bytes.into() };
        self.push_live(at, content);
        self.limit_backlog();
    }

    /// Takes an event of the live stream; returns it if it is to be delivered now.
    pub fn handle_live_event(
        &mut self,
        now: ClockTime,
        identity: LiveIdentity,
        event: SubscriberEvent,
    ) -> Option<SubscriberEvent> {
        use SubscriberEvent::{Continued, Ended, Joined, Lost, LostUnknown, Restarted};
        self.clock.note(now);
        let is_live = self.is_live();
        let of_live = |number| Position::new(identity.content, number);
        match event {
            Joined { publisher, message, .. } => {
                self.record_live(identity, Some(publisher));
                // What is missing before the first message of a new incarnation is reported as lost.
                let is_first = self.backlog.next.is_none_or(|next| next.incarnation == identity.content);
                let next = if is_first { message } else { MessageNumber(0) };
                self.backlog.next = Some(of_live(next));
                if is_live {
                    self.reported = Reported::begin(next);
                    self.entered = Some((identity.content, identity.own));
                    (self.is_tail_known, self.backlog_entered) = (false, Some(identity.content));
                    self.position = self.backlog.next;
                    return Some(event);
                }
                let content = LiveContent::Begun { own: identity.own, publisher, message: next };
                self.push_live(of_live(next), content);
                None
            }
            // While the history is read, it follows from `Joined`.
            Restarted { .. } => is_live.then_some(event),
            Lost { first, end, cause } => {
                self.record_live(identity, None);
                self.backlog.next = Some(of_live(end));
                if is_live && !self.heals(cause) {
                    (self.has_stopped, self.position) = (self.config.stops, self.backlog.next);
                    self.reported.record_loss(first, end);
                    return Some(event);
                }
                self.statistics.lost = self.statistics.lost.wrapping_sub(end.ahead_of(first));
                self.take_positioned(is_live, of_live(first), event)
            }
            LostUnknown { first } => {
                self.record_live(identity, None);
                // How far the incarnation goes is unknown, so that the history is asked for all of it.
                self.backlog.next = Some(of_live(MessageNumber::MAX));
                if is_live && !self.heals(Cause::Restart) {
                    (self.is_tail_known, self.has_stopped) = (true, self.config.stops);
                    self.position = self.backlog.next;
                    return Some(event);
                }
                self.statistics.unknown = self.statistics.unknown.wrapping_sub(1);
                self.take_positioned(is_live, of_live(first), event)
            }
            Ended { messages } => {
                self.record_live(identity, None);
                if is_live {
                    self.is_tail_known = true;
                    return Some(event);
                }
                self.take_positioned(false, of_live(MessageNumber(messages)), event)
            }
            Continued { publisher, .. } => {
                self.record_live(identity, Some(publisher));
                if let Some((content, own)) = &mut self.entered
                    && *content == identity.content
                {
                    *own = identity.own;
                    // Statuses report what was lost of the publisher's own incarnation.
                    self.reported.lost = 0;
                }
                Some(event)
            }
            _ => Some(event),
        }
    }

    /// Puts an event into the backlog. If nothing else is there, the next message to deliver is at its position.
    fn take_positioned(
        &mut self,
        is_live: bool,
        at: Position,
        event: SubscriberEvent,
    ) -> Option<SubscriberEvent> {
        if is_live {
            self.position = Some(at);
        }
        self.push_live(at, LiveContent::Event(event));
        None
    }

    fn push_live(&mut self, at: Position, content: LiveContent) {
        self.backlog.push(LiveItem { at, content, arrived: self.clock.now() });
    }

    fn record_live(&mut self, identity: LiveIdentity, publisher: Option<SocketAddr>) {
        if self.live.is_none()
            && let Some(reading) = self.reading.as_mut().filter(|reading| !reading.is_answered)
        {
            // Without a live stream, there is nothing to continue with.
            reading.record_progress(self.clock.now());
        }
        if let (None, Some(HistoryStart::Number(number))) = (self.position, self.config.start) {
            // What the publisher retains needs no server.
            self.position = Some(Position::new(identity.content, number));
        }
        let publisher = publisher.or_else(|| self.live.map(|(_, known)| known)).unwrap_or(UNKNOWN);
        self.live = Some((identity, publisher));
        self.has_ended = false;
    }

    /// Discards the oldest items of a full backlog: they come from the history as well.
    fn limit_backlog(&mut self) {
        let Some(mut reading) = self.reading else { return };
        while self.backlog.bytes() > self.config.backlog {
            // While nothing is published, the history brings nothing either.
            let since = reading.progress_at.max(self.filling_since);
            let is_stalled = self.clock.now() >= since + STALL && self.frames.is_empty();
            if !self.is_catching_up() && is_stalled {
                // The history does not bring them, and what is here must not get lost as well.
                reading.must_give_up = true;
                self.reading = Some(reading);
                return;
            }
            self.backlog.pop();
        }
    }

    /// Returns what to request now.
    pub fn poll_query(&mut self, now: ClockTime) -> Option<HistoryQuery> {
        self.clock.note(now);
        let mut reading = self.reading?;
        if reading.request().is_some() || !self.frames.is_empty() || self.is_abandoned || self.is_reached() {
            return None;
        }
        let server = self.server(now, &mut reading);
        let start = server.and_then(|_| self.due_request(now, &mut reading));
        if start.is_some() {
            self.last_request += 1;
            reading.ask(self.last_request, self.position);
        }
        self.reading = Some(reading);
        Some(HistoryQuery { id: self.last_request, start: start?, count: self.needed(), server: server? })
    }

    /// Returns the server to ask: `Some(None)` if servers are named, and `None` as long as none is found.
    fn server(&mut self, now: ClockTime, reading: &mut Reading) -> Option<Option<SocketAddr>> {
        if !self.config.searches {
            return Some(None);
        }
        if self.search.proceed(now, self.clock.now()) {
            reading.spread(now, &mut self.random);
        }
        self.search.server().map(Some)
    }

    /// Returns how many records to request. Those that the live stream has are not needed.
    fn needed(&self) -> u32 {
        match (self.position, self.backlog.front()) {
            (None, Some(_)) => FIRST_RECORDS,
            (Some(position), Some(front)) if position.incarnation == front.incarnation => {
                let count = front.number.ahead_of(position.number);
                u32::try_from(count).unwrap_or(RECORDS).clamp(1, RECORDS)
            }
            (_, None) | (Some(_), Some(_)) => RECORDS,
        }
    }

    /// Returns where the request starts that is due now.
    fn due_request(&mut self, now: ClockTime, reading: &mut Reading) -> Option<RequestedStart> {
        if !reading.is_due(now, self.position) {
            return None;
        }
        let start = match (self.position, self.config.start) {
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
        (!self.is_reached()).then_some(start)
    }

    /// Takes a frame of the answer to a request, from this server. Returns `false` if it is malformed: then the
    /// connection is not to be used any more.
    pub fn handle_frame(&mut self, now: ClockTime, id: u64, server: SocketAddr, frame: Vec<u8>) -> bool {
        self.clock.note(now);
        let run = self.clock.now();
        let Some(reading) = self.reading.as_mut().filter(|reading| reading.request() == Some(id)) else {
            return true;
        };
        match AnswerFrame::read(&frame) {
            Ok(AnswerFrame::Records) => {
                let Ok(reader) = RecordReader::new(&frame) else { return self.fail(now) };
                reading.record_answer();
                self.server = Some(server);
                self.frames.push_back((frame, reader));
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
                    self.events.push_back(SubscriberEvent::HistoryQueued { server, expected: 2 * wait });
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
        self.statistics.malformed += 1;
        if let Some(id) = self.request() {
            self.handle_failure(now, id);
        }
        false
    }

    /// Notes that a request has no answer, or no complete one.
    pub fn handle_failure(&mut self, now: ClockTime, id: u64) {
        self.clock.note(now);
        let reading = self.reading.as_mut().filter(|reading| reading.request() == Some(id));
        if let Some(reading) = reading {
            reading.fail(now, &mut self.random);
            self.search.record_failure();
        }
    }

    /// Returns the next message or event; `None` if there is none at present. When it [is live](Self::is_live)
    /// afterwards, the live stream is next.
    pub fn poll_step(&mut self, now: ClockTime) -> Option<Step> {
        self.current = None;
        self.clock.note(now);
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(Step::of_event(event));
            }
            if self.has_stopped {
                return None;
            }
            if let Some(message) = self.pending.take() {
                self.current = Some(message);
                return Some(Step::of_history());
            }
            match self.reading.is_some() {
                true => self.advance_history(now)?,
                false => self.advance_live(now)?,
            }
        }
    }

    /// Returns the position of the next message to deliver, once it is known.
    #[must_use]
    pub const fn position(&self) -> Option<Position> {
        self.position
    }

    /// Returns what the application has been given of the incarnation that it is in, and what was reported to it as lost.
    #[must_use]
    pub fn account(&self) -> HistoryAccount {
        let Reported { begun, since, lost, is_loss_unknown, last } = self.reported;
        HistoryAccount {
            // Before that is known, nothing was given.
            position: self.position.filter(|_| self.entered.is_some()).unwrap_or(Position::START),
            begun,
            since,
            lost,
            is_loss_unknown,
            last,
            is_live: self.is_live(),
            is_reading: !self.is_idle(),
        }
    }

    /// Returns the message that [`poll_step`](Self::poll_step) returned last.
    #[must_use]
    pub fn item(&self) -> Option<Item<'_>> {
        let (number, key, bytes) = match self.current.as_ref()? {
            Current::Stored(number, key, range) => {
                (*number, *key, self.frames.front()?.0.get(range.clone()).unwrap_or_default())
            }
            Current::Live(number, key, bytes) => (*number, *key, &**bytes),
        };
        let incarnation = self.position.map_or(Incarnation(0), |position| position.incarnation);
        Some(Item::Message(Message { incarnation, number, key, bytes }))
    }

    /// Takes the next item of the backlog; `None` if there is none.
    fn advance_live(&mut self, now: ClockTime) -> Option<()> {
        let Some(LiveItem { at, content, arrived }) = self.backlog.pop() else {
            if self.is_catching_up() {
                self.start = Start::Reached;
            }
            return None;
        };
        let is_past = self.position.is_some_and(|position| at < position);
        match content {
            LiveContent::Begun { own, publisher, message } => {
                // Back to an older incarnation: its messages come after those that were delivered.
                let is_back = self.backlog_entered.is_some_and(|entered| entered > at.incarnation);
                self.backlog_entered = Some(at.incarnation);
                if is_back || self.position.is_none_or(|position| position.incarnation < at.incarnation) {
                    // The live stream has reported how the former one ends.
                    self.is_tail_known = true;
                    self.live_entered(at, own, publisher, message);
                }
            }
            LiveContent::Message { .. } if is_past => {}
            LiveContent::Message { key, bytes } => {
                self.enter(at);
                self.count_message(key, &bytes);
                self.position = Some(at.following());
                self.reported.last = Some(at.number);
                self.pending = Some(Current::Live(at.number, key, bytes));
            }
            LiveContent::Event(SubscriberEvent::Lost { end, cause, .. }) => {
                let first = self.position.map_or(at, |position| position.max(at));
                if first < Position::new(at.incarnation, end) {
                    self.position = Some(first);
                    self.heal_or(now, cause, arrived, |machine| {
                        machine.skip_to(Position::new(at.incarnation, end), cause);
                    });
                }
            }
            LiveContent::Event(SubscriberEvent::LostUnknown { .. }) => {
                if self.position.is_none_or(|position| position.incarnation <= at.incarnation)
                    && !self.is_tail_known
                {
                    self.position = Some(self.position.map_or(at, |position| position.max(at)));
                    self.heal_or(now, Cause::Restart, arrived, Self::report_unknown);
                }
            }
            LiveContent::Event(event) => {
                if self.position.is_none_or(|position| position.incarnation <= at.incarnation) {
                    self.is_tail_known = true;
                    self.events.push_back(event);
                }
            }
        }
        Some(())
    }

    fn live_entered(
        &mut self,
        at: Position,
        own: Incarnation,
        publisher: SocketAddr,
        message: MessageNumber,
    ) {
        self.report_entered(at.incarnation, own, publisher, message);
        self.position = Some(at);
    }

    /// Asks the history for what is missing from the position on, or else reports the loss, which was noticed at this time.
    fn heal_or(&mut self, now: ClockTime, cause: Cause, noticed: RunTime, report: impl FnOnce(&mut Self)) {
        if self.heals(cause) {
            // The patience of all losses that wait while no server answers is the same time.
            let since = self.unanswered_since.map_or_else(|| self.clock.now(), |since| since.max(noticed));
            self.reading = Some(Reading::new(now, since, cause));
        } else {
            report(self);
        }
    }

    /// Whether what is missing for this reason is requested from the history.
    fn heals(&self, cause: Cause) -> bool {
        let may_request = !self.is_abandoned && cause != Cause::Abandoned;
        let is_since_start = match self.start {
            Start::CatchingUp => true,
            Start::Reached => cause == Cause::Unrecoverable,
            Start::Live => false,
        };
        may_request && (self.config.heal || is_since_start)
    }

    fn is_catching_up(&self) -> bool {
        self.start == Start::CatchingUp
    }

    fn is_reached(&self) -> bool {
        let positions = self.position.zip(self.backlog.front());
        positions.is_some_and(|(position, front)| position >= front)
    }

    /// Takes the next record of the history; `None` if there is none.
    fn advance_history(&mut self, now: ClockTime) -> Option<()> {
        if let Some(position) = self.position.filter(|_| self.is_reached()) {
            self.enter(position);
            self.finish_reading();
            return Some(());
        }
        if let Some((frame, reader)) = self.frames.front_mut() {
            match reader.next(frame) {
                Ok(Some(record)) => self.take_record(record),
                Ok(None) => drop(self.frames.pop_front()),
                Err(_) => {
                    self.statistics.malformed += 1;
                    self.frames.clear();
                    if let Some(reading) = &mut self.reading {
                        reading.fail(now, &mut self.random);
                    }
                }
            }
            return Some(());
        }
        let reading = self.reading?;
        let front = self.backlog.front();
        let is_empty = reading.edge_since.is_some() && self.position.is_none();
        let is_over = self.is_abandoned
            || reading.must_give_up
            || self.clock.now() >= self.given_up_at(&reading)
            || is_empty && self.config.start == Some(HistoryStart::Oldest);
        match front {
            Some(_) if is_over => {
                self.give_up();
                return Some(());
            }
            None if self.is_abandoned => {
                self.finish_reading();
                return Some(());
            }
            _ => {}
        }
        let is_absent = reading.edge_since.is_some_and(|since| self.clock.now() >= since + ABSENCE);
        if self.live.is_none() && self.is_tail_known && is_absent && !self.has_ended {
            self.has_ended = true;
            let messages = self.position?.number.0;
            self.events.push_back(SubscriberEvent::Ended { messages });
            return Some(());
        }
        None
    }

    fn take_record(&mut self, record: HistoryRecord<Range<usize>>) {
        let (first, end, front) = (record.first, record.end(), self.backlog.front());
        if let Some(front) = front.filter(|front| first >= *front) {
            // From there on, the live stream has them.
            if self.position.is_some() {
                return self.skip_to(front, Cause::NotInHistory);
            }
            self.enter(front);
            self.position = Some(front);
            return;
        }
        if self.live.is_some_and(|(live, _)| first.incarnation > live.content) {
            // The live stream will show it, if it exists.
            return;
        }
        let position = self.position.unwrap_or_else(|| match self.config.start {
            Some(HistoryStart::Number(number)) => Position::new(first.incarnation, number),
            _ => first,
        });
        if self.position.is_none() {
            self.position = Some(position);
            self.record_progress();
        }
        if end < position || end == position && matches!(record.content, HistoryContent::Message { .. }) {
            return;
        }
        self.enter(position);
        if first > position {
            self.skip_to(first, Cause::NotInHistory);
            self.record_progress();
        }
        if self.has_stopped {
            return;
        }
        match record.content {
            HistoryContent::Message { key, bytes } => {
                let length = self.frames.front().and_then(|(frame, _)| frame.get(bytes.clone()));
                let length = message_length(key, length.unwrap_or_default());
                self.add_message(length);
                self.statistics.from_history += 1;
                self.position = Some(end);
                self.reported.last = Some(first.number);
                self.pending = Some(Current::Stored(first.number, key, bytes));
                self.record_progress();
            }
            HistoryContent::Gap { cause, .. } => {
                let end = front.map_or(end, |front| end.min(front));
                if end > position {
                    self.skip_to(end, cause.reported());
                    self.record_progress();
                }
            }
            // If the incarnation continues, the live stream or the next record shows it.
            HistoryContent::OpenGap { .. } => {}
            HistoryContent::End => self.is_tail_known = true,
        }
    }

    fn record_progress(&mut self) {
        if let Some(reading) = &mut self.reading {
            reading.record_progress(self.clock.now());
        }
    }

    /// Continues with the live stream, and reports what is missing before it as lost.
    fn give_up(&mut self) {
        let (Some(reading), Some(front)) = (self.reading, self.backlog.front()) else { return };
        let is_answered = reading.is_answered;
        // How many messages a start lacks that only a history has is unknown.
        let is_unknown = !is_answered
            && match self.config.start {
                Some(HistoryStart::Oldest) => self.is_at_oldest() && !self.has_no_server(),
                Some(HistoryStart::Time(_)) => true,
                _ => false,
            };
        // A publisher that retains its first message, and advertises no server, has everything.
        let is_everything = self.has_no_server() && front.number == MessageNumber(0);
        if !is_answered && !self.is_abandoned && !is_everything {
            let first = self.position.map(|position| position.number);
            self.events.push_back(SubscriberEvent::HistoryFailed { first });
        }
        if !is_answered {
            self.start = Start::Live;
            self.search.record_failure();
            self.unanswered_since.get_or_insert(reading.progress_at);
        }
        let cause = if self.is_abandoned { Cause::Abandoned } else { reading.cause };
        match (self.position, self.config.start) {
            (None, Some(HistoryStart::Number(number))) => {
                let start = Position::new(front.incarnation, number);
                self.position = Some(start);
                self.skip_to(front.max(start), cause);
            }
            (None, _) => {
                self.enter(front);
                self.position = Some(front);
                if is_unknown {
                    self.report_unknown();
                    self.is_tail_known = false;
                }
            }
            // Nothing is known of the rest of an incarnation that another one has not followed yet.
            (Some(_), _) if front.number == MessageNumber::MAX => self.report_unknown(),
            (Some(_), _) => self.skip_to(front, cause),
        }
        self.finish_reading();
    }

    fn finish_reading(&mut self) {
        self.reading = None;
        self.search.stop();
        self.frames.clear();
    }

    /// Moves the position forward, and reports the messages before it as lost.
    fn skip_to(&mut self, target: Position, cause: Cause) {
        let position = self.position.unwrap_or(target);
        if target.incarnation != position.incarnation {
            // How many messages followed in the former incarnation is unknown.
            self.enter(Position::new(target.incarnation, MessageNumber(0)));
        } else {
            self.enter(position);
        }
        let first = match target.incarnation == position.incarnation {
            true => position.number,
            false => MessageNumber(0),
        };
        self.position = Some(target);
        if first < target.number {
            self.statistics.lost = self.statistics.lost.wrapping_add(target.number.ahead_of(first));
            self.reported.record_loss(first, target.number);
            self.events.push_back(SubscriberEvent::Lost { first, end: target.number, cause });
            self.has_stopped = self.config.stops;
        }
    }

    /// Reports that messages from the position on may be lost.
    fn report_unknown(&mut self) {
        let Some(position) = self.position else { return };
        self.is_tail_known = true;
        self.reported.is_loss_unknown = true;
        self.statistics.unknown = self.statistics.unknown.wrapping_add(1);
        self.events.push_back(SubscriberEvent::LostUnknown { first: position.number });
        self.has_stopped = self.config.stops;
    }

    /// Reports the incarnation of this position, if it was not entered yet.
    fn enter(&mut self, at: Position) {
        if self.entered.is_some_and(|(content, _)| content == at.incarnation) {
            return;
        }
        // Of the incarnation that an application had reached, nothing was delivered.
        let has_left = match (self.entered, self.config.start) {
            (Some(_), _) => true,
            (None, Some(HistoryStart::At(start))) => start.incarnation != at.incarnation,
            (None, _) => false,
        };
        if has_left && !self.is_tail_known {
            self.report_unknown();
        }
        let (own, publisher) = match self.live {
            Some((live, publisher)) if live.content == at.incarnation => (live.own, publisher),
            Some((_, publisher)) => (at.incarnation, publisher),
            None => (at.incarnation, self.server.unwrap_or(UNKNOWN)),
        };
        self.report_entered(at.incarnation, own, publisher, at.number);
    }

    fn report_entered(
        &mut self,
        content: Incarnation,
        own: Incarnation,
        publisher: SocketAddr,
        message: MessageNumber,
    ) {
        if let Some((_, from)) = self.entered {
            self.events.push_back(SubscriberEvent::Restarted { from, to: own });
        }
        self.events.push_back(SubscriberEvent::Joined { incarnation: own, publisher, message });
        self.reported = Reported::begin(message);
        if let (None, Some(HistoryStart::At(start))) = (self.entered, self.config.start)
            && start == Position::new(content, message)
        {
            // It continues where the former process ended.
            let processed = self.config.processed_since.map_or(message, |since| since.min(message));
            self.reported.since = processed;
        }
        self.entered = Some((content, own));
        self.is_tail_known = false;
    }

    fn count_message(&mut self, key: Option<MessageKey>, bytes: &[u8]) {
        self.add_message(message_length(key, bytes));
    }

    fn add_message(&mut self, length: u64) {
        self.statistics.messages = self.statistics.messages.wrapping_add(1);
        self.statistics.message_bytes = self.statistics.message_bytes.wrapping_add(length);
        self.has_ended = false;
    }
}

/// Returns the length of a message as subscribers count it.
const fn message_length(key: Option<MessageKey>, bytes: &[u8]) -> u64 {
    (bytes.len() + if key.is_some() { MessageKey::LENGTH } else { 0 }) as u64
}

/// The address of a publisher that is not known.
const UNKNOWN: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), 0);
