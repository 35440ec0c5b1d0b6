//! What the application is given of both streams: each message once and in order, and each loss and incarnation as an
//! event.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::SocketAddr;
use core::ops::Range;

use super::super::record::{HistoryConfig, HistoryStart, HistoryStatistics, LiveIdentity};
use crate::subscriber::{Cause, Step, SubscriberEvent};
use crate::wire::{Incarnation, MessageKey, MessageNumber, Position};

/// The address of a publisher that is not known.
pub(super) const UNKNOWN: SocketAddr =
    SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), 0);

/// A message that is delivered from here.
#[derive(Debug)]
pub(super) enum Stored {
    /// It is in the first frame of the reading.
    InFrame(MessageNumber, Option<MessageKey>, Range<usize>),
    /// It has waited in the backlog.
    FromBacklog(MessageNumber, Option<MessageKey>, Box<[u8]>),
}

/// The place of one message between here and the application.
#[derive(Debug)]
enum Slot {
    Empty,
    /// It is the next item, after the events.
    Waiting(Stored),
    /// It was returned last.
    Returned(Stored),
}

/// Whether more is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Open,
    /// The end of the stream was reported, because there is no publisher. A message or a publisher reopens it.
    Ended,
    /// A loss has stopped it for all time. Events that were caused until then are still reported.
    Stopped,
}

/// The incarnation that was entered.
#[derive(Clone, Copy, Debug)]
struct Entered {
    /// That of its messages.
    content: Incarnation,
    /// The one that it was reported under.
    own: Incarnation,
}

/// What was reported to the application of the incarnation that was entered, and given to it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reported {
    /// The first message that was to be given to it.
    pub(super) begun: MessageNumber,
    /// The first message after the last loss, or else the first of all; what the application had processed before counts.
    pub(super) since: MessageNumber,
    /// Messages that were reported as lost.
    pub(super) lost: u64,
    /// Whether an unknown number of them was.
    pub(super) is_loss_unknown: bool,
    /// The last message that was given to it from here.
    pub(super) last: Option<MessageNumber>,
}

impl Reported {
    const fn begin(first: MessageNumber) -> Self {
        Self { begun: first, since: first, lost: 0, is_loss_unknown: false, last: None }
    }

    fn record_loss(&mut self, first: MessageNumber, end: MessageNumber) {
        (self.since, self.lost) = (end, self.lost.saturating_add(end.ahead_of(first)));
    }
}

/// The publisher of the live stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    pub(super) identity: LiveIdentity,
    publisher: SocketAddr,
}

/// The one position in both streams, and what waits to be given to the application.
#[derive(Debug)]
pub(super) struct Delivery {
    start: Option<HistoryStart>,
    processed_since: Option<MessageNumber>,
    stops: bool,
    /// The next message to deliver. `None` until the start is known.
    pub(super) position: Option<Position>,
    entered: Option<Entered>,
    /// Whether it is reported, or about to be, how the incarnation of the position ends.
    pub(super) is_tail_known: bool,
    pub(super) reported: Reported,
    pub(super) live: Option<Live>,
    /// The server that answered last.
    pub(super) server: Option<SocketAddr>,
    pub(super) statistics: HistoryStatistics,
    events: VecDeque<SubscriberEvent>,
    slot: Slot,
    outcome: Outcome,
}

impl Delivery {
    pub(super) fn new(config: &HistoryConfig) -> Self {
        let position = match config.start {
            Some(HistoryStart::At(position)) => Some(position),
            _ => None,
        };
        Self {
            start: config.start,
            processed_since: config.processed_since,
            stops: config.stops,
            position,
            entered: None,
            is_tail_known: false,
            reported: Reported::default(),
            live: None,
            server: None,
            statistics: HistoryStatistics::default(),
            events: VecDeque::new(),
            slot: Slot::Empty,
            outcome: Outcome::Open,
        }
    }

    /// Returns the next item; `None` if nothing waits.
    pub(super) fn poll(&mut self) -> Option<Step> {
        // Events come before the message: those that are here belong before it in the stream.
        if let Some(event) = self.events.pop_front() {
            return Some(Step::of_event(event));
        }
        if self.has_stopped() {
            return None;
        }
        match core::mem::replace(&mut self.slot, Slot::Empty) {
            Slot::Waiting(message) => {
                self.slot = Slot::Returned(message);
                Some(Step::of_history())
            }
            Slot::Empty | Slot::Returned(_) => None,
        }
    }

    /// Releases the message that was returned last.
    pub(super) fn release(&mut self) {
        if matches!(self.slot, Slot::Returned(_)) {
            self.slot = Slot::Empty;
        }
    }

    /// Returns the message that was returned last.
    pub(super) const fn returned(&self) -> Option<&Stored> {
        match &self.slot {
            Slot::Returned(message) => Some(message),
            Slot::Empty | Slot::Waiting(_) => None,
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.events.is_empty() && !matches!(self.slot, Slot::Waiting(_))
    }

    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.outcome, Outcome::Ended)
    }

    pub(super) const fn has_stopped(&self) -> bool {
        matches!(self.outcome, Outcome::Stopped)
    }

    pub(super) const fn is_entered(&self) -> bool {
        self.entered.is_some()
    }

    /// Notes that the live stream has a publisher.
    pub(super) fn record_live(&mut self, identity: LiveIdentity, publisher: Option<SocketAddr>) {
        if let (None, Some(HistoryStart::Number(number))) = (self.position, self.start) {
            // What the publisher retains needs no server.
            self.position = Some(Position::new(identity.content, number));
        }
        let publisher = publisher.or_else(|| self.live.map(|live| live.publisher)).unwrap_or(UNKNOWN);
        self.live = Some(Live { identity, publisher });
        self.reopen();
    }

    /// Notes that the live stream has entered an incarnation, and reports it itself.
    pub(super) const fn follow_entered(&mut self, identity: LiveIdentity, next: Position) {
        self.reported = Reported::begin(next.number);
        self.entered = Some(Entered { content: identity.content, own: identity.own });
        self.is_tail_known = false;
        self.position = Some(next);
    }

    /// Notes that the live stream reports this loss itself.
    pub(super) fn follow_loss(&mut self, first: MessageNumber, next: Position) {
        self.position = Some(next);
        self.reported.record_loss(first, next.number);
        self.stop_by_loss();
    }

    /// Notes that the live stream reports itself that how the incarnation ends is unknown.
    pub(super) const fn follow_unknown_loss(&mut self, next: Position) {
        self.is_tail_known = true;
        self.position = Some(next);
        self.stop_by_loss();
    }

    /// Notes that another publisher continues the incarnation.
    pub(super) fn follow_continued(&mut self, identity: LiveIdentity) {
        if let Some(entered) = &mut self.entered
            && entered.content == identity.content
        {
            entered.own = identity.own;
            // Statuses report what was lost of the publisher's own incarnation.
            self.reported.lost = 0;
        }
    }

    /// Adds the message at this position, which [`enter`](Self::enter) was called for.
    pub(super) fn push_message(&mut self, at: Position, length: u64, message: Stored) {
        debug_assert!(matches!(self.slot, Slot::Empty), "one message waits at a time");
        self.statistics.messages = self.statistics.messages.wrapping_add(1);
        self.statistics.message_bytes = self.statistics.message_bytes.wrapping_add(length);
        self.reopen();
        self.position = Some(at.following());
        self.reported.last = Some(at.number);
        self.slot = Slot::Waiting(message);
    }

    pub(super) fn push_event(&mut self, event: SubscriberEvent) {
        self.events.push_back(event);
    }

    /// Reports the end of a stream without a publisher, once.
    pub(super) fn end(&mut self) -> Option<()> {
        let messages = self.position.filter(|_| self.outcome == Outcome::Open)?.number.0;
        self.outcome = Outcome::Ended;
        self.events.push_back(SubscriberEvent::Ended { messages });
        Some(())
    }

    /// Moves the position forward, and reports the messages before it as lost.
    pub(super) fn skip_to(&mut self, target: Position, cause: Cause) {
        let position = self.position.unwrap_or(target);
        let first = if target.incarnation == position.incarnation {
            self.enter(position);
            position.number
        } else {
            // How many messages followed in the former incarnation is unknown.
            self.enter(Position::new(target.incarnation, MessageNumber(0)));
            MessageNumber(0)
        };
        self.position = Some(target);
        if first < target.number {
            self.statistics.lost = self.statistics.lost.wrapping_add(target.number.ahead_of(first));
            self.reported.record_loss(first, target.number);
            self.events.push_back(SubscriberEvent::Lost { first, end: target.number, cause });
            self.stop_by_loss();
        }
    }

    /// Reports that messages from the position on may be lost.
    pub(super) fn report_unknown(&mut self) {
        let Some(position) = self.position else { return };
        self.is_tail_known = true;
        self.reported.is_loss_unknown = true;
        self.statistics.unknown = self.statistics.unknown.wrapping_add(1);
        self.events.push_back(SubscriberEvent::LostUnknown { first: position.number });
        self.stop_by_loss();
    }

    /// Reports the incarnation of this position, if it was not entered yet.
    pub(super) fn enter(&mut self, at: Position) {
        if self.entered.is_some_and(|entered| entered.content == at.incarnation) {
            return;
        }
        // Of the incarnation that an application had reached, nothing was delivered.
        let has_left = match (self.entered, self.start) {
            (Some(_), _) => true,
            (None, Some(HistoryStart::At(start))) => start.incarnation != at.incarnation,
            (None, _) => false,
        };
        if has_left && !self.is_tail_known {
            self.report_unknown();
        }
        let (own, publisher) = match self.live {
            Some(live) if live.identity.content == at.incarnation => (live.identity.own, live.publisher),
            Some(live) => (at.incarnation, live.publisher),
            None => (at.incarnation, self.server.unwrap_or(UNKNOWN)),
        };
        self.report_entered(at, own, publisher);
    }

    /// Reports that this position is entered, under the publisher's `own` incarnation.
    pub(super) fn report_entered(&mut self, at: Position, own: Incarnation, publisher: SocketAddr) {
        if let Some(entered) = self.entered {
            self.events.push_back(SubscriberEvent::Restarted { from: entered.own, to: own });
        }
        let message = at.number;
        self.events.push_back(SubscriberEvent::Joined { incarnation: own, publisher, message });
        self.reported = Reported::begin(message);
        if self.entered.is_none() && self.start == Some(HistoryStart::At(at)) {
            // It continues where the former process ended.
            let processed = self.processed_since.map_or(message, |since| since.min(message));
            self.reported.since = processed;
        }
        self.entered = Some(Entered { content: at.incarnation, own });
        self.is_tail_known = false;
    }

    const fn stop_by_loss(&mut self) {
        if self.stops {
            self.outcome = Outcome::Stopped;
        }
    }

    const fn reopen(&mut self) {
        if matches!(self.outcome, Outcome::Ended) {
            self.outcome = Outcome::Open;
        }
    }
}

/// Returns the length of a message as subscribers count it.
pub(super) const fn message_length(key: Option<MessageKey>, bytes: &[u8]) -> u64 {
    (bytes.len() + if key.is_some() { MessageKey::LENGTH } else { 0 }) as u64
}
