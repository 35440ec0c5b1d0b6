//! What the application has received and processed of the incarnation that is followed.

use super::{Policy, SubscriberMachine};
use crate::ClockTime;
use crate::backoff::SMALL_GROUP;
use crate::history::Position;
use crate::wire::{Acknowledgement, Incarnation, MessageNumber};

/// What the application has received and processed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AcknowledgementAccount {
    /// Whether the publisher requests acknowledgements.
    is_requested: bool,
    /// The first message after the last loss, or else the first of all.
    since: MessageNumber,
    /// The application has processed all messages before this one.
    processed: MessageNumber,
    /// The last message that was delivered, unless the application has processed it and all before it.
    unprocessed: Option<MessageNumber>,
    /// What is delivered waits elsewhere, and the application was given only the messages before this one.
    handed: Option<MessageNumber>,
    /// What the last status reported.
    reported: Option<Acknowledgement>,
}

impl AcknowledgementAccount {
    /// Begins with an incarnation, of which `since` is the first message to be delivered.
    pub(super) fn begin(&mut self, since: MessageNumber, is_requested: bool) {
        *self = Self { is_requested, since, processed: since, handed: self.handed, ..Self::default() };
    }

    /// Continues with another publisher of the same messages, to which nothing was reported yet.
    pub(super) const fn continue_with_another(&mut self, is_requested: bool) {
        (self.is_requested, self.reported) = (is_requested, None);
    }

    pub(super) const fn request(&mut self, is_requested: bool) {
        self.is_requested = is_requested;
    }

    /// Notes that the messages before this one are lost, or covered by a snapshot.
    pub(super) fn skip_to(&mut self, message: MessageNumber) {
        self.since = message;
        self.processed = self.processed.max(message);
    }

    /// Notes that a message is delivered. All before `expected` were delivered, lost or superseded.
    #[inline]
    pub(super) const fn note_message(&mut self, number: MessageNumber, expected: MessageNumber) {
        if self.unprocessed.is_none() {
            self.processed = expected;
        }
        self.unprocessed = Some(number);
    }

    /// Returns what the application has received and processed. All messages before `expected` were delivered, lost or
    /// superseded.
    fn current(&self, expected: MessageNumber) -> Acknowledgement {
        let received = self.handed.map_or(expected, |handed| handed.min(expected)).max(self.since);
        let processed = if self.unprocessed.is_none() { expected } else { self.processed };
        Acknowledgement { since: self.since, received, processed: processed.clamp(self.since, received) }
    }

    /// Returns what the next status is to report, if the publisher requests it.
    pub(super) fn wanted(&self, expected: MessageNumber) -> Option<Acknowledgement> {
        self.is_requested.then(|| self.current(expected))
    }

    /// Returns whether the publisher requests acknowledgements and does not know of the latest.
    pub(super) fn has_news(&self, expected: MessageNumber) -> bool {
        self.is_requested && self.reported != Some(self.current(expected))
    }

    pub(super) const fn note_reported(&mut self, reported: Option<Acknowledgement>) {
        self.reported = reported;
    }
}

impl SubscriberMachine {
    /// Notes that the application has processed this message, and all that were delivered before it. Publishers that
    /// wait for that learn of it with a status.
    ///
    /// With [`Policy::Latest`], which delivers messages out of order, this has an effect only for the message that was
    /// delivered last.
    pub fn acknowledge(&mut self, now: ClockTime, at: Position) {
        let is_known = self.content_incarnation() == Some(at.incarnation);
        let account = &mut self.acknowledgements;
        if is_known && account.unprocessed == Some(at.number) {
            account.unprocessed = None;
        } else if is_known && at.number < self.expected && self.config.policy != Policy::Latest {
            account.processed = account.processed.max(at.number + 1);
        } else {
            return;
        }
        self.report_acknowledgement(now);
    }

    /// Sets the position before which the application was given all messages, for a caller that keeps what is delivered
    /// until it has messages from before that. `None`: the application is given everything at once.
    pub fn set_handed(&mut self, now: ClockTime, position: Option<Position>) {
        let content = self.content_incarnation();
        let number = |position: Position| match content == Some(position.incarnation) {
            true => position.number,
            false => MessageNumber(0),
        };
        let handed = position.map(number);
        if self.acknowledgements.handed != handed {
            self.acknowledgements.handed = handed;
            self.report_acknowledgement(now);
        }
    }

    /// Returns whether the publisher requests acknowledgements.
    #[must_use]
    pub const fn is_to_acknowledge(&self) -> bool {
        self.acknowledgements.is_requested
    }

    /// Acknowledges nothing before this position any more, for a caller that has discarded what was delivered.
    pub fn withdraw_before(&mut self, position: Position) {
        if self.content_incarnation() == Some(position.incarnation)
            && position.number > self.acknowledgements.since
        {
            self.acknowledgements.skip_to(position.number);
        }
    }

    /// Returns what the application has received and processed of the incarnation that is followed.
    #[must_use]
    pub fn acknowledgement(&self) -> Acknowledgement {
        self.acknowledgements.current(self.expected)
    }

    /// Returns the incarnation that positions of messages have: that of the origin, if the publisher reads them from an
    /// engine.
    pub(super) fn content_incarnation(&self) -> Option<Incarnation> {
        self.incarnations.origin().map(|origin| origin.incarnation).or_else(|| self.incarnations.current())
    }

    /// Schedules a status with an acknowledgement, also after the end of the stream.
    fn report_acknowledgement(&mut self, now: ClockTime) {
        if self.is_mute() || !self.acknowledgements.has_news(self.expected) {
            return;
        }
        let interval = self.status_interval();
        let earliest = self.statuses.last() + interval / 2;
        let at = match self.heartbeat.group_size > SMALL_GROUP {
            true => now.max(earliest) + self.random.below(interval),
            false => now.max(earliest),
        };
        if self.delivery.has_ended() {
            self.statuses.confirm_end(at);
        } else if !self.statuses.is_scheduled() || self.heartbeat.group_size <= SMALL_GROUP {
            self.statuses.schedule(at);
        }
    }

    /// Schedules a status with an acknowledgement in a small group, where it need not wait for a heartbeat.
    #[inline]
    pub(super) fn report_acknowledgement_soon(&mut self) {
        if self.acknowledges_soon()
            && self.requests_repairs()
            && self.acknowledgements.has_news(self.expected)
        {
            self.statuses.schedule(self.statuses.last() + self.status_interval() / 2);
        }
    }

    /// Whether the publisher expects acknowledgements, and the group is small enough to send them at once.
    pub(super) const fn acknowledges_soon(&self) -> bool {
        self.acknowledgements.is_requested && self.heartbeat.group_size <= SMALL_GROUP
    }
}
