//! What happens as time passes: heartbeats, receivers that fall silent or behind, the rate.

use alloc::vec::Vec;

use super::bucket::Bucket;
use super::{LEAST_ROUND_TRIP, LONGEST_ROUND_TRIP, PACE_BURST, Sender, SenderEvent};
use crate::outbox::Target;
use crate::seal::{self, Purpose, Sealed};
use crate::wire::{
    Announce, ExtensionKind, Flags, Heartbeat, KeyEpoch, Kind, MINOR, PacketWriter, ReceiverId, Reset,
    ResetReason, WriteError,
};

/// How often receivers and rate are looked at.
const LOOK_INTERVAL: u64 = 100_000_000;
/// All receivers together send about one status in so long.
const STATUS_SPACING: u64 = 50_000;
/// A slowed sender gets back a twentieth of its rate every second.
const RECOVERY: u64 = 20;

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
            self.look_at_the_slowest(now);
            self.look_at_losses(now);
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
        };
        let is_over = self.closed && sent == self.ring.next;
        let flags = if is_over { Flags::END_OF_STREAM } else { Flags(0) };
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

    /// Queues a datagram other than data.
    pub(super) fn push_control(
        &mut self,
        to: Target,
        kind: Kind,
        flags: Flags,
        write: impl FnOnce(&mut PacketWriter<'_>) -> Result<(), WriteError>,
    ) {
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
        outbox.push(to, &header, whole, seal);
    }

    /// At least so long lies between two statuses of one receiver.
    fn status_interval(&self) -> u64 {
        (2 * self.round_trip).max(self.members.len() as u64 * STATUS_SPACING)
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
            self.members.remove(id);
            self.tell(SenderEvent::ReceiverSilent(id));
        }
    }

    /// Who keeps all others waiting must get on.
    fn look_at_the_slowest(&mut self, now: u64) {
        let Some(blocked) = self.blocked.filter(|blocked| now >= blocked.since + self.config.eviction) else {
            return;
        };
        self.blocked = None;
        let Some(member) = self.members.get(blocked.by) else { return };
        let got_on = member.next.saturating_sub(blocked.next) * self.config.datagram as u64;
        let elapsed = now - blocked.since;
        let least = (u128::from(self.config.floor) * u128::from(elapsed) / 1_000_000_000).max(1);
        if u128::from(got_on) >= least {
            return;
        }
        let behind = self.ring.sent.saturating_sub(member.next);
        self.evict(blocked.by, behind);
    }

    fn evict(&mut self, id: ReceiverId, behind: u64) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.evicted = true;
        let to = if member.proven { Target::Address(member.address) } else { Target::Group };
        self.members.changed();
        let reset = Reset { receiver: id.0, reason: ResetReason::Evicted };
        self.push_control(to, Kind::Reset, Flags(0), |writer| reset.write(writer));
        self.tell(SenderEvent::ReceiverEvicted(id, behind));
    }

    /// Too much loss for too long: half as fast. Afterwards the rate comes back slowly.
    fn look_at_losses(&mut self, now: u64) {
        let (bytes, at) = self.measured;
        self.measured = (self.statistics.datagram_bytes, now);
        let Some(breaker) = self.config.breaker else { return };
        let (count, sum) = self
            .members
            .iter()
            .filter(|(_, member)| member.waited)
            .fold((0_u64, 0_u64), |(count, sum), (_, member)| (count + 1, sum + u64::from(member.loss)));
        let loss = sum.checked_div(count).unwrap_or(0) as u32;
        if loss <= breaker.loss {
            self.lossy_since = None;
            self.recover();
            return;
        }
        let since = *self.lossy_since.get_or_insert(now);
        if now - since < breaker.time {
            return;
        }
        self.lossy_since = Some(now);
        let elapsed = now.saturating_sub(at).max(1);
        let measured = (self.statistics.datagram_bytes - bytes) * 1_000_000_000 / elapsed;
        let rate = (self.rate.unwrap_or(measured) / 2).max(10 * self.config.datagram as u64);
        self.set_rate(Some(rate), now);
        self.tell(SenderEvent::Slowed { loss, rate });
    }

    fn recover(&mut self) {
        let Some(rate) =
            self.rate.filter(|rate| self.config.rate.is_none_or(|configured| *rate < configured))
        else {
            return;
        };
        let step = (rate / RECOVERY * LOOK_INTERVAL / 1_000_000_000).max(1);
        let rate = rate + step;
        self.rate = Some(self.config.rate.map_or(rate, |configured| rate.min(configured)));
        if let Some(pace) = &mut self.pace {
            pace.set_rate(rate);
        }
    }

    fn set_rate(&mut self, rate: Option<u64>, now: u64) {
        self.rate = rate;
        let burst = PACE_BURST.max(self.config.datagram as u64);
        match (&mut self.pace, rate) {
            (Some(pace), Some(rate)) => pace.set_rate(rate),
            (pace, rate) => *pace = rate.map(|rate| Bucket::new(rate, burst, now)),
        }
    }
}
