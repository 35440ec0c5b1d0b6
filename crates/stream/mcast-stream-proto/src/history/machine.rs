//! Joins a history with the live stream, without sockets or clocks.
//!
//! There is one position: the next message to deliver. While it is before the oldest message that the live stream has
//! here, records come from the history, and the live stream waits in a backlog. Once the position has reached the
//! backlog, that is delivered, and then the live stream. A subscriber that starts in the past begins like this; a loss
//! that is healed leads back to it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;

use contact::Contact;
use delivery::{Delivery, Reported, Stored};

use super::reading::{AskingClock, LONGEST_WAIT, Reading, RunTime, RunningClock, SHORTEST_WAIT};
use super::record::{HistoryConfig, HistoryStart, HistoryStatistics};
use super::search::Search;
use super::wire::{AnswerFrame, AnswerStatus, RecordReader, RequestedStart};
use crate::ClockTime;
use crate::random::Random;
use crate::subscriber::{Cause, HistoryAccount, Item, Message, Step, SubscriberEvent, SubscriberMachine};
use crate::wire::{Incarnation, Position};
use live::Backlog;

mod contact;
mod delivery;
mod live;
mod records;

/// How long servers can send away a start, again and again, before the timeout counts: more than 10,000 turns take.
const LONGEST_AWAY: Duration = Duration::from_secs(6 * 3_600);
/// The same for a loss that is healed, while the live stream waits: this many times the timeout.
const HEALING_AWAY: u32 = 12;
/// How long a start with a number waits for the live stream, which shows the present incarnation.
const LIVE_WAIT: Duration = Duration::from_millis(1_500);
/// How long after the end of a closed stream a live one is awaited: a publisher sends heartbeats every second.
const ABSENCE: Duration = Duration::from_secs(3);
/// How many times the timeout a start waits for the first answer: while many connect, the system of the server drops SYNs,
/// which clients repeat after 1, 3 and 7 s.
const START_TIMEOUT: u32 = 3;
/// How many times the timeout the healing of a loss waits for a server that has answered before, while the live stream waits:
/// longer than a minute.
const HEALING_UNREACHED: u32 = 18;
/// While a loss is healed and the history has brought nothing for this time, a full backlog takes no more of the live stream.
const STALL: Duration = Duration::from_secs(1);
/// The most records of an answer.
const RECORDS: u32 = 1 << 16;
/// The same while it is unknown where the history begins, and so how many are needed.
const FIRST_RECORDS: u32 = 256;

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

/// Where the next item comes from.
#[derive(Debug)]
enum Source {
    /// From the history; the live stream waits in the backlog.
    History(Box<Reading>),
    /// From the backlog, and then from the live stream.
    Live,
}

impl Source {
    fn reading(&self) -> Option<&Reading> {
        match self {
            Self::History(reading) => Some(reading),
            Self::Live => None,
        }
    }

    fn reading_mut(&mut self) -> Option<&mut Reading> {
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
/// [`poll_step`](Self::poll_step) returns what must be delivered, [`poll_query`](Self::poll_query) what to request,
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
    /// Whether the publisher is heard.
    publisher: Contact,
    /// Whether the live stream has ended.
    has_stream_ended: bool,
    /// Whether a server has answered, and was not given up since.
    is_reached: bool,
    /// Runs while the history is read.
    asking: AskingClock,
    /// Since when no server has answered, by that clock.
    unanswered_since: Option<Duration>,
    random: Random,
}

impl HistoryMachine {
    /// Returns a machine that starts at `now`.
    #[must_use]
    pub fn new(config: HistoryConfig, now: ClockTime) -> Self {
        let clock = RunningClock::new(now);
        let mut asking = AskingClock::new(clock.now());
        let (source, healing) = match config.start {
            Some(_) => {
                asking.start(clock.now());
                let reading = Reading::new(now, clock.now(), Cause::NotInHistory);
                (Source::History(Box::new(reading)), Healing::CatchingUp)
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
            publisher: Contact::new(clock.now()),
            has_stream_ended: false,
            is_reached: false,
            asking,
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

    /// Notes that the publisher of the live stream is heard. While it is not, nothing is given up, and the time for that begins
    /// again with it.
    pub fn handle_heartbeat(&mut self, now: ClockTime) {
        self.clock.note(now);
        let run = self.clock.now();
        if self.publisher.record_heard(run)
            && let Some(reading) = self.source.reading_mut()
        {
            reading.begin_again(now, run, &mut self.random);
        }
    }

    /// Notes what the subscriber of the live stream knows of its publisher: whether it is heard, and which server it advertises.
    pub fn handle_publisher(&mut self, now: ClockTime, subscriber: &SubscriberMachine) {
        if let (Some(history), Some(publisher)) = (subscriber.served_history(), subscriber.publisher()) {
            self.handle_advertisement(history.address(publisher));
        }
        if self.publisher.is_news(subscriber.last_heartbeat()) {
            self.handle_heartbeat(now);
        }
    }

    /// Notes that bytes of the answer to this request have arrived, also if the frame is not complete yet.
    pub fn handle_progress(&mut self, now: ClockTime, id: u64) {
        self.clock.note(now);
        let run = self.clock.now();
        if let Some(reading) = self.source.reading_of(id) {
            reading.record_bytes(run);
        }
    }

    /// Gives up a request on whose connection nothing arrives any more: the connection is not to be used again.
    pub fn handle_timeout(&mut self, now: ClockTime) {
        self.clock.note(now);
        let run = self.clock.now();
        let Some(reading) = self.source.reading_mut() else { return };
        if !reading.frames.is_empty() {
            // The application is busy, and so the client does not read on.
            reading.record_bytes(run);
        }
        if reading.is_stalled(run) {
            reading.give_up_stalled(now, &mut self.random);
            self.search.record_failure();
        }
    }

    /// Whether it searches a server, so that announcements and the searches of others must be passed.
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
        // The rest of an answer that nobody waits for any more: the connection may be used again.
        let Some(reading) = self.source.reading_of(id) else { return true };
        match AnswerFrame::read(&frame) {
            Ok(AnswerFrame::Records) => {
                let Ok(reader) = RecordReader::new(&frame) else { return self.fail(now) };
                reading.record_answer(run);
                reading.frames.push_back((frame, reader));
                self.delivery.server = Some(server);
                self.record_answer();
            }
            Ok(AnswerFrame::End { status: status @ (AnswerStatus::More | AnswerStatus::Edge), .. }) => {
                reading.record_end(run, status);
                self.record_answer();
            }
            Ok(AnswerFrame::End { .. }) => self.handle_failure(now, id),
            Ok(AnswerFrame::Retry { wait }) => {
                self.delivery.statistics.postponed += 1;
                // A server can make a client neither wait for longer nor ask without a pause.
                let wait = wait.clamp(SHORTEST_WAIT, LONGEST_WAIT);
                if reading.send_away(now, run, wait, &mut self.random) {
                    self.delivery.push_event(SubscriberEvent::HistoryQueued { server, expected: wait });
                }
                self.search.record_answer();
            }
            // A snapshot is an answer to another request.
            Ok(AnswerFrame::Snapshot { .. }) | Err(_) => return self.fail(now),
        }
        true
    }

    fn record_answer(&mut self) {
        self.search.record_answer();
        (self.unanswered_since, self.is_reached) = (None, true);
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
        // The next request starts where the records of these frames end.
        if reading.request().is_some() || !reading.frames.is_empty() || is_abandoned || self.is_reached() {
            return None;
        }
        let server = self.server(now)?;
        let start = self.due_request(now)?;
        self.last_request += 1;
        let run = self.clock.now();
        self.source.reading_mut()?.ask(run, self.last_request, self.delivery.position);
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

    /// Returns the latest time for the next call of [`handle_timeout`](Self::handle_timeout), [`poll_step`](Self::poll_step),
    /// [`poll_query`](Self::poll_query) and [`poll_search`](Self::poll_search). Much later calls show that the process did not run.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<ClockTime> {
        let reading = self.source.reading()?;
        let needs_search = self.config.searches && self.search.server().is_none();
        let retry = reading.next_request_at().filter(|_| !needs_search).unwrap_or(ClockTime::NEVER);
        // Without a live stream to continue with, nothing is given up.
        let given_up = match self.backlog.front() {
            Some(_) => self.given_up_at(reading).map_or(ClockTime::NEVER, |at| self.clock.earliest(at)),
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
        let is_kept = matches!(self.source, Source::Live) || self.is_healing_stalled();
        !is_kept || self.backlog.bytes() < self.config.backlog
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
        // One is taken while the next one arrives, and no more memory is needed.
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

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::super::record::LiveIdentity;
    use super::super::search;
    use super::delivery::UNKNOWN;
    use super::*;
    use crate::span::count;
    use crate::subscriber::SubscriberStatistics;
    use crate::wire::MessageNumber;

    const START: ClockTime = ClockTime(1_000_000_000);
    const CONTENT: Incarnation = Incarnation(7);
    const IDENTITY: LiveIdentity = LiveIdentity { content: CONTENT, own: CONTENT };

    /// Returns how often a machine asks a server that sends it away for this time, again and again, and when the machine
    /// gives up. That it waits is reported once.
    fn sent_away(config: HistoryConfig, wait: Duration) -> (u64, Duration) {
        let heals = config.heal;
        let mut machine = HistoryMachine::new(config, START);
        let joined =
            SubscriberEvent::Joined { incarnation: CONTENT, publisher: UNKNOWN, message: MessageNumber(100) };
        machine.handle_live_event(START, IDENTITY, joined);
        if heals {
            let (first, end) = (MessageNumber(100), MessageNumber(200));
            let lost = SubscriberEvent::Lost { first, end, cause: Cause::NotInHistory };
            assert_eq!(machine.handle_live_event(START, IDENTITY, lost), None);
        }
        let (mut now, mut requests, mut queued) = (START, 0, 0);
        while now < START + 2 * LONGEST_AWAY && requests < 1_000_000 {
            machine.handle_heartbeat(now);
            let mut has_failed = false;
            while let Some(step) = machine.poll_step(now) {
                has_failed |= matches!(step.event(), Some(SubscriberEvent::HistoryFailed { .. }));
                queued += usize::from(matches!(step.event(), Some(SubscriberEvent::HistoryQueued { .. })));
            }
            if machine.is_live() {
                assert!(has_failed, "it is reported");
                assert_eq!(queued, 1);
                let mut counted = SubscriberStatistics::default();
                machine.statistics().add_to(&mut counted);
                assert_eq!(counted.postponed, requests);
                return (requests, now.since(START));
            }
            match machine.poll_query(now) {
                Some(query) => {
                    requests += 1;
                    machine.handle_frame(now, query.id, UNKNOWN, AnswerFrame::later(wait));
                }
                None => {
                    now =
                        machine.poll_timeout().unwrap_or(ClockTime::NEVER).max(now + Duration::from_nanos(1));
                }
            }
        }
        panic!("it does not give up, at {now:?} after {requests} requests");
    }

    #[test]
    fn a_start_is_sent_away_for_at_most_six_hours() {
        for wait in [
            Duration::ZERO,
            SHORTEST_WAIT,
            Duration::from_secs(1),
            LONGEST_WAIT,
            Duration::from_secs(1 << 20),
        ] {
            let config = HistoryConfig { start: Some(HistoryStart::Oldest), ..HistoryConfig::default() };
            let timeout = config.timeout;
            let (requests, time) = sent_away(config, wait);
            let most = LONGEST_AWAY + START_TIMEOUT * timeout;
            assert!(time >= LONGEST_AWAY && time <= most, "{wait:?}: {time:?}");
            assert!(requests <= 1 + count(most, SHORTEST_WAIT), "{wait:?}: {requests} requests");
        }
    }

    #[test]
    fn healing_is_sent_away_for_at_most_a_minute() {
        for wait in [Duration::ZERO, Duration::from_secs(1), LONGEST_WAIT] {
            let config = HistoryConfig { heal: true, ..HistoryConfig::default() };
            let timeout = config.timeout;
            let (requests, time) = sent_away(config, wait);
            let longest = HEALING_AWAY * timeout;
            assert!(time >= longest && time <= longest + timeout, "{wait:?}: {time:?}");
            assert!(requests <= 1 + count(longest + timeout, SHORTEST_WAIT), "{wait:?}: {requests} requests");
        }
    }

    #[test]
    fn each_wait_in_the_queue_of_a_server_is_reported_once() {
        let config = HistoryConfig { start: Some(HistoryStart::Oldest), ..HistoryConfig::default() };
        let (mut machine, mut now) = (HistoryMachine::new(config, START), START);
        let later = || AnswerFrame::later(Duration::from_secs(3));
        let more = || AnswerFrame::end(AnswerStatus::More, "");
        for (frame, is_reported) in
            [(later(), true), (later(), false), (more(), false), (more(), false), (later(), true)]
        {
            let query = loop {
                match machine.poll_query(now) {
                    Some(query) => break query,
                    None => {
                        now = machine
                            .poll_timeout()
                            .unwrap_or(ClockTime::NEVER)
                            .max(now + Duration::from_nanos(1));
                    }
                }
            };
            assert!(machine.handle_frame(now, query.id, UNKNOWN, frame));
            let event = machine.poll_step(now).and_then(|step| step.event());
            let queued = SubscriberEvent::HistoryQueued { server: UNKNOWN, expected: Duration::from_secs(3) };
            assert_eq!(event, is_reported.then_some(queued));
        }
    }

    /// A server, as the publisher of a stream that begins with this message shows it.
    #[derive(Clone, Copy)]
    enum Shown {
        Nothing,
        Advertised,
        Announced,
    }

    /// Returns what a machine with this start reports, and after which time, if no server answers.
    fn unanswered(start: HistoryStart, first: u64, shown: Shown) -> (Vec<SubscriberEvent>, Duration) {
        let config = HistoryConfig { start: Some(start), searches: true, ..HistoryConfig::default() };
        let mut machine = HistoryMachine::new(config, START);
        // Nothing is given up before there is a publisher.
        let mut now = START + Duration::from_secs(60);
        run(&mut machine, START, now, shown);
        let begun = now;
        let message = MessageNumber(first);
        machine.handle_live_event(
            now,
            IDENTITY,
            SubscriberEvent::Joined { incarnation: CONTENT, publisher: UNKNOWN, message },
        );
        if matches!(shown, Shown::Advertised) {
            machine.handle_advertisement(None);
        }
        let mut events = Vec::new();
        while !machine.is_live() {
            events.extend(run(&mut machine, now, now + Duration::from_millis(1), shown));
            now = now + Duration::from_millis(1);
        }
        (events, now.since(begun))
    }

    /// Runs a machine whose requests fail; returns the events.
    fn run(
        machine: &mut HistoryMachine,
        from: ClockTime,
        to: ClockTime,
        shown: Shown,
    ) -> Vec<SubscriberEvent> {
        let (mut now, mut events) = (from, Vec::new());
        while now < to {
            machine.handle_heartbeat(now);
            if machine.poll_search(now) && matches!(shown, Shown::Announced) {
                machine.handle_server(now, UNKNOWN);
            }
            if let Some(query) = machine.poll_query(now) {
                machine.handle_failure(now, query.id);
            }
            while let Some(step) = machine.poll_step(now) {
                events.extend(step.event());
            }
            now = now + Duration::from_millis(1);
        }
        events
    }

    const fn is_loss(event: &SubscriberEvent) -> bool {
        matches!(event, SubscriberEvent::Lost { .. } | SubscriberEvent::LostUnknown { .. })
    }

    const fn is_failure(event: &SubscriberEvent) -> bool {
        matches!(event, SubscriberEvent::HistoryFailed { .. })
    }

    #[test]
    fn a_start_waits_for_three_times_the_timeout_for_a_server() {
        let starts = [
            (HistoryStart::Number(MessageNumber(3)), Shown::Nothing),
            (HistoryStart::Time(1), Shown::Nothing),
            (HistoryStart::At(Position::new(CONTENT, MessageNumber(3))), Shown::Nothing),
            (HistoryStart::Number(MessageNumber(3)), Shown::Announced),
            (HistoryStart::Oldest, Shown::Advertised),
            (HistoryStart::Oldest, Shown::Announced),
        ];
        for (start, shown) in starts {
            let (events, time) = unanswered(start, 100, shown);
            assert!(events.iter().any(is_failure) && events.iter().any(is_loss), "{start:?}: {events:?}");
            let timeout = START_TIMEOUT * HistoryConfig::default().timeout;
            assert!(time >= timeout && time < timeout + Duration::from_secs(1), "{start:?}: {time:?}");
        }
    }

    #[test]
    fn a_start_with_the_oldest_message_is_short_where_nothing_shows_a_server() {
        for (first, is_reported) in [(0, false), (100, true)] {
            let (events, time) = unanswered(HistoryStart::Oldest, first, Shown::Nothing);
            // Nothing is lost: the start promises what the publisher has.
            assert_eq!((events.iter().any(is_failure), events.iter().any(is_loss)), (is_reported, false));
            assert!(time >= search::SHORT && time < search::SHORT + Duration::from_secs(1), "{time:?}");
        }
    }

    #[test]
    fn the_time_in_which_the_process_does_not_run_does_not_count() {
        let start = HistoryStart::At(Position::new(CONTENT, MessageNumber(3)));
        let config = HistoryConfig { start: Some(start), searches: true, ..HistoryConfig::default() };
        let mut machine = HistoryMachine::new(config, START);
        let message = MessageNumber(100);
        machine.handle_live_event(
            START,
            IDENTITY,
            SubscriberEvent::Joined { incarnation: CONTENT, publisher: UNKNOWN, message },
        );
        let mut now = START;
        for _ in 0..10 {
            assert!(
                machine.poll_timeout().unwrap_or(ClockTime::NEVER) <= now + RunningClock::LONGEST_STEP,
                "longer pauses show that it is suspended"
            );
            let end = now + Duration::from_secs(1);
            let events = run(&mut machine, now, end, Shown::Nothing);
            assert!(!events.iter().any(|event| is_failure(event) || is_loss(event)), "{events:?}");
            now = end + Duration::from_secs(20);
        }
        assert!(!machine.is_live());
        // 10 s, and a step for each pause, have passed.
        let events = run(&mut machine, now, now + Duration::from_secs(5), Shown::Nothing);
        assert!(events.iter().any(is_failure) && machine.is_live());
    }

    /// Returns when each of these losses of a message, noticed at these times in milliseconds, was reported.
    fn reported(noticed: &[u64]) -> Vec<u64> {
        let config = HistoryConfig { heal: true, searches: true, ..HistoryConfig::default() };
        let mut machine = HistoryMachine::new(config, START);
        let joined =
            SubscriberEvent::Joined { incarnation: CONTENT, publisher: UNKNOWN, message: MessageNumber(0) };
        assert!(machine.handle_live_event(START, IDENTITY, joined).is_some());
        let (mut now, mut reported) = (START, Vec::new());
        for milliseconds in 0..60_000 {
            if let Some(index) = noticed.iter().position(|at| *at == milliseconds) {
                let first = MessageNumber(2 * index as u64);
                let lost = SubscriberEvent::Lost { first, end: first + 1, cause: Cause::Unrecoverable };
                assert_eq!(machine.handle_live_event(now, IDENTITY, lost), None, "it is healed");
                let (number, bytes) = (first + 1, &b"live"[..]);
                let incarnation = CONTENT;
                machine.handle_live_message(
                    now,
                    IDENTITY,
                    &Message { incarnation, number, key: None, bytes },
                );
            }
            let end = now + Duration::from_millis(1);
            let events = run(&mut machine, now, end, Shown::Announced);
            reported.extend(events.iter().filter(|event| is_loss(event)).map(|_| milliseconds));
            now = end;
        }
        reported
    }

    #[test]
    fn every_loss_has_its_own_timeout_although_healing_has_failed_before() {
        let noticed = [0, 1_000, 4_000, 7_000, 7_200, 40_000];
        let timeout = HistoryConfig::default().timeout.as_millis() as u64;
        for (noticed, reported) in noticed.iter().zip(reported(&noticed)) {
            // Losses behind another one do not wait for longer, so that the live stream is not delayed further and further.
            assert!((noticed + timeout..noticed + timeout + 20).contains(&reported), "{noticed}: {reported}");
        }
    }

    #[test]
    fn a_loss_is_requested_although_its_timeout_has_passed_while_the_application_was_busy() {
        let config = HistoryConfig { heal: true, ..HistoryConfig::default() };
        let mut machine = HistoryMachine::new(config, START);
        let joined =
            SubscriberEvent::Joined { incarnation: CONTENT, publisher: UNKNOWN, message: MessageNumber(0) };
        machine.handle_live_event(START, IDENTITY, joined);
        let lose = |machine: &mut HistoryMachine, now, first: MessageNumber| {
            let lost = SubscriberEvent::Lost { first, end: first + 1, cause: Cause::Unrecoverable };
            assert_eq!(machine.handle_live_event(now, IDENTITY, lost), None);
            let (number, bytes) = (first + 1, &b"live"[..]);
            let message = Message { incarnation: CONTENT, number, key: None, bytes };
            machine.handle_live_message(now, IDENTITY, &message);
        };
        let mut now = START + Duration::from_secs(3);
        lose(&mut machine, START, MessageNumber(0));
        run(&mut machine, START, now, Shown::Nothing);
        lose(&mut machine, now, MessageNumber(2));
        // No server answers until the first loss is reported, and the application gets the message after it.
        while machine.item().is_none() {
            now = now + Duration::from_millis(10);
            machine.handle_heartbeat(now);
            if let Some(query) = machine.poll_query(now) {
                machine.handle_failure(now, query.id);
            }
            machine.poll_step(now);
        }
        for _ in 0..1_000 {
            now = now + Duration::from_millis(10);
            machine.handle_heartbeat(now);
            machine.handle_timeout(now);
        }

        assert_eq!(machine.poll_step(now), None, "nothing is reported before a server was asked");

        let start = RequestedStart::At(Position::new(CONTENT, MessageNumber(2)));
        assert_eq!(machine.poll_query(now).map(|query| query.start), Some(start));
    }
}
