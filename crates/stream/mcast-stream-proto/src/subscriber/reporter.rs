//! Flow control: the statuses, by which the publisher knows how far this subscriber is and how much it may send.
//!
//! *Input:* what the other layers have: what is confirmed and how much room is left (the sequencer), what the application was
//! given (the gate), and heartbeats that wait for a status. *Output:* statuses, at the times of the [`StatusScheduler`].
//!
//! *Promises:*
//! - A status never confirms less than one before it in the same incarnation.
//! - A publisher that waits for this subscriber gets a status within the group's interval; one that does not wait gets one per
//!   second. All subscribers of a group together keep to what the publisher's heartbeats allow.
//! - The end of the stream is confirmed until the publisher knows of it, or cannot be reached.

use core::net::SocketAddr;
use core::time::Duration;

use super::account::Account;
use super::arrived::Arrived;
use super::context::Context;
use super::naks::Arrival;
use super::sequencer::Sequencer;
use super::statuses::StatusScheduler;
use crate::ClockTime;
use crate::outbox::Target;
use crate::sign::SIGNATURE_EXTENSION;
use crate::span::wire_micros;
use crate::times::subscriber::{END_CONFIRMATION_INTERVAL, IDLE_STATUS, JOIN_INTERVAL, REPEAT_SPACING};
use crate::wire::{Flags, FlowControl, Incarnation, Kind, Sequence, Status};

/// The subscribers of a group together send about one status for this many repairs that arrive: their number is the
/// credit for more.
const REPAIRS_PER_STATUS: u32 = 32;
/// What a request for a signed heartbeat has in addition: the length of the signature, and of the salt.
const JOINING_PADDING: usize = SIGNATURE_EXTENSION + 12;

/// Flags whose appearance is news for the publisher.
const NEWS: u32 = Status::ENDED | Status::DELIVERED | Status::READING | Status::UNKNOWN_LOSS;

#[derive(Debug)]
pub(super) struct Reporter {
    pub(super) statuses: StatusScheduler,
    /// What the application has received and processed.
    pub(super) account: Account,
    pub(super) has_left: bool,
}

impl Reporter {
    pub(super) fn new(has_history: bool) -> Self {
        Self { statuses: StatusScheduler::default(), account: Account::new(has_history), has_left: false }
    }

    fn idle_interval(context: &Context) -> Duration {
        IDLE_STATUS.max(4 * context.publisher.status_interval())
    }

    /// Returns when the next status is due.
    pub(super) fn deadline(&self, context: &Context) -> ClockTime {
        self.statuses.deadline(Self::idle_interval(context))
    }

    /// Whether the end is known, and no datagram before it is missing.
    pub(super) fn has_everything(&self, context: &Context, sequencer: &Sequencer) -> bool {
        let is_end = |(end, _)| self.confirmed(context, sequencer) >= end;
        context.delivery.has_ended || context.publisher.end.is_some_and(is_end)
    }

    fn confirmed(&self, context: &Context, sequencer: &Sequencer) -> Sequence {
        sequencer.confirmed(context.delivery.is_buffering, self.statuses.reported.next)
    }

    /// The flags of a status. A subscriber that requests no repairs is passive: the publisher does not wait for it.
    fn flags(&self, context: &Context, sequencer: &Sequencer) -> u32 {
        // While it waits for a snapshot, or has stopped, what it has will not be delivered.
        let has_all = context.delivery.has_ended
            || self.has_everything(context, sequencer) && !context.delivery.is_closed();
        let all = [
            (!context.requests_repairs(), Status::PASSIVE),
            (sequencer.highest < context.heartbeat().next, Status::CATCHING_UP),
            (has_all, Status::ENDED),
            (context.delivery.has_ended, Status::DELIVERED),
            (sequencer.repairers.repair_for_others(context, self.has_left), Status::REPAIRS),
        ];
        let account = self.account.flags(context.publisher.content_incarnation());
        all.iter().filter(|(is_set, _)| *is_set).fold(account, |flags, (_, flag)| flags | flag)
    }

    /// Sends a status if one is due.
    pub(super) fn run(&mut self, context: &mut Context, sequencer: &Sequencer) {
        let now = context.now;
        if now >= self.deadline(context) {
            let flags = self.flags(context, sequencer);
            self.send(context, sequencer, flags);
        }
    }

    fn send(&mut self, context: &mut Context, sequencer: &Sequencer, flags: u32) {
        let now = context.now;
        let publisher = &context.publisher;
        let (Some(to), Some(incarnation)) = (publisher.peer.get(), publisher.incarnations.current()) else {
            return;
        };
        let next = self.confirmed(context, sequencer);
        let live = sequencer.losses.reported(&context.statistics);
        let (given_up, lost_messages) = self.account.losses(publisher.content_incarnation(), live);
        let missed = sequencer.losses.missed(&context.statistics);
        let status = Status {
            next,
            highest: sequencer.known_end().max(next),
            window: (sequencer.room_end(context) - next) as u32,
            // What may be merely late does not count yet: it must not slow the publisher down.
            missed: missed.saturating_sub(sequencer.naks.maybe_late(now)) as u32,
            clock: publisher.heartbeat.clock,
            // The publisher subtracts this from the time since `clock`: what remains is the round trip.
            held: wire_micros(publisher.liveness.elapsed(now)),
            flags,
            token: publisher.peer.token(),
            received: context.statistics.arrived(),
            tag: 0,
            repairs: context.paths.repairs() as u32,
            given_up,
            lost_messages,
        };
        let last = &self.statuses.reported;
        debug_assert!(status.next >= last.next, "a status confirms less than the last one");
        debug_assert!(status.highest >= status.next, "a status confirms what is not known");
        // Without a request, one that leaves says what its application was given.
        let is_leaving =
            flags & (Status::LEAVING | Status::FAILED) == Status::LEAVING && !context.delivery.is_closed();
        let acknowledgement = self.account.report(context, is_leaving);
        let name = context.config.name;
        context.send(Target::Address(to), incarnation, Kind::Status, |writer| {
            name.map_or(Ok(()), |name| name.write(writer))?;
            acknowledgement.map_or(Ok(()), |acknowledgement| acknowledgement.write(writer))?;
            status.write(writer)
        });
        context.statistics.statuses += 1;
        let publisher = &context.publisher;
        let interval =
            publisher.status_interval().max(END_CONFIRMATION_INTERVAL).max(2 * publisher.round_trip());
        // Subscribers that joined together do not send statuses together ever after.
        let quarter = (sequencer.credit / 4) as f64;
        let spread = if publisher.is_large_group() { (context.random.unit() * quarter) as u64 } else { 0 };
        self.statuses.record_sent(now, status, interval, spread);
    }

    /// Leaves the stream, for this reason, so that the publisher no longer waits for this subscriber.
    pub(super) fn leave(&mut self, context: &mut Context, sequencer: &Sequencer, reason: u32) {
        self.has_left = true;
        // What is buffered for an application that stops will not be delivered.
        let withdrawn = match context.delivery.has_ended {
            // An application that fails may not have processed what it was given last.
            _ if reason != 0 => Status::ENDED | Status::DELIVERED,
            true => 0,
            false => Status::ENDED,
        };
        if !context.sends_nothing() && context.publisher.peer.is_proven() {
            let flags = self.flags(context, sequencer) & !withdrawn;
            self.send(context, sequencer, Status::LEAVING | reason | flags);
        }
    }

    /// Reports to a publisher that is still heard, and whose stream has no end yet, that a successor at another address is followed:
    /// it would only see its subscribers fall silent, one after the other.
    pub(super) fn leave_superseded(
        &mut self,
        context: &mut Context,
        sequencer: &Sequencer,
        successor: SocketAddr,
    ) {
        let publisher = &context.publisher;
        let is_other = publisher.peer.get().is_some_and(|publisher| publisher != successor);
        let is_live = publisher.end.is_none() && !publisher.liveness.is_silent();
        if is_other && is_live && !context.sends_nothing() && publisher.peer.is_proven() {
            let flags = self.flags(context, sequencer);
            self.send(context, sequencer, Status::LEAVING | Status::SUPERSEDED | flags);
        }
    }

    /// Asks an unknown incarnation for a heartbeat, if that may be now.
    pub(super) fn may_ask_to_join(&self, context: &Context, incarnation: Incarnation) -> bool {
        let now = context.now;
        let is_old = context.publisher.incarnations.current().is_some_and(|known| known > incarnation);
        let last = self.statuses.last;
        let is_too_soon = now < last + JOIN_INTERVAL && last > ClockTime(0);
        !(context.sends_nothing() || is_old || is_too_soon)
    }

    /// Asks an unknown incarnation for a heartbeat.
    pub(super) fn ask_to_join(&mut self, context: &mut Context, from: SocketAddr, incarnation: Incarnation) {
        let now = context.now;
        self.statuses.last = now;
        let status = Status { flags: Status::JOINING, ..Status::default() };
        // A signed heartbeat is longer: the request must pay for it.
        let padding: &[u8] = if context.config.verifies() { &[0; JOINING_PADDING] } else { &[] };
        context.send(Target::Aside(from), incarnation, Kind::Status, |writer| {
            status.write(writer)?;
            writer.put(padding)
        });
        context.statistics.statuses += 1;
    }

    /// Schedules a status after a heartbeat with these flags, if the publisher does not know this subscriber's state yet.
    pub(super) fn record_heartbeat(&mut self, context: &mut Context, sequencer: &Sequencer, flags: Flags) {
        let now = context.now;
        let publisher = &context.publisher;
        // In a small group, each may be the one that the publisher waits for, because the status that reported its room may
        // have been lost.
        let concerns = !flags.has(Flags::NO_ROOM)
            || !publisher.is_large_group()
            || self.statuses.reported_room() <= publisher.heartbeat.next;
        let is_urgent = flags.has(Flags::URGENT) && concerns && context.requests_repairs();
        let reported = &self.statuses.reported;
        let has_news = self.confirmed(context, sequencer) != reported.next
            || sequencer.room_end(context) != self.statuses.reported_room()
            || context.config.verifies() && sequencer.known_end() != reported.highest
            || context.paths.repairs() as u32 != reported.repairs
            || self.has_unreported_acknowledgement(context)
            || self.flags(context, sequencer) & !reported.flags & NEWS != 0
            || self.has_read_history();
        // The status with the last news may have been lost.
        let is_latest = has_news || now >= self.statuses.last + self.repeat_interval(context, is_urgent);
        let is_late = publisher.end.is_some() && sequencer.base < publisher.heartbeat.next;
        // A time that was drawn is kept: the minimum of many draws would be about the same for all subscribers.
        if (is_latest || is_late) && (is_urgent || !self.statuses.is_scheduled()) {
            let interval = if is_urgent { publisher.urgent_interval() } else { publisher.status_interval() };
            let earliest = match publisher.has_other_subscribers() {
                // Random, so that subscribers that joined together do not send statuses together ever after.
                true => now.max(self.statuses.last + interval / 2) + context.random.below(interval),
                false => now.max(self.statuses.last + interval),
            };
            self.statuses.schedule(earliest);
        }
    }

    /// Returns after which time the last status is repeated, if a heartbeat shows that the publisher may not have received it.
    fn repeat_interval(&self, context: &Context, is_urgent: bool) -> Duration {
        let publisher = &context.publisher;
        match is_urgent && !publisher.is_large_group() {
            true => {
                let shortest =
                    (publisher.heartbeat.group_size * REPEAT_SPACING).max(2 * publisher.round_trip());
                self.statuses.repeat_interval(shortest, IDLE_STATUS / 2)
            }
            false => IDLE_STATUS / 2,
        }
    }

    /// Schedules a status by the time at which the publisher may wait for it.
    fn schedule_urgent(&mut self, context: &Context) {
        self.statuses.schedule(self.statuses.last + context.publisher.urgent_interval());
    }

    /// Notes that more is confirmed, or waits to be: schedules a status when a quarter of the credit was delivered since the
    /// last one, in a large group up to a half; or less when the publisher will soon have to wait for it; also at the end of the
    /// stream, and when the room in the window has grown by as much.
    #[inline]
    pub(super) fn record_arrival(&mut self, context: &Context, sequencer: &Sequencer) {
        let confirmed = self.statuses.reported.next;
        let next = self.confirmed(context, sequencer);
        let credit = sequencer.credit;
        let enough = match sequencer.known_end().ahead_of(confirmed) {
            // Little credit is left: without a status, the publisher would soon have to stop.
            unconfirmed if unconfirmed >= credit / 4 * 3 => credit / 16,
            _ => credit / 4 + self.statuses.spread,
        };
        let is_end = context.publisher.end.is_some_and(|(end, _)| next >= end);
        let has_progress = next >= confirmed + enough
            || sequencer.room_end(context) >= self.statuses.reported_room() + enough;
        // The publisher does not wait for a subscriber that requests no repairs. In a small group, statuses also show
        // early that a link is too narrow.
        let is_needed = context.heartbeat().flow != FlowControl::None || self.account.is_requested();
        let is_sent = context.requests_repairs() && (is_needed || !context.publisher.is_large_group());
        if has_progress && is_sent || is_end {
            self.schedule_urgent(context);
        }
    }

    /// Notes that a datagram was delivered.
    #[inline]
    pub(super) fn record_progress(&mut self, context: &Context, sequencer: &Sequencer) {
        self.record_arrival(context, sequencer);
        self.report_acknowledgement_soon(context);
    }

    /// Counts a repair of the publisher, also one that is a copy, and schedules a status after some of them.
    pub(super) fn record_repair(&mut self, context: &mut Context, arrived: &Arrived<'_>) {
        // What was recovered, or repaired by another subscriber, is not a repair that the publisher has sent.
        let Arrival::Path(path) = arrived.arrival else { return };
        if !arrived.is_repair() {
            return;
        }
        context.paths.record_repair(path);
        let unreported = (context.paths.repairs() as u32).wrapping_sub(self.statuses.reported.repairs);
        let is_news = unreported >= REPAIRS_PER_STATUS.saturating_mul(context.heartbeat().group_size.max(1));
        if is_news && context.requests_repairs() {
            self.schedule_urgent(context);
        }
    }
}
