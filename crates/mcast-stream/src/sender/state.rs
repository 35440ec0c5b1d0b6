//! What happens as time passes: heartbeats, receivers that fall silent or behind, the rate.

use alloc::vec::Vec;

use super::members::{Departure, Member, Role};
use super::{LEAST_ROUND_TRIP, LONGEST_ROUND_TRIP, Sender, SenderEvent};
use crate::outbox::Target;
use crate::seal::{self, Purpose, Sealed};
use crate::wire::{
    Announce, ExtensionKind, Flags, Heartbeat, KeyEpoch, Kind, MINOR, PacketWriter, ReceiverId, ResetReason,
    WriteError,
};

/// How often receivers and rate are looked at.
const LOOK_INTERVAL: u64 = 100_000_000;
/// All receivers together send one status in so long, however many they are, and as many naks.
const STATUS_SPACING: u64 = 10_000_000;
/// A receiver that was evicted and has returned is on probation for so many eviction times.
const PROBATION: u64 = 16;

impl Sender {
    /// Does what is due.
    pub(super) fn pass(&mut self, now: u64) {
        if let Some(pace) = &mut self.pace {
            pace.pass(now);
        }
        self.repair_allowance.pass(now);
        let is_over = |since: u64| now >= since.saturating_add(self.config.linger);
        if self.open.is_some_and(|open| is_over(open.since())) {
            self.flush(now);
        }
        if now >= self.look_at {
            self.look_at = now + LOOK_INTERVAL;
            self.look_for_the_silent(now);
            self.evict_the_stuck(now);
            self.extend_flight(now);
            self.relax(now);
            self.keep_pace(now);
        }
    }

    /// Tells the group where the sender stands.
    pub(super) fn heartbeat(&mut self, now: u64) {
        self.measure_round_trip();
        let round_trip = u32::try_from(self.round_trip / 1_000).unwrap_or(u32::MAX).max(1);
        let group_size = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let sent = self.ring.sent;
        let heartbeat = Heartbeat {
            next: sent,
            next_message: self.message_at(sent),
            trail: self.ring.trail.min(sent),
            trail_message: self.message_at(self.ring.trail.min(sent)),
            clock: now.max(1),
            unix_time: self.config.unix_offset.map_or(0, |offset| offset.wrapping_add(now)),
            rate: self.rate.unwrap_or(0),
            round_trip,
            group_size,
            backoff: self.config.backoff,
            flow: self.config.flow,
            min_minor: 0,
            max_minor: MINOR,
            status_interval: u32::try_from(self.status_interval() / 1_000).unwrap_or(u32::MAX),
            datagram: self.config.datagram as u16,
            capacity: u32::try_from(self.ring.capacity()).unwrap_or(u32::MAX),
        };
        let is_over = self.closed && sent == self.ring.next;
        let end = if is_over { Flags::END_OF_STREAM } else { Flags(0) };
        let urgent = if self.blocked.is_some() { Flags::URGENT } else { Flags(0) };
        let flags = end.with(urgent);
        self.push_control(Target::Group, Kind::Heartbeat, flags, |writer| heartbeat.write(writer));
        self.statistics.heartbeats += 1;
        self.next_heartbeat(now);
    }

    /// Tells the stream's name and places to those who look for streams.
    pub fn announce(&mut self, announce: &Announce<'_>) {
        self.push_control(Target::Discovery, Kind::Announce, Flags(0), |writer| announce.write(writer));
    }

    /// The first message that begins in this datagram or after it.
    pub(super) fn message_at(&self, sequence: u64) -> u64 {
        let unwritten = self.open.filter(|_| self.writing.is_none());
        let next_message = unwritten.map_or(self.next_message, |open| open.first_message(self.next_message));
        self.ring.message_at(sequence, next_message)
    }

    /// Queues a datagram other than data; says how long it is.
    pub(super) fn push_control(
        &mut self,
        to: Target,
        kind: Kind,
        flags: Flags,
        write: impl FnOnce(&mut PacketWriter<'_>) -> Result<(), WriteError>,
    ) -> u64 {
        self.control_count += 1;
        let header = crate::wire::Header { flags, ..self.header(kind, self.control_count) };
        let purpose = Purpose::of(&header, Sealed::Control(self.salt));
        let Self { ciphers, config, outbox, salt, .. } = self;
        let seal = |bytes: &mut Vec<u8>| match header.epoch {
            KeyEpoch::CLEAR => true,
            _ => ciphers
                .find(&config.keys, purpose)
                .is_some_and(|cipher| seal::seal_vector(cipher, header.sequence, bytes)),
        };
        let whole = |writer: &mut PacketWriter<'_>| {
            if header.epoch != KeyEpoch::CLEAR {
                writer.extension(ExtensionKind::SALT, 0, &salt.to_be_bytes())?;
            }
            write(writer)
        };
        let length = outbox.push(to, &header, whole, seal) as u64;
        // What goes to one address answers as much that came from there.
        if to == Target::Group {
            self.pay(length);
        }
        length
    }

    /// At least so long lies between two statuses of one receiver.
    pub(super) fn status_interval(&self) -> u64 {
        (self.members.len() as u64).max(1) * STATUS_SPACING
    }

    /// The group's is that of the slowest to answer; it falls slowly.
    fn measure_round_trip(&mut self) {
        let longest = self.members.iter().map(|(_, member)| member.round_trip).max().unwrap_or(0);
        if longest == 0 {
            return;
        }
        let kept = self.round_trip - self.round_trip / 10 + longest / 10;
        self.round_trip = longest.max(kept.min(self.round_trip)).clamp(LEAST_ROUND_TRIP, LONGEST_ROUND_TRIP);
    }

    fn look_for_the_silent(&mut self, now: u64) {
        // A large group speaks seldom.
        let timeout = self.config.receiver_timeout.max(8 * self.status_interval());
        let is_silent = |heard: u64| now.saturating_sub(heard) > timeout;
        let silent = |sender: &Self| {
            sender.members.iter().find(|(_, member)| is_silent(member.heard)).map(|(id, _)| id)
        };
        while let Some(id) = silent(self) {
            self.depart(id, Departure::Silent);
            self.tell(SenderEvent::ReceiverSilent(id));
        }
    }

    /// Who keeps all others waiting must get on.
    ///
    /// Each is judged by its own room and since it last got on itself, so that several that have stopped reading
    /// do not cost their time one after the other.
    fn evict_the_stuck(&mut self, now: u64) {
        let Some(since) = self.blocked else { return };
        // Whoever reads gets on as soon as a heartbeat asks; that must have had its time.
        if now - since < self.config.eviction / 4 {
            return;
        }
        let is_stuck = |member: &Member| {
            let patience = self.patience_with(member, now);
            self.blocks(member)
                && now.saturating_sub(member.advanced.1) >= patience
                && now - since >= patience / 4
        };
        let awaited = self.members.iter().filter(|(_, member)| member.role == Role::Awaited);
        let stuck: Vec<ReceiverId> =
            awaited.filter(|(_, member)| is_stuck(member)).map(|(id, _)| id).collect();
        for id in stuck {
            self.evict(id);
        }
    }

    /// How long a receiver may keep the others waiting: little if it did so shortly before.
    fn patience_with(&self, member: &Member, now: u64) -> u64 {
        let eviction = self.config.eviction;
        let is_on_probation = |at: u64| now.saturating_sub(at) < PROBATION * eviction;
        if member.returned.is_some_and(is_on_probation) { eviction / 8 } else { eviction }
    }

    /// Whether a receiver has no room for the next datagram, or lacks one that would have to make room for it.
    fn blocks(&self, member: &Member) -> bool {
        let next = member.progress.next;
        member.room_end() <= self.ring.sent
            || next < self.ring.sent && !self.ring.has_room(self.room_wanted, next)
    }

    fn evict(&mut self, id: ReceiverId) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.role = Role::Evicted;
        let (to, next) = (member.address, member.progress.next);
        self.members.changed();
        self.blocked = None;
        self.reset(to, id, ResetReason::Evicted);
        self.tell(SenderEvent::ReceiverEvicted(id, self.ring.sent.saturating_sub(next)));
    }
}
