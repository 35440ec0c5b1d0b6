//! Delivery: messages in order, borrowed from where they are.

use core::ops::Range;
use core::time::Duration;

use super::event::{BodyLocation, Cause, Item, Message, Step, StepKind, SubscriberEvent};
use super::peer::ADDRESS_TIME;
use super::window::{AssemblyOutcome, Meta, SlotContent};
use super::{OnLoss, Policy, SubscriberMachine};
use crate::ClockTime;
use crate::wire::{
    Flags, FlowControl, Incarnation, MessageKey, MessageNumber, Messages, Sequence, batch_overhead,
};

/// The datagram whose messages are being delivered.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) sequence: Sequence,
    pub(super) location: BodyLocation,
    meta: Meta,
    range: Range<usize>,
    /// The number of the message at the start of `range`, once it was computed.
    number: Option<MessageNumber>,
}

impl Current {
    pub(super) const fn new(
        sequence: Sequence,
        meta: Meta,
        location: BodyLocation,
        range: Range<usize>,
    ) -> Self {
        Self { sequence, location, meta, range, number: None }
    }
}

impl SubscriberMachine {
    /// Returns the next message or event. `datagram` is the one that was last passed to [`handle_datagram`](Self::handle_datagram).
    #[inline]
    pub fn poll_item<'a>(&'a mut self, now: ClockTime, datagram: &'a [u8]) -> Option<Item<'a>> {
        let step = self.poll_step(now, datagram)?;
        Some(self.item(&step, datagram))
    }

    /// Returns the next message or event without its bytes, so that nothing stays borrowed.
    #[inline]
    pub fn poll_step(&mut self, now: ClockTime, datagram: &[u8]) -> Option<Step> {
        // An application that calls this takes messages again.
        self.delivery.set_buffering(false);
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(Step(StepKind::Event(event)));
            }
            if self.delivery.awaits_snapshot() && self.incarnations.has_successor() {
                return self.follow_successor(now).map(|event| Step(StepKind::Event(event)));
            }
            if let Some(cause) = self.abandoned.filter(|_| self.delivery.awaits_snapshot()) {
                // Without the snapshot, the messages after it are of no use.
                let known = self.followed.heartbeat.next_message;
                self.delivery.give_up_snapshot();
                if self.expected < known {
                    return Some(Step(StepKind::Event(self.report_lost(known, cause))));
                }
            }
            if self.delivery.is_closed() {
                return None;
            }
            let progress = match self.followed.current.is_some() {
                true => self.continue_current(datagram),
                false => self.next_in_order(now)?,
            };
            if let Some(step) = progress {
                return Some(step);
            }
        }
    }

    /// Returns the message or event of a step, which must be the last one that was returned.
    #[inline]
    #[must_use]
    pub fn item<'a>(&'a self, step: &Step, datagram: &'a [u8]) -> Item<'a> {
        let (number, keyed, location, range) = match &step.0 {
            StepKind::Message { number, keyed, location, range } => (number, keyed, location, range),
            StepKind::Event(event) => return Item::Event(*event),
            StepKind::History => {
                debug_assert!(false, "a message of the history is not in the subscriber");
                return Item::Event(SubscriberEvent::InternalError(
                    "a message of the history is not in the subscriber",
                ));
            }
        };
        // Never an empty message in place of one that is not there.
        let Some(bytes) = self.bytes_at(*location, datagram).get(range.clone()) else {
            debug_assert!(false, "the datagram of a message is not the one that was handled last");
            return Item::Event(SubscriberEvent::InternalError("the datagram of a message is missing"));
        };
        let (number, incarnation) = (*number, self.content_incarnation().unwrap_or(Incarnation(0)));
        let message = match bytes.split_first_chunk::<{ MessageKey::LENGTH }>().filter(|_| *keyed) {
            Some((key, rest)) => {
                let key = Some(MessageKey(u64::from_be_bytes(*key)));
                Message { incarnation, number, key, bytes: rest }
            }
            None => Message { incarnation, number, key: None, bytes },
        };
        Item::Message(message)
    }

    fn bytes_at<'a>(&'a self, location: BodyLocation, datagram: &'a [u8]) -> &'a [u8] {
        match location {
            BodyLocation::Datagram => datagram,
            BodyLocation::Decrypted => &self.decrypted,
            BodyLocation::Window(sequence) => self.followed.window.body(sequence),
            BodyLocation::Assembly => self.followed.assembly.bytes(),
        }
    }

    /// Prepares the next datagram in order. `None`: there is nothing to deliver. `Some(None)`: call it again.
    fn next_in_order(&mut self, now: ClockTime) -> Option<Option<Step>> {
        self.incarnations.current()?;
        if self.delivery.has_ended() && !self.incarnations.has_successor() {
            return None;
        }
        if let Some((sequence, meta)) = self.next_early() {
            let range = 0..self.followed.window.body(sequence).len();
            self.followed.current = Some(Current::new(sequence, meta, BodyLocation::Window(sequence), range));
            return Some(None);
        }
        match self.followed.window.content(self.followed.base) {
            Some(SlotContent::Buffered(meta)) => {
                let range = 0..self.followed.window.body(self.followed.base).len();
                self.followed.current = Some(Current::new(
                    self.followed.base,
                    meta,
                    BodyLocation::Window(self.followed.base),
                    range,
                ));
                Some(None)
            }
            Some(SlotContent::Manifest) => {
                self.followed.assembly.skip(self.followed.base);
                self.advance_base();
                Some(None)
            }
            Some(SlotContent::Delivered(first, count)) => {
                let lost = self.lost_before(first);
                if lost.is_none() {
                    self.expected = self.expected.max(first + count);
                    self.advance_base();
                }
                Some(lost)
            }
            // What is missing comes from the publisher that continues.
            None if self.incarnations.is_continued() => {
                self.follow_successor(now).map(|event| Some(Step(StepKind::Event(event))))
            }
            None if self.followed.base < self.followed.highest => self.give_up(now).then_some(None),
            None if self.followed.base < self.followed.heartbeat.next => {
                if !self.skip_unavailable() {
                    // The window did not reach this far before.
                    self.record_sent_before(now, self.followed.heartbeat.next);
                }
                Some(None)
            }
            None => self.check_end(now).map(|event| Some(Step(StepKind::Event(event)))),
        }
    }

    /// Checks how the stream continues where nothing more is known to have been sent.
    fn check_end(&mut self, now: ClockTime) -> Option<SubscriberEvent> {
        let next_message = self.followed.heartbeat.next_message;
        let is_whole = self.followed.assembly.is_empty() || self.abandoned.is_some();
        if self.followed.base >= self.followed.heartbeat.next && is_whole && self.expected < next_message {
            return match self.delivery.is_bridging() && self.abandoned.is_none() {
                true => self.request_newer_snapshot(next_message),
                false => Some(self.report_lost(next_message, self.abandoned.unwrap_or(self.cause))),
            };
        }
        if self.incarnations.has_successor() {
            return self.follow_successor(now);
        }
        if self.is_cut_off(now) {
            self.reported.record_unknown_loss();
            return Some(self.report_unknown_loss());
        }
        let (end, messages) =
            self.followed.end.filter(|(end, _)| *end <= self.followed.base && !self.delivery.has_ended())?;
        self.delivery.end();
        self.followed.base = end;
        if !self.sends_nothing() {
            let at = now + self.jitter();
            self.statuses.confirm_end(at);
            self.report_acknowledgement_soon();
        }
        Some(SubscriberEvent::Ended { messages: messages.0 })
    }

    /// Whether the application stops while a publisher is silent that has not ended its stream: it may have sent more.
    fn is_cut_off(&self, now: ClockTime) -> bool {
        let is_silent = now >= self.followed.liveness.after(ADDRESS_TIME);
        self.abandoned == Some(Cause::Abandoned)
            && self.incarnations.current().is_some()
            && self.followed.end.is_none()
            && is_silent
            && !self.reported.has_unknown_loss()
    }

    /// Skips, in one step, datagrams beyond the window that cannot be repaired or are not awaited: a forged heartbeat
    /// may claim too many to count through. Returns `false` if they may still arrive.
    fn skip_unavailable(&mut self) -> bool {
        let next = self.followed.heartbeat.next;
        let (end, cause) = match self.config.policy {
            _ if self.followed.base < self.followed.oldest_retained => {
                (self.followed.oldest_retained.min(next), self.retention_cause())
            }
            _ if self.incarnations.has_successor() => (next, Cause::Restart),
            _ if self.abandoned.is_some() => (next, self.abandoned.unwrap_or(Cause::Abandoned)),
            Policy::Deadline(Duration::ZERO) => (next, Cause::Deadline),
            Policy::BestEffort(Duration::ZERO) => (next, Cause::NotRepaired),
            _ => return false,
        };
        let passed = end - self.followed.base;
        self.statistics.missed = self.statistics.missed.saturating_add(passed);
        self.record_given_up(passed);
        (self.followed.base, self.cause) = (end, cause);
        self.followed.highest = self.followed.highest.max(end);
        self.followed.naks.trim(end);
        self.discard_staged_before(end);
        self.followed.assembly.abandon();
        true
    }

    /// Counts datagrams that were given up. Those before a snapshot's first message are covered by the snapshot.
    fn record_given_up(&mut self, count: u64) {
        self.statistics.given_up = self.statistics.given_up.saturating_add(count);
        if self.delivery.counts_losses() {
            self.losses.record_given_up(count);
        }
    }

    /// Returns why datagrams are lost that the publisher no longer retains.
    fn retention_cause(&self) -> Cause {
        if self.followed.heartbeat.flow == FlowControl::OneWay {
            Cause::NotRepaired
        } else {
            Cause::Unrecoverable
        }
    }

    /// Gives up datagrams that cannot be repaired or are not awaited; returns `false` if they may still arrive.
    fn give_up(&mut self, now: ClockTime) -> bool {
        if self.followed.naks.first_gap().is_none_or(|gap| gap.first > self.followed.base) {
            let due = now + self.round_trip();
            // A datagram that waits for its manifest is as late as it is: the time of each does not begin after that of the
            // one before.
            let since = self.followed.verification.stage.since(self.followed.base).unwrap_or(now);
            self.followed.naks.reopen(self.followed.base, since, due);
        }
        let gap_end = self
            .followed
            .naks
            .first_gap()
            .map_or(self.followed.highest, |gap| gap.end.max(self.followed.base + 1));
        let noticed = self.followed.naks.first_gap().map_or(now, |gap| gap.noticed);
        // What has arrived waits for its manifest, also if nothing else is waited for.
        let least = self.followed.verification.stage.timeout(self.followed.base);
        let is_over = |limit: Duration| now >= noticed + limit.max(least);
        let (end, cause) = match self.config.policy {
            _ if self.followed.base < self.followed.oldest_retained => {
                (gap_end.min(self.followed.oldest_retained), self.retention_cause())
            }
            _ if self.incarnations.has_successor() => (gap_end, Cause::Restart),
            _ if self.abandoned.is_some() => (gap_end, self.abandoned.unwrap_or(Cause::Abandoned)),
            Policy::Deadline(limit) if is_over(limit) => (gap_end, Cause::Deadline),
            Policy::BestEffort(_) if self.awaits_manifest() => return false,
            Policy::BestEffort(limit) if is_over(limit) => (gap_end, Cause::NotRepaired),
            _ if self.sends_nothing() && is_over(self.config.stalled_after) => (gap_end, Cause::NotRepaired),
            _ => return false,
        };
        self.cause = cause;
        let end = end.min(self.followed.highest);
        while self.followed.base < end && !self.followed.window.has(self.followed.base) {
            self.followed.base += 1;
            self.record_given_up(1);
        }
        self.followed.naks.trim(self.followed.base);
        self.discard_staged_before(self.followed.base);
        self.followed.assembly.abandon();
        true
    }

    /// Whether the next datagram is here, and its manifest was not sent yet as far as is known: a publisher with a low rate, or
    /// without room at another subscriber, sends it later. Without repairs, what is here would otherwise be lost.
    pub(super) fn awaits_manifest(&self) -> bool {
        let known = self.followed.heartbeat.next.max(self.followed.highest);
        matches!(self.config.policy, Policy::BestEffort(_))
            && self.followed.end.is_none()
            && self.followed.verification.stage.may_be_covered(self.followed.base, known)
    }

    /// Delivers the next message of the current datagram.
    fn continue_current(&mut self, datagram: &[u8]) -> Option<Step> {
        let mut current = self.followed.current.take()?;
        let flags = current.meta.flags;
        if current.number.is_none() {
            let number = self.expected.nearest(current.meta.message);
            if flags.has(Flags::BATCH) || flags.has(Flags::BEGIN) {
                if current.sequence == self.followed.base
                    && let Some(step) = self.lost_before(number)
                {
                    // The datagram stays current, unless delivery now waits for a snapshot.
                    self.put_back(current, datagram);
                    return Some(step);
                }
                self.delivery.record_bridged();
            }
            current.number = Some(number);
        }
        let number = current.number.unwrap_or(self.expected);
        match flags.has(Flags::BATCH) {
            true => self.next_of_batch(current, number, datagram),
            false => self.next_fragment(&current, number, datagram),
        }
    }

    /// Moves the rest of the current datagram to the window, where it stays until it is delivered.
    pub(super) fn move_to_window(&mut self, mut current: Current, datagram: &[u8]) -> Current {
        let body = match current.location {
            BodyLocation::Datagram => datagram.get(current.range.clone()),
            BodyLocation::Decrypted => self.decrypted.get(current.range.clone()),
            BodyLocation::Window(_) | BodyLocation::Assembly => return current,
        };
        let body = body.unwrap_or_default();
        self.followed.window.buffer(current.sequence, current.meta, body);
        (current.location, current.range) = (BodyLocation::Window(current.sequence), 0..body.len());
        current
    }

    /// Keeps the current datagram for later.
    fn put_back(&mut self, current: Current, datagram: &[u8]) {
        if !self.delivery.is_closed() {
            self.followed.current = Some(current);
            return;
        }
        let body = match current.location {
            BodyLocation::Datagram => datagram.get(current.range),
            BodyLocation::Decrypted => self.decrypted.get(current.range),
            _ => return,
        };
        self.followed.window.buffer(current.sequence, current.meta, body.unwrap_or_default());
    }

    fn next_of_batch(&mut self, mut current: Current, first: MessageNumber, datagram: &[u8]) -> Option<Step> {
        let body = self.bytes_at(current.location, datagram).get(current.range.clone()).unwrap_or_default();
        let mut messages = match Messages::read(body) {
            Ok((messages, _)) => messages,
            Err(_) if body.is_empty() => {
                self.finish(&current, first);
                return None;
            }
            Err(_) => {
                self.statistics.malformed += 1;
                self.finish(&current, first);
                return None;
            }
        };
        let length = messages.next().map_or(0, <[u8]>::len);
        let range = current.range.start + batch_overhead()..current.range.start + batch_overhead() + length;
        current.range.start = range.end;
        current.number = Some(first + 1);
        let (location, keyed, in_order) =
            (current.location, current.meta.keyed, current.sequence == self.followed.base);
        self.followed.current = Some(current);
        self.deliver(first, keyed, location, range, in_order, datagram)
    }

    fn next_fragment(&mut self, current: &Current, number: MessageNumber, datagram: &[u8]) -> Option<Step> {
        let flags = current.meta.flags;
        let (is_first, is_last) = (flags.has(Flags::BEGIN), flags.has(Flags::END));
        let in_order = current.sequence == self.followed.base;
        if is_first && is_last {
            let (location, range) = (current.location, current.range.clone());
            self.finish_after_delivery(current, number + 1);
            return self.deliver(number, current.meta.keyed, location, range, in_order, datagram);
        }
        let mut assembly = core::mem::take(&mut self.followed.assembly);
        let fragment =
            self.bytes_at(current.location, datagram).get(current.range.clone()).unwrap_or_default();
        let total = current.meta.total.map_or(0, |total| total as usize);
        let outcome = match is_first {
            _ if number < self.expected => AssemblyOutcome::Unrelated,
            true if total > self.config.longest_message.saturating_add(MessageKey::LENGTH) => {
                AssemblyOutcome::Invalid
            }
            true => assembly.begin(number, total, current.sequence, current.meta.keyed, fragment),
            false => assembly.add(number, current.sequence, fragment, is_last),
        };
        let (range, keyed) = (0..assembly.bytes().len(), assembly.keyed);
        self.followed.assembly = assembly;
        self.finish(current, number);
        match outcome {
            AssemblyOutcome::Complete => {
                self.deliver(number, keyed, BodyLocation::Assembly, range, true, datagram)
            }
            AssemblyOutcome::Invalid => {
                self.statistics.malformed += 1;
                Some(Step(StepKind::Event(self.report_lost(number + 1, Cause::Unreadable))))
            }
            AssemblyOutcome::Incomplete | AssemblyOutcome::Unrelated => None,
        }
    }

    /// Returns a message, unless it was delivered before or is outdated.
    fn deliver(
        &mut self,
        number: MessageNumber,
        keyed: bool,
        location: BodyLocation,
        range: Range<usize>,
        in_order: bool,
        datagram: &[u8],
    ) -> Option<Step> {
        if number < self.expected {
            return None;
        }
        let expected = self.expected;
        if in_order {
            self.expected = number + 1;
        }
        if self.config.policy == Policy::Latest && keyed {
            let bytes = self.bytes_at(location, datagram).get(range.clone()).unwrap_or_default();
            let key = MessageKey(bytes.first_chunk().map_or(0, |key| u64::from_be_bytes(*key)));
            if !self.latest.is_latest(key, number) {
                return None;
            }
        }
        self.delivery.record_message();
        self.account.record_message(number, expected);
        self.statistics.messages += 1;
        self.statistics.message_bytes += range.len() as u64;
        Some(Step(StepKind::Message { number, keyed, location, range }))
    }

    /// Finishes a datagram of one message with the next call, because its bytes are still to be borrowed.
    fn finish_after_delivery(&mut self, current: &Current, next: MessageNumber) {
        let flags = current.meta.flags.without(Flags::BEGIN.with(Flags::END)).with(Flags::BATCH);
        let meta = Meta { flags, ..current.meta };
        let range = current.range.end..current.range.end;
        self.followed.current = Some(Current {
            sequence: current.sequence,
            location: current.location,
            meta,
            range,
            number: Some(next),
        });
    }

    /// Notes that a datagram was delivered completely. `next` is one past its last message.
    fn finish(&mut self, current: &Current, next: MessageNumber) {
        if current.sequence == self.followed.base {
            self.advance_base();
        } else {
            let first = self.expected.nearest(current.meta.message);
            self.followed.window.mark_delivered(current.sequence, first, next.ahead_of(first));
        }
    }

    fn advance_base(&mut self) {
        debug_assert!(
            self.followed.naks.first_gap().is_none_or(|gap| gap.first > self.followed.base),
            "a missing datagram is passed over"
        );
        self.followed.window.release(self.followed.base);
        self.followed.base += 1;
        self.followed.highest = self.followed.highest.max(self.followed.base);
        self.schedule_status_after_progress();
        self.report_acknowledgement_soon();
    }

    /// Returns an event for the messages between the expected one and this one, which are lost.
    fn lost_before(&mut self, number: MessageNumber) -> Option<Step> {
        if number <= self.expected {
            return None;
        }
        let event = match self.delivery.is_bridging() && self.abandoned.is_none() {
            true => self.request_newer_snapshot(number)?,
            false => self.report_lost(number, self.cause),
        };
        Some(Step(StepKind::Event(event)))
    }

    fn request_newer_snapshot(&mut self, message: MessageNumber) -> Option<SubscriberEvent> {
        self.delivery.await_snapshot();
        Some(SubscriberEvent::SnapshotWanted { message })
    }

    /// Gives up all messages before `end`.
    pub(super) fn report_lost(&mut self, end: MessageNumber, cause: Cause) -> SubscriberEvent {
        let first = self.expected;
        debug_assert!(first < end, "nothing is lost: {first} to {end}");
        self.expected = end;
        self.account.record_loss(end);
        self.followed.assembly.abandon();
        self.statistics.lost_messages = self.statistics.lost_messages.saturating_add(end.ahead_of(first));
        if cause == Cause::Unreadable {
            // Its datagrams have arrived, so nothing else counts this loss.
            self.record_given_up(1);
        }
        self.react_to_loss(end, cause);
        SubscriberEvent::Lost { first, end, cause }
    }

    /// Reports that the publisher may have published more than is known: it did not end its stream.
    pub(super) fn report_unknown_loss(&mut self) -> SubscriberEvent {
        self.statistics.unknown_losses += 1;
        self.react_to_loss(self.expected, Cause::Restart);
        SubscriberEvent::LostUnknown { first: self.expected }
    }

    fn react_to_loss(&mut self, end: MessageNumber, cause: Cause) {
        let Policy::Reliable(on_loss) = self.config.policy else { return };
        match on_loss {
            OnLoss::Stop => self.delivery.stop(),
            // There is no snapshot of an incarnation that is over, and an application that stops needs none.
            OnLoss::Snapshot if cause != Cause::Restart && self.abandoned.is_none() => {
                self.delivery.await_snapshot();
                self.emit(SubscriberEvent::SnapshotWanted { message: end });
            }
            OnLoss::Snapshot | OnLoss::Continue => {}
        }
    }
}
