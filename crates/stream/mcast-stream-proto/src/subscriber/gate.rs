//! The last layer: what the application is given, and when.
//!
//! *Input:* messages of the assembler, and what the settings demand: a snapshot first, a deadline, a policy for losses.
//! *Output:* steps, which are messages and events in the order in which the application needs them.
//!
//! The gate alone knows which message is expected next, so it alone finds losses. It gives up what the policy does not wait
//! for and what no publisher retains, and follows the next incarnation once all of the former is delivered or reported
//! (`succession.rs`).
//!
//! *Promises:*
//! - Messages are delivered in order and once; with [`Policy::Latest`], the latest of each key at once.
//! - What is not delivered is reported as lost, with its cause, before what is after it. What cannot be counted is reported as
//!   unknown.
//! - Nothing is delivered while a snapshot is awaited, or after a loss with [`OnLoss::Stop`].

use alloc::collections::BTreeMap;
use core::time::Duration;

use super::arrived::Lent;
use super::assembler::{Assembled, Assembler};
use super::config::{OnLoss, Policy};
use super::context::Context;
use super::event::{Cause, Step, StepKind, SubscriberEvent};
use super::reporter::Reporter;
use super::sequencer::Sequencer;
use super::window::SlotContent;
use crate::times::subscriber::ADDRESS_TIME;
use crate::wire::{FlowControl, MessageKey, MessageNumber, Sequence};

/// The layers below the gate.
pub(super) struct Below<'a> {
    pub(super) context: &'a mut Context,
    pub(super) sequencer: &'a mut Sequencer,
    pub(super) assembler: &'a mut Assembler,
    pub(super) reporter: &'a mut Reporter,
}

#[derive(Debug)]
pub(super) struct Gate {
    pub(super) latest: Latest,
    /// No repair is awaited any more: everything missing is lost, for this reason.
    pub(super) abandoned: Option<Cause>,
    /// Why what is missing was given up.
    pub(super) cause: Cause,
    /// It was reported that what a publisher sent last, before it fell silent, is unknown.
    has_unknown_loss: bool,
}

impl Gate {
    pub(super) const fn new(most_keys: usize) -> Self {
        Self {
            latest: Latest::new(most_keys),
            abandoned: None,
            cause: Cause::Unrecoverable,
            has_unknown_loss: false,
        }
    }

    /// Returns the next message or event.
    #[inline]
    pub(super) fn poll(&mut self, mut below: Below<'_>, lent: Lent<'_>) -> Option<Step> {
        // An application that calls this takes messages again.
        below.context.delivery.is_buffering = false;
        loop {
            if let Some(event) = below.context.events.pop_front() {
                return Some(Step::of_event(event));
            }
            if below.context.delivery.is_closed() {
                return self.poll_closed(&mut below).map(Step::of_event);
            }
            let step = match below.assembler.is_busy() {
                true => self.deliver_current(&mut below, lent),
                false => self.next_in_order(&mut below)?,
            };
            if step.is_some() {
                return step;
            }
        }
    }

    /// Returns what to report while nothing is delivered.
    fn poll_closed(&mut self, below: &mut Below<'_>) -> Option<SubscriberEvent> {
        if !below.context.delivery.awaits_snapshot() {
            return None;
        }
        if below.context.publisher.incarnations.successor.is_some() {
            return self.follow_successor(below);
        }
        let cause = self.abandoned?;
        // Without the snapshot, the messages after it are of no use.
        below.context.delivery.give_up_snapshot();
        let known = below.context.heartbeat().next_message;
        (below.context.delivery.expected < known).then(|| self.report_lost(below, known, cause))
    }

    /// Prepares the next datagram in order. `None`: there is nothing to deliver. `Some(None)`: call it again.
    fn next_in_order(&mut self, below: &mut Below<'_>) -> Option<Option<Step>> {
        let incarnations = &below.context.publisher.incarnations;
        incarnations.current()?;
        if below.context.delivery.has_ended && incarnations.successor.is_none() {
            return None;
        }
        let Below { context, sequencer, assembler, .. } = below;
        if let Some((sequence, meta)) = sequencer.next_early(context.delivery.may_be_early()) {
            assembler.begin_buffered(sequencer, sequence, meta);
            return Some(None);
        }
        let base = sequencer.base;
        match sequencer.window.content(base) {
            Some(SlotContent::Buffered(meta)) => {
                assembler.begin_buffered(sequencer, base, meta);
                Some(None)
            }
            Some(SlotContent::Manifest) => {
                assembler.skip(base);
                self.advance(below);
                Some(None)
            }
            Some(SlotContent::Delivered(first, _)) if first > context.delivery.expected => {
                Some(Some(Step::of_event(self.report_gap(below, first, self.cause))))
            }
            Some(SlotContent::Delivered(first, count)) => {
                context.delivery.expected = context.delivery.expected.max(first + count);
                self.advance(below);
                Some(None)
            }
            // What is missing comes from the publisher that continues.
            None if context.publisher.incarnations.is_continued() => {
                self.follow_successor(below).map(|event| Some(Step::of_event(event)))
            }
            None if base < sequencer.highest => self.give_up(below).then_some(None),
            None if base < context.heartbeat().next => {
                if !self.skip_unavailable(below) {
                    // The window did not reach this far before.
                    let next = below.context.heartbeat().next;
                    below.sequencer.record_sent_before(below.context, next);
                }
                Some(None)
            }
            None => self.check_end(below).map(|event| Some(Step::of_event(event))),
        }
    }

    /// Delivers the next message of the current datagram.
    #[inline]
    fn deliver_current(&mut self, below: &mut Below<'_>, lent: Lent<'_>) -> Option<Step> {
        let Below { context, sequencer, assembler, reporter } = below;
        let (base, expected) = (sequencer.base, context.delivery.expected);
        if context.delivery.is_bridging() && assembler.begins_message(base, expected) {
            context.delivery.record_bridged();
        }
        let assembled = assembler.next(context, sequencer, expected, lent);
        if sequencer.base != base {
            reporter.record_progress(context, sequencer);
        }
        match assembled {
            Assembled::Nothing => None,
            Assembled::Message { number, keyed, location, range, in_order } => {
                let bytes =
                    || assembler.bytes(sequencer, lent, location).get(range.clone()).unwrap_or_default();
                let is_admitted =
                    self.admit(context, reporter, (number, in_order), keyed, range.len(), bytes);
                is_admitted.then_some(Step(StepKind::Message { number, keyed, location, range }))
            }
            Assembled::Gap(number) => {
                let event = self.report_gap(below, number, self.cause);
                if below.context.delivery.is_closed() {
                    below.assembler.buffer_current(below.sequencer, lent, false);
                }
                Some(Step::of_event(event))
            }
            Assembled::Unreadable(number) => {
                Some(Step::of_event(self.report_lost(below, number + 1, Cause::Unreadable)))
            }
        }
    }

    /// Notes a message that is about to be delivered; returns `false` if it was delivered before, or is outdated.
    #[inline]
    fn admit<'a>(
        &mut self,
        context: &mut Context,
        reporter: &mut Reporter,
        (number, in_order): (MessageNumber, bool),
        keyed: bool,
        length: usize,
        bytes: impl Fn() -> &'a [u8],
    ) -> bool {
        let expected = context.delivery.expected;
        if number < expected {
            return false;
        }
        if in_order {
            context.delivery.expected = number + 1;
        }
        if context.config.policy == Policy::Latest && keyed {
            let key = MessageKey(bytes().first_chunk().map_or(0, |key| u64::from_be_bytes(*key)));
            if !self.latest.is_latest(key, number) {
                return false;
            }
        }
        context.delivery.record_message();
        reporter.account.record_message(number, expected);
        context.statistics.messages += 1;
        context.statistics.message_bytes += length as u64;
        true
    }

    fn advance(&mut self, below: &mut Below<'_>) {
        below.sequencer.advance();
        below.reporter.record_progress(below.context, below.sequencer);
    }

    /// Checks how the stream continues where nothing more is known to have been sent.
    fn check_end(&mut self, below: &mut Below<'_>) -> Option<SubscriberEvent> {
        let Below { context, sequencer, assembler, reporter } = below;
        let next_message = context.heartbeat().next_message;
        let is_whole = !assembler.is_in_message() || self.abandoned.is_some();
        let has_all = sequencer.base >= context.heartbeat().next && is_whole;
        if has_all && context.delivery.expected < next_message {
            return Some(self.report_gap(below, next_message, self.abandoned.unwrap_or(self.cause)));
        }
        if context.publisher.incarnations.successor.is_some() {
            return self.follow_successor(below);
        }
        if self.is_cut_off(context) {
            self.has_unknown_loss = true;
            return Some(self.report_unknown_loss(context));
        }
        let end = context.publisher.end_before(sequencer.base).filter(|_| !context.delivery.has_ended);
        let (end, messages) = end?;
        context.delivery.has_ended = true;
        sequencer.base = end;
        if !context.sends_nothing() {
            reporter.statuses.confirm_end(context.now + context.jitter());
            reporter.report_acknowledgement_soon(context);
        }
        Some(SubscriberEvent::Ended { messages: messages.0 })
    }

    /// Whether the application stops while a publisher is silent that has not ended its stream: it may have sent more.
    fn is_cut_off(&self, context: &Context) -> bool {
        let publisher = &context.publisher;
        self.abandoned == Some(Cause::Abandoned)
            && publisher.incarnations.current().is_some()
            && publisher.end.is_none()
            && context.now >= publisher.liveness.after(ADDRESS_TIME)
            && !self.has_unknown_loss
    }

    /// Returns up to where datagrams are given up that `next` ends, and why, whatever the policy.
    fn unavailable_before(&self, below: &Below<'_>, next: Sequence) -> Option<(Sequence, Cause)> {
        let Below { context, sequencer, .. } = below;
        if sequencer.base < sequencer.oldest_retained {
            let is_one_way = context.heartbeat().flow == FlowControl::OneWay;
            let cause = if is_one_way { Cause::NotRepaired } else { Cause::Unrecoverable };
            return Some((sequencer.oldest_retained.min(next), cause));
        }
        match context.publisher.incarnations.successor.is_some() {
            true => Some((next, Cause::Restart)),
            false => self.abandoned.map(|cause| (next, cause)),
        }
    }

    /// Skips, in one step, datagrams beyond the window that cannot be repaired or are not awaited: a forged heartbeat
    /// may claim too many to count through. Returns `false` if they may still arrive.
    fn skip_unavailable(&mut self, below: &mut Below<'_>) -> bool {
        let next = below.context.heartbeat().next;
        let unavailable = self.unavailable_before(below, next).or(match below.context.config.policy {
            Policy::Deadline(Duration::ZERO) => Some((next, Cause::Deadline)),
            Policy::BestEffort(Duration::ZERO) => Some((next, Cause::NotRepaired)),
            _ => None,
        });
        let Some((end, cause)) = unavailable else { return false };
        self.cause = cause;
        let passed = below.sequencer.skip_to(end);
        let statistics = &mut below.context.statistics;
        statistics.missed = statistics.missed.saturating_add(passed);
        self.record_given_up(below, passed);
        below.assembler.abandon();
        true
    }

    /// Gives up datagrams that cannot be repaired or are not awaited; returns `false` if they may still arrive.
    fn give_up(&mut self, below: &mut Below<'_>) -> bool {
        let (noticed, gap_end) = below.sequencer.gap_at_base(below.context);
        let (context, sequencer) = (&*below.context, &*below.sequencer);
        // What has arrived waits for its manifest, also if nothing else is waited for.
        let least = sequencer.stage.timeout(sequencer.base);
        let is_over = |limit: Duration| context.now >= noticed + limit.max(least);
        let unavailable = self.unavailable_before(below, gap_end).or_else(|| match context.config.policy {
            Policy::Deadline(limit) if is_over(limit) => Some((gap_end, Cause::Deadline)),
            Policy::BestEffort(_) if sequencer.awaits_manifest(context) => None,
            Policy::BestEffort(limit) if is_over(limit) => Some((gap_end, Cause::NotRepaired)),
            _ if context.sends_nothing() && is_over(context.config.stalled_after) => {
                Some((gap_end, Cause::NotRepaired))
            }
            _ => None,
        });
        let Some((end, cause)) = unavailable else { return false };
        self.cause = cause;
        let passed = below.sequencer.give_up_before(end);
        self.record_given_up(below, passed);
        below.assembler.abandon();
        true
    }

    /// Counts datagrams that were given up. Those before a snapshot's first message are covered by the snapshot.
    fn record_given_up(&self, below: &mut Below<'_>, count: u64) {
        let statistics = &mut below.context.statistics;
        statistics.given_up = statistics.given_up.saturating_add(count);
        if below.context.delivery.counts_losses() {
            below.sequencer.losses.record_given_up(count);
        }
    }

    /// Reports the messages between the expected one and this one, which are lost: unless a newer snapshot covers them.
    fn report_gap(&mut self, below: &mut Below<'_>, number: MessageNumber, cause: Cause) -> SubscriberEvent {
        if below.context.delivery.is_bridging() && self.abandoned.is_none() {
            below.context.delivery.await_snapshot();
            return SubscriberEvent::SnapshotWanted { message: number };
        }
        self.report_lost(below, number, cause)
    }

    /// Gives up all messages before `end`.
    pub(super) fn report_lost(
        &mut self,
        below: &mut Below<'_>,
        end: MessageNumber,
        cause: Cause,
    ) -> SubscriberEvent {
        let first = core::mem::replace(&mut below.context.delivery.expected, end);
        debug_assert!(first < end, "nothing is lost: {first} to {end}");
        below.reporter.account.record_loss(end);
        below.assembler.abandon();
        let statistics = &mut below.context.statistics;
        statistics.lost_messages = statistics.lost_messages.saturating_add(end.ahead_of(first));
        if cause == Cause::Unreadable {
            // Its datagrams have arrived, so nothing else counts this loss.
            self.record_given_up(below, 1);
        }
        self.react_to_loss(below.context, end, cause);
        SubscriberEvent::Lost { first, end, cause }
    }

    /// Reports that the publisher may have published more than is known: it did not end its stream.
    pub(super) fn report_unknown_loss(&mut self, context: &mut Context) -> SubscriberEvent {
        context.statistics.unknown_losses += 1;
        let first = context.delivery.expected;
        self.react_to_loss(context, first, Cause::Restart);
        SubscriberEvent::LostUnknown { first }
    }

    fn react_to_loss(&mut self, context: &mut Context, end: MessageNumber, cause: Cause) {
        let Policy::Reliable(on_loss) = context.config.policy else { return };
        match on_loss {
            OnLoss::Stop => context.delivery.stop(),
            // There is no snapshot of an incarnation that is over, and an application that stops needs none.
            OnLoss::Snapshot if cause != Cause::Restart && self.abandoned.is_none() => {
                context.delivery.await_snapshot();
                context.emit(SubscriberEvent::SnapshotWanted { message: end });
            }
            OnLoss::Snapshot | OnLoss::Continue => {}
        }
    }
}

/// The latest message of each key that was delivered.
#[derive(Debug)]
pub(super) struct Latest {
    all: BTreeMap<MessageKey, MessageNumber>,
    most: usize,
}

impl Latest {
    pub(super) const fn new(most: usize) -> Self {
        Self { all: BTreeMap::new(), most }
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    /// Notes a message; returns `false` if it or a later one of its key was delivered. A publisher that continues the stream
    /// may send again what was delivered early.
    pub(super) fn is_latest(&mut self, key: MessageKey, number: MessageNumber) -> bool {
        match self.all.get_mut(&key) {
            Some(known) if *known >= number => false,
            Some(known) => {
                *known = number;
                true
            }
            None => {
                if self.all.len() >= self.most {
                    // A forgotten key may deliver an outdated message once; the alternative is unbounded memory.
                    self.all.pop_first();
                }
                self.all.insert(key, number);
                true
            }
        }
    }
}
