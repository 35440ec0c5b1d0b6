//! Which datagrams to repair, to which subscriber or the group, and when.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use mcast_pace::TokenBucket;

use super::auto_rate::SentRepairs;
use super::members::Members;
use super::pacing::{Pacer, RepairPace};
use super::parity::ParitySchedule;
use super::repair_flow::GroupRepairs;
use super::ring::{Repair, RepairTarget, Ring};
use super::signing::CONFIRMED_ENTRIES;
use super::{PublisherConfig, PublisherEvent, PublisherMachine, Transmit};
use crate::ClockTime;
use crate::outbox::Target;
use crate::times::publisher::{CONFIRM_INTERVAL, MAX_CONFIRM_INTERVAL, SIGNED_CONFIRMATION_INTERVAL};
use crate::wire::{Flags, Kind, NakWriter, Ranges, Sequence, SubscriberId};

/// If more than this share of recent losses had several requesters, the first request is repaired to the group: a
/// separate repair would be sent in vain, and waiting would let many subscribers send NAKs. In thousandths.
const HALF: u32 = 500;
/// Repairs to one subscriber before the next subscriber is served: enough for segmentation offload.
const TURN: usize = 32;

/// The queues of repairs, one for each subscriber that requests some, which are served in turn. A repair to the group
/// waits in the queues of those who requested it. All of them share an allowance, to which new data adds.
#[derive(Debug)]
pub(super) struct RepairScheduler {
    pub(super) group: GroupRepairs,
    /// The subscribers with repairs waiting, in the order in which they are served.
    pub(super) turns: VecDeque<SubscriberId>,
    /// Repairs sent in the current turn.
    turn_taken: usize,
    /// The earliest time of the next repair.
    next_at: ClockTime,
    allowance: TokenBucket,
    /// Bytes that new data has added to the allowance so far, and its share of new data in percent.
    share: u64,
    percent: u8,
    /// The number of datagrams that were requested.
    pub(super) requested: u64,
    /// The smoothed share of losses that several subscribers have in common, in thousandths.
    shared_loss: u32,
}

/// The result of a subscriber's turn.
enum Turn {
    Sends(Repair),
    /// Nothing is queued for it.
    Over,
    /// Its own allowance, or that of the group, admits nothing before this time.
    Waits(ClockTime),
    /// The allowance of all repairs admits nothing before this time.
    PublisherWaits(ClockTime),
}

impl RepairScheduler {
    pub(super) fn new(config: &PublisherConfig, now: ClockTime) -> Self {
        Self {
            group: GroupRepairs { pace: RepairPace::new(config.repair_floor, now), sent: SentRepairs::new() },
            turns: VecDeque::new(),
            turn_taken: 0,
            next_at: ClockTime(0),
            allowance: TokenBucket::new(
                config.repair_floor,
                (config.retransmission_buffer / 4) as u64,
                now.0,
            ),
            share: 0,
            percent: config.repair_percent,
            requested: 0,
            // A group begins with repairs to all, until losses show that few have them in common.
            shared_loss: HALF + 100,
        }
    }

    #[inline]
    pub(super) fn refill(&mut self, now: ClockTime) {
        self.allowance.refill(now.0);
    }

    /// Notes that this many bytes of new data were sent.
    pub(super) fn record_data(&mut self, bytes: u64) {
        let share = bytes * u64::from(self.percent) / 100;
        self.allowance.add(share);
        self.share += share;
        if !self.turns.is_empty() {
            self.next_at = ClockTime(0);
        }
    }

    /// Looks again for a repair that is admitted, because more may be.
    pub(super) const fn wake(&mut self) {
        self.next_at = ClockTime(0);
    }

    /// Queues a repair for a subscriber, unless the datagram was repaired for it just now.
    pub(super) fn request(
        &mut self,
        now: ClockTime,
        sequence: Sequence,
        id: SubscriberId,
        members: &mut Members,
        ring: &mut Ring,
    ) {
        let (has_others, retained) = (members.len() > 1, ring.len());
        let Some(member) = members.get_mut(id) else { return };
        // The holdoff is per subscriber: a repair takes longer to reach a distant one.
        let holdoff = member.holdoff();
        let Some(state) = ring.repair_mut(sequence) else { return };
        if state.requested_by.is_some_and(|other| other != id) && !state.is_shared {
            state.is_shared = true;
            // It rises faster than it falls: what many lack, each of them requests.
            self.shared_loss += (2 * HALF - self.shared_loss) / 4;
        } else if state.requested_by.is_none() {
            self.shared_loss -= self.shared_loss / 16;
            self.requested += 1;
        }
        let last_requester = state.requested_by.replace(id);
        let is_recent = |at: ClockTime| now.since(at) < holdoff;
        let target = match (state.repaired, state.pending) {
            // It waits in this subscriber's queue already.
            (_, Some(RepairTarget::Group)) if last_requester == Some(id) => return,
            // It also waits for this subscriber: the other one's link may be slow.
            (_, Some(RepairTarget::Group)) => RepairTarget::Group,
            (_, Some(RepairTarget::Subscriber(other))) if other == id => return,
            // Two lack it: one repair serves both.
            (_, Some(RepairTarget::Subscriber(_))) => RepairTarget::Group,
            (Some((at, RepairTarget::Group)), _) if is_recent(at) => return,
            (Some((at, RepairTarget::Subscriber(other))), _) if is_recent(at) && other == id => return,
            // Another one has lost it as well, so that more may have.
            (Some((at, RepairTarget::Subscriber(_))), _) if is_recent(at) => RepairTarget::Group,
            _ => RepairTarget::Subscriber(id),
        };
        let is_common = has_others && self.shared_loss > HALF;
        state.pending = Some(if is_common { RepairTarget::Group } else { target });
        if member.repairs.is_idle() {
            self.turns.push_back(id);
            self.wake();
        }
        member.repairs.push(sequence, retained);
    }

    /// Cancels the pending repairs of a subscriber that departs.
    pub(super) fn cancel(&mut self, id: SubscriberId, members: &mut Members, ring: &mut Ring) {
        let Some(member) = members.get_mut(id) else { return };
        for sequence in core::mem::take(&mut member.repairs.waiting) {
            let Some(state) = ring.repair_mut(sequence) else { continue };
            // A repair to the group may wait in another queue, too. If this subscriber returns, it may request it again.
            state.requested_by = state.requested_by.filter(|requester| *requester != id);
            state.pending = state.pending.filter(|target| *target != RepairTarget::Subscriber(id));
        }
        self.turns.retain(|turn| *turn != id);
    }

    /// Serves the subscribers in turn. One that has used up its own allowance does not delay the others.
    pub(super) fn next(
        &mut self,
        now: ClockTime,
        members: &mut Members,
        ring: &Ring,
        parity: &ParitySchedule,
        pacer: &mut Pacer,
    ) -> Option<Repair> {
        if now < self.next_at {
            return None;
        }
        let mut earliest = ClockTime::NEVER;
        for _ in 0..self.turns.len() {
            let id = *self.turns.front()?;
            match self.take_turn(now, id, members, ring, parity, pacer) {
                Turn::Sends(repair) => return Some(repair),
                Turn::Over => {
                    self.turns.pop_front();
                }
                Turn::Waits(until) => {
                    earliest = earliest.min(until);
                    self.turns.rotate_left(1);
                }
                Turn::PublisherWaits(until) => {
                    self.next_at = until;
                    return None;
                }
            }
        }
        // Where nothing waits, the next request is not to be delayed.
        self.next_at = if earliest == ClockTime::NEVER { ClockTime(0) } else { earliest };
        None
    }

    fn take_turn(
        &mut self,
        now: ClockTime,
        id: SubscriberId,
        members: &mut Members,
        ring: &Ring,
        parity: &ParitySchedule,
        pacer: &mut Pacer,
    ) -> Turn {
        let subscribers = members.len() as u64;
        let Some(member) = members.get_mut(id) else { return Turn::Over };
        while let Some((base, length)) = member.repairs.parity.front().copied() {
            // It was sent meanwhile for another subscriber.
            if !parity.has_answers(base) {
                member.repairs.parity.pop_front();
                continue;
            }
            // This allowance first: the next step takes from that of the subscriber.
            if !self.is_admitted(length, pacer) {
                return Turn::PublisherWaits(self.when(length, pacer));
            }
            if let Err(until) =
                member.repairs.take(length, &mut self.group, true, self.share, now, subscribers)
            {
                return Turn::Waits(until);
            }
            member.repairs.parity.pop_front();
            self.record_turn();
            self.spend(length, pacer);
            return Turn::Sends(Repair {
                sequence: base,
                length,
                target: RepairTarget::Group,
                is_parity: true,
            });
        }
        while let Some(sequence) = member.repairs.waiting.front().copied() {
            let Some(target) = pending_target(ring, sequence, id) else {
                member.repairs.waiting.pop_front();
                continue;
            };
            let length = ring.get(sequence).len() as u64;
            if !self.is_admitted(length, pacer) {
                return Turn::PublisherWaits(self.when(length, pacer));
            }
            let is_for_group = target == RepairTarget::Group;
            if let Err(until) =
                member.repairs.take(length, &mut self.group, is_for_group, self.share, now, subscribers)
            {
                return Turn::Waits(until);
            }
            member.repairs.waiting.pop_front();
            self.record_turn();
            self.spend(length, pacer);
            return Turn::Sends(Repair { sequence, length, target, is_parity: false });
        }
        Turn::Over
    }

    /// Notes that a subscriber was served, and ends its turn after some repairs.
    fn record_turn(&mut self) {
        self.turn_taken += 1;
        if self.turn_taken >= TURN {
            self.turn_taken = 0;
            self.turns.rotate_left(1);
        }
    }

    /// Returns whether the allowance and the rate of the stream admit a repair of this many bytes.
    fn is_admitted(&self, length: u64, pacer: &Pacer) -> bool {
        self.allowance.has(length) && pacer.has(length)
    }

    /// Takes the bytes of a repair that is admitted.
    const fn spend(&mut self, length: u64, pacer: &mut Pacer) {
        self.allowance.take(length);
        pacer.take(length);
    }

    /// Returns when a repair of this many bytes is admitted.
    fn when(&self, length: u64, pacer: &Pacer) -> ClockTime {
        ClockTime(self.allowance.available_at(length)).max(pacer.when(length))
    }

    /// Returns when the next repair is admitted; never if none is queued.
    pub(super) fn next_time(&self) -> ClockTime {
        if self.turns.is_empty() { ClockTime::NEVER } else { self.next_at }
    }

    /// Returns the datagrams that are going to be repaired to the group, in order.
    pub(super) fn coming(&self, members: &Members, ring: &Ring) -> Vec<Sequence> {
        let queues = self.turns.iter().filter_map(|id| members.get(*id));
        let queued = queues.flat_map(|member| member.repairs.waiting.iter().copied());
        let is_for_group = |sequence: &Sequence| {
            ring.repair(*sequence).is_some_and(|state| state.pending == Some(RepairTarget::Group))
        };
        let mut coming: Vec<Sequence> = queued.filter(is_for_group).collect();
        coming.sort_unstable();
        coming.dedup();
        coming
    }
}

/// Returns where a repair that a subscriber requested will be sent, if it still waits.
fn pending_target(ring: &Ring, sequence: Sequence, id: SubscriberId) -> Option<RepairTarget> {
    let pending = ring.repair(sequence)?.pending?;
    (pending == RepairTarget::Group || pending == RepairTarget::Subscriber(id)).then_some(pending)
}

/// While repairs wait, confirmations use at most one part in this many of the bytes of repairs, except for one in
/// `MAX_CONFIRM_INTERVAL`: a slow link must not be filled with them.
const CONFIRM_SHARE: u64 = 16;

/// When to confirm to the group which repairs are coming and what is retained.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConfirmationSchedule {
    /// Whether a subscriber requested what is no longer retained.
    is_wanted: bool,
    /// The earliest time of the next confirmation.
    at: ClockTime,
    /// When the next one is due while repairs wait, unless this many bytes of repairs were sent before.
    late_at: ClockTime,
    repair_bytes: u64,
}

impl ConfirmationSchedule {
    pub(super) const fn new(now: ClockTime) -> Self {
        Self { is_wanted: false, at: now, late_at: now, repair_bytes: 0 }
    }

    /// Returns when a confirmation that is wanted is due; never if none is wanted.
    pub(super) const fn deadline(&self) -> ClockTime {
        if self.is_wanted { self.at } else { ClockTime::NEVER }
    }

    /// Returns whether one is due while repairs wait, after this many bytes of repairs.
    pub(super) fn is_due_while_waiting(&self, now: ClockTime, repair_bytes: u64) -> bool {
        now >= self.at && (now >= self.late_at || repair_bytes >= self.repair_bytes)
    }

    /// Looks again after the shortest time, because no repair to the group waits.
    pub(super) fn postpone(&mut self, now: ClockTime) {
        self.at = now + CONFIRM_INTERVAL;
    }

    /// Notes that one of this length was sent.
    fn record_sent(&mut self, now: ClockTime, interval: Duration, length: u64, repair_bytes: u64) {
        *self = Self {
            is_wanted: false,
            at: now + interval,
            late_at: now + MAX_CONFIRM_INTERVAL,
            repair_bytes: repair_bytes + CONFIRM_SHARE * length,
        };
    }
}

impl PublisherMachine {
    /// Handles the NAK of a subscriber.
    pub(super) fn on_nak(&mut self, now: ClockTime, id: SubscriberId, missing: Ranges<'_>) {
        self.context.statistics.naks += 1;
        if !self.subscribers.members.get_mut(id).is_some_and(|member| member.may_nak(now)) {
            self.context.statistics.naks_refused += 1;
            return;
        }
        let (oldest, sent) = (self.ring.oldest_retained, self.ring.sent);
        let mut unrecoverable: Option<(Sequence, Sequence)> = None;
        // A NAK may list a datagram many times: bound the work by the number of datagrams retained.
        let mut remaining = self.ring.len();
        let mut block: Option<(Sequence, Vec<Sequence>)> = None;
        for (first, count) in missing {
            let end = first + u64::from(count);
            if first < oldest {
                let (lost, lost_end) = unrecoverable.unwrap_or((first, first));
                unrecoverable = Some((lost.min(first), lost_end.max(end.min(oldest))));
            }
            for sequence in Sequence::each(first.max(oldest)..end.min(sent)) {
                if remaining == 0 {
                    break;
                }
                remaining -= 1;
                let base = self.scheduler.parity.block_of(sequence);
                // All that is requested of a block is answered together: parity may replace several repairs.
                if let Some((former, requested)) = block.take_if(|(known, _)| base != Some(*known)) {
                    self.repair_block(now, id, former, &requested);
                }
                match base {
                    Some(base) => block.get_or_insert((base, Vec::new())).1.push(sequence),
                    None => {
                        self.scheduler.repairs.request(
                            now,
                            sequence,
                            id,
                            &mut self.subscribers.members,
                            &mut self.ring,
                        );
                    }
                }
            }
        }
        if let Some((base, requested)) = block {
            self.repair_block(now, id, base, &requested);
        }
        if let Some((first, end)) = unrecoverable {
            self.context.statistics.unrecoverable += end - first;
            // It shows what is still retained, so that the rest is requested no longer.
            self.scheduler.confirmations.is_wanted = true;
            // A subscriber that reads a history gets them from there.
            if self.subscribers.members.get(id).is_none_or(|member| !member.progress.is_reading) {
                self.context.events.push(PublisherEvent::Unrecoverable(id, first, end));
            }
        }
    }

    /// Returns the next repair that the rate and the allowances admit.
    pub(super) fn next_repair(&mut self, now: ClockTime) -> Option<Transmit> {
        if now >= self.scheduler.confirmations.deadline() {
            return self.confirm(now);
        }
        let Self { subscribers, ring, scheduler, pacer, .. } = self;
        if let Some(repair) = scheduler.next_repair(now, &mut subscribers.members, ring, pacer) {
            return match repair.is_parity {
                true => self.repair_with_parity(now, repair),
                false => self.repair(now, repair),
            };
        }
        let repair_bytes = self.context.statistics.repair_bytes;
        match self.scheduler.must_confirm(now, &self.subscribers.members, &self.ring, repair_bytes) {
            true => self.confirm(now),
            false => None,
        }
    }

    fn repair(
        &mut self,
        now: ClockTime,
        Repair { sequence, length, target, .. }: Repair,
    ) -> Option<Transmit> {
        let to = match target {
            RepairTarget::Group => {
                self.context.statistics.group_repairs += 1;
                Target::Group
            }
            RepairTarget::Subscriber(id) => {
                let Some(member) = self.subscribers.members.get(id) else {
                    impossible!(self, "a repair for a subscriber that is gone");
                    return None;
                };
                let address = member.address;
                self.context.statistics.single_repairs += 1;
                Target::Address(address)
            }
        };
        debug_assert!(length > 0 && sequence < self.ring.sent, "a repair of what was never sent");
        self.ring.mark(sequence, 0, true);
        self.context.statistics.repair_bytes += length;
        self.scheduler.heartbeats.record_repair(now);
        if let Some(state) = self.ring.repair_mut(sequence) {
            state.repaired = state.pending.take().map(|target| (now, target));
        }
        Some(Transmit::Repair { sequence, to })
    }

    /// Confirms to the group which repairs are coming, so that subscribers do not request them meanwhile, and what is
    /// retained.
    fn confirm(&mut self, now: ClockTime) -> Option<Transmit> {
        let oldest = self.ring.oldest_retained;
        let oldest_message = self.intake.message_at(oldest, &self.ring);
        let mut list = NakWriter::new();
        let (most, least_interval) = match &self.signing {
            // A signature takes room in the datagram, and time.
            Some(_) => (CONFIRMED_ENTRIES, SIGNED_CONFIRMATION_INTERVAL),
            None => (usize::MAX, Duration::ZERO),
        };
        for sequence in self.scheduler.repairs.coming(&self.subscribers.members, &self.ring) {
            if list.len() >= most || !list.add(sequence, 1) {
                break;
            }
        }
        let length = self.push_control(Target::Group, Kind::Ncf, Flags(0), |writer| {
            list.write_ncf(oldest, oldest_message, writer)
        });
        let interval = self
            .subscribers
            .round_trip
            .min(CONFIRM_INTERVAL)
            .max(self.pacer.spacing(length))
            .max(least_interval);
        self.scheduler.confirmations.record_sent(now, interval, length, self.context.statistics.repair_bytes);
        self.scheduler.outbox.pop().map(Transmit::Control)
    }
}
