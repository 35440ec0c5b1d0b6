//! Control datagrams of the publisher: heartbeats, confirmed repairs, resets and echoes, and the change of
//! incarnations.

use core::net::SocketAddr;
use core::time::Duration;

use super::account::LossAccount;
use super::event::{Cause, SubscriberEvent};
use super::followed::{FormerIncarnation, IncarnationIdentity, Successor};
use super::naks::Arrival;
use super::{Start, SubscriberMachine};
use crate::ClockTime;
use crate::random::SMALL_GROUP;
use crate::sign::SIGNATURE_EXTENSION;
use crate::span::nanos;
use crate::wire::{
    DatagramView, Flags, Header, Heartbeat, Incarnation, KeyEpoch, Kind, MessageNumber, Ncf, Parity, Probe,
    Reset, ResetReason, Sequence, ServedHistory, Status,
};

/// A sealed publisher whose clock is off by more than this may be a replayed recording.
const MAX_SKEW: Duration = Duration::from_secs(120);
/// What a request for a signed heartbeat has in addition: the length of the signature, and of the salt.
const JOINING_PADDING: usize = SIGNATURE_EXTENSION + 12;
/// The shortest time between two requests to join.
const JOIN_INTERVAL: Duration = Duration::from_millis(50);

impl SubscriberMachine {
    pub(super) fn on_control(
        &mut self,
        now: ClockTime,
        path: u8,
        from: SocketAddr,
        datagram: &[u8],
        view: &DatagramView<'_>,
    ) {
        let header = view.header;
        let is_current = self.incarnations.is_current(header.incarnation);
        if is_current && header.kind == Kind::Parity {
            self.record_repair(Arrival::Path(path), header.flags.has(Flags::REPAIR));
        }
        if is_current && !self.incarnations.is_new(header.sequence) {
            // A duplicate from another path, or an old one.
            self.statistics.copies += 1;
            self.record_path_activity(now, path);
            self.publisher.record_heard(now, from);
            return;
        }
        if !is_current && header.kind != Kind::Heartbeat {
            self.statistics.other += 1;
            return;
        }
        let Some((location, range)) = self.open(view, datagram) else { return };
        let decrypted = core::mem::take(&mut self.decrypted);
        let body = match location {
            super::event::BodyLocation::Decrypted => decrypted.get(range),
            _ => datagram.get(range),
        };
        let body = body.unwrap_or_default();
        if self.is_verifying() && !self.is_authentic(now, Some(from), view, body) {
            self.decrypted = decrypted;
            return;
        }
        let is_good = self.take_control(now, from, view, body);
        self.decrypted = decrypted;
        match is_good {
            true => self.record_path_activity(now, path),
            false => self.statistics.malformed += 1,
        }
    }

    /// Handles a decrypted body; returns `false` if it is malformed.
    fn take_control(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        view: &DatagramView<'_>,
        body: &[u8],
    ) -> bool {
        let header = &view.header;
        let is_current = self.incarnations.is_current(header.incarnation);
        // Echoes and parity are not signed: their counts must not suppress what is.
        let is_signed = !matches!(header.kind, Kind::Echo | Kind::Parity);
        if is_current && (is_signed || !self.is_verifying()) {
            self.incarnations.record_control(header.sequence, view.salt());
        }
        match header.kind {
            Kind::Heartbeat => {
                let Ok(heartbeat) = Heartbeat::read(body) else { return false };
                self.record_signed_stream(view);
                match is_current {
                    true => {
                        self.on_heartbeat(now, from, header, heartbeat);
                        self.record_repairers(now, view);
                        self.incarnations.record_history(ServedHistory::of(view));
                    }
                    false if self.incarnations.is_replayed(header.incarnation, heartbeat.clock) => {
                        self.statistics.other += 1;
                    }
                    false if self.incarnations.current() > Some(header.incarnation) => {
                        self.on_older_incarnation(
                            now,
                            from,
                            IncarnationIdentity::of(view, &heartbeat),
                            heartbeat,
                        );
                    }
                    false => self.on_new_incarnation(
                        now,
                        from,
                        IncarnationIdentity::of(view, &heartbeat),
                        heartbeat,
                    ),
                }
            }
            Kind::Parity => {
                let Ok(parity) = Parity::read(body) else { return false };
                if self.is_verifying() && !self.followed.verification.record_parity(header.sequence) {
                    self.statistics.copies += 1;
                    return true;
                }
                self.on_parity(now, header, &parity);
            }
            Kind::Ncf => {
                let Ok(confirmation) = Ncf::read(body) else { return false };
                self.on_confirmation(now, &confirmation);
            }
            Kind::Reset => {
                let Ok(reset) = Reset::read(body) else { return false };
                if reset.subscriber == self.id {
                    self.on_reset(reset.reason);
                }
            }
            Kind::Echo => {
                let Ok(echo) = Probe::read(body) else { return false };
                if echo.subscriber == self.id && self.is_expected(now, &echo) {
                    self.on_echo(now, &echo);
                }
            }
            // Announcements are for discovery; other kinds are of later versions.
            _ => {}
        }
        true
    }

    fn on_heartbeat(&mut self, now: ClockTime, from: SocketAddr, header: &Header, heartbeat: Heartbeat) {
        // On another path the publisher has another address; the proven one is kept as long as it is active.
        if !self.publisher.record_heard(now, from) && self.publisher.is_outdated(now) {
            self.publisher.change(now, from);
        }
        if self.followed.liveness.record_heard() {
            self.emit(SubscriberEvent::PublisherBack);
        }
        self.followed.transit.note(now, heartbeat.clock);
        // A publisher's position never decreases, so this heartbeat is older than the last one.
        if heartbeat.next < self.followed.heartbeat.next
            || heartbeat.oldest_retained < self.followed.heartbeat.oldest_retained
        {
            return;
        }
        self.followed.heartbeat = heartbeat;
        self.followed.recovery.set_on(heartbeat.block > 0);
        self.repairers.set_rate(now, heartbeat.rate);
        self.account.request(header.flags.has(Flags::ACKNOWLEDGE));
        self.followed.liveness.record_heartbeat(now);
        self.incarnations.set_epoch(header.epoch);
        self.followed.oldest_retained = self.followed.oldest_retained.max(heartbeat.oldest_retained);
        self.record_credit(&heartbeat);
        if header.flags.has(Flags::END_OF_STREAM) {
            self.publisher.probe_at_the_end(now, self.followed.end.is_none());
            self.followed.end = Some((heartbeat.next, heartbeat.next_message));
        }
        self.record_sent_before(now, heartbeat.next);
        self.schedule_status_after_heartbeat(now, self.is_awaited(header.flags));
    }

    /// Takes the token that proves this subscriber's address, and measures the round trip.
    fn on_echo(&mut self, now: ClockTime, echo: &Probe) {
        if self.publisher.record_echo(now, echo) {
            // The publisher has ignored statuses and NAKs without this token.
            let soon = now + self.random.below(self.urgent_interval().max(Duration::from_nanos(1)));
            self.statuses.schedule(soon);
            self.postpone_naks(now);
        }
    }

    /// Spreads the requests for everything that was missing before the publisher would accept NAKs from this address.
    fn postpone_naks(&mut self, now: ClockTime) {
        let until = now + self.backoff();
        self.followed.naks.postpone_all(until);
    }

    fn on_reset(&mut self, reason: ResetReason) {
        match reason {
            ResetReason::Evicted => self.emit(SubscriberEvent::Evicted),
            ResetReason::Full => self.emit(SubscriberEvent::Full),
            // It may reply to a status from before the application had processed everything.
            ResetReason::EndConfirmed if self.has_unreported_acknowledgement() => {}
            ResetReason::EndConfirmed => self.statuses.stop_confirming(),
            ResetReason::Other(_) => {}
        }
    }

    /// Estimates how much the publisher retains, from its oldest retained datagram. In a large group, where statuses
    /// are costly, the capacity that it states is used from the start.
    fn record_credit(&mut self, heartbeat: &Heartbeat) {
        let shown = heartbeat.next.ahead_of(heartbeat.oldest_retained);
        let stated = if heartbeat.group_size > SMALL_GROUP { u64::from(heartbeat.capacity) } else { 0 };
        let most = self.followed.window.length().min(self.socket_room());
        self.followed.credit = shown.max(stated).max(self.followed.credit).min(most);
    }

    fn on_confirmation(&mut self, now: ClockTime, confirmation: &Ncf<'_>) {
        self.followed.oldest_retained = self
            .followed
            .oldest_retained
            // What was never sent is not lost, whatever a forged confirmation claims.
            .max(confirmation.oldest_retained.min(self.followed.heartbeat.next.max(self.followed.highest)));
        let until = now + 2 * self.round_trip();
        for (first, count) in confirmation.coming {
            self.followed.naks.postpone(first..first + u64::from(count), until);
        }
    }

    /// Handles a heartbeat of a publisher that is not known yet, or of a newer incarnation.
    fn on_new_incarnation(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        identity: IncarnationIdentity,
        heartbeat: Heartbeat,
    ) {
        if self.proves_age(&identity) && self.is_stale(now, &heartbeat) {
            if self.reported.record_stale() {
                self.emit(SubscriberEvent::Stale);
            }
            return;
        }
        match self.incarnations.current() {
            None => {
                self.follow(now, identity, heartbeat, from, self.config.start);
                self.incarnations.record_control(identity.count, identity.salt);
            }
            // The end was delivered, and nothing follows it.
            Some(_) if self.delivery.has_ended() && self.incarnations.is_continued_by(&identity) => {
                self.statistics.other += 1;
            }
            // A bridge has begun again with records of the engine that were delivered.
            Some(_) if self.incarnations.is_ahead_of(&identity) => self.statistics.other += 1,
            Some(_) => self.incarnations.set_successor(identity, heartbeat, from),
        }
    }

    /// Handles a heartbeat of an older incarnation than the one that is followed. If both are active, the stream has
    /// two publishers. If the followed one is silent, the older number comes from a clock that was set back.
    fn on_older_incarnation(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        identity: IncarnationIdentity,
        heartbeat: Heartbeat,
    ) {
        self.statistics.other += 1;
        let is_over = self.followed.liveness.is_silent() || self.delivery.has_ended();
        if !self.incarnations.record_older(now, identity.incarnation) {
            return;
        }
        // A recording of a sealed stream is older than the incarnation that was followed.
        let is_recorded = self.proves_age(&identity)
            && (self.is_stale(now, &heartbeat) || heartbeat.unix_time <= self.followed.heartbeat.unix_time);
        if is_over && !is_recorded {
            self.incarnations.clear_rival();
            return self.incarnations.set_successor(identity, heartbeat, from);
        }
        if let Some(followed) = self.incarnations.current()
            && self.incarnations.report_rival()
        {
            self.statistics.unknown_losses += 1;
            self.emit(SubscriberEvent::SecondPublisher { followed, ignored: identity.incarnation });
        }
    }

    /// Whether a heartbeat of this incarnation cannot claim another time of day than that at which it was sent.
    fn proves_age(&self, identity: &IncarnationIdentity) -> bool {
        identity.epoch != KeyEpoch::CLEAR || self.is_verifying()
    }

    /// Whether a heartbeat may be a replayed recording, by its time of day.
    fn is_stale(&self, now: ClockTime, heartbeat: &Heartbeat) -> bool {
        match (self.config.unix_offset, heartbeat.unix_time) {
            (None, _) | (_, 0) => false,
            (Some(offset), theirs) => offset.wrapping_add(now.0).abs_diff(theirs) > nanos(MAX_SKEW),
        }
    }

    /// Follows this incarnation of the publisher.
    fn follow(
        &mut self,
        now: ClockTime,
        identity: IncarnationIdentity,
        heartbeat: Heartbeat,
        from: SocketAddr,
        start: Start,
    ) {
        self.remember_current_incarnation();
        let incarnation = identity.incarnation;
        let former = self.incarnations.former(incarnation);
        self.incarnations.follow(identity);
        let (base, expected) = match (start, former) {
            // What was delivered is not delivered again.
            (Start::Oldest, Some(former)) => former.position,
            (Start::Oldest, None) => (heartbeat.oldest_retained, heartbeat.oldest_message),
            (Start::Now | Start::Snapshot, _) => (heartbeat.next, heartbeat.next_message),
        };
        self.expected = expected;
        self.account.begin(expected, identity.requests_acknowledgements);
        self.begin_following(now, heartbeat, from, base);
        self.latest.clear();
        let (given_up, lost_before) = former.map_or((0, 0), |former| (former.given_up, former.lost_messages));
        // Statuses still report what it lost of this incarnation earlier.
        self.losses = LossAccount::begin(&self.statistics, given_up, lost_before);
        self.delivery.begin(start == Start::Snapshot);
        self.emit(SubscriberEvent::Joined { incarnation, publisher: from, message: self.expected });
        if self.delivery.awaits_snapshot() {
            self.emit(SubscriberEvent::SnapshotWanted { message: self.expected });
        }
        self.record_sent_before(now, heartbeat.next);
        let at = now + self.jitter();
        self.statuses.reschedule(at);
    }

    /// Remembers the current incarnation, which is about to be left.
    fn remember_current_incarnation(&mut self) {
        let Some(incarnation) = self.incarnations.current() else { return };
        let announced = (self.followed.heartbeat.next, self.followed.heartbeat.next_message);
        // Everything announced and not delivered has been reported as lost.
        let position =
            if self.expected > announced.1 { (self.followed.base, self.expected) } else { announced };
        let former = FormerIncarnation {
            incarnation,
            clock: self.followed.heartbeat.clock,
            position,
            given_up: self.losses.given_up(),
            lost_messages: self.losses.lost_messages(&self.statistics),
        };
        self.incarnations.remember(former);
    }

    /// Changes to the publisher's new incarnation, once everything available of the current one is delivered.
    pub(super) fn follow_successor(&mut self, now: ClockTime) -> Option<SubscriberEvent> {
        let successor = self.incarnations.successor()?;
        if self.incarnations.is_continued() {
            return self.follow_continued(now, successor);
        }
        if !self.delivery.has_stopped()
            && let Some(event) = self.report_remaining_loss(successor)
        {
            return Some(event);
        }
        if self.delivery.has_stopped() {
            return None;
        }
        // The end is not reported before an application is done with the last messages.
        if let Some((_, messages)) =
            self.followed.end.filter(|(end, _)| *end <= self.followed.base && !self.delivery.has_ended())
        {
            self.delivery.end();
            return Some(SubscriberEvent::Ended { messages: messages.0 });
        }
        let Successor { identity, heartbeat, from, .. } = successor;
        self.incarnations.clear_successor();
        let former = self.incarnations.current()?;
        self.leave_superseded(now, from);
        // A subscriber of the old incarnation gets all of the new one.
        let start = if self.config.start == Start::Snapshot { Start::Snapshot } else { Start::Oldest };
        self.follow(now, identity, heartbeat, from, start);
        let is_first_time = self.incarnations.former(identity.incarnation).is_none();
        if start == Start::Oldest && self.expected > MessageNumber(0) && is_first_time {
            // The new incarnation started at message 0; what it no longer retains is lost.
            (self.expected, self.cause) = (MessageNumber(0), Cause::Unrecoverable);
            self.account.begin(MessageNumber(0), identity.requests_acknowledgements);
        }
        Some(SubscriberEvent::Restarted { from: former, to: identity.incarnation })
    }

    /// Changes to a publisher that has the same messages as the current one, with the same numbers: those that were
    /// delivered are skipped, and nothing is lost that it has.
    fn follow_continued(&mut self, now: ClockTime, successor: Successor) -> Option<SubscriberEvent> {
        let Successor { identity, heartbeat, from: publisher, .. } = successor;
        let former = self.incarnations.current()?;
        self.incarnations.clear_successor();
        self.leave_superseded(now, publisher);
        self.remember_current_incarnation();
        self.incarnations.follow(identity);
        self.incarnations.record_control(identity.count, identity.salt);
        self.account.continue_with_another(identity.requests_acknowledgements);
        self.begin_following(now, heartbeat, publisher, self.first_needed(&identity, &heartbeat));
        self.cause = Cause::Unrecoverable;
        self.losses = LossAccount::begin(
            &self.statistics,
            self.losses.given_up(),
            self.losses.lost_messages(&self.statistics),
        );
        self.record_sent_before(now, heartbeat.next);
        let at = now + self.jitter();
        self.statuses.reschedule(at);
        Some(SubscriberEvent::Continued { from: former, to: identity.incarnation, publisher })
    }

    /// Returns the first datagram to request of a publisher that continues: none of those whose messages it has.
    fn first_needed(&self, identity: &IncarnationIdentity, heartbeat: &Heartbeat) -> Sequence {
        if self.expected >= heartbeat.next_message {
            return heartbeat.next;
        }
        let known = identity.recalled.first_needed(self.expected).unwrap_or(heartbeat.oldest_retained);
        known.clamp(heartbeat.oldest_retained, heartbeat.next)
    }

    /// Takes the state of a publisher from its first heartbeat, and begins with the datagram `base`.
    fn begin_following(
        &mut self,
        now: ClockTime,
        heartbeat: Heartbeat,
        publisher: SocketAddr,
        base: Sequence,
    ) {
        self.followed.begin(now, heartbeat, base);
        self.record_credit(&heartbeat);
        self.publisher.change(now, publisher);
        self.repairers.begin();
        self.statuses.restart(self.followed.window.length() as u32);
    }

    /// Reports the known losses of the old incarnation and then, unless it ended its stream, an unknown loss.
    fn report_remaining_loss(&mut self, successor: Successor) -> Option<SubscriberEvent> {
        let ended = self.followed.end.map_or(MessageNumber(0), |(_, messages)| messages);
        let known = self.expected.max(self.followed.heartbeat.next_message).max(ended);
        if self.expected < known {
            return Some(self.report_lost(known, Cause::Restart));
        }
        if self.followed.end.is_some() || successor.is_unknown_reported {
            return None;
        }
        self.incarnations.record_unknown_reported();
        Some(self.report_unknown_loss())
    }

    /// Whether an unknown incarnation may be asked for a heartbeat now.
    pub(super) fn may_ask_to_join(&self, now: ClockTime, incarnation: Incarnation) -> bool {
        let is_old = self.incarnations.current().is_some_and(|known| known > incarnation);
        let is_too_soon = now < self.statuses.last() + JOIN_INTERVAL && self.statuses.last() > ClockTime(0);
        !(self.sends_nothing() || is_old || is_too_soon)
    }

    /// Asks an unknown incarnation for a heartbeat.
    pub(super) fn ask_to_join(&mut self, now: ClockTime, from: SocketAddr, incarnation: Incarnation) {
        self.statuses.record_join_request(now);
        let status = Status { flags: Status::JOINING, ..Status::default() };
        // A signed heartbeat is longer: the request must pay for it.
        let padding: &[u8] = if self.is_verifying() { &[0; JOINING_PADDING] } else { &[] };
        self.push_control(crate::Target::Aside(from), incarnation, Kind::Status, |writer| {
            status.write(writer)?;
            writer.put(padding)
        });
        self.statistics.statuses += 1;
    }
}
