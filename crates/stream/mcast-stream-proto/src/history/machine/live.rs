//! The live stream: it waits in the backlog while messages before it come from the history.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::SocketAddr;
use core::time::Duration;

use super::super::reading::Reading;
use super::super::record::LiveIdentity;
use super::delivery::{Stored, message_length};
use super::{Healing, HistoryMachine, STALL, Source};
use crate::ClockTime;
use crate::subscriber::{Cause, Item, Message, SubscriberEvent, SubscriberMachine};
use crate::wire::{Incarnation, MessageKey, MessageNumber, Position};

impl HistoryMachine {
    /// Takes what the live stream delivers, while this [is not live](Self::is_live) or may cease to be. `datagram` is the one
    /// that the subscriber handled last. `event` is called with the events that belong to no position.
    pub fn take_live(
        &mut self,
        now: ClockTime,
        subscriber: &mut SubscriberMachine,
        datagram: &[u8],
        mut event: impl FnMut(SubscriberEvent),
    ) {
        self.handle_publisher(now, subscriber);
        subscriber.join_history(now, self.account());
        loop {
            if !self.has_room() {
                subscriber.start_buffering(datagram);
                break;
            }
            let Some(step) = subscriber.poll_step(now, datagram) else { break };
            match (subscriber.item(&step, datagram), identity(subscriber)) {
                (Item::Message(message), Some(identity)) => self.handle_live_message(now, identity, &message),
                (Item::Message(_), None) => {}
                (Item::Event(of_live), _) => {
                    if let Some(of_live) = self.handle_event(now, subscriber, of_live) {
                        event(of_live);
                    }
                }
            }
        }
        subscriber.join_history(now, self.account());
    }

    /// Passes an event of the live stream; returns it if it must be delivered now.
    pub fn handle_event(
        &mut self,
        now: ClockTime,
        subscriber: &mut SubscriberMachine,
        event: SubscriberEvent,
    ) -> Option<SubscriberEvent> {
        let Some(identity) = identity(subscriber) else { return Some(event) };
        let event = self.handle_live_event(now, identity, event);
        subscriber.join_history(now, self.account());
        event
    }

    /// Takes a message of the live stream, while it [is not live](Self::is_live).
    pub fn handle_live_message(&mut self, now: ClockTime, identity: LiveIdentity, message: &Message<'_>) {
        self.clock.note(now);
        self.record_live(identity, None);
        let at = Position::new(identity.content, message.number);
        self.backlog.next = Some(at.following());
        // The subscriber has counted it, and delivery from here will count it again.
        let statistics = &mut self.delivery.statistics;
        statistics.messages = statistics.messages.wrapping_sub(1);
        statistics.message_bytes =
            statistics.message_bytes.wrapping_sub(message_length(message.key, message.bytes));
        if !self.backlog.has_messages() {
            self.filling_since = self.clock.now();
        }
        let content = LiveContent::Message { key: message.key, bytes: message.bytes.into() };
        self.push_live(at, content);
        self.limit_backlog();
    }

    /// Takes an event of the live stream; returns it if it must be delivered now.
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
                self.has_stream_ended = false;
                self.handle_heartbeat(now);
                // What is missing before the first message of a new incarnation is reported as lost.
                let is_first = self.backlog.next.is_none_or(|next| next.incarnation == identity.content);
                let next = of_live(if is_first { message } else { MessageNumber(0) });
                self.backlog.next = Some(next);
                if is_live {
                    self.backlog_entered = Some(identity.content);
                    self.delivery.follow_entered(identity, next);
                    return Some(event);
                }
                let content = LiveContent::Begun { own: identity.own, publisher, message: next.number };
                self.push_live(next, content);
                None
            }
            // While the history is read, it follows from `Joined`.
            Restarted { .. } => is_live.then_some(event),
            Lost { first, end, cause } => {
                self.record_live(identity, None);
                self.backlog.next = Some(of_live(end));
                if is_live && !self.heals(cause) {
                    self.delivery.follow_loss(first, of_live(end));
                    return Some(event);
                }
                let lost = &mut self.delivery.statistics.lost;
                *lost = lost.wrapping_sub(end.ahead_of(first));
                self.take_positioned(is_live, of_live(first), event)
            }
            LostUnknown { first } => {
                self.record_live(identity, None);
                // How far the incarnation goes is unknown, so that the history is asked for all of it.
                let next = of_live(MessageNumber::MAX);
                self.backlog.next = Some(next);
                if is_live && !self.heals(Cause::Restart) {
                    self.delivery.follow_unknown_loss(next);
                    return Some(event);
                }
                let unknown = &mut self.delivery.statistics.unknown;
                *unknown = unknown.wrapping_sub(1);
                self.take_positioned(is_live, of_live(first), event)
            }
            Ended { messages } => {
                self.record_live(identity, None);
                self.has_stream_ended = true;
                if is_live {
                    self.delivery.is_tail_known = true;
                    return Some(event);
                }
                self.take_positioned(false, of_live(MessageNumber(messages)), event)
            }
            Continued { publisher, .. } => {
                self.record_live(identity, Some(publisher));
                self.delivery.follow_continued(identity);
                Some(event)
            }
            _ => Some(event),
        }
    }

    /// Takes the next item of the backlog; `None` if there is none.
    pub(super) fn advance_live(&mut self, now: ClockTime) -> Option<()> {
        let Some(LiveItem { at, content, arrived }) = self.backlog.pop() else {
            // Nothing waits any more: the live stream is reached.
            if self.healing == Healing::CatchingUp {
                self.healing = Healing::Reached;
            }
            return None;
        };
        let position = self.delivery.position;
        let is_past = position.is_some_and(|position| at < position);
        // Events about an older incarnation than the one that the history has led to come too late.
        let is_of_past_incarnation = position.is_some_and(|position| at.incarnation < position.incarnation);
        match content {
            LiveContent::Begun { own, publisher, message } => {
                // Back to an older incarnation: its messages come after those that were delivered.
                let is_back = self.backlog_entered.is_some_and(|entered| entered > at.incarnation);
                self.backlog_entered = Some(at.incarnation);
                if is_back || position.is_none_or(|position| position.incarnation < at.incarnation) {
                    // The live stream has reported how the former one ends, so that this is not an unknown loss.
                    let begun = Position::new(at.incarnation, message);
                    self.delivery.report_entered(begun, own, publisher);
                    self.delivery.position = Some(at);
                }
            }
            // The history has brought it.
            LiveContent::Message { .. } if is_past => {}
            LiveContent::Message { key, bytes } => {
                self.delivery.enter(at);
                if !self.delivery.has_stopped() {
                    let length = message_length(key, &bytes);
                    self.delivery.push_message(at, length, Stored::FromBacklog(at.number, key, bytes));
                }
            }
            LiveContent::Event(SubscriberEvent::Lost { end, cause, .. }) => {
                let (first, end) =
                    (position.map_or(at, |position| position.max(at)), Position::new(at.incarnation, end));
                if first < end {
                    self.delivery.position = Some(first);
                    if !self.start_healing(now, cause, arrived) {
                        self.delivery.skip_to(end, cause);
                    }
                }
            }
            LiveContent::Event(_) if is_of_past_incarnation => {}
            LiveContent::Event(SubscriberEvent::LostUnknown { .. }) => {
                if !self.delivery.is_tail_known {
                    self.delivery.position = Some(position.map_or(at, |position| position.max(at)));
                    if !self.start_healing(now, Cause::Restart, arrived) {
                        self.delivery.report_unknown();
                    }
                }
            }
            LiveContent::Event(event) => {
                self.delivery.is_tail_known = true;
                self.delivery.push_event(event);
            }
        }
        Some(())
    }

    /// Requests what is missing from the position on from the history, if losses for this reason are. It was noticed at
    /// this time.
    fn start_healing(&mut self, now: ClockTime, cause: Cause, noticed: Duration) -> bool {
        let heals = self.heals(cause);
        if heals {
            // The timeouts of all losses that wait while no server answers run together. While the application is busy between two
            // of them, no server is asked, so that they do not run.
            self.asking.start(self.clock.now());
            let since = self
                .unanswered_since
                .map_or_else(|| self.clock.now(), |since| self.asking.moment(since.max(noticed)));
            self.source = Source::History(Box::new(Reading::new(now, since, cause)));
        }
        heals
    }

    /// Whether what is missing for this reason is requested from the history.
    fn heals(&self, cause: Cause) -> bool {
        let is_requested = match self.healing {
            Healing::CatchingUp => true,
            Healing::Reached => {
                self.config.heal || matches!(cause, Cause::Unrecoverable | Cause::PublisherGone)
            }
            Healing::AsConfigured => self.config.heal,
            Healing::Abandoned => false,
        };
        is_requested && cause != Cause::Abandoned
    }

    /// Puts an event into the backlog. If nothing else is there, the next message to deliver is at its position.
    fn take_positioned(
        &mut self,
        is_live: bool,
        at: Position,
        event: SubscriberEvent,
    ) -> Option<SubscriberEvent> {
        if is_live {
            self.delivery.position = Some(at);
        }
        self.push_live(at, LiveContent::Event(event));
        None
    }

    fn push_live(&mut self, at: Position, content: LiveContent) {
        self.backlog.push(LiveItem { at, content, arrived: self.asking.at(self.clock.now()) });
    }

    fn record_live(&mut self, identity: LiveIdentity, publisher: Option<SocketAddr>) {
        if self.delivery.live.is_none()
            && let Some(reading) = self.source.reading_mut().filter(|reading| !reading.is_answered)
        {
            // Without a live stream, there is nothing to continue with.
            reading.record_progress(self.clock.now());
        }
        self.delivery.record_live(identity, publisher);
    }

    /// Discards the oldest items of a full backlog: they come from the history as well.
    fn limit_backlog(&mut self) {
        while matches!(self.source, Source::History(_)) && self.backlog.bytes() > self.config.backlog {
            self.backlog.pop();
        }
    }

    /// Whether a loss is healed, and the history has brought nothing for a while: what is here must not get lost as well. While
    /// nothing is published, the history brings nothing either.
    pub(super) fn is_healing_stalled(&self) -> bool {
        let Some(reading) = self.source.reading().filter(|_| !self.is_catching_up()) else { return false };
        let since = reading.progress_at.max(self.filling_since);
        self.clock.now() >= since + STALL && reading.frames.is_empty()
    }
}

/// Returns the incarnation that the messages of the live stream have in a history.
fn identity(subscriber: &SubscriberMachine) -> Option<LiveIdentity> {
    let own = subscriber.incarnation()?;
    Some(LiveIdentity { content: subscriber.origin().map_or(own, |origin| origin.incarnation), own })
}

/// The memory of an item besides its bytes.
const ITEM: usize = 104;

/// A message or event of the live stream, and its position in the stream's content.
#[derive(Debug)]
pub(super) struct LiveItem {
    pub(super) at: Position,
    pub(super) content: LiveContent,
    /// When it arrived, by the clock that runs while the history is read.
    pub(super) arrived: Duration,
}

#[derive(Debug)]
pub(super) enum LiveContent {
    Message {
        key: Option<MessageKey>,
        bytes: Box<[u8]>,
    },
    /// The live stream begins with an incarnation, under its publisher's own number.
    Begun {
        own: Incarnation,
        publisher: SocketAddr,
        message: MessageNumber,
    },
    Event(SubscriberEvent),
}

impl LiveItem {
    fn size(&self) -> usize {
        match &self.content {
            LiveContent::Message { bytes, .. } => ITEM + bytes.len(),
            _ => ITEM,
        }
    }

    /// Whether it has to be delivered by the live stream: a message, or the end.
    const fn is_front(&self) -> bool {
        matches!(
            self.content,
            LiveContent::Message { .. } | LiveContent::Event(SubscriberEvent::Ended { .. })
        )
    }
}

/// The items, oldest first.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    items: VecDeque<LiveItem>,
    bytes: usize,
    /// The position of the first item that is a message or the end.
    front: Option<Position>,
    /// The position after the last item.
    pub(super) next: Option<Position>,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether it has anything that the live stream has to deliver.
    const fn has_messages(&self) -> bool {
        self.front.is_some()
    }

    /// The memory that it takes, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns where the live stream begins: what is before that position must come from the history.
    pub(super) fn front(&self) -> Option<Position> {
        self.front.or(self.next)
    }

    pub(super) fn push(&mut self, item: LiveItem) {
        if self.front.is_none() && item.is_front() {
            self.front = Some(item.at);
        }
        self.bytes += item.size();
        self.items.push_back(item);
    }

    pub(super) fn pop(&mut self) -> Option<LiveItem> {
        let item = self.items.pop_front()?;
        self.bytes -= item.size();
        if item.is_front() {
            self.front = self.items.iter().find(|item| item.is_front()).map(|item| item.at);
        }
        Some(item)
    }
}
