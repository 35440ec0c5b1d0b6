//! What a publisher continues: the messages that a former one of the stream had accepted, which it recalls as if it had sent
//! them; what its log must keep for the next one; and the history that it serves.

use core::time::Duration;

use super::PublisherMachine;
use super::acknowledgements::Acknowledgements;
use super::event::Refusal;
use super::sealer::SALT_EXTENSION;
use crate::ClockTime;
use crate::provenance::Provenance;
use crate::sign::SIGNATURE_EXTENSION;
use crate::times::publisher::CLAIM_TIME;
use crate::wire::{
    DatagramView, Flags, FlowControl, HEADER_LENGTH, Kind, LONGEST_HEADER, MessageKey, MessageNumber,
    RecallIndex, Sequence, ServedHistory,
};

/// The messages that were recalled, and the history of the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Continuation {
    /// The first datagram that was recalled.
    first: Sequence,
    /// Some of them, and the first one after them.
    index: RecallIndex,
    /// Until when subscribers may claim them; `None` once that is over.
    claimed_until: Option<ClockTime>,
    /// The first message that must stay in the log until a subscriber reports.
    needed: Option<MessageNumber>,
    /// The history that the publisher serves.
    history: Option<ServedHistory>,
}

impl Continuation {
    /// Of a publisher that begins its stream.
    pub(super) const NONE: Self = Self {
        first: Sequence(1),
        index: RecallIndex::EMPTY,
        claimed_until: None,
        needed: None,
        history: None,
    };

    /// Returns the first datagram that must not be overwritten, because a subscriber may be about to request it.
    pub(super) fn kept(&self) -> Option<Sequence> {
        self.claimed_until.map(|_| self.first)
    }

    /// Returns whether subscribers of the former publisher still have time to report to this one.
    pub(super) const fn awaits_claims(&self) -> bool {
        self.claimed_until.is_some()
    }

    /// Ends the time for claims when it is over.
    pub(super) fn expire(&mut self, now: ClockTime) {
        self.claimed_until = self.claimed_until.filter(|until| now < *until);
    }

    /// Notes that this process did not run for some time, in which no claim was read.
    pub(super) fn extend_deadlines(&mut self, pause: Duration) {
        self.claimed_until = self.claimed_until.map(|until| until + pause);
    }

    /// Returns the index as long as some of what was recalled is retained.
    fn index(&self, oldest_retained: Sequence) -> RecallIndex {
        let is_retained = self.index.iter().any(|(sequence, _)| sequence > oldest_retained);
        if is_retained { self.index } else { RecallIndex::EMPTY }
    }
}

impl PublisherMachine {
    /// Puts a message into the retransmission buffer that a former publisher of this stream has accepted, and perhaps sent.
    /// It is not sent: subscribers request it if they lack it. If the buffer is full, the oldest ones are dropped. Call
    /// this, and [`skip_to`](Self::skip_to) for what is missing, before anything is published, and
    /// [`end_recall`](Self::end_recall) afterwards.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), if the message can never be accepted.
    pub fn recall(
        &mut self,
        now: ClockTime,
        key: Option<MessageKey>,
        message: &[u8],
    ) -> Result<MessageNumber, Refusal> {
        let before = self.context.statistics;
        let mut recalled = self.publish(now, (key, message));
        if recalled.is_err_and(Refusal::is_temporary) {
            self.count_as_sent(now);
            recalled = self.publish(now, (key, message));
        }
        self.context.statistics = before;
        recalled
    }

    /// Ends the recall, also if there was nothing to recall. For a second from now on, nothing in the buffer is overwritten:
    /// the subscribers of the former publisher report to this one within that time, and then it waits for them as for all
    /// others.
    pub fn end_recall(&mut self, now: ClockTime) {
        self.expect_acknowledgers(now);
        self.count_as_sent(now);
        let mut index = RecallIndex::EMPTY;
        let end = self.ring.next;
        index.add(end, self.intake.next_message());
        let mut distance = 1;
        while let Some(target) =
            end.0.checked_sub(distance).map(Sequence).filter(|at| self.ring.contains(*at))
        {
            if let Some((sequence, message)) = self.beginning_at_or_before(target)
                && !index.add(sequence, message)
            {
                break;
            }
            distance *= 2;
        }
        let (first, claimed_until) = (self.ring.oldest_retained, Some(now + CLAIM_TIME));
        self.continuation = Continuation { first, index, claimed_until, needed: None, ..self.continuation };
    }

    /// Keeps what was recalled from this message on among its [needs](Self::log_needs) until a subscriber reports: nobody may
    /// have received it. Call it after [`end_recall`](Self::end_recall).
    pub fn need_recalled_from(&mut self, message: MessageNumber) {
        self.continuation.needed = Some(message.min(self.intake.next_message()));
    }

    /// Shows subscribers that the publisher serves the history of its stream. A publisher whose
    /// [messages come out of engines](super::PublisherConfig::origin) does not show it: servers of these announce themselves.
    pub const fn serve_history(&mut self, history: Option<ServedHistory>) {
        self.continuation.history = history;
    }

    /// Returns whether subscribers of the former publisher still have time to report to this one: until then it is not known
    /// whether any of them lacks something.
    #[must_use]
    pub const fn awaits_claims(&self) -> bool {
        self.continuation.awaits_claims()
    }

    /// Returns the number before which all subscribers that this publisher waits for have all messages; `None` while it
    /// waits for none, or may not know all of them yet. It goes back when a subscriber joins that has less. Without
    /// feedback, it is the first message that was not sent.
    #[must_use]
    pub fn confirmed(&mut self) -> Option<MessageNumber> {
        if self.awaits_claims() {
            return None;
        }
        if self.context.config.flow == FlowControl::OneWay {
            return Some(self.first_unfinished(self.ring.sent));
        }
        let (_, next) = self.subscribers.members.slowest()?;
        Some(self.first_lacking(next))
    }

    /// Returns which messages must still be in the log, so that a publisher that continues this one has them.
    #[must_use]
    pub fn log_needs(&mut self) -> LogNeeds {
        let unsent = self.first_unfinished(self.ring.sent);
        let unsettled = self.subscribers.acknowledgements.as_ref().and_then(Acknowledgements::blocking_from);
        let unfinished = unsettled.map_or(unsent, |unsettled| unsettled.min(unsent));
        let slowest = self.subscribers.members.slowest().map(|(_, next)| next);
        if self.context.config.flow == FlowControl::OneWay || slowest.is_some() && !self.awaits_claims() {
            self.continuation.needed = None;
        }
        // As long as they are retained.
        let recalled = self.continuation.needed;
        let recalled = recalled.map(|message| message.max(self.first_lacking(self.ring.oldest_retained)));
        let lacking = match self.context.config.flow {
            FlowControl::OneWay | FlowControl::None => None,
            FlowControl::Slowest | FlowControl::Other(_) => slowest.map(|next| self.first_lacking(next)),
        };
        let needed = [recalled, lacking].into_iter().flatten().fold(unfinished, Ord::min);
        LogNeeds { unsent: recalled.map_or(unsent, |recalled| recalled.min(unsent)), unfinished, needed }
    }

    /// Returns what a heartbeat shows of the origin of messages, as far as there is room in a header beside repairers of this
    /// length.
    pub(super) fn provenance_to_show(&self, repairers: usize) -> Provenance {
        let origin = self.context.config.origin;
        let signature = if self.signing.is_some() { SIGNATURE_EXTENSION } else { 0 };
        let others = HEADER_LENGTH
            + SALT_EXTENSION
            + signature
            + origin.map_or(0, |origin| origin.extension_length())
            + repairers
            + ServedHistory::LENGTH;
        let recalled = self.continuation.index(self.ring.oldest_retained);
        // A trail of engines and the history do not fit the header beside all others.
        let has_trail = origin.is_some_and(|origin| !origin.engines.is_empty());
        let history = self.continuation.history.filter(|_| !has_trail);
        // Extensions are not encrypted, so that those of a sealed stream only show that there is a history.
        let is_sealed = self.context.seals();
        Provenance {
            origin,
            history: history.map(|history| if is_sealed { ServedHistory { port: 0 } } else { history }),
            recalled: recalled.within(LONGEST_HEADER.saturating_sub(others)),
        }
    }

    /// Counts everything in the buffer as sent.
    fn count_as_sent(&mut self, now: ClockTime) {
        self.flush_all(now);
        self.ring.sent = self.ring.next;
        self.record_recalled(self.ring.next);
    }

    /// Returns the last datagram up to this one in which a message begins, and that message.
    fn beginning_at_or_before(&self, sequence: Sequence) -> Option<(Sequence, MessageNumber)> {
        let mut at = sequence;
        while self.ring.contains(at) {
            let view = DatagramView::parse(self.ring.get(at)).ok()?;
            let flags = view.header.flags;
            if view.header.kind == Kind::Data && (flags.has(Flags::BATCH) || flags.has(Flags::BEGIN)) {
                return Some((at, self.ring.message_at(at, self.intake.next_message())));
            }
            at = Sequence(at.0.checked_sub(1)?);
        }
        None
    }

    /// Returns the first message of which a part is in this datagram or after it.
    fn first_unfinished(&self, sequence: Sequence) -> MessageNumber {
        for at in Sequence::each(sequence..self.ring.next) {
            if let Ok(view) = DatagramView::parse(self.ring.get(at))
                && view.header.kind == Kind::Data
            {
                return self.intake.next_message().nearest(view.header.message);
            }
        }
        let written = || self.intake.message_at(self.ring.next, &self.ring);
        self.intake.long_message().unwrap_or_else(written)
    }

    /// Returns the first message of which a subscriber may request a part that has everything before this datagram.
    fn first_lacking(&self, next: Sequence) -> MessageNumber {
        self.first_unfinished(next.clamp(self.ring.oldest_retained, self.ring.next))
    }
}

/// Which messages a publisher still needs in its log, each by the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogNeeds {
    /// Those that were not sent completely, or were recalled, until the first subscriber reports.
    pub unsent: MessageNumber,
    /// Those that were not sent or, if acknowledgements [block](super::QuorumLoss::Block), not settled. They wait for the rate or for
    /// subscribers for as long as that takes.
    pub unfinished: MessageNumber,
    /// Those, and what subscribers may still request: what the slowest one that the publisher waits for has not confirmed, or
    /// what was recalled, until the first subscriber reports. At most as much as the retransmission buffer has.
    pub needed: MessageNumber,
}
