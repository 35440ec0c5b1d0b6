//! Which incarnation of the publisher is followed, and the change to another one: the part of the gate that begins.

use core::net::SocketAddr;

use super::config::Start;
use super::context::Context;
use super::event::{Cause, SubscriberEvent};
use super::gate::{Below, Gate};
use super::incarnations::{FormerIncarnation, IncarnationIdentity, Successor};
use super::losses::LossAccount;
use crate::wire::{Heartbeat, MessageNumber, Sequence};

impl Gate {
    /// Follows this incarnation of the publisher.
    pub(super) fn follow(
        &mut self,
        below: &mut Below<'_>,
        identity: IncarnationIdentity,
        heartbeat: Heartbeat,
        from: SocketAddr,
        start: Start,
    ) {
        self.remember_current(below);
        let incarnation = identity.incarnation;
        let former = below.context.publisher.incarnations.former(incarnation);
        let (base, expected) = match (start, former) {
            // What was delivered is not delivered again.
            (Start::Oldest, Some(former)) => former.position,
            (Start::Oldest, None) => (heartbeat.oldest_retained, heartbeat.oldest_message),
            (Start::Now | Start::Snapshot, _) => (heartbeat.next, heartbeat.next_message),
        };
        below.context.delivery.expected = expected;
        below.reporter.account.begin(expected, identity.requests_acknowledgements);
        // Statuses still report what it lost of this incarnation earlier.
        let lost = former.map_or((0, 0), |former| (former.given_up, former.lost_messages));
        let losses = LossAccount::begin(&below.context.statistics, lost);
        begin(below, identity, heartbeat, from, base, losses);
        self.latest.clear();
        below.context.delivery.begin(start == Start::Snapshot);
        below.context.emit(SubscriberEvent::Joined { incarnation, publisher: from, message: expected });
        if below.context.delivery.awaits_snapshot() {
            below.context.emit(SubscriberEvent::SnapshotWanted { message: expected });
        }
        announce(below, heartbeat);
    }

    /// Remembers the current incarnation, which is about to be left.
    fn remember_current(&self, below: &mut Below<'_>) {
        let Context { publisher, statistics, .. } = below.context;
        let Some(incarnation) = publisher.incarnations.current() else { return };
        let Heartbeat { next, next_message, clock, .. } = publisher.heartbeat;
        // Everything announced and not delivered has been reported as lost.
        let expected = below.context.delivery.expected;
        let position =
            if expected > next_message { (below.sequencer.base, expected) } else { (next, next_message) };
        let (given_up, lost_messages) = below.sequencer.losses.reported(statistics);
        let former = FormerIncarnation { incarnation, clock, position, given_up, lost_messages };
        publisher.incarnations.former.keep(former);
    }

    /// Changes to the publisher's new incarnation, once everything available of the current one is delivered.
    pub(super) fn follow_successor(&mut self, below: &mut Below<'_>) -> Option<SubscriberEvent> {
        let successor = below.context.publisher.incarnations.successor?;
        if below.context.publisher.incarnations.is_continued() {
            return self.follow_continued(below, successor);
        }
        if !below.context.delivery.has_stopped()
            && let Some(event) = self.report_remaining_loss(below, successor)
        {
            return Some(event);
        }
        if below.context.delivery.has_stopped() {
            return None;
        }
        let publisher = &mut below.context.publisher;
        // The end is not reported before an application is done with the last messages.
        let end = publisher.end_before(below.sequencer.base).filter(|_| !below.context.delivery.has_ended);
        if let Some((_, messages)) = end {
            below.context.delivery.has_ended = true;
            return Some(SubscriberEvent::Ended { messages: messages.0 });
        }
        let Successor { identity, heartbeat, from: publisher_at, .. } = successor;
        publisher.incarnations.successor = None;
        let from = publisher.incarnations.current()?;
        let Below { context, sequencer, reporter, .. } = below;
        reporter.leave_superseded(context, sequencer, publisher_at);
        // A subscriber of the old incarnation gets all of the new one.
        let start = if context.config.start == Start::Snapshot { Start::Snapshot } else { Start::Oldest };
        self.follow(below, identity, heartbeat, publisher_at, start);
        let is_first_time = below.context.publisher.incarnations.former(identity.incarnation).is_none();
        if start == Start::Oldest && below.context.delivery.expected > MessageNumber(0) && is_first_time {
            // The new incarnation started at message 0; what it no longer retains is lost.
            (below.context.delivery.expected, self.cause) = (MessageNumber(0), Cause::Unrecoverable);
            below.reporter.account.begin(MessageNumber(0), identity.requests_acknowledgements);
        }
        Some(SubscriberEvent::Restarted { from, to: identity.incarnation })
    }

    /// Changes to a publisher that has the same messages as the current one, with the same numbers: those that were
    /// delivered are skipped, and nothing is lost that it has.
    fn follow_continued(&mut self, below: &mut Below<'_>, successor: Successor) -> Option<SubscriberEvent> {
        let Successor { identity, heartbeat, from: publisher, .. } = successor;
        let incarnations = &mut below.context.publisher.incarnations;
        let from = incarnations.current()?;
        incarnations.successor = None;
        let Below { context, sequencer, reporter, .. } = below;
        reporter.leave_superseded(context, sequencer, publisher);
        self.remember_current(below);
        below.reporter.account.continue_with_another(identity.requests_acknowledgements);
        let statistics = &below.context.statistics;
        let losses = LossAccount::begin(statistics, below.sequencer.losses.reported(statistics));
        let base = first_needed(below.context.delivery.expected, &identity, &heartbeat);
        begin(below, identity, heartbeat, publisher, base, losses);
        below.context.publisher.incarnations.record_control(identity.count, identity.salt);
        self.cause = Cause::Unrecoverable;
        announce(below, heartbeat);
        Some(SubscriberEvent::Continued { from, to: identity.incarnation, publisher })
    }

    /// Reports the known losses of the old incarnation and then, unless it ended its stream, an unknown loss.
    fn report_remaining_loss(
        &mut self,
        below: &mut Below<'_>,
        successor: Successor,
    ) -> Option<SubscriberEvent> {
        let publisher = &mut below.context.publisher;
        let ended = publisher.end.map_or(MessageNumber(0), |(_, messages)| messages);
        let known = publisher.heartbeat.next_message.max(ended);
        if below.context.delivery.expected < known {
            return Some(self.report_lost(below, known, Cause::Restart));
        }
        if publisher.end.is_some() || successor.is_unknown_reported {
            return None;
        }
        publisher.incarnations.successor = Some(Successor { is_unknown_reported: true, ..successor });
        Some(self.report_unknown_loss(below.context))
    }
}

/// Returns the first datagram to request of a publisher that continues: none of those whose messages are here.
fn first_needed(expected: MessageNumber, identity: &IncarnationIdentity, heartbeat: &Heartbeat) -> Sequence {
    if expected >= heartbeat.next_message {
        return heartbeat.next;
    }
    let known = identity.provenance.first_needed(expected).unwrap_or(heartbeat.oldest_retained);
    known.clamp(heartbeat.oldest_retained, heartbeat.next)
}

/// Begins each layer with an incarnation, by the first heartbeat of its publisher, at the datagram `base`.
fn begin(
    below: &mut Below<'_>,
    identity: IncarnationIdentity,
    heartbeat: Heartbeat,
    from: SocketAddr,
    base: Sequence,
    losses: LossAccount,
) {
    let Below { context, sequencer, assembler, reporter } = below;
    context.publisher.begin(context.now, identity, heartbeat, from);
    sequencer.begin(context, base, losses);
    assembler.clear();
    reporter.statuses.restart(sequencer.window.length() as u32);
}

/// Requests what the heartbeat shows as sent, and schedules the first status.
fn announce(below: &mut Below<'_>, heartbeat: Heartbeat) {
    below.sequencer.record_sent_before(below.context, heartbeat.next);
    let at = below.context.now + below.context.jitter();
    below.reporter.statuses.reschedule(at);
}
