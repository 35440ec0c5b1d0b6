//! What the application has received and processed of the incarnation that is followed, and what was reported to it as
//! lost: an option, for publishers that require acknowledgements, and for subscribers with a history.

mod report;

use super::context::Context;
use crate::wire::{Acknowledgement, Incarnation, MessageNumber, Position, Status};

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

    /// Notes that the application has processed a message, and with `end`, up to which it was given messages in order by the
    /// live stream, all that were given before it; returns whether that is of effect.
    fn acknowledge(
        &mut self,
        at: Position,
        end: Option<MessageNumber>,
        content: Option<Incarnation>,
    ) -> bool {
        self.acknowledged = Some(at).filter(|_| end.is_some()).max(self.acknowledged);
        let of_history = self.history_in(content).map(|history| history.position.number);
        let end =
            end.map_or(MessageNumber(0), |end| of_history.map_or(end, |of_history| of_history.max(end)));
        content == Some(at.incarnation) && self.record_processed(at.number, end)
    }

    /// Notes that all messages up to this one were processed. The application was given messages before `end`.
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

    /// Returns what the application has received and processed of the incarnation that is followed. The live stream has delivered
    /// all messages before the expected one, or has lost them, or they were superseded.
    fn current(&self, context: &Context) -> Acknowledgement {
        let (expected, content) = (context.delivery.expected, context.publisher.content_incarnation());
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

    /// Whether the application is given messages from before what the live stream has delivered.
    const fn is_reading(&self) -> bool {
        match self.source {
            Source::Live => false,
            Source::History(None) => true,
            Source::History(Some(history)) => history.is_reading,
        }
    }

    /// Returns how many datagrams were given up, and how many messages were reported as lost: these by the live stream, unless a
    /// history decides that. Of the datagrams that it replaces, only the messages count that it does not have.
    pub(super) fn losses(&self, content: Option<Incarnation>, live: (u64, u64)) -> (u64, u64) {
        match self.source {
            Source::Live => live,
            Source::History(_) => (0, self.history_in(content).map_or(0, |history| history.lost)),
        }
    }

    /// Returns the flags of a status by which the publisher knows that a history is read, and what it lacks.
    pub(super) fn flags(&self, content: Option<Incarnation>) -> u32 {
        let is_unknown = self.history_in(content).is_some_and(|history| history.is_loss_unknown);
        let reading = if self.is_reading() { Status::READING } else { 0 };
        reading | if is_unknown { Status::UNKNOWN_LOSS } else { 0 }
    }

    /// Whether the publisher requests acknowledgements.
    pub(super) const fn is_requested(&self) -> bool {
        self.is_requested
    }

    /// Returns what a status is to report, and notes it as reported: what the publisher requests, or with `is_last`, without a
    /// request.
    pub(super) fn report(&mut self, context: &Context, is_last: bool) -> Option<Acknowledgement> {
        self.reported = (self.is_requested || is_last).then(|| self.current(context));
        self.reported
    }
}
