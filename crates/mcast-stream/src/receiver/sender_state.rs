//! What the sender says of itself: where it stands, what it repairs, that it started again.

use core::net::SocketAddr;

use super::ask::PROBE_INTERVAL;
use super::event::{Cause, Event, ReceiverStatistics};
use super::former::Former;
use super::transit::Transit;
use super::{Baseline, LEAST_CREDIT, Receiver, Start};
use crate::backoff::SMALL_GROUP;
use crate::replay::Counts;
use crate::wire::{
    Flags, Header, Heartbeat, Incarnation, KeyEpoch, Kind, Ncf, Packet, Probe, Reset, ResetReason, Status,
};

/// A sender whose clock is farther off than this may be an old recording.
const LONGEST_SKEW: u64 = 120_000_000_000;
/// A round trip is taken to be no shorter and no longer.
const LEAST_ROUND_TRIP: u64 = 50_000;
const LONGEST_ROUND_TRIP: u64 = 10_000_000_000;
/// Between two requests to join.
const JOIN_INTERVAL: u64 = 50_000_000;

/// What tells a life of the sender, as a heartbeat of it has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    incarnation: Incarnation,
    salt: u64,
    epoch: KeyEpoch,
    /// The heartbeat's own number.
    count: u64,
}

/// A new life of the sender, and how far the old one is dealt with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Successor {
    life: Life,
    heartbeat: Heartbeat,
    from: SocketAddr,
    /// It was said that the old one may have published more.
    is_unknown_reported: bool,
}

/// An older life that is heard while a newer one is followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rival {
    incarnation: Incarnation,
    since: u64,
    is_reported: bool,
}

/// One that is heard for longer than this was not just late on the way.
const RIVAL_TIME: u64 = 1_000_000_000;
/// Where the sender was known to be counts for so long after it was last heard from there: more than two heartbeats.
pub(super) const ADDRESS_TIME: u64 = 2_500_000_000;

impl Life {
    fn of(packet: &Packet<'_>) -> Self {
        let Header { incarnation, epoch, sequence: count, .. } = packet.header;
        Self { incarnation, salt: packet.salt(), epoch, count }
    }
}

impl Receiver {
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
        if is_current && !self.sender_counts.is_new(header.sequence) {
            // The same by another path, or an old one.
            self.statistics.copies += 1;
            self.hear_path(now, path);
            if self.sender == Some(from) {
                self.sender_at = now;
            }
            return;
        }
        if !is_current && header.kind != Kind::Heartbeat {
            self.statistics.other += 1;
            return;
        }
        let Some((place, range)) = self.open(packet, datagram) else { return };
        let opened = core::mem::take(&mut self.opened);
        let body = match place {
            super::item::Place::Opened => opened.get(range),
            _ => datagram.get(range),
        };
        let is_good = self.take_control(now, from, packet, body.unwrap_or_default());
        self.opened = opened;
        match is_good {
            true => self.hear_path(now, path),
            false => self.statistics.malformed += 1,
        }
    }

    /// Takes a body that was opened; `false` if it is none.
    fn take_control(&mut self, now: u64, from: SocketAddr, packet: &Packet<'_>, body: &[u8]) -> bool {
        let header = &packet.header;
        let is_current = self.incarnation == Some(header.incarnation);
        if is_current {
            self.sender_counts.note(header.sequence);
            if self.salt == 0 {
                // It has begun to seal.
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
                        self.on_older_life(now, from, Life::of(packet), heartbeat);
                    }
                    false => self.on_new_life(now, from, Life::of(packet), heartbeat),
                }
            }
            Kind::Ncf => {
                let Ok(confirmation) = Ncf::read(body) else { return false };
                self.on_confirmation(now, &confirmation);
            }
            Kind::Reset => {
                let Ok(reset) = Reset::read(body) else { return false };
                if reset.receiver == self.id.0 {
                    self.on_reset(reset.reason);
                }
            }
            Kind::Echo => {
                let Ok(echo) = Probe::read(body) else { return false };
                if echo.receiver == self.id.0 {
                    self.on_echo(now, &echo);
                }
            }
            // Announcements are for those who look for streams; the rest is of later versions.
            _ => {}
        }
        true
    }

    fn on_heartbeat(&mut self, now: u64, from: SocketAddr, header: &Header, heartbeat: Heartbeat) {
        if self.sender == Some(from) {
            self.sender_at = now;
        } else if now >= self.sender_at.saturating_add(ADDRESS_TIME) {
            // Another path's sender has another address; the one that is proven will do as long as it speaks.
            self.prove_again(now, from);
        }
        if core::mem::take(&mut self.sender_silent) {
            self.tell(Event::SenderBack);
        }
        self.transit.note(now, heartbeat.clock);
        // Where a sender stands never goes back.
        if heartbeat.next < self.heartbeat.next || heartbeat.trail < self.heartbeat.trail {
            return;
        }
        (self.heartbeat, self.heartbeat_at, self.epoch) = (heartbeat, now, header.epoch);
        self.trail = self.trail.max(heartbeat.trail);
        self.note_credit(&heartbeat);
        if header.flags.has(Flags::END_OF_STREAM) {
            self.end = Some((heartbeat.next, heartbeat.next_message));
        }
        self.notice(now, heartbeat.next);
        self.want_status_after_heartbeat(now, header.flags.has(Flags::URGENT));
    }

    /// The sender says what proves this receiver's address, and by that how far away it is.
    fn on_echo(&mut self, now: u64, echo: &Probe) {
        if echo.clock != 0 {
            let sample = now.saturating_sub(echo.clock).clamp(LEAST_ROUND_TRIP, LONGEST_ROUND_TRIP);
            self.own_round_trip = match self.own_round_trip {
                0 => sample,
                known => known - known / 4 + sample / 4,
            };
        }
        if core::mem::replace(&mut self.token, echo.token) != echo.token {
            // What was said without it was not looked at.
            self.probe_at = now + PROBE_INTERVAL;
            let soon = now + self.random.below(self.urgent_interval().max(1));
            self.status_at = Some(self.status_at.unwrap_or(u64::MAX).min(soon));
            self.ask_from(now);
        }
    }

    /// What was missing before anybody would have listened is asked for from now on, and not by all at once.
    fn ask_from(&mut self, now: u64) {
        let from = now + self.backoff();
        self.gaps.iter_mut().filter(|gap| gap.due != u64::MAX).for_each(|gap| gap.due = gap.due.max(from));
        self.nak_at = self.gaps.next_due().unwrap_or(u64::MAX);
    }

    fn on_reset(&mut self, reason: ResetReason) {
        match reason {
            ResetReason::Evicted => self.tell(Event::Evicted),
            ResetReason::Full => self.tell(Event::Full),
            ResetReason::Settled => {
                if core::mem::take(&mut self.farewells) > 0 {
                    self.status_at = None;
                }
            }
            ResetReason::Other(_) => {}
        }
    }

    /// A sender at an address that was not known gives no token yet.
    fn prove_again(&mut self, now: u64, from: SocketAddr) {
        (self.sender, self.sender_at) = (Some(from), now);
        (self.token, self.probe_at, self.probes) = (0, now, 0);
    }

    /// A sender shows by its trail how much it keeps. In a large group, where each status counts, what it says to keep
    /// is believed from the start.
    fn note_credit(&mut self, heartbeat: &Heartbeat) {
        let shown = heartbeat.next.saturating_sub(heartbeat.trail);
        let told = if heartbeat.group_size > SMALL_GROUP { u64::from(heartbeat.capacity) } else { 0 };
        self.credit = shown.max(told).max(self.credit).min(self.window.length());
    }

    fn on_confirmation(&mut self, now: u64, confirmation: &Ncf<'_>) {
        self.trail = self.trail.max(confirmation.trail.min(self.heartbeat.next.max(self.highest)));
        let until = now + 2 * self.round_trip();
        for (first, count) in confirmation.coming {
            self.gaps.postpone(first, first + u64::from(count), until);
        }
    }

    /// A sender that was not known, or a new life of it.
    fn on_new_life(&mut self, now: u64, from: SocketAddr, life: Life, heartbeat: Heartbeat) {
        if life.epoch != KeyEpoch::CLEAR && self.is_stale(now, &heartbeat) {
            if !core::mem::replace(&mut self.stale_told, true) {
                self.tell(Event::Stale);
            }
            return;
        }
        match self.incarnation {
            None => {
                self.follow(now, life, heartbeat, from, self.config.start);
                self.sender_counts.note(life.count);
            }
            Some(_) => self.succeed(life, heartbeat, from),
        }
    }

    /// Notes a life that takes over; of several the last.
    fn succeed(&mut self, life: Life, heartbeat: Heartbeat, from: SocketAddr) {
        let is_unknown_reported = match &self.successor {
            Some(known) if known.life.incarnation > life.incarnation => return,
            Some(known) => known.is_unknown_reported,
            None => false,
        };
        self.successor = Some(Successor { life, heartbeat, from, is_unknown_reported });
    }

    /// An older life than the one that is followed speaks. While that one speaks, too, there are two senders of one
    /// stream. When it is silent, the number of the other was taken from a clock that was set back.
    fn on_older_life(&mut self, now: u64, from: SocketAddr, life: Life, heartbeat: Heartbeat) {
        self.statistics.other += 1;
        let is_over = self.sender_silent || self.ended;
        let rival = match self.rival.filter(|rival| rival.incarnation == life.incarnation) {
            Some(rival) => rival,
            None => Rival { incarnation: life.incarnation, since: now, is_reported: false },
        };
        self.rival = Some(rival);
        if now < rival.since.saturating_add(RIVAL_TIME) {
            return;
        }
        // A recording of a sealed stream is older than what was followed.
        let is_recorded = life.epoch != KeyEpoch::CLEAR
            && (self.is_stale(now, &heartbeat) || heartbeat.unix_time <= self.heartbeat.unix_time);
        if is_over && !is_recorded {
            self.rival = None;
            return self.succeed(life, heartbeat, from);
        }
        if let Some(followed) = self.incarnation.filter(|_| !rival.is_reported) {
            self.rival = Some(Rival { is_reported: true, ..rival });
            self.statistics.unknown_losses += 1;
            self.tell(Event::Rival { followed, ignored: life.incarnation });
        }
    }

    /// Whether what is said may have been said long ago.
    fn is_stale(&self, now: u64, heartbeat: &Heartbeat) -> bool {
        match (self.config.unix_offset, heartbeat.unix_time) {
            (None, _) | (_, 0) => false,
            (Some(offset), theirs) => offset.wrapping_add(now).abs_diff(theirs) > LONGEST_SKEW,
        }
    }

    /// Follows this life of the sender.
    fn follow(&mut self, now: u64, life: Life, heartbeat: Heartbeat, from: SocketAddr, start: Start) {
        self.keep_former_life();
        let incarnation = life.incarnation;
        let former = self.former.find(incarnation).copied();
        (self.incarnation, self.salt, self.epoch) = (Some(incarnation), life.salt, life.epoch);
        (self.heartbeat, self.heartbeat_at) = (heartbeat, now);
        self.prove_again(now, from);
        self.sender_counts = Counts::default();
        (self.base, self.expected) = match (start, former) {
            // What was delivered is not delivered again.
            (Start::Oldest, Some(former)) => former.position,
            (Start::Oldest, None) => (heartbeat.trail, heartbeat.trail_message),
            (Start::Now | Start::Snapshot, _) => (heartbeat.next, heartbeat.next_message),
        };
        (self.highest, self.trail, self.credit) = (self.base, heartbeat.trail, LEAST_CREDIT);
        self.note_credit(&heartbeat);
        self.transit = Transit::default();
        self.transit.note(now, heartbeat.clock);
        (self.end, self.ended, self.farewells) = (None, false, 0);
        self.window.clear();
        self.gaps.clear();
        self.latest.clear();
        self.assembly.abandon();
        (self.current, self.nak_at) = (None, u64::MAX);
        let ReceiverStatistics { missed, lost_messages, .. } = self.statistics;
        let (given_up, lost_before) = former.map_or((0, 0), |former| (former.given_up, former.lost_messages));
        // What it lost of this life earlier stays in its reports.
        self.baseline = Baseline { missed, lost_messages: lost_messages - lost_before };
        self.forfeited = given_up;
        let unsent = Status { window: self.window.length() as u32, ..Status::default() };
        (self.status_sent, self.sender_silent) = (unsent, false);
        (self.held, self.begins) = (start == Start::Snapshot, false);
        self.tell(Event::Joined { incarnation, sender: from, message: self.expected });
        if self.held {
            self.tell(Event::SnapshotWanted { message: self.expected });
        }
        self.notice(now, heartbeat.next);
        self.status_at = Some(now + self.jitter());
    }

    /// Remembers the life that is about to be left.
    fn keep_former_life(&mut self) {
        let Some(incarnation) = self.incarnation else { return };
        let heard = (self.heartbeat.next, self.heartbeat.next_message);
        // What was heard of and not delivered has been reported as lost.
        let position = if self.expected > heard.1 { (self.base, self.expected) } else { heard };
        let former = Former {
            incarnation,
            clock: self.heartbeat.clock,
            position,
            given_up: self.forfeited,
            lost_messages: self.statistics.lost_messages - self.baseline.lost_messages,
        };
        self.former.keep(former);
    }

    /// Goes over to the sender's new life, once all that can be had of the old one is handed out.
    pub(super) fn follow_successor(&mut self, now: u64) -> Option<Event> {
        let successor = self.successor?;
        if !self.stopped
            && let Some(event) = self.lose_the_rest(successor)
        {
            return Some(event);
        }
        if self.stopped {
            return None;
        }
        let Successor { life, heartbeat, from, .. } = successor;
        self.successor = None;
        let former = self.incarnation?;
        // Who followed the old life wants all of the new one.
        let start = if self.config.start == Start::Snapshot { Start::Snapshot } else { Start::Oldest };
        self.follow(now, life, heartbeat, from, start);
        let is_first_time = self.former.find(life.incarnation).is_none();
        if start == Start::Oldest && self.expected > 0 && is_first_time {
            // What the new life no longer has, it had.
            (self.expected, self.cause) = (0, Cause::Unrecoverable);
        }
        Some(Event::Restarted { from: former, to: life.incarnation })
    }

    /// What of the old life is known to be lost, and then, unless its end was heard, what is not known.
    fn lose_the_rest(&mut self, successor: Successor) -> Option<Event> {
        let ended = self.end.map_or(0, |(_, messages)| messages);
        let known = self.expected.max(self.heartbeat.next_message).max(ended);
        if self.expected < known {
            return Some(self.lose(known, Cause::Restart));
        }
        if self.end.is_some() || successor.is_unknown_reported {
            return None;
        }
        self.successor = Some(Successor { is_unknown_reported: true, ..successor });
        Some(self.lose_unknown())
    }

    /// Whether an unknown sender may be asked now.
    pub(super) fn may_ask_to_join(&self, now: u64, incarnation: Incarnation) -> bool {
        let is_old = self.incarnation.is_some_and(|known| known > incarnation);
        let is_too_soon = now < self.status_last + JOIN_INTERVAL && self.status_last > 0;
        !(self.config.mute || is_old || is_too_soon)
    }

    /// Asks an unknown sender where it stands.
    pub(super) fn ask_to_join(&mut self, now: u64, from: SocketAddr, incarnation: Incarnation) {
        self.status_last = now;
        let status = Status { flags: Status::JOINING, ..Status::default() };
        self.push_control(from, incarnation, Kind::Status, |writer| status.write(writer));
        self.statistics.statuses += 1;
    }
}
