//! Control datagrams of the publisher: heartbeats, confirmed repairs, resets and echoes, and the change of
//! incarnations.

use core::net::SocketAddr;

use super::event::{Cause, SubscriberEvent, SubscriberStatistics};
use super::feedback::PROBE_INTERVAL;
use super::former::FormerIncarnation;
use super::transit::Transit;
use super::{Baseline, MIN_CREDIT, Start, SubscriberMachine};
use crate::backoff::SMALL_GROUP;
use crate::replay::Counts;
use crate::wire::{
    Flags, Header, Heartbeat, Incarnation, KeyEpoch, Kind, Ncf, Packet, Probe, Reset, ResetReason, Status,
};

/// A sealed publisher whose clock is off by more than this may be a replayed recording.
const MAX_SKEW: u64 = 120_000_000_000;
/// Measured round trips are clamped to this range.
const MIN_ROUND_TRIP: u64 = 50_000;
const MAX_ROUND_TRIP: u64 = 10_000_000_000;
/// The shortest time between two requests to join.
const JOIN_INTERVAL: u64 = 50_000_000;

/// What identifies an incarnation of the publisher, from the header of one of its heartbeats.
#[derive(Clone, Copy, Debug)]
pub(super) struct IncarnationIdentity {
    incarnation: Incarnation,
    salt: u64,
    epoch: KeyEpoch,
    /// The sequence of that heartbeat.
    count: u64,
}

/// A new incarnation of the publisher, which is followed once the current one is settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Successor {
    identity: IncarnationIdentity,
    heartbeat: Heartbeat,
    from: SocketAddr,
    /// Whether it was reported that the current one may have published more.
    is_unknown_reported: bool,
}

/// An older incarnation that sends while a newer one is followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rival {
    incarnation: Incarnation,
    since: u64,
    is_reported: bool,
}

/// Heartbeats of an older incarnation over a longer time than this are not merely late.
const RIVAL_TIME: u64 = 1_000_000_000;
/// The publisher's address stays valid for this time after its last heartbeat, which is more than two heartbeats.
pub(super) const ADDRESS_TIME: u64 = 2_500_000_000;

impl IncarnationIdentity {
    fn of(packet: &Packet<'_>) -> Self {
        let Header { incarnation, epoch, sequence: count, .. } = packet.header;
        Self { incarnation, salt: packet.salt(), epoch, count }
    }
}

impl SubscriberMachine {
    pub(super) fn on_control(
        &mut self,
        now: u64,
        path: u8,
        from: SocketAddr,
        datagram: &[u8],
        packet: &Packet<'_>,
    ) {
        let header = packet.header;
        let is_current = self.incarnation == Some(header.incarnation);
        if is_current && !self.publisher_counts.is_new(header.sequence) {
            // A duplicate from another path, or an old one.
            self.statistics.copies += 1;
            self.note_path_activity(now, path);
            if self.publisher == Some(from) {
                self.publisher_heard_at = now;
            }
            return;
        }
        if !is_current && header.kind != Kind::Heartbeat {
            self.statistics.other += 1;
            return;
        }
        let Some((location, range)) = self.open(packet, datagram) else { return };
        let decrypted = core::mem::take(&mut self.decrypted);
        let body = match location {
            super::item::BodyLocation::Decrypted => decrypted.get(range),
            _ => datagram.get(range),
        };
        let is_good = self.take_control(now, from, packet, body.unwrap_or_default());
        self.decrypted = decrypted;
        match is_good {
            true => self.note_path_activity(now, path),
            false => self.statistics.malformed += 1,
        }
    }

    /// Handles a decrypted body; returns `false` if it is malformed.
    fn take_control(&mut self, now: u64, from: SocketAddr, packet: &Packet<'_>, body: &[u8]) -> bool {
        let header = &packet.header;
        let is_current = self.incarnation == Some(header.incarnation);
        if is_current {
            self.publisher_counts.note(header.sequence);
            if self.salt == 0 {
                // The publisher has started to seal.
                self.salt = packet.salt();
            }
        }
        match header.kind {
            Kind::Heartbeat => {
                let Ok(heartbeat) = Heartbeat::read(body) else { return false };
                match is_current {
                    true => self.on_heartbeat(now, from, header, heartbeat),
                    false if self.former.is_replayed(header.incarnation, heartbeat.clock) => {
                        self.statistics.other += 1;
                    }
                    false if self.incarnation > Some(header.incarnation) => {
                        self.on_older_incarnation(now, from, IncarnationIdentity::of(packet), heartbeat);
                    }
                    false => self.on_new_incarnation(now, from, IncarnationIdentity::of(packet), heartbeat),
                }
            }
            Kind::Ncf => {
                let Ok(confirmation) = Ncf::read(body) else { return false };
                self.on_confirmation(now, &confirmation);
            }
            Kind::Reset => {
                let Ok(reset) = Reset::read(body) else { return false };
                if reset.subscriber == self.id.0 {
                    self.on_reset(reset.reason);
                }
            }
            Kind::Echo => {
                let Ok(echo) = Probe::read(body) else { return false };
                if echo.subscriber == self.id.0 {
                    self.on_echo(now, &echo);
                }
            }
            // Announcements are for discovery; other kinds are of later versions.
            _ => {}
        }
        true
    }

    fn on_heartbeat(&mut self, now: u64, from: SocketAddr, header: &Header, heartbeat: Heartbeat) {
        if self.publisher == Some(from) {
            self.publisher_heard_at = now;
        } else if now >= self.publisher_heard_at.saturating_add(ADDRESS_TIME) {
            // On another path the publisher has another address; the proven one is kept as long as it is active.
            self.restart_address_proof(now, from);
        }
        if core::mem::take(&mut self.publisher_silent) {
            self.emit(SubscriberEvent::PublisherBack);
        }
        self.transit.note(now, heartbeat.clock);
        // A publisher's position never decreases, so this heartbeat is older than the last one.
        if heartbeat.next < self.heartbeat.next || heartbeat.oldest_retained < self.heartbeat.oldest_retained
        {
            return;
        }
        (self.heartbeat, self.heartbeat_at, self.epoch) = (heartbeat, now, header.epoch);
        self.oldest_retained = self.oldest_retained.max(heartbeat.oldest_retained);
        self.note_credit(&heartbeat);
        if header.flags.has(Flags::END_OF_STREAM) {
            self.end = Some((heartbeat.next, heartbeat.next_message));
        }
        self.note_sent_before(now, heartbeat.next);
        self.schedule_status_after_heartbeat(now, header.flags.has(Flags::URGENT));
    }

    /// Takes the token that proves this subscriber's address, and measures the round trip.
    fn on_echo(&mut self, now: u64, echo: &Probe) {
        if echo.clock != 0 {
            let sample = now.saturating_sub(echo.clock).clamp(MIN_ROUND_TRIP, MAX_ROUND_TRIP);
            self.own_round_trip = match self.own_round_trip {
                0 => sample,
                known => known - known / 4 + sample / 4,
            };
        }
        if core::mem::replace(&mut self.token, echo.token) != echo.token {
            // The publisher has ignored statuses and NAKs without this token.
            self.probe_at = now + PROBE_INTERVAL;
            let soon = now + self.random.below(self.urgent_interval().max(1));
            self.status_at = Some(self.status_at.unwrap_or(u64::MAX).min(soon));
            self.postpone_naks(now);
        }
    }

    /// Spreads the requests for everything that was missing before the publisher would accept NAKs from this address.
    fn postpone_naks(&mut self, now: u64) {
        let from = now + self.backoff();
        self.gaps.iter_mut().filter(|gap| gap.due != u64::MAX).for_each(|gap| gap.due = gap.due.max(from));
        self.nak_at = self.gaps.next_due().unwrap_or(u64::MAX);
    }

    fn on_reset(&mut self, reason: ResetReason) {
        match reason {
            ResetReason::Evicted => self.emit(SubscriberEvent::Evicted),
            ResetReason::Full => self.emit(SubscriberEvent::Full),
            ResetReason::Settled => {
                if core::mem::take(&mut self.end_confirmations) > 0 {
                    self.status_at = None;
                }
            }
            ResetReason::Other(_) => {}
        }
    }

    /// Starts to prove this subscriber's address to a publisher at a new address.
    fn restart_address_proof(&mut self, now: u64, from: SocketAddr) {
        (self.publisher, self.publisher_heard_at) = (Some(from), now);
        (self.token, self.probe_at, self.probes) = (0, now, 0);
    }

    /// Estimates how much the publisher retains, from its oldest retained datagram. In a large group, where statuses
    /// are costly, the capacity that it states is used from the start.
    fn note_credit(&mut self, heartbeat: &Heartbeat) {
        let shown = heartbeat.next.saturating_sub(heartbeat.oldest_retained);
        let stated = if heartbeat.group_size > SMALL_GROUP { u64::from(heartbeat.capacity) } else { 0 };
        let most = self.window.length().min(self.socket_room());
        self.credit = shown.max(stated).max(self.credit).min(most);
    }

    fn on_confirmation(&mut self, now: u64, confirmation: &Ncf<'_>) {
        self.oldest_retained =
            self.oldest_retained.max(confirmation.oldest_retained.min(self.heartbeat.next.max(self.highest)));
        let until = now + 2 * self.round_trip();
        for (first, count) in confirmation.coming {
            self.gaps.postpone(first, first + u64::from(count), until);
        }
    }

    /// Handles a heartbeat of a publisher that is not known yet, or of a newer incarnation.
    fn on_new_incarnation(
        &mut self,
        now: u64,
        from: SocketAddr,
        identity: IncarnationIdentity,
        heartbeat: Heartbeat,
    ) {
        if identity.epoch != KeyEpoch::CLEAR && self.is_stale(now, &heartbeat) {
            if !core::mem::replace(&mut self.is_stale_reported, true) {
                self.emit(SubscriberEvent::Stale);
            }
            return;
        }
        match self.incarnation {
            None => {
                self.follow(now, identity, heartbeat, from, self.config.start);
                self.publisher_counts.note(identity.count);
            }
            Some(_) => self.set_successor(identity, heartbeat, from),
        }
    }

    /// Notes the incarnation to follow next; of several, the latest.
    fn set_successor(&mut self, identity: IncarnationIdentity, heartbeat: Heartbeat, from: SocketAddr) {
        let is_unknown_reported = match &self.successor {
            Some(known) if known.identity.incarnation > identity.incarnation => return,
            Some(known) => known.is_unknown_reported,
            None => false,
        };
        self.successor = Some(Successor { identity, heartbeat, from, is_unknown_reported });
    }

    /// Handles a heartbeat of an older incarnation than the one that is followed. If both are active, the stream has
    /// two publishers. If the followed one is silent, the older number comes from a clock that was set back.
    fn on_older_incarnation(
        &mut self,
        now: u64,
        from: SocketAddr,
        identity: IncarnationIdentity,
        heartbeat: Heartbeat,
    ) {
        self.statistics.other += 1;
        let is_over = self.publisher_silent || self.ended;
        let rival = match self.rival.filter(|rival| rival.incarnation == identity.incarnation) {
            Some(rival) => rival,
            None => Rival { incarnation: identity.incarnation, since: now, is_reported: false },
        };
        self.rival = Some(rival);
        if now < rival.since.saturating_add(RIVAL_TIME) {
            return;
        }
        // A recording of a sealed stream is older than the incarnation that was followed.
        let is_recorded = identity.epoch != KeyEpoch::CLEAR
            && (self.is_stale(now, &heartbeat) || heartbeat.unix_time <= self.heartbeat.unix_time);
        if is_over && !is_recorded {
            self.rival = None;
            return self.set_successor(identity, heartbeat, from);
        }
        if let Some(followed) = self.incarnation.filter(|_| !rival.is_reported) {
            self.rival = Some(Rival { is_reported: true, ..rival });
            self.statistics.unknown_losses += 1;
            self.emit(SubscriberEvent::Rival { followed, ignored: identity.incarnation });
        }
    }

    /// Whether a heartbeat may be a replayed recording, by its time of day.
    fn is_stale(&self, now: u64, heartbeat: &Heartbeat) -> bool {
        match (self.config.unix_offset, heartbeat.unix_time) {
            (None, _) | (_, 0) => false,
            (Some(offset), theirs) => offset.wrapping_add(now).abs_diff(theirs) > MAX_SKEW,
        }
    }

    /// Follows this incarnation of the publisher.
    fn follow(
        &mut self,
        now: u64,
        identity: IncarnationIdentity,
        heartbeat: Heartbeat,
        from: SocketAddr,
        start: Start,
    ) {
        self.remember_current_incarnation();
        let incarnation = identity.incarnation;
        let former = self.former.find(incarnation).copied();
        (self.incarnation, self.salt, self.epoch) = (Some(incarnation), identity.salt, identity.epoch);
        (self.heartbeat, self.heartbeat_at) = (heartbeat, now);
        self.restart_address_proof(now, from);
        self.publisher_counts = Counts::default();
        (self.base, self.expected) = match (start, former) {
            // What was delivered is not delivered again.
            (Start::Oldest, Some(former)) => former.position,
            (Start::Oldest, None) => (heartbeat.oldest_retained, heartbeat.oldest_message),
            (Start::Now | Start::Snapshot, _) => (heartbeat.next, heartbeat.next_message),
        };
        (self.highest, self.oldest_retained, self.credit) =
            (self.base, heartbeat.oldest_retained, MIN_CREDIT);
        self.note_credit(&heartbeat);
        self.transit = Transit::default();
        self.transit.note(now, heartbeat.clock);
        (self.end, self.ended, self.end_confirmations) = (None, false, 0);
        self.window.clear();
        self.gaps.clear();
        self.latest.clear();
        self.assembly.abandon();
        (self.current, self.nak_at) = (None, u64::MAX);
        let SubscriberStatistics { missed, lost_messages, .. } = self.statistics;
        let (given_up, lost_before) = former.map_or((0, 0), |former| (former.given_up, former.lost_messages));
        // Statuses still report what it lost of this incarnation earlier.
        self.baseline = Baseline { missed, lost_messages: lost_messages - lost_before };
        self.unreplaced_losses = given_up;
        let unsent = Status { window: self.window.length() as u32, ..Status::default() };
        (self.status_sent, self.publisher_silent) = (unsent, false);
        (self.awaits_snapshot, self.snapshot_just_loaded) = (start == Start::Snapshot, false);
        self.emit(SubscriberEvent::Joined { incarnation, publisher: from, message: self.expected });
        if self.awaits_snapshot {
            self.emit(SubscriberEvent::SnapshotWanted { message: self.expected });
        }
        self.note_sent_before(now, heartbeat.next);
        self.status_at = Some(now + self.jitter());
    }

    /// Remembers the current incarnation, which is about to be left.
    fn remember_current_incarnation(&mut self) {
        let Some(incarnation) = self.incarnation else { return };
        let announced = (self.heartbeat.next, self.heartbeat.next_message);
        // Everything announced and not delivered has been reported as lost.
        let position = if self.expected > announced.1 { (self.base, self.expected) } else { announced };
        let former = FormerIncarnation {
            incarnation,
            clock: self.heartbeat.clock,
            position,
            given_up: self.unreplaced_losses,
            lost_messages: self.statistics.lost_messages - self.baseline.lost_messages,
        };
        self.former.keep(former);
    }

    /// Changes to the publisher's new incarnation, once everything available of the current one is delivered.
    pub(super) fn follow_successor(&mut self, now: u64) -> Option<SubscriberEvent> {
        let successor = self.successor?;
        if !self.stopped
            && let Some(event) = self.report_remaining_loss(successor)
        {
            return Some(event);
        }
        if self.stopped {
            return None;
        }
        let Successor { identity, heartbeat, from, .. } = successor;
        self.successor = None;
        let former = self.incarnation?;
        // A subscriber of the old incarnation gets all of the new one.
        let start = if self.config.start == Start::Snapshot { Start::Snapshot } else { Start::Oldest };
        self.follow(now, identity, heartbeat, from, start);
        let is_first_time = self.former.find(identity.incarnation).is_none();
        if start == Start::Oldest && self.expected > 0 && is_first_time {
            // The new incarnation started at message 0; what it no longer retains is lost.
            (self.expected, self.cause) = (0, Cause::Unrecoverable);
        }
        Some(SubscriberEvent::Restarted { from: former, to: identity.incarnation })
    }

    /// Reports the known losses of the old incarnation and then, unless it ended its stream, an unknown loss.
    fn report_remaining_loss(&mut self, successor: Successor) -> Option<SubscriberEvent> {
        let ended = self.end.map_or(0, |(_, messages)| messages);
        let known = self.expected.max(self.heartbeat.next_message).max(ended);
        if self.expected < known {
            return Some(self.report_lost(known, Cause::Restart));
        }
        if self.end.is_some() || successor.is_unknown_reported {
            return None;
        }
        self.successor = Some(Successor { is_unknown_reported: true, ..successor });
        Some(self.report_unknown_loss())
    }

    /// Whether an unknown incarnation may be asked for a heartbeat now.
    pub(super) fn may_ask_to_join(&self, now: u64, incarnation: Incarnation) -> bool {
        let is_old = self.incarnation.is_some_and(|known| known > incarnation);
        let is_too_soon = now < self.status_last + JOIN_INTERVAL && self.status_last > 0;
        !(self.config.mute || is_old || is_too_soon)
    }

    /// Asks an unknown incarnation for a heartbeat.
    pub(super) fn ask_to_join(&mut self, now: u64, from: SocketAddr, incarnation: Incarnation) {
        self.status_last = now;
        let status = Status { flags: Status::JOINING, ..Status::default() };
        self.push_control(from, incarnation, Kind::Status, |writer| status.write(writer));
        self.statistics.statuses += 1;
    }
}
