//! What the sender says of itself: where it stands, what it repairs, that it started again.

use core::net::SocketAddr;

use super::event::{Cause, Event};
use super::{LEAST_CREDIT, Receiver, Start};
use crate::replay::Counts;
use crate::wire::{
    Flags, Header, Heartbeat, Incarnation, KeyEpoch, Kind, Ncf, Packet, Probe, Reset, ResetReason, Status,
};

/// A sender whose clock is farther off than this may be an old recording.
const LONGEST_SKEW: u64 = 120_000_000_000;
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
            return;
        }
        if !is_current && (header.kind != Kind::Heartbeat || self.incarnation > Some(header.incarnation)) {
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
                    false => self.on_new_life(now, from, Life::of(packet), heartbeat),
                }
            }
            Kind::Ncf => {
                let Ok(confirmation) = Ncf::read(body) else { return false };
                self.on_confirmation(now, &confirmation);
            }
            Kind::Reset => {
                let Ok(reset) = Reset::read(body) else { return false };
                if reset.receiver == self.id.0 && reset.reason == ResetReason::Evicted {
                    self.tell(Event::Evicted);
                }
            }
            Kind::Echo => {
                let Ok(echo) = Probe::read(body) else { return false };
                if echo.receiver == self.id.0 {
                    self.token = echo.token;
                }
            }
            // Announcements are for those who look for streams; the rest is of later versions.
            _ => {}
        }
        true
    }

    fn on_heartbeat(&mut self, now: u64, from: SocketAddr, header: &Header, heartbeat: Heartbeat) {
        if self.sender != Some(from) {
            self.prove_again(now, from);
        }
        if core::mem::take(&mut self.sender_silent) {
            self.tell(Event::SenderBack);
        }
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
        self.want_status_after_heartbeat(now);
    }

    /// A sender at an address that was not known gives no token yet.
    fn prove_again(&mut self, now: u64, from: SocketAddr) {
        (self.sender, self.token, self.probe_at, self.probes) = (Some(from), 0, now, 0);
    }

    /// A sender shows by its trail how much it keeps.
    fn note_credit(&mut self, heartbeat: &Heartbeat) {
        let kept = heartbeat.next.saturating_sub(heartbeat.trail).max(self.credit);
        self.credit = kept.min(self.window.length());
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
            Some(_) => {
                let is_newer =
                    self.successor.as_ref().is_none_or(|(known, ..)| known.incarnation <= life.incarnation);
                if is_newer {
                    self.successor = Some((life, heartbeat, from));
                }
            }
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
        let incarnation = life.incarnation;
        (self.incarnation, self.salt, self.epoch) = (Some(incarnation), life.salt, life.epoch);
        (self.heartbeat, self.heartbeat_at) = (heartbeat, now);
        self.prove_again(now, from);
        self.sender_counts = Counts::default();
        (self.base, self.expected) = match start {
            Start::Oldest => (heartbeat.trail, heartbeat.trail_message),
            Start::Now | Start::Snapshot => (heartbeat.next, heartbeat.next_message),
        };
        (self.highest, self.trail, self.credit) = (self.base, heartbeat.trail, LEAST_CREDIT);
        self.note_credit(&heartbeat);
        (self.end, self.ended, self.farewells) = (None, false, 0);
        self.window.clear();
        self.gaps.clear();
        self.latest.clear();
        self.assembly.abandon();
        (self.current, self.nak_at, self.loss_mark) =
            (None, u64::MAX, (self.statistics.received, self.statistics.missed));
        let unsent = Status { window: self.window.length() as u32, ..Status::default() };
        (self.status_sent, self.sender_silent) = (unsent, false);
        self.held = start == Start::Snapshot;
        self.tell(Event::Joined { incarnation, sender: from, message: self.expected });
        if self.held {
            self.tell(Event::SnapshotWanted { message: self.expected });
        }
        self.notice(now, heartbeat.next);
        self.status_at = Some(now + self.jitter());
    }

    /// Goes over to the sender's new life, once all that can be had of the old one is handed out.
    pub(super) fn follow_successor(&mut self, now: u64) -> Option<Event> {
        let (life, heartbeat, from) = self.successor?;
        let lost =
            self.expected.max(self.heartbeat.next_message).max(self.end.map_or(0, |(_, messages)| messages));
        if self.expected < lost && !self.held && !self.stopped {
            return Some(self.lose(lost, Cause::Restart));
        }
        self.successor = None;
        let former = self.incarnation?;
        // Who followed the old life wants all of the new one.
        let start = if self.config.start == Start::Snapshot { Start::Snapshot } else { Start::Oldest };
        self.follow(now, life, heartbeat, from, start);
        if start == Start::Oldest && self.expected > 0 {
            // What the new life no longer has, it had.
            (self.expected, self.cause) = (0, Cause::Unrecoverable);
        }
        Some(Event::Restarted { from: former, to: life.incarnation })
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
