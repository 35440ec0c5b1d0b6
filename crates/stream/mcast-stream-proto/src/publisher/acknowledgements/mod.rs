//! Determines from the reports of subscribers which messages are acknowledged as required.
//!
//! Messages are settled in order: each is acknowledged, or given up. A subscriber acknowledges the messages of one range,
//! in which it lost nothing, so that what it has lost is never taken for acknowledged. What is settled stays so.

mod names;
mod record;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::PublisherMachine;
use super::config::PublisherConfig;
use super::event::PublisherEvent;
use super::members::{Departure, Members, Progress, Role};
use super::quorum::{
    AckLevel, AckProgress, AckState, AckWait, Acknowledgers, Quorum, QuorumLoss, SubscriberPresence,
    Watermarks,
};
use crate::ClockTime;
use crate::random::SMALL_GROUP;
use crate::times::publisher::EVALUATION_INTERVAL;
use crate::wire::{Acknowledgement, DatagramView, MessageNumber, Status, SubscriberId, SubscriberName};

pub(super) use names::Names;
pub(super) use record::AckRecord;

/// Ranges of messages that were given up, remembered one by one. Beyond that, the two oldest become one range, which
/// includes the acknowledged messages between them.
const MAX_GIVEN_UP: usize = 256;
/// The longest wait between two requests for an acknowledgement is the first one, doubled this many times.
const MOST_DOUBLINGS: u32 = 8;
/// With more subscribers, reports are evaluated at most once in `EVALUATION_INTERVAL`.
const LARGE_GROUP: usize = 64;

/// Subscribers with the same name are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Named(SubscriberName),
    Unnamed(SubscriberId),
}

/// A subscriber, as far as it matters for acknowledgements.
#[derive(Clone, Copy, Debug)]
struct Acknowledger {
    id: SubscriberId,
    identity: Identity,
    /// It has acknowledged the messages from the first to before the second.
    range: (MessageNumber, MessageNumber),
    /// Whether the publisher waits for it, so that it may acknowledge more.
    is_awaited: bool,
    owes: (MessageNumber, Option<MessageNumber>),
}

impl Acknowledger {
    fn new(
        id: SubscriberId,
        progress: &Progress,
        role: Role,
        is_present: bool,
        level: AckLevel,
    ) -> Option<Self> {
        let AckRecord { name, reported, owes, .. } = progress.acknowledgements;
        let range = match (reported, level) {
            (Some(known), AckLevel::Received) => (known.since, known.received),
            (Some(known), AckLevel::Processed) => (known.since, known.processed),
            // It may be an implementation that reports nothing.
            (None, _) => (MessageNumber::MAX, MessageNumber(0)),
        };
        matches!(role, Role::Awaited | Role::Evicted).then_some(Self {
            id,
            identity: name.map_or(Identity::Unnamed(id), Identity::Named),
            range,
            is_awaited: is_present && role == Role::Awaited,
            owes,
        })
    }

    fn has(&self, message: MessageNumber) -> bool {
        self.range.0 <= message && message < self.range.1
    }

    fn may_get(&self, message: MessageNumber) -> bool {
        self.is_awaited && self.range.0 <= message
    }

    fn owes(&self, message: MessageNumber) -> bool {
        self.owes.0 <= message && self.owes.1.is_none_or(|end| message < end)
    }
}

/// What the publisher knows about acknowledgements.
#[derive(Debug)]
pub(super) struct Acknowledgements {
    quorum: Quorum,
    /// The first message that must be acknowledged.
    first: MessageNumber,
    settled: MessageNumber,
    /// Messages that were given up, in ascending order: from the first to before the second.
    given_up: VecDeque<(MessageNumber, MessageNumber)>,
    acknowledged: u64,
    unacknowledged: u64,
    is_lost: bool,
    /// A forgotten subscriber had to acknowledge messages before this one.
    forgotten: MessageNumber,
    /// In a large group, the time until which reports are only collected.
    next_at: ClockTime,
    awaited: Option<Awaited>,
    /// Until when absent subscribers are expected, because the publisher has started or restarted.
    expected_until: ClockTime,
}

/// The first message that is not settled.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    first: MessageNumber,
    /// When that was noticed, or its acknowledgement last requested.
    since: ClockTime,
    /// How often it was requested.
    requests: u32,
}

impl Acknowledgements {
    /// Returns what is known at the start, if messages must be acknowledged. Those that waited for the publisher report to it soon.
    pub(super) fn of(config: &PublisherConfig, now: ClockTime) -> Option<Self> {
        let first = config.first_message.max(config.acknowledge_from);
        let quorum = config.quorum.clone()?;
        Some(Self::new(quorum, first, now + config.subscriber_timeout))
    }

    /// Subscribers that are absent are expected until this time.
    const fn new(quorum: Quorum, first: MessageNumber, expected_until: ClockTime) -> Self {
        Self {
            quorum,
            first,
            settled: first,
            given_up: VecDeque::new(),
            acknowledged: 0,
            unacknowledged: 0,
            // Nobody is known at first. That the quorum is present is reported once it is.
            is_lost: true,
            forgotten: MessageNumber(0),
            next_at: ClockTime(0),
            awaited: None,
            expected_until,
        }
    }

    /// Requires acknowledgements from an earlier message on.
    fn begin_with(&mut self, first: MessageNumber) {
        debug_assert!(self.acknowledged + self.unacknowledged == 0, "something is settled already");
        if first < self.first {
            (self.first, self.settled) = (first, first);
        }
    }

    /// Returns whether the first message that is not settled, of those before `next`, has waited for longer than this,
    /// and then for twice as long, and so on.
    fn is_late(&mut self, now: ClockTime, next: MessageNumber, timeout: Duration) -> bool {
        if self.settled >= next {
            self.awaited = None;
            return false;
        }
        let first = self.settled;
        let awaited = self.awaited.filter(|awaited| awaited.first == first);
        let awaited = awaited.unwrap_or(Awaited { first, since: now, requests: 0 });
        let is_late = now >= awaited.since + (1 << awaited.requests.min(MOST_DOUBLINGS)) * timeout;
        self.awaited = Some(match is_late {
            true => Awaited { since: now, requests: awaited.requests + 1, ..awaited },
            false => awaited,
        });
        is_late
    }

    /// Notes that time has passed in which the publisher did not run.
    pub(super) fn extend_deadlines(&mut self, pause: Duration) {
        self.expected_until = self.expected_until + pause;
    }

    /// Forgets a departed subscriber. What it had to acknowledge, and has not, all subscribers never do.
    pub(super) fn forget(&mut self, record: &AckRecord) {
        if let (first, Some(end)) = record.owes
            && first < end
        {
            self.forgotten = self.forgotten.max(end);
        }
    }

    /// Returns the first message that is not settled, if it waits until it is.
    pub(super) fn blocking_from(&self) -> Option<MessageNumber> {
        (self.quorum.on_loss == QuorumLoss::Block).then_some(self.settled)
    }

    /// Returns whether this message may not be published at present.
    #[inline]
    pub(super) fn blocks(&self, next: MessageNumber) -> bool {
        self.is_lost && self.quorum.on_loss == QuorumLoss::Block && next >= self.first
    }

    /// Omits the messages before `end`, which are not published; returns whether all before those are settled. Otherwise
    /// subscribers might not acknowledge these any more: for them, omitted messages are lost.
    pub(super) fn skip(&mut self, next: MessageNumber, end: MessageNumber) -> bool {
        // It is after the next one while messages are published again.
        let is_settled = self.settled >= next;
        if is_settled {
            self.settled = self.settled.max(end);
        }
        is_settled
    }

    fn state_of(&self, message: MessageNumber) -> AckState {
        let is_given_up = |(first, end): &(MessageNumber, MessageNumber)| (*first..*end).contains(&message);
        if message < self.first {
            AckState::Unacknowledged
        } else if message >= self.settled {
            AckState::Pending
        } else if self.given_up.iter().any(is_given_up) {
            AckState::Unacknowledged
        } else {
            AckState::Acknowledged
        }
    }

    /// Gives up the messages from the first that is not settled to before `end`.
    fn give_up(&mut self, end: MessageNumber) -> PublisherEvent {
        let first = self.settled;
        self.unacknowledged += end - first;
        self.settled = end;
        match self.given_up.back_mut() {
            Some(last) if last.1 == first => last.1 = end,
            _ => self.given_up.push_back((first, end)),
        }
        if self.given_up.len() > MAX_GIVEN_UP
            && let (Some(oldest), Some(next)) = (self.given_up.pop_front(), self.given_up.front_mut())
        {
            next.0 = oldest.0;
        }
        PublisherEvent::Unacknowledged { first, end }
    }

    fn acknowledgers(&self, members: &Members) -> Vec<Acknowledger> {
        let level = self.quorum.level;
        let present = members.iter().filter_map(|(id, member)| {
            Acknowledger::new(id, &member.progress, member.role_in_reports(), true, level)
        });
        let departed = members.departed().filter_map(|(id, departed)| {
            Acknowledger::new(id, &departed.progress, departed.role, false, level)
        });
        // What a departed subscriber has, or owes, only matters for messages that are not settled.
        let matters = |departed: &Acknowledger| {
            departed.range.1 > self.settled || departed.owes.1.is_some_and(|end| end > self.settled)
        };
        present.chain(departed.filter(matters)).collect()
    }

    /// Returns up to where the messages from the first that is not settled on are acknowledged; `None` if that one is
    /// not.
    fn acknowledged_until(&self, all: &[Acknowledger], next: MessageNumber) -> Option<MessageNumber> {
        let message = self.settled;
        let mut ends = BTreeMap::new();
        for each in all.iter().filter(|each| each.has(message)) {
            let end = ends.entry(each.identity).or_insert(each.range.1);
            *end = each.range.1.max(*end);
        }
        match &self.quorum.acknowledgers {
            Acknowledgers::Count(count) => {
                let mut ends: Vec<_> = ends.into_values().collect();
                ends.sort_unstable_by(|a, b| b.cmp(a));
                ends.get(count.max(&1) - 1).copied()
            }
            Acknowledgers::Named(names) => {
                let end = |name: &SubscriberName| ends.get(&Identity::Named(*name)).copied();
                // `None` is the least: one that does not have the message holds it back.
                names.iter().map(end).min().flatten()
            }
            Acknowledgers::All if message < self.forgotten => None,
            Acknowledgers::All => {
                let mut owing = all.iter().filter(|each| each.owes(message)).peekable();
                let acknowledged = match owing.peek() {
                    Some(_) => owing.map(|each| ends.get(&each.identity).copied()).min().flatten()?,
                    // Nobody was present when it was published: one that has it nevertheless is enough.
                    None => ends.into_values().max()?,
                };
                // After that, others owe the messages.
                let changes = all.iter().flat_map(|each| [Some(each.owes.0), each.owes.1]).flatten();
                changes.filter(|change| *change > message).chain([acknowledged]).min()
            }
        }
        .map(|end| end.min(next))
    }

    /// Returns which subscribers have acknowledged a message, how many must, and which may or cannot.
    fn wait_for(&self, all: &[Acknowledger], message: MessageNumber) -> (AckWait, bool) {
        let mut by_identity: BTreeMap<Identity, (bool, bool, bool, SubscriberId)> = BTreeMap::new();
        for each in all {
            let entry = by_identity.entry(each.identity).or_insert((false, false, false, each.id));
            if each.is_awaited {
                entry.3 = each.id;
            }
            entry.0 |= each.has(message);
            entry.1 |= each.may_get(message);
            entry.2 |= each.owes(message);
        }
        let mut wait = AckWait { message, ..AckWait::default() };
        let note = |wait: &mut AckWait, (has, may, _, id): (bool, bool, bool, SubscriberId)| match (has, may)
        {
            (true, _) => wait.acknowledged += 1,
            (_, true) => wait.waiting.push(id),
            _ => wait.lacking.push(id),
        };
        let is_possible = match &self.quorum.acknowledgers {
            Acknowledgers::Count(count) => {
                by_identity.values().for_each(|entry| note(&mut wait, *entry));
                wait.required = *count.max(&1);
                wait.acknowledged + wait.waiting.len() >= wait.required
            }
            Acknowledgers::All => {
                let owing = by_identity.values().filter(|(_, _, owes, _)| *owes);
                owing.for_each(|entry| note(&mut wait, *entry));
                wait.required = wait.acknowledged + wait.waiting.len() + wait.lacking.len();
                if wait.required == 0 {
                    by_identity.values().for_each(|entry| note(&mut wait, *entry));
                    wait.required = 1;
                }
                message >= self.forgotten && wait.acknowledged + wait.waiting.len() >= wait.required
            }
            Acknowledgers::Named(names) => {
                wait.required = names.len();
                for name in names {
                    match by_identity.get(&Identity::Named(*name)) {
                        Some(entry) => note(&mut wait, *entry),
                        None => wait.absent.push(*name),
                    }
                }
                wait.acknowledged + wait.waiting.len() >= wait.required
            }
        };
        (wait, is_possible)
    }

    /// Determines what is settled by now; returns the events.
    fn evaluate(&mut self, now: ClockTime, members: &Members, next: MessageNumber) -> Vec<PublisherEvent> {
        let mut events = Vec::new();
        let all = self.acknowledgers(members);
        let is_possible = loop {
            while self.settled < next
                && let Some(end) = self.acknowledged_until(&all, next)
            {
                self.acknowledged += end - self.settled;
                self.settled = end;
            }
            let is_published = self.settled < next;
            let (_, is_possible) = self.wait_for(&all, self.settled);
            // After a start, those that are absent have had no time yet to report.
            let is_kept = self.quorum.on_loss == QuorumLoss::Block || now < self.expected_until;
            if is_possible || !is_published || is_kept {
                break is_possible;
            }
            // Who can acknowledge changes only at these messages: what follows the next one is looked at again.
            let changes = all.iter().flat_map(|each| [Some(each.range.0), Some(each.owes.0), each.owes.1]);
            let changes = changes.chain([Some(self.forgotten)]);
            let later = changes.flatten().filter(|change| *change > self.settled);
            events.push(self.give_up(later.chain([next]).min().unwrap_or(next).min(next)));
        };
        if core::mem::replace(&mut self.is_lost, !is_possible) == is_possible {
            events.push(if is_possible { PublisherEvent::QuorumPresent } else { PublisherEvent::QuorumLost });
        }
        events
    }
}

impl PublisherMachine {
    /// Requires acknowledgements from this message on as well, which a former publisher of the stream has published. Call it
    /// after [`end_recall`](Self::end_recall), and before anything else is published.
    pub fn require_acknowledgements_from(&mut self, message: MessageNumber) {
        if let Some(acknowledgements) = &mut self.subscribers.acknowledgements {
            acknowledgements.begin_with(message.min(self.intake.next_message()));
        }
    }

    /// Returns the name that a subscriber claims, if it has one.
    #[must_use]
    pub fn name_of(&self, subscriber: SubscriberId) -> Option<SubscriberName> {
        let present = self.subscribers.members.get(subscriber).map(|member| &member.progress);
        present.or_else(|| self.subscribers.members.departed_progress(subscriber))?.acknowledgements.name
    }

    /// Takes the name and the acknowledgement of a status.
    pub(super) fn record_acknowledgement(
        &mut self,
        now: ClockTime,
        id: SubscriberId,
        view: &DatagramView<'_>,
        status: &Status,
    ) {
        let (next_message, was_expected) = (self.intake.next_message(), self.expects_acknowledgers(now));
        let Some(member) = self.subscribers.members.get_mut(id) else { return };
        let record = &mut member.progress.acknowledgements;
        record.name = SubscriberName::of(view).or(record.name);
        // No subscriber can have messages that were never published.
        let report = Acknowledgement::of(view).filter(|report| report.received <= next_message);
        if let Some(report) = report.filter(|_| self.subscribers.acknowledgements.is_some()) {
            record.record(report, status.given_up > 0 || status.lost_messages > 0, was_expected);
        }
        self.record_name(id);
    }

    /// Reports a name that several subscribers use.
    fn record_name(&mut self, id: SubscriberId) {
        let Some(name) =
            self.subscribers.members.get(id).and_then(|member| member.progress.acknowledgements.name)
        else {
            return;
        };
        if let Some((first, second)) = self.subscribers.names.note(name, id, &mut self.subscribers.members) {
            self.context.events.push(PublisherEvent::NameShared { name, first, second });
        }
    }

    /// Expects absent subscribers from now on, for as long as a silent one.
    pub(super) fn expect_acknowledgers(&mut self, now: ClockTime) {
        let until = now + self.context.config.subscriber_timeout;
        if let Some(acknowledgements) = &mut self.subscribers.acknowledgements {
            acknowledgements.expected_until = until;
        }
    }

    /// Whether absent subscribers are still expected that must acknowledge messages.
    pub(super) fn expects_acknowledgers(&self, now: ClockTime) -> bool {
        self.subscribers.acknowledgements.as_ref().is_some_and(|known| now < known.expected_until)
    }

    /// Returns how far the messages are acknowledged as required; `None` if nothing is.
    #[must_use]
    pub fn ack_progress(&self) -> Option<AckProgress> {
        let Acknowledgements { settled, acknowledged, unacknowledged, is_lost, .. } =
            *self.subscribers.acknowledgements.as_ref()?;
        Some(AckProgress { next: self.intake.next_message(), settled, acknowledged, unacknowledged, is_lost })
    }

    /// Returns whether a message is acknowledged as required; `None` if nothing is required. Of more than 256 separate
    /// ranges of unacknowledged messages, acknowledged messages between the oldest count as unacknowledged.
    #[must_use]
    pub fn ack_state(&self, message: MessageNumber) -> Option<AckState> {
        Some(self.subscribers.acknowledgements.as_ref()?.state_of(message))
    }

    /// Returns what the first message that is not settled waits for; `None` if no acknowledgement is required, or if all
    /// messages are settled and the next one could be acknowledged.
    #[must_use]
    pub fn ack_wait(&self) -> Option<AckWait> {
        let acknowledgements = self.subscribers.acknowledgements.as_ref()?;
        let all = acknowledgements.acknowledgers(&self.subscribers.members);
        let is_published = acknowledgements.settled < self.intake.next_message();
        let (wait, is_possible) = acknowledgements.wait_for(&all, acknowledgements.settled);
        (is_published || !is_possible).then_some(wait)
    }

    /// Returns what each subscriber has acknowledged, if the publisher requires acknowledgements. Of subscribers that have
    /// departed, the last 4,096 are listed. Best-effort subscribers acknowledge nothing.
    pub fn watermarks(&self) -> impl Iterator<Item = Watermarks> {
        let present = self.subscribers.members.iter().filter_map(|(id, member)| {
            let presence = match member.role_in_reports() {
                Role::Awaited => SubscriberPresence::Present,
                Role::Evicted => SubscriberPresence::Evicted,
                Role::Unknown | Role::BestEffort => return None,
            };
            self.watermarks_of(id, &member.progress, member.address, presence)
        });
        let departed = self.subscribers.members.departed().filter_map(|(id, departed)| {
            let presence = match departed.departure {
                Departure::Left => SubscriberPresence::Left,
                Departure::Failed => SubscriberPresence::Failed,
                Departure::Silent => SubscriberPresence::Silent,
            };
            self.watermarks_of(id, &departed.progress, departed.address, presence)
        });
        present.chain(departed)
    }

    fn watermarks_of(
        &self,
        subscriber: SubscriberId,
        progress: &Progress,
        address: core::net::SocketAddr,
        presence: SubscriberPresence,
    ) -> Option<Watermarks> {
        let AckRecord { name, reported, .. } = progress.acknowledgements;
        let Acknowledgement { since, received, processed } = reported?;
        let (missing, lost) = (self.intake.next_message().ahead_of(received), progress.lost_messages);
        Some(Watermarks { subscriber, name, address, presence, since, received, processed, missing, lost })
    }

    /// Determines what is settled after a report. In a large group, where that takes long, not after each.
    pub(super) fn evaluate_after_report(&mut self, now: ClockTime) {
        let is_large = self.subscribers.members.len() > LARGE_GROUP;
        let Some(acknowledgements) = &mut self.subscribers.acknowledgements else { return };
        if is_large && now < acknowledgements.next_at {
            return;
        }
        acknowledgements.next_at = now + EVALUATION_INTERVAL;
        self.evaluate_acknowledgements(now);
    }

    /// Returns whether the status that acknowledges a message may have been lost: its subscriber cannot know that. In a
    /// large group, the requested statuses would be too many.
    pub(super) fn requests_acknowledgements(&mut self, now: ClockTime) -> bool {
        let timeout = self.subscribers.members.status_interval() + 2 * self.subscribers.round_trip;
        let is_small = self.subscribers.members.len() <= SMALL_GROUP as usize;
        let next = self.intake.next_message();
        self.subscribers
            .acknowledgements
            .as_mut()
            .is_some_and(|known| known.is_late(now, next, timeout) && is_small)
    }

    /// Determines which messages are settled by now.
    pub(super) fn evaluate_acknowledgements(&mut self, now: ClockTime) {
        let Some(acknowledgements) = &mut self.subscribers.acknowledgements else { return };
        for event in acknowledgements.evaluate(now, &self.subscribers.members, self.intake.next_message()) {
            self.context.events.push(event);
        }
    }
}
