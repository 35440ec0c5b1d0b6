//! What a bridge publishes of an engine's records and when, without an engine, sockets or clocks.

mod config;
mod reading;
mod replay;

use std::collections::VecDeque;
use std::time::Duration;

use mcast_stream::ClockTime;
use mcast_stream::publisher::PublisherMachine;
use mcast_stream::wire::{Incarnation, MessageNumber, Origin, VisitedEngines};

use crate::engine::StoredStream;
use crate::record::{Content, GapCause, Position, StreamRecord};
pub use config::{ReverseConfig, ReverseEvent, ReverseRefusal, ReverseStatistics, StartAt};
use reading::{Claim, Pace, Reading};
pub use reading::{SourceRequest, SourceResponse};
pub use replay::{ReplayConfig, ReplayMachine};

/// How often to look whether subscribers have everything.
const DRAIN_INTERVAL: Duration = Duration::from_millis(10);
/// Incarnations count quarters of a second.
const QUARTER: Duration = Duration::from_millis(250);
/// A bridge that did not run for longer than this listens first. Another one takes over after a longer time.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it listens then: for some heartbeats.
const LISTEN_AGAIN: Duration = Duration::from_millis(600);

/// A heartbeat that was received on the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservedHeartbeat {
    /// The incarnation of its publisher.
    pub incarnation: Incarnation,
    /// Where its messages come from; `None` if they come from no engine.
    pub origin: Option<Origin>,
    /// The oldest message that it retains.
    pub oldest: MessageNumber,
    /// The next message that it sends.
    pub next: MessageNumber,
    /// The number of its subscribers.
    pub subscribers: u32,
    /// Whether it has closed the stream.
    pub is_end: bool,
}

/// The state of the bridge's publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublisherState {
    /// How many subscribers it has.
    pub subscribers: u64,
    /// Whether they have everything that was published.
    pub is_complete: bool,
}

/// What the bridge's publisher must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublisherAction {
    /// Publish under this incarnation, starting with this message.
    Begin {
        /// The incarnation.
        incarnation: Incarnation,
        /// Where the messages come from.
        origin: Origin,
        /// The number of the first message.
        first: MessageNumber,
    },
    /// Omit the messages before this one.
    Skip(MessageNumber),
    /// End the stream.
    Close,
    /// Stop at once, without ending the stream and without waiting for subscribers.
    Discard,
}

/// What a bridge is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It listens, and takes over when this time has come without a heartbeat.
    Standby { until: ClockTime },
    /// It reads where to start.
    Locating,
    /// It sends heartbeats, and waits for subscribers.
    Claiming(Claim),
    /// It publishes.
    Active,
    /// It waits until subscribers have everything, because another incarnation or nothing follows.
    Draining { until: ClockTime },
    /// There is nothing more to do.
    Over,
}

/// Decides what is published of an engine's records and when.
///
/// The caller passes each heartbeat of the stream to [`handle_heartbeat`](Self::handle_heartbeat), its own ones too. It calls
/// [`poll_request`](Self::poll_request) and [`poll_action`](Self::poll_action) until they return nothing, then publishes
/// the messages that are [due](Self::poll_record), and calls [`handle_published`](Self::handle_published) after each.
///
/// The messages have the numbers that they have in the engine, so that a subscriber continues with another bridge where
/// it left off. Of several bridges, the one with the greatest incarnation publishes, and the others are silent.
#[derive(Debug)]
pub struct ReverseMachine {
    config: ReverseConfig,
    start: ClockTime,
    /// When it ran last.
    polled: ClockTime,
    /// Until when it only listens, because it did not run for a while.
    quiet_until: ClockTime,
    role: Role,
    reading: Reading,
    /// The heartbeat with the greatest incarnation so far, of another bridge.
    heard: Option<ObservedHeartbeat>,
    /// The incarnation that this bridge publishes under.
    incarnation: Option<Incarnation>,
    /// Where the present incarnation began.
    began: Option<Position>,
    /// The next message to publish.
    next: Option<Position>,
    /// Messages before this one were published by another bridge, and are published without a pace.
    catch_up: MessageNumber,
    pace: Pace,
    /// Whether the engine's incarnation was closed.
    is_closed: bool,
    actions: VecDeque<PublisherAction>,
    events: VecDeque<ReverseEvent>,
    statistics: ReverseStatistics,
}

impl ReverseMachine {
    /// Returns a bridge that starts at `now`, and listens first.
    #[must_use]
    pub fn new(config: ReverseConfig, now: ClockTime) -> Self {
        Self {
            start: now,
            polled: now,
            quiet_until: now,
            role: Role::Standby { until: now + config.listen + config.jitter },
            reading: Reading::new(),
            heard: None,
            incarnation: None,
            began: None,
            next: None,
            catch_up: MessageNumber(0),
            pace: Pace::new(config.speed),
            is_closed: false,
            actions: VecDeque::new(),
            events: VecDeque::new(),
            statistics: ReverseStatistics::default(),
            config,
        }
    }

    /// Notes that there is a new connection to the engine.
    pub fn handle_connected(&mut self, now: ClockTime) {
        self.reading.connected(now);
    }

    /// Notes that the connection to the engine is broken.
    pub const fn handle_disconnected(&mut self) {
        self.reading.disconnected();
    }

    /// Handles the response to the request with this number.
    ///
    /// # Errors
    /// If the engine holds another stream than before, or one that this bridge must not publish.
    pub fn handle_response(
        &mut self,
        now: ClockTime,
        number: u64,
        response: SourceResponse,
    ) -> Result<(), ReverseRefusal> {
        let Some(response) = self.reading.accept(number, response) else { return Ok(()) };
        match response {
            SourceResponse::Described(stored) => {
                let is_first = self.reading.described(now, stored)?;
                if let Some(stored) = stored.filter(|_| is_first) {
                    self.check(&stored)?;
                }
            }
            SourceResponse::Located(position) => {
                self.reading.located(now, position);
                if let Some((position, true)) = position.filter(|_| self.role == Role::Locating) {
                    self.begin(now, position, 0);
                }
            }
            SourceResponse::Records(records) => self.reading.records(now, records),
        }
        Ok(())
    }

    /// Handles a heartbeat of the stream.
    ///
    /// # Errors
    /// If the stream is published by something else than a bridge of the same stream, as far as that is known before
    /// this bridge publishes.
    pub fn handle_heartbeat(
        &mut self,
        now: ClockTime,
        heard: ObservedHeartbeat,
    ) -> Result<(), ReverseRefusal> {
        let Some(origin) = heard.origin else { return self.refuse(ReverseRefusal::NotABridge) };
        if origin.publisher == self.config.publisher || self.role == Role::Over {
            return Ok(());
        }
        if let Some(stored) = self.reading.stored().filter(|stored| stored.stream != origin.stream) {
            return self.refuse(ReverseRefusal::OtherContent { here: stored.stream, there: origin.stream });
        }
        if self.heard.is_some_and(|known| known.incarnation > heard.incarnation) {
            return Ok(());
        }
        let is_new = self.heard.is_none_or(|known| known.incarnation < heard.incarnation);
        self.heard = Some(heard);
        match self.incarnation {
            Some(own) if own > heard.incarnation => {}
            Some(own) if own == heard.incarnation && origin.publisher < self.config.publisher => {
                // Both have claimed the same incarnation. The other one withdraws; this one takes a greater one.
                self.discard();
                self.begin(now, self.began.unwrap_or(Position::START), heard.subscribers);
            }
            _ => {
                if self.incarnation.is_some() {
                    self.discard();
                }
                if is_new {
                    let incarnation = heard.incarnation;
                    self.events.push_back(ReverseEvent::StandingBy { incarnation });
                }
                self.reading.stop();
                self.role = Role::Standby { until: now + self.config.silence + self.config.jitter };
            }
        }
        Ok(())
    }

    /// Returns the next request to the engine and its number, if there is one now.
    pub fn poll_request(&mut self, now: ClockTime) -> Option<(u64, SourceRequest)> {
        let start = (self.role == Role::Locating).then_some(self.config.start);
        self.reading.poll(now, start)
    }

    /// Returns what the publisher must do next, if there is anything now.
    pub fn poll_action(&mut self, now: ClockTime, publisher: PublisherState) -> Option<PublisherAction> {
        if now.since(self.polled) > PAUSE && self.incarnation.is_some() {
            // Another bridge may have taken over, whose heartbeats the socket had no room for.
            self.quiet_until = now + LISTEN_AGAIN;
        }
        self.polled = now;
        if self.actions.is_empty() && now >= self.quiet_until {
            self.advance(now, publisher);
        }
        self.actions.pop_front()
    }

    /// Returns the next message, if it must be published now. Call it after [`poll_action`](Self::poll_action) has
    /// returned nothing.
    #[must_use]
    pub fn poll_record(&mut self, now: ClockTime) -> Option<&StreamRecord> {
        if self.role != Role::Active || !self.actions.is_empty() || now < self.quiet_until {
            return None;
        }
        let record = self.reading.front()?;
        let is_message = matches!(record.content, Content::Message { .. });
        if !is_message || self.next != Some(record.position) {
            return None;
        }
        let is_paced = record.position.number >= self.catch_up;
        (!is_paced || self.pace.due(now, record.arrived()) <= now).then_some(record)
    }

    /// Notes that the message that is due was published.
    pub fn handle_published(&mut self, now: ClockTime) {
        let Some(record) = self.reading.pop() else { return };
        let Content::Message { bytes, .. } = &record.content else { return };
        if record.position.number >= self.catch_up {
            self.pace.advance(now, record.arrived());
        }
        self.statistics.messages += 1;
        self.statistics.message_bytes += bytes.len() as u64;
        self.statistics.published = Some(record.position);
        self.next = Some(record.position.following());
    }

    /// Notes that the message that is due can never be published: subscribers report it as lost.
    pub fn handle_unpublishable(&mut self, cause: GapCause) {
        let Some(record) = self.reading.pop() else { return };
        let end = record.position.following();
        self.actions.push_back(PublisherAction::Skip(end.number));
        self.next = Some(end);
        self.report_gap(record.position, end.number, Some(cause));
    }

    /// Returns the next event, if there is one.
    pub fn poll_event(&mut self) -> Option<ReverseEvent> {
        self.events.pop_front()
    }

    /// Returns when something may be to do if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&mut self, now: ClockTime) -> Option<ClockTime> {
        let role = match self.role {
            Role::Standby { until } if until > now => until,
            // It waits for the engine.
            Role::Standby { .. } | Role::Locating | Role::Over => ClockTime::NEVER,
            Role::Claiming(claim) => claim.deadline(now),
            Role::Draining { .. } => now + DRAIN_INTERVAL,
            Role::Active => match self.reading.front() {
                Some(record) if record.position.number >= self.catch_up => {
                    let time = record.arrived();
                    self.pace.due(now, time)
                }
                _ => ClockTime::NEVER,
            },
        };
        let role = if now < self.quiet_until { self.quiet_until } else { role };
        role.min(self.reading.deadline(self.role == Role::Locating)).unless_never()
    }

    /// Whether this bridge publishes, or is about to.
    #[must_use]
    pub const fn is_publishing(&self) -> bool {
        self.incarnation.is_some()
    }

    /// Whether it waits until subscribers have everything.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        matches!(self.role, Role::Draining { .. })
    }

    /// Whether the engine's stream has ended, and subscribers have everything.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.role == Role::Over
    }

    /// Returns the counters.
    #[must_use]
    pub const fn statistics(&self) -> ReverseStatistics {
        self.statistics
    }

    /// Fails if this bridge has never published; later, what is sent to the group cannot stop it.
    fn refuse(&mut self, refusal: ReverseRefusal) -> Result<(), ReverseRefusal> {
        match self.statistics.begun {
            0 => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Checks that the engine's stream may be published.
    fn check(&mut self, stored: &StoredStream) -> Result<(), ReverseRefusal> {
        if stored.stream == self.config.stream {
            return Err(ReverseRefusal::SameStream(stored.stream));
        }
        if VisitedEngines::prefixed(stored.key, stored.earlier).is_none() {
            return Err(ReverseRefusal::TooManyEngines);
        }
        match self.heard.and_then(|heard| heard.origin).filter(|origin| origin.stream != stored.stream) {
            Some(origin) => {
                self.refuse(ReverseRefusal::OtherContent { here: stored.stream, there: origin.stream })
            }
            None => Ok(()),
        }
    }

    /// Stops publishing at once.
    fn discard(&mut self) {
        self.actions.clear();
        self.actions.push_back(PublisherAction::Discard);
        self.incarnation = None;
        self.reading.stop();
    }

    /// Begins to publish at a position, under a greater incarnation than any that was received.
    fn begin(&mut self, now: ClockTime, position: Position, subscribers: u32) {
        let Some(stored) = self.reading.stored() else { return };
        let heard = self.heard.map_or(0, |heard| heard.incarnation.0.saturating_add(self.config.step));
        let own = self.statistics.incarnation.map_or(0, |own| own.0);
        let quarters =
            u32::try_from(now.since(self.start).as_millis() / QUARTER.as_millis()).unwrap_or(u32::MAX);
        let by_time = self.config.incarnation.0.saturating_add(quarters).saturating_add(self.config.step);
        let incarnation = Incarnation(by_time.max(heard.max(own).saturating_add(1)));
        // It was checked when the stream became known.
        let engines = VisitedEngines::prefixed(stored.key, stored.earlier).unwrap_or_default();
        let origin = Origin::new(stored.stream, position.incarnation, self.config.publisher, engines);
        self.actions.push_back(PublisherAction::Begin { incarnation, origin, first: position.number });
        let is_takeover = self.heard.is_some() && self.incarnation.is_none();
        self.events.push_back(match is_takeover {
            true => ReverseEvent::TookOver { incarnation, position },
            false => ReverseEvent::Began { incarnation, position },
        });
        self.statistics.begun += 1;
        self.statistics.takeovers += u64::from(is_takeover);
        self.statistics.incarnation = Some(incarnation);
        self.incarnation = Some(incarnation);
        (self.began, self.next, self.is_closed) = (Some(position), Some(position), false);
        self.reading.start(now, position);
        self.pace.restart();
        // The start waits for subscribers. Later, and after a takeover, those that are there wait for messages.
        let required = if self.statistics.begun == 1 && !is_takeover { self.config.wait_for } else { 0 };
        self.role = Role::Claiming(Claim::new(now, required, subscribers.into(), self.config.claim));
    }

    /// Changes the role, and handles the records other than messages.
    fn advance(&mut self, now: ClockTime, publisher: PublisherState) {
        match self.role {
            Role::Standby { until } if now >= until && self.reading.stored().is_some() => self.take_over(now),
            Role::Locating => {
                if let Some(record) = self.reading.front() {
                    let position = Position::new(record.position.incarnation, record.first());
                    let start = self.reading.start_position();
                    let start = start.filter(|start| start.incarnation == position.incarnation);
                    self.begin(now, start.map_or(position, |start| start.max(position)), 0);
                }
            }
            Role::Claiming(claim) if claim.is_over(now, publisher.subscribers) => self.role = Role::Active,
            Role::Claiming(ref mut claim) => {
                let joined = publisher.subscribers;
                if let Some(required) = claim.report(now, joined) {
                    self.events.push_back(ReverseEvent::WaitingForSubscribers { joined, required });
                }
            }
            Role::Active => self.handle_front(now),
            Role::Draining { until } if publisher.is_complete || now >= until => {
                self.follow_on(now, publisher);
            }
            _ => {}
        }
    }

    /// Publishes instead of a bridge that is silent, or as the first one.
    fn take_over(&mut self, now: ClockTime) {
        let Some(heard) = self.heard else {
            self.role = Role::Locating;
            return;
        };
        if heard.is_end && !self.config.stay {
            self.role = Role::Over;
            return;
        }
        let Some(origin) = heard.origin else { return };
        // The other bridge has published up to there: that is repeated without pauses, for subscribers that miss some of it.
        self.catch_up = heard.next;
        self.begin(now, Position::new(origin.incarnation, heard.oldest), heard.subscribers);
    }

    /// Handles the next records, until one is a message that must be published.
    fn handle_front(&mut self, now: ClockTime) {
        while let (Some(next), Some(record)) = (self.next, self.reading.front()) {
            let (position, first) = (record.position, record.first());
            if position.incarnation > next.incarnation || position >= next && self.is_closed {
                return self.drain(now);
            }
            if position < next {
                self.reading.pop();
                continue;
            }
            let (kind, is_gap) = match record.content {
                Content::Message { .. } => (None, false),
                ref other => (Some(other.clone()), matches!(other, Content::Gap { .. })),
            };
            let end = position.number + u64::from(is_gap);
            // No subscriber follows over a gap of this length, so the rest becomes another incarnation.
            if end.ahead_of(next.number) > PublisherMachine::MAX_SKIP {
                return self.drain(now);
            }
            if first > next.number {
                // Records were removed from the engine, or it has lost them, and there is no record of that.
                self.report_gap(next, first, None);
            }
            if end > next.number {
                self.actions.push_back(PublisherAction::Skip(end));
                self.next = Some(Position::new(position.incarnation, end));
            }
            let Some(kind) = kind else { return };
            self.reading.pop();
            self.handle_mark(position, first.max(next.number), &kind);
        }
        if self.is_closed && !self.config.stay && self.reading.is_at_end() {
            self.drain(now);
        }
    }

    /// Handles a record other than a message. Of a gap, the messages from `first` on are missing.
    fn handle_mark(&mut self, position: Position, first: MessageNumber, content: &Content) {
        let Position { incarnation, number } = position;
        match *content {
            Content::Gap { cause, .. } => {
                return self.report_gap(Position::new(incarnation, first), number + 1, Some(cause));
            }
            Content::OpenGap { cause } => {
                self.statistics.gaps += 1;
                self.events.push_back(ReverseEvent::OpenGap { position, cause });
            }
            Content::End => {
                self.actions.push_back(PublisherAction::Close);
                self.events.push_back(ReverseEvent::Ended { incarnation, messages: number.0 });
            }
            // Datagrams of plain groups are never in one stream with messages.
            Content::Message { .. } | Content::Datagram { .. } => return,
        }
        (self.is_closed, self.next) = (true, Some(position.following()));
    }

    fn report_gap(&mut self, from: Position, end: MessageNumber, cause: Option<GapCause>) {
        self.statistics.gaps += 1;
        self.statistics.missing += end.ahead_of(from.number);
        self.events.push_back(ReverseEvent::Gap { from, end, cause });
    }

    fn drain(&mut self, now: ClockTime) {
        self.role = Role::Draining { until: now + self.config.drain };
    }

    /// Continues with the next incarnation in the engine, or stops after the last one.
    fn follow_on(&mut self, now: ClockTime, publisher: PublisherState) {
        let Some(record) = self.reading.front() else {
            self.role = Role::Over;
            return;
        };
        let Position { incarnation, number } = record.position;
        let first = match (self.next, &record.content) {
            (Some(next), content) if next.incarnation == incarnation => {
                // Too many messages are missing to skip them, or others follow an open gap.
                let (end, cause) = match content {
                    Content::Gap { cause, .. } => (number + 1, Some(*cause)),
                    _ => (number, None),
                };
                if end > next.number {
                    self.report_gap(next, end, cause);
                }
                end.max(next.number)
            }
            _ => record.first(),
        };
        let subscribers = u32::try_from(publisher.subscribers).unwrap_or(u32::MAX);
        self.actions.push_back(PublisherAction::Discard);
        self.catch_up = MessageNumber(0);
        let pace = self.pace;
        self.begin(now, Position::new(incarnation, first), subscribers);
        self.pace = pace;
    }
}
