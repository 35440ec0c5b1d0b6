//! Which datagrams to repair, to which subscriber or the group, and when.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use mcast_measure::TokenBucket;

use super::PublisherConfig;
use super::members::Members;
use super::pacer::Pacer;
use super::repair_flow::RepairFlow;
use super::ring::{RepairTarget, Ring};
use crate::SECOND;
use crate::wire::SubscriberId;

/// A request sooner than this after a repair was sent before the repair arrived.
const MIN_HOLDOFF: u64 = 200_000;
/// If more than this share of recent losses had several requesters, the first request is repaired to the group: a
/// separate repair would be sent in vain, and waiting would let many subscribers send NAKs. In thousandths.
const HALF: u32 = 500;
/// Repairs to one subscriber before the next subscriber is served: enough for segmentation offload.
const TURN: usize = 32;
/// A sample of repairs to the group takes at most four times this, whatever the longest round-trip time is.
const LONGEST_GROUP_SAMPLE: u64 = SECOND / 20;

/// The queues of repairs: one for the group, one for each subscriber, which are served in turn. All of them share an
/// allowance, to which new data adds.
#[derive(Debug)]
pub(super) struct RepairScheduler {
    group: VecDeque<u64>,
    group_flow: RepairFlow,
    /// The subscribers with repairs of their own, in the order in which they are served.
    turns: VecDeque<SubscriberId>,
    /// Repairs sent in the current turn.
    turn_taken: usize,
    /// The earliest time of the next repair to a single subscriber.
    single_at: u64,
    /// Bytes of repairs sent to single subscribers.
    single_bytes: u64,
    allowance: TokenBucket,
    /// Bytes that new data has added to the allowance so far, and its share of new data in percent.
    share: u64,
    percent: u8,
    /// The smoothed share of losses that several subscribers have in common, in thousandths.
    shared_loss: u32,
}

/// A repair that is admitted now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repair {
    pub(super) sequence: u64,
    pub(super) length: u64,
}

/// The state of the queue of repairs to the group.
pub(super) enum GroupTurn {
    Sends(Repair),
    /// The allowances admit none now.
    Waits,
    /// Nothing is queued.
    Over,
}

/// The result of a subscriber's turn.
enum Turn {
    Sends(Repair),
    /// Nothing is queued for it.
    Over,
    /// Its own allowance admits nothing before this time.
    Waits(u64),
    /// The allowance of all repairs admits nothing before this time.
    PublisherWaits(u64),
}

impl RepairScheduler {
    pub(super) fn new(config: &PublisherConfig, now: u64) -> Self {
        Self {
            group: VecDeque::new(),
            group_flow: RepairFlow::new(config.repair_floor, config.datagram, now),
            turns: VecDeque::new(),
            turn_taken: 0,
            single_at: 0,
            single_bytes: 0,
            allowance: TokenBucket::new(config.repair_floor, (config.history / 4) as u64, now),
            share: 0,
            percent: config.repair_percent,
            shared_loss: HALF + 100,
        }
    }

    #[inline]
    pub(super) fn refill(&mut self, now: u64) {
        self.allowance.refill(now);
    }

    /// Notes that this many bytes of new data were sent.
    pub(super) fn note_data(&mut self, bytes: u64) {
        let share = bytes * u64::from(self.percent) / 100;
        self.allowance.add(share);
        self.share += share;
        if !self.turns.is_empty() {
            self.single_at = 0;
        }
    }

    /// Returns the bytes of repairs sent to single subscribers.
    pub(super) const fn single_bytes(&self) -> u64 {
        self.single_bytes
    }

    /// Queues a repair for a subscriber, unless the datagram was repaired for it just now.
    pub(super) fn request(
        &mut self,
        now: u64,
        sequence: u64,
        id: SubscriberId,
        members: &mut Members,
        ring: &mut Ring,
    ) {
        let has_others = members.len() > 1;
        let Some(member) = members.get_mut(id) else { return };
        // The holdoff is per subscriber: a repair takes longer to reach a distant one.
        let holdoff = member.answer_time().max(MIN_HOLDOFF);
        let Some(state) = ring.repair_mut(sequence) else { return };
        if state.requested_by.is_some_and(|other| other != id) && !state.is_shared {
            state.is_shared = true;
            self.shared_loss += (2 * HALF - self.shared_loss) / 4;
        } else if state.requested_by.is_none() {
            self.shared_loss -= self.shared_loss / 16;
        }
        state.requested_by = Some(id);
        let is_recent = |at: u64| now.saturating_sub(at) < holdoff;
        let target = match (state.repaired, state.pending) {
            (_, Some(RepairTarget::Group)) => return,
            (_, Some(RepairTarget::Subscriber(other))) if other == id => return,
            (_, Some(RepairTarget::Subscriber(_))) => RepairTarget::Group,
            (Some((at, RepairTarget::Group)), _) if is_recent(at) => return,
            (Some((at, RepairTarget::Subscriber(other))), _) if is_recent(at) && other == id => return,
            (Some((at, RepairTarget::Subscriber(other))), _) if is_recent(at) && other != id => {
                RepairTarget::Group
            }
            (Some((_, RepairTarget::Group)), _) => {
                self.group_flow.note_lost();
                RepairTarget::Subscriber(id)
            }
            (Some((_, RepairTarget::Subscriber(other))), _) if other == id => {
                member.repairs.note_lost();
                RepairTarget::Subscriber(id)
            }
            _ => RepairTarget::Subscriber(id),
        };
        let is_common = has_others && self.shared_loss > HALF;
        let target = if is_common { RepairTarget::Group } else { target };
        state.pending = Some(target);
        match target {
            RepairTarget::Group => self.group.push_back(sequence),
            RepairTarget::Subscriber(_) => {
                if member.repairs.waiting.is_empty() {
                    self.turns.push_back(id);
                    self.single_at = 0;
                }
                member.repairs.waiting.push_back(sequence);
            }
        }
    }

    /// Adapts the rates of repairs to how many of them this subscriber and the group requested again.
    pub(super) fn adapt(&mut self, now: u64, id: SubscriberId, members: &mut Members, group_round_trip: u64) {
        if let Some(member) = members.get_mut(id) {
            let round_trip = member.answer_time();
            member.repairs.adapt(now, round_trip, true);
        }
        self.group_flow.adapt(now, group_round_trip.min(LONGEST_GROUP_SAMPLE), false);
    }

    /// Cancels the pending repairs of a subscriber that departs.
    pub(super) fn cancel(&mut self, id: SubscriberId, members: &mut Members, ring: &mut Ring) {
        let Some(member) = members.get_mut(id) else { return };
        for sequence in core::mem::take(&mut member.repairs.waiting) {
            if is_pending(ring, sequence, RepairTarget::Subscriber(id))
                && let Some(state) = ring.repair_mut(sequence)
            {
                state.pending = None;
            }
        }
        self.turns.retain(|turn| *turn != id);
    }

    /// Returns the next repair to the group.
    pub(super) fn next_for_group(&mut self, now: u64, ring: &Ring, pacer: &mut Pacer) -> GroupTurn {
        while let Some(sequence) = self.group.front().copied() {
            if is_pending(ring, sequence, RepairTarget::Group) {
                let length = ring.get(sequence).len() as u64;
                if !self.is_admitted(length, pacer) || !self.group_flow.take(length, self.share, now) {
                    return GroupTurn::Waits;
                }
                self.spend(length, pacer);
                self.group.pop_front();
                return GroupTurn::Sends(Repair { sequence, length });
            }
            self.group.pop_front();
        }
        GroupTurn::Over
    }

    /// Serves the subscribers in turn. One that has used up its own allowance does not delay the others.
    pub(super) fn next_for_subscriber(
        &mut self,
        now: u64,
        members: &mut Members,
        ring: &Ring,
        pacer: &mut Pacer,
    ) -> Option<(SubscriberId, Repair)> {
        if now < self.single_at {
            return None;
        }
        let mut earliest = u64::MAX;
        for _ in 0..self.turns.len() {
            let id = *self.turns.front()?;
            match self.take_turn(now, id, members, ring, pacer) {
                Turn::Sends(repair) => return Some((id, repair)),
                Turn::Over => {
                    self.turns.pop_front();
                }
                Turn::Waits(until) => {
                    earliest = earliest.min(until);
                    self.turns.rotate_left(1);
                }
                Turn::PublisherWaits(until) => {
                    self.single_at = until;
                    return None;
                }
            }
        }
        self.single_at = if earliest == u64::MAX { 0 } else { earliest };
        None
    }

    fn take_turn(
        &mut self,
        now: u64,
        id: SubscriberId,
        members: &mut Members,
        ring: &Ring,
        pacer: &mut Pacer,
    ) -> Turn {
        let Some(member) = members.get_mut(id) else { return Turn::Over };
        while let Some(sequence) = member.repairs.waiting.front().copied() {
            if !is_pending(ring, sequence, RepairTarget::Subscriber(id)) {
                member.repairs.waiting.pop_front();
                continue;
            }
            let length = ring.get(sequence).len() as u64;
            if !self.is_admitted(length, pacer) {
                return Turn::PublisherWaits(self.when(length, pacer));
            }
            if !member.repairs.take(length, self.share, now) {
                return Turn::Waits(member.repairs.when(length));
            }
            member.repairs.waiting.pop_front();
            self.turn_taken += 1;
            if self.turn_taken >= TURN {
                self.turn_taken = 0;
                self.turns.rotate_left(1);
            }
            self.single_bytes += length;
            self.spend(length, pacer);
            return Turn::Sends(Repair { sequence, length });
        }
        Turn::Over
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
    fn when(&self, length: u64, pacer: &Pacer) -> u64 {
        self.allowance.available_at(length).max(pacer.when(length))
    }

    /// Returns when the next repair is admitted; [`u64::MAX`] if none is queued.
    pub(super) fn next_time(&self, ring: &Ring, pacer: &Pacer) -> u64 {
        let group_time = |sequence: &u64| {
            let length = ring.get(*sequence).len() as u64;
            self.when(length, pacer).max(self.group_flow.when(length))
        };
        let group = self.group.front().map_or(u64::MAX, group_time);
        let single = if self.turns.is_empty() { u64::MAX } else { self.single_at };
        group.min(single)
    }

    /// Returns the datagrams that are going to be repaired to the group, in order.
    pub(super) fn coming(&self, ring: &Ring) -> Vec<u64> {
        let queued = self.group.iter().copied();
        let mut coming: Vec<u64> =
            queued.filter(|sequence| is_pending(ring, *sequence, RepairTarget::Group)).collect();
        coming.sort_unstable();
        coming.dedup();
        coming
    }
}

fn is_pending(ring: &Ring, sequence: u64, target: RepairTarget) -> bool {
    ring.repair(sequence).is_some_and(|state| state.pending == Some(target))
}
