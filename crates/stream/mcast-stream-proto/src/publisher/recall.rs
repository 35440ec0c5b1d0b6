//! What a former publisher of the stream had accepted. It is in the retransmission buffer as if it had been sent, so that
//! new messages do not wait for it: subscribers request what they lack.

use super::PublisherMachine;
use super::event::Refusal;
use crate::wire::{DatagramView, Flags, FlowControl, Kind, MessageKey, MessageNumber, RecallIndex, Sequence};
use crate::{ClockTime, Nanos};

/// For how long a restarted publisher overwrites nothing, because subscribers have not reported to it yet.
const CLAIM_TIME: Nanos = Nanos::SECOND;

/// The datagrams that were recalled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recalled {
    first: Sequence,
    /// Some of them, and the first one after them.
    index: RecallIndex,
    /// Until when subscribers may claim them; `None` once that is over.
    claimed_until: Option<ClockTime>,
}

impl Recalled {
    pub(super) const NOTHING: Self =
        Self { first: Sequence(1), index: RecallIndex::EMPTY, claimed_until: None };

    /// Returns the first datagram that must not be overwritten, because a subscriber may be about to request it.
    pub(super) fn kept(&self) -> Option<Sequence> {
        self.claimed_until.map(|_| self.first)
    }

    /// Returns the index as long as some of what was recalled is retained.
    pub(super) fn index(&self, oldest_retained: Sequence) -> RecallIndex {
        let is_retained = self.index.iter().any(|(sequence, _)| sequence > oldest_retained);
        if is_retained { self.index } else { RecallIndex::EMPTY }
    }

    /// Ends the time for claims when it is over.
    pub(super) fn expire(&mut self, now: ClockTime) {
        self.claimed_until = self.claimed_until.filter(|until| now < *until);
    }

    /// Notes that this process did not run for some time, in which no claim was read.
    pub(super) fn extend_deadlines(&mut self, pause: Nanos) {
        self.claimed_until = self.claimed_until.map(|until| until + pause);
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
        let before = self.statistics;
        let mut recalled = self.publish(now, (key, message));
        if recalled.is_err_and(Refusal::is_temporary) {
            self.count_as_sent(now);
            recalled = self.publish(now, (key, message));
        }
        self.statistics = before;
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
        index.add(end, self.next_message);
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
        self.recalled =
            Recalled { first: self.ring.oldest_retained, index, claimed_until: Some(now + CLAIM_TIME) };
    }

    /// Returns whether subscribers of the former publisher still have time to report to this one: until then it is not known
    /// whether any of them lacks something.
    #[must_use]
    pub const fn awaits_claims(&self) -> bool {
        self.recalled.claimed_until.is_some()
    }

    /// Returns the number before which all subscribers that this publisher waits for have all messages; `None` while it
    /// waits for none, or may not know all of them yet. It goes back when a subscriber joins that has less. Without
    /// feedback, it is the first message that was not sent.
    #[must_use]
    pub fn confirmed(&mut self) -> Option<MessageNumber> {
        if self.awaits_claims() {
            return None;
        }
        if self.config.flow == FlowControl::OneWay {
            return Some(self.first_unfinished(self.ring.sent));
        }
        let (_, next) = self.members.slowest()?;
        let next = next.clamp(self.ring.oldest_retained, self.ring.next);
        Some(self.first_unfinished(next))
    }

    /// Counts everything in the buffer as sent.
    fn count_as_sent(&mut self, now: ClockTime) {
        self.flush(now);
        self.write_manifest(now);
        self.ring.sent = self.ring.next;
        self.parity.record_recalled(self.ring.next);
    }

    /// Returns the last datagram up to this one in which a message begins, and that message.
    fn beginning_at_or_before(&self, sequence: Sequence) -> Option<(Sequence, MessageNumber)> {
        let mut at = sequence;
        while self.ring.contains(at) {
            let view = DatagramView::parse(self.ring.get(at)).ok()?;
            let flags = view.header.flags;
            if view.header.kind == Kind::Data && (flags.has(Flags::BATCH) || flags.has(Flags::BEGIN)) {
                return Some((at, self.ring.message_at(at, self.next_message)));
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
                return self.next_message.nearest(view.header.message);
            }
        }
        match self.long_message {
            Some(long) => long.number(),
            None => self.message_at(self.ring.next),
        }
    }
}
