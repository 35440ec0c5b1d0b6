//! When the publisher learns what the application has received and processed.

use super::super::context::Context;
use super::super::reporter::Reporter;
use super::super::{Policy, SubscriberMachine};
use super::HistoryAccount;
use crate::ClockTime;
use crate::wire::{Acknowledgement, Position, Status};

impl SubscriberMachine {
    /// Notes that the application has processed this message, and all that were delivered before it. Publishers that
    /// wait for that learn of it with a status.
    ///
    /// With [`Policy::Latest`], which delivers messages out of order, this has an effect only for the message that was
    /// delivered last.
    pub fn acknowledge(&mut self, now: ClockTime, at: Position) {
        let Self { context, reporter, .. } = self;
        context.now = now;
        let end = (context.config.policy != Policy::Latest).then_some(context.delivery.expected);
        if reporter.account.acknowledge(at, end, context.publisher.content_incarnation()) {
            reporter.report_acknowledgement(context);
        }
    }

    /// Takes the account of the history that gives this stream's messages to the application
    /// ([`SubscriberConfig::has_history`](crate::subscriber::SubscriberConfig::has_history)). Call it before what the live stream
    /// delivers is passed there, and after each message or event from there.
    pub fn join_history(&mut self, now: ClockTime, mut history: HistoryAccount) {
        let Self { context, reporter, .. } = self;
        context.now = now;
        if context.config.name.is_none() {
            // Without a name, it is not the subscriber that has processed the messages before.
            history.since = history.since.max(history.begun);
        }
        let was_reading = reporter.account.is_reading();
        reporter.account.join(history, context.publisher.content_incarnation());
        if was_reading && reporter.has_read_history() && context.requests_repairs() {
            reporter.report_soon(context);
        }
        reporter.report_acknowledgement(context);
    }

    /// Acknowledges nothing before this position any more, for a caller that has discarded what was delivered.
    pub fn withdraw_before(&mut self, position: Position) {
        if self.context.publisher.content_incarnation() == Some(position.incarnation) {
            self.reporter.account.skip_to(position.number);
        }
    }

    /// Returns whether the publisher requests acknowledgements.
    #[must_use]
    pub const fn acks_requested(&self) -> bool {
        self.reporter.account.is_requested()
    }

    /// Returns what the application has received and processed of the incarnation that is followed.
    #[must_use]
    pub fn acknowledgement(&self) -> Acknowledgement {
        self.reporter.account.current(&self.context)
    }
}

impl Reporter {
    /// Returns whether the publisher requests acknowledgements and does not know of the latest.
    pub(in crate::subscriber) fn has_unreported_acknowledgement(&self, context: &Context) -> bool {
        self.account.is_requested && self.account.reported != Some(self.account.current(context))
    }

    /// Whether a history was read to its end, and the publisher does not know of that.
    pub(in crate::subscriber) const fn has_read_history(&self) -> bool {
        self.statuses.reported.flags & Status::READING != 0 && !self.account.is_reading()
    }

    /// Schedules a status with an acknowledgement, also after the end of the stream.
    fn report_acknowledgement(&mut self, context: &mut Context) {
        if !context.sends_nothing() && self.has_unreported_acknowledgement(context) {
            self.report_soon(context);
        }
    }

    /// Schedules a status, also after the end of the stream.
    fn report_soon(&mut self, context: &mut Context) {
        let now = context.now;
        let interval = context.publisher.status_interval();
        let is_large = context.publisher.is_large_group();
        let earliest = now.max(self.statuses.last + interval / 2);
        let at = if is_large { earliest + context.random.below(interval) } else { earliest };
        if context.delivery.has_ended {
            self.statuses.confirm_end(at);
        } else if !self.statuses.is_scheduled() || !is_large {
            self.statuses.schedule(at);
        }
    }

    /// Schedules a status with an acknowledgement in a small group, where it need not wait for a heartbeat.
    #[inline]
    pub(in crate::subscriber) fn report_acknowledgement_soon(&mut self, context: &Context) {
        let is_expected = self.account.is_requested && !context.publisher.is_large_group();
        if is_expected && context.requests_repairs() && self.has_unreported_acknowledgement(context) {
            self.statuses.schedule(self.statuses.last + context.publisher.status_interval() / 2);
        }
    }
}
