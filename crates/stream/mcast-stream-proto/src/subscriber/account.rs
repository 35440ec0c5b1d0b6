//! What the application has received and processed of the incarnation that is followed, and what was reported to it as
//! lost.

use super::event::SubscriberStatistics;
use super::{Policy, SubscriberMachine};
use crate::ClockTime;
use crate::random::SMALL_GROUP;
use crate::wire::{Acknowledgement, Incarnation, MessageNumber, Position, Sequence, Status};

/// What a [`HistoryMachine`](crate::history::HistoryMachine) has given the application of the incarnation that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryAccount {
    /// The position of the next message.
    pub(crate) position: Position,
    /// The first message that was to be given to it.
    pub(crate) begun: MessageNumber,
    /// The first message after the last loss that was reported, or else the first of all.
    pub(crate) since: MessageNumber,
    /// Messages of the incarnation that were reported as lost.
    pub(crate) lost: u64,
    /// Whether an unknown number of its messages was reported as lost.
    pub(crate) is_loss_unknown: bool,
    /// The message that was given last, if it came from there.
    pub(crate) last: Option<MessageNumber>,
    /// Whether what the live stream delivers reaches the application at once.
    pub(crate) is_live: bool,
    /// Whether messages wait there, or are missing before those of the live stream.
    pub(crate) is_reading: bool,
}

/// Where the application is given messages from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// From the live stream.
    Live,
    /// From a history, which also reports what is lost. `None`: it has reported nothing yet.
    History(Option<HistoryAccount>),
}

/// What the application has received and processed, and what was reported to it as lost. There is one account: a history
/// and the live stream both note here what they give the application, and statuses and acknowledgements are read from here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    source: Source,
    /// Whether the publisher requests acknowledgements.
    is_requested: bool,
    /// The first message after the last loss, or else the first of all. A history knows that itself.
    since: MessageNumber,
    /// The application has processed all messages before this one.
    processed: MessageNumber,
    /// The last message that was given, unless the application has processed it and all before it.
    unprocessed: Option<MessageNumber>,
    /// The last message that the application has processed: a history may give it messages of an incarnation before the live
    /// stream is in that.
    acknowledged: Option<Position>,
    /// What the last status reported.
    reported: Option<Acknowledgement>,
}

impl Account {
    /// Returns an empty account. `has_history`: the application is given messages by a history.
    pub(super) const fn new(has_history: bool) -> Self {
        Self {
            source: if has_history { Source::History(None) } else { Source::Live },
            is_requested: false,
            since: MessageNumber(0),
            processed: MessageNumber(0),
            unprocessed: None,
            acknowledged: None,
            reported: None,
        }
    }

    /// Begins with an incarnation, of which `first` is the first message that the live stream delivers.
    pub(super) fn begin(&mut self, first: MessageNumber, is_requested: bool) {
        let has_history = !matches!(self.source, Source::Live);
        let since = if has_history { MessageNumber(0) } else { first };
        let acknowledged = self.acknowledged;
        *self = Self { is_requested, since, processed: since, acknowledged, ..Self::new(has_history) };
    }

    /// Continues with another publisher of the same messages, to which nothing was reported yet.
    pub(super) const fn continue_with_another(&mut self, is_requested: bool) {
        (self.is_requested, self.reported) = (is_requested, None);
    }

    pub(super) const fn request(&mut self, is_requested: bool) {
        self.is_requested = is_requested;
    }

    /// Notes that the messages before this one were discarded, or are covered by a snapshot.
    pub(super) fn skip_to(&mut self, message: MessageNumber) {
        self.since = self.since.max(message);
        self.processed = self.processed.max(message);
    }

    /// Notes that the live stream has lost the messages before this one. With a history, that decides.
    pub(super) fn record_loss(&mut self, end: MessageNumber) {
        if matches!(self.source, Source::Live) {
            self.skip_to(end);
        }
    }

    /// Notes that the live stream delivers a message. All before `expected` were delivered, lost or superseded.
    #[inline]
    pub(super) const fn record_message(&mut self, number: MessageNumber, expected: MessageNumber) {
        match self.source {
            Source::Live | Source::History(Some(HistoryAccount { is_live: true, .. })) => {
                self.record_given(number, expected);
            }
            // The history gives it to the application later, or has.
            Source::History(_) => {}
        }
    }

    #[inline]
    const fn record_given(&mut self, number: MessageNumber, before: MessageNumber) {
        if self.unprocessed.is_none() {
            self.processed = before;
        }
        self.unprocessed = Some(number);
    }

    /// Takes what a history has given the application. `content`: the incarnation of the live stream's messages.
    fn join(&mut self, history: HistoryAccount, content: Option<Incarnation>) {
        let before = self.history_in(content).map(|before| before.last);
        self.source = Source::History(Some(history));
        if content == Some(history.position.incarnation)
            && let Some(last) =
                history.last.filter(|last| before.flatten().is_none_or(|before| *last > before))
        {
            let first = history.since.max(history.begun);
            self.record_given(last, if before.is_some() { last } else { first });
            // It may have been processed before the live stream was in this incarnation.
            if before.is_none()
                && let Some(at) = self.acknowledged.filter(|at| content == Some(at.incarnation))
            {
                self.record_processed(at.number, last + 1);
            }
        }
    }

    /// Notes that the application has processed a message, and all that were given before it; returns whether that is of
    /// effect. The application was given messages before `end`.
    fn record_processed(&mut self, number: MessageNumber, end: MessageNumber) -> bool {
        if self.unprocessed == Some(number) {
            self.unprocessed = None;
        } else if number < end {
            self.processed = self.processed.max(number + 1);
        } else {
            return false;
        }
        true
    }

    /// Returns the history's account, if it is in this incarnation.
    fn history_in(&self, content: Option<Incarnation>) -> Option<HistoryAccount> {
        match self.source {
            Source::History(Some(history)) if content == Some(history.position.incarnation) => Some(history),
            Source::Live | Source::History(_) => None,
        }
    }

    /// Returns what the application has received and processed of an incarnation. The live stream has delivered all
    /// messages before `expected`, or has lost them, or they were superseded.
    fn current(&self, expected: MessageNumber, content: Option<Incarnation>) -> Acknowledgement {
        let (since, received) = match (self.source, self.history_in(content)) {
            (Source::Live, _) => (self.since, expected),
            // It is still in an earlier incarnation, or where it starts is not known yet.
            (Source::History(_), None) => (self.since, self.since),
            (Source::History(_), Some(history)) if history.is_live => {
                (history.since.max(self.since), expected)
            }
            (Source::History(_), Some(history)) => {
                (history.since.max(self.since), history.position.number.min(expected))
            }
        };
        let received = received.max(since);
        let processed = if self.unprocessed.is_none() { received } else { self.processed };
        Acknowledgement { since, received, processed: processed.clamp(since, received) }
    }

    pub(super) const fn record_reported(&mut self, reported: Option<Acknowledgement>) {
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
        let content = self.content_incarnation();
        let is_ordered = self.config.policy != Policy::Latest;
        self.account.acknowledged = Some(at).filter(|_| is_ordered).max(self.account.acknowledged);
        let of_history = self.account.history_in(content).map(|history| history.position.number);
        let end = if is_ordered { of_history.max(Some(self.expected)) } else { None };
        if content == Some(at.incarnation)
            && self.account.record_processed(at.number, end.unwrap_or(MessageNumber(0)))
        {
            self.report_acknowledgement(now);
        }
    }

    /// Takes the account of the history that gives this stream's messages to the application
    /// ([`SubscriberConfig::has_history`](super::SubscriberConfig::has_history)). Call it before what the live stream
    /// delivers is passed there, and after each message or event from there.
    pub fn join_history(&mut self, now: ClockTime, mut history: HistoryAccount) {
        if self.config.name.is_none() {
            // Without a name, it is not the subscriber that has processed the messages before.
            history.since = history.since.max(history.begun);
        }
        let was_reading = self.is_reading();
        self.account.join(history, self.content_incarnation());
        if was_reading && !self.is_reading() && self.reports_reading() && self.requests_repairs() {
            self.report_soon(now);
        }
        self.report_acknowledgement(now);
    }

    /// Whether the application is given messages from before what the live stream has delivered.
    pub(super) const fn is_reading(&self) -> bool {
        match self.account.source {
            Source::Live => false,
            Source::History(None) => true,
            Source::History(Some(history)) => history.is_reading,
        }
    }

    /// Whether the publisher takes it for reading a history.
    pub(super) const fn reports_reading(&self) -> bool {
        self.statuses.reported().flags & Status::READING != 0
    }

    /// Returns how many datagrams were given up, and how many messages of the incarnation were reported as lost, as the
    /// application knows it. Of the datagrams that a history replaces, only the messages count that it does not have.
    pub(super) fn reported_losses(&self) -> (u64, u64) {
        match (self.account.source, self.account.history_in(self.content_incarnation())) {
            (Source::Live, _) => (self.losses.given_up(), self.losses.lost_messages(&self.statistics)),
            (Source::History(_), history) => (0, history.map_or(0, |history| history.lost)),
        }
    }

    /// Whether an unknown number of messages of the incarnation was reported to the application as lost.
    pub(super) fn is_loss_unknown(&self) -> bool {
        self.account.history_in(self.content_incarnation()).is_some_and(|history| history.is_loss_unknown)
    }

    /// Returns whether the publisher requests acknowledgements.
    #[must_use]
    pub const fn acks_requested(&self) -> bool {
        self.account.is_requested
    }

    /// Acknowledges nothing before this position any more, for a caller that has discarded what was delivered.
    pub fn withdraw_before(&mut self, position: Position) {
        if self.content_incarnation() == Some(position.incarnation) {
            self.account.skip_to(position.number);
        }
    }

    /// Returns what the application has received and processed of the incarnation that is followed.
    #[must_use]
    pub fn acknowledgement(&self) -> Acknowledgement {
        self.account.current(self.expected, self.content_incarnation())
    }

    /// Returns what the next status is to report, if the publisher requests it.
    pub(super) fn wanted_acknowledgement(&self) -> Option<Acknowledgement> {
        self.account.is_requested.then(|| self.acknowledgement())
    }

    /// Returns whether the publisher requests acknowledgements and does not know of the latest.
    pub(super) fn has_unreported_acknowledgement(&self) -> bool {
        self.account.is_requested && self.account.reported != Some(self.acknowledgement())
    }

    /// Returns the incarnation that positions of messages have: that of the origin, if the publisher reads them from an
    /// engine.
    pub(super) fn content_incarnation(&self) -> Option<Incarnation> {
        self.incarnations.origin().map(|origin| origin.incarnation).or_else(|| self.incarnations.current())
    }

    /// Schedules a status with an acknowledgement, also after the end of the stream.
    fn report_acknowledgement(&mut self, now: ClockTime) {
        if !self.sends_nothing() && self.has_unreported_acknowledgement() {
            self.report_soon(now);
        }
    }

    /// Schedules a status, also after the end of the stream.
    fn report_soon(&mut self, now: ClockTime) {
        let interval = self.status_interval();
        let earliest = self.statuses.last() + interval / 2;
        let at = match self.followed.heartbeat.group_size > SMALL_GROUP {
            true => now.max(earliest) + self.random.below(interval),
            false => now.max(earliest),
        };
        if self.delivery.has_ended() {
            self.statuses.confirm_end(at);
        } else if !self.statuses.is_scheduled() || self.followed.heartbeat.group_size <= SMALL_GROUP {
            self.statuses.schedule(at);
        }
    }

    /// Schedules a status with an acknowledgement in a small group, where it need not wait for a heartbeat.
    #[inline]
    pub(super) fn report_acknowledgement_soon(&mut self) {
        if self.acknowledges_soon() && self.requests_repairs() && self.has_unreported_acknowledgement() {
            self.statuses.schedule(self.statuses.last() + self.status_interval() / 2);
        }
    }

    /// Whether the publisher expects acknowledgements, and the group is small enough to send them at once.
    const fn acknowledges_soon(&self) -> bool {
        self.account.is_requested && self.followed.heartbeat.group_size <= SMALL_GROUP
    }
}

/// The losses of an incarnation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LossAccount {
    /// The counters when the incarnation began: statuses report only what concerns that incarnation.
    missed_before: u64,
    lost_messages_before: u64,
    /// Datagrams that counted as missing, and had only been overtaken.
    overtaken: u64,
    /// The datagrams that were discarded because there was no room for them, and that do not count as missing yet: from the
    /// first to before the second, and how many of these.
    discarded: (Sequence, Sequence, u64),
    /// Datagrams that were given up, and that no snapshot covers.
    given_up: u64,
}

impl LossAccount {
    /// Begins with an incarnation, of which this many datagrams and messages were lost when it was followed earlier.
    pub(super) const fn begin(statistics: &SubscriberStatistics, given_up: u64, lost_messages: u64) -> Self {
        Self {
            missed_before: statistics.missed,
            lost_messages_before: statistics.lost_messages - lost_messages,
            overtaken: 0,
            discarded: (Sequence(0), Sequence(0), 0),
            given_up,
        }
    }

    /// Notes datagrams that were given up.
    pub(super) const fn record_given_up(&mut self, count: u64) {
        self.given_up = self.given_up.saturating_add(count);
    }

    /// Notes that a missing datagram arrived, and was not a repair.
    pub(super) const fn record_overtaken(&mut self) {
        self.overtaken = self.overtaken.saturating_add(1);
    }

    /// Notes a datagram that arrived when there was no room for it.
    pub(super) const fn record_discarded(&mut self, sequence: Sequence) {
        let (first, end, count) = self.discarded;
        if count == 0 {
            self.discarded = (sequence, Sequence(sequence.0 + 1), 1);
        } else if sequence.0 >= end.0 {
            // A copy on another path counts once.
            self.discarded = (first, Sequence(sequence.0 + 1), count + 1);
        }
    }

    /// Notes that datagrams count as missing: the link has not lost those of them that were discarded.
    pub(super) fn record_missing(&mut self, from: Sequence, to: Sequence) {
        let (first, end, count) = &mut self.discarded;
        let known = to.0.min(end.0).saturating_sub(from.0.max(first.0)).min(*count);
        if to.0 > first.0 {
            *first = to;
            *count = if to.0 >= end.0 { 0 } else { *count - known };
        }
        self.overtaken = self.overtaken.saturating_add(known);
    }

    /// Returns how many datagrams were given up.
    pub(super) const fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Returns how many datagrams of the incarnation were missing when a later one had been sent, without those that
    /// had only been overtaken. The publisher must not take reordering for loss that a lower rate avoids.
    pub(super) const fn missed(&self, statistics: &SubscriberStatistics) -> u64 {
        (statistics.missed - self.missed_before).saturating_sub(self.overtaken)
    }

    /// Returns how many messages of the incarnation were reported as lost.
    pub(super) const fn lost_messages(&self, statistics: &SubscriberStatistics) -> u64 {
        statistics.lost_messages - self.lost_messages_before
    }
}
