//! Repairs: to one subscriber if only it requests a datagram, to the group if several do, within an allowance.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::congestion::{HOPELESS, RateChange, RateControl, Sample};
use super::members::Member;
use super::ring::RepairTarget;
use super::{PublisherEvent, PublisherMachine, Transmit};
use crate::bucket::{Bucket, SECOND};
use crate::outbox::Target;
use crate::wire::{Flags, Kind, NakWriter, Ranges, SubscriberId};

/// A request sooner than this after a repair was sent before the repair arrived.
const MIN_HOLDOFF: u64 = 200_000;
/// If more than this share of recent losses had several requesters, the first request is repaired to the group: a
/// separate repair would be sent in vain, and waiting would let many subscribers send NAKs. In thousandths.
pub(super) const HALF: u32 = 500;
/// The burst of repairs to one subscriber, in bytes.
const BURST: u64 = 131_072;
/// Repairs to one subscriber before the next subscriber is served: enough for segmentation offload.
const TURN: usize = 32;
/// The least number of repairs in a sample, and its least duration.
const SAMPLE_REPAIRS: u64 = 64;
const SAMPLE_TIME: u64 = SECOND / 50;
/// A sample of repairs to the group takes at most four times this, whatever the longest round-trip time is.
const LONGEST_GROUP_SAMPLE: u64 = SECOND / 20;
/// The longest time between two confirmations.
const CONFIRM_INTERVAL: u64 = SECOND / 100;

/// The repairs to one subscriber, or to the group: their queue and their rate. Repairs that are requested again show
/// that the rate exceeds the capacity of the link.
#[derive(Debug)]
pub(crate) struct RepairFlow {
    waiting: VecDeque<u64>,
    pace: Bucket,
    control: RateControl,
    /// The present sample: its beginning, the repairs sent, their bytes, and how many were requested again.
    since: u64,
    sent: u64,
    bytes: u64,
    lost: u64,
    has_waited: bool,
    /// Bytes sent in all.
    total: u64,
    /// Bytes that new data had added to the repair allowance at the last call.
    share: u64,
}

impl RepairFlow {
    pub(crate) const fn new(floor: u64, datagram: usize, now: u64) -> Self {
        Self {
            waiting: VecDeque::new(),
            pace: Bucket::new(floor, BURST, now),
            control: RateControl::new(64 * datagram as u64),
            since: now,
            sent: 0,
            bytes: 0,
            lost: 0,
            has_waited: false,
            share: 0,
            total: 0,
        }
    }

    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// Takes this many bytes from the allowance, to which new data has added `share` in all.
    fn take(&mut self, bytes: u64, share: u64, now: u64) -> bool {
        self.pace.refill(now);
        let added = share - core::mem::replace(&mut self.share, share);
        if self.control.rate().is_none() {
            self.pace.add(added);
        }
        let is_admitted = self.pace.take(bytes);
        if self.sent == 0 {
            self.since = now;
        }
        self.has_waited |= !is_admitted;
        if is_admitted {
            (self.sent, self.bytes, self.total) = (self.sent + 1, self.bytes + bytes, self.total + bytes);
        }
        is_admitted
    }

    /// Adapts the rate to the share of repairs that were requested again, once a sample is complete.
    fn adapt(&mut self, now: u64, round_trip: u64, floor: u64, is_single: bool) {
        let elapsed = now.saturating_sub(self.since);
        if self.sent < SAMPLE_REPAIRS || elapsed < SAMPLE_TIME.max(4 * round_trip) {
            return;
        }
        let arrived = self.bytes - self.bytes * self.lost.min(self.sent) / self.sent;
        let sample = Sample { sent: self.sent, lost: self.lost, bytes: arrived, elapsed };
        let change = self.control.observe(now, sample, self.has_waited, false);
        // If nothing arrives, every byte is wasted at every rate. Repairs to the group always miss some subscriber.
        if let Some(RateChange::Cleared { loss: HOPELESS.., .. }) = change
            && is_single
        {
            self.control.stay_slow();
        }
        self.pace.set_rate(self.control.rate().map_or(floor, |rate| rate.min(floor)));
        (self.since, self.sent, self.bytes, self.lost, self.has_waited) = (now, 0, 0, 0, false);
    }
}

impl PublisherMachine {
    /// Handles the NAK of a subscriber.
    pub(super) fn on_nak(&mut self, now: u64, id: SubscriberId, missing: Ranges<'_>) {
        self.statistics.naks += 1;
        if !self.members.get_mut(id).is_some_and(|member| member.may_nak(now)) {
            self.statistics.naks_refused += 1;
            return;
        }
        let (oldest, sent) = (self.ring.oldest_retained, self.ring.sent);
        let mut unrecoverable: Option<(u64, u64)> = None;
        // A NAK may list a datagram many times: bound the work by the number of datagrams retained.
        let mut remaining = self.ring.len();
        for (first, count) in missing {
            let end = first.saturating_add(u64::from(count));
            if first < oldest {
                let (lost, lost_end) = unrecoverable.unwrap_or((first, first));
                unrecoverable = Some((lost.min(first), lost_end.max(end.min(oldest))));
            }
            for sequence in first.max(oldest)..end.min(sent) {
                if remaining == 0 {
                    return;
                }
                remaining -= 1;
                self.request_repair(now, sequence, id);
            }
        }
        if let Some(member) = self.members.get_mut(id) {
            member.adapt_repairs(now, self.config.repair_floor);
        }
        let round_trip = self.round_trip.min(LONGEST_GROUP_SAMPLE);
        self.group_repairs.adapt(now, round_trip, self.config.repair_floor, false);
        if let Some((first, end)) = unrecoverable {
            self.statistics.unrecoverable += end - first;
            self.must_send_oldest = true;
            self.events.push(PublisherEvent::Unrecoverable(id, first, end));
        }
    }

    /// Queues a repair for a subscriber, unless the datagram was repaired for it just now.
    fn request_repair(&mut self, now: u64, sequence: u64, id: SubscriberId) {
        let Some(member) = self.members.get_mut(id) else { return };
        // The holdoff is per subscriber: a repair takes longer to reach a distant one.
        let holdoff = member.answer_time().max(MIN_HOLDOFF);
        let Some(state) = self.ring.repair_mut(sequence) else { return };
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
                self.group_repairs.lost += 1;
                RepairTarget::Subscriber(id)
            }
            (Some((_, RepairTarget::Subscriber(other))), _) if other == id => {
                member.repairs.lost += 1;
                RepairTarget::Subscriber(id)
            }
            _ => RepairTarget::Subscriber(id),
        };
        let is_common = self.members.len() > 1 && self.shared_loss > HALF;
        let Some(state) = self.ring.repair_mut(sequence) else { return };
        let target = if is_common { RepairTarget::Group } else { target };
        state.pending = Some(target);
        match target {
            RepairTarget::Group => self.repairs.push_back(sequence),
            RepairTarget::Subscriber(_) => self.queue_for(id, sequence),
        }
    }

    fn queue_for(&mut self, id: SubscriberId, sequence: u64) {
        let Some(member) = self.members.get_mut(id) else { return };
        if member.repairs.waiting.is_empty() {
            self.repair_turns.push_back(id);
            self.repairs_at = 0;
        }
        member.repairs.waiting.push_back(sequence);
    }

    /// Cancels the pending repairs of a subscriber that departs.
    pub(super) fn cancel_repairs(&mut self, id: SubscriberId) {
        let Some(member) = self.members.get_mut(id) else { return };
        for sequence in core::mem::take(&mut member.repairs.waiting) {
            if self.is_pending(sequence, RepairTarget::Subscriber(id))
                && let Some(state) = self.ring.repair_mut(sequence)
            {
                state.pending = None;
            }
        }
        self.repair_turns.retain(|turn| *turn != id);
    }

    /// Returns the next repair that the rate and the allowances admit.
    pub(super) fn next_repair(&mut self, now: u64) -> Option<Transmit> {
        if self.must_send_oldest && now >= self.confirmed_at {
            self.confirm(now);
            return self.outbox.pop().map(Transmit::Control);
        }
        let group = self.next_group_repair(now);
        if group.is_some() || now < self.repairs_at { group } else { self.next_single_repair(now) }
    }

    fn next_group_repair(&mut self, now: u64) -> Option<Transmit> {
        while let Some(sequence) = self.repairs.front().copied() {
            if self.is_pending(sequence, RepairTarget::Group) {
                let length = self.ring.get(sequence).len() as u64;
                let can = self.can_repair(length) && self.group_repairs.take(length, self.repair_share, now);
                if !can || !self.spend_on_repair(length) {
                    return self.confirm_waiting(now);
                }
                self.repairs.pop_front();
                self.statistics.group_repairs += 1;
                return Some(self.repair(now, sequence, length, Target::Group));
            }
            self.repairs.pop_front();
        }
        None
    }

    /// Serves the subscribers in turn. One that has used up its own allowance does not delay the others.
    fn next_single_repair(&mut self, now: u64) -> Option<Transmit> {
        let mut earliest = u64::MAX;
        for _ in 0..self.repair_turns.len() {
            let id = *self.repair_turns.front()?;
            match self.repair_for(now, id) {
                Turn::Sends(sequence, length) => {
                    let address = self.members.get(id)?.address;
                    self.statistics.single_repairs += 1;
                    return Some(self.repair(now, sequence, length, Target::Address(address)));
                }
                Turn::Over => {
                    self.repair_turns.pop_front();
                }
                Turn::Waits(until) => {
                    earliest = earliest.min(until);
                    self.repair_turns.rotate_left(1);
                }
                Turn::PublisherWaits(until) => {
                    self.repairs_at = until;
                    return None;
                }
            }
        }
        self.repairs_at = if earliest == u64::MAX { 0 } else { earliest };
        None
    }

    fn repair_for(&mut self, now: u64, id: SubscriberId) -> Turn {
        loop {
            let Some(member) = self.members.get_mut(id) else { return Turn::Over };
            let Some(sequence) = member.repairs.waiting.front().copied() else { return Turn::Over };
            if !self.is_pending(sequence, RepairTarget::Subscriber(id)) {
                if let Some(member) = self.members.get_mut(id) {
                    member.repairs.waiting.pop_front();
                }
                continue;
            }
            let length = self.ring.get(sequence).len() as u64;
            if !self.can_repair(length) {
                return Turn::PublisherWaits(self.repair_time(length));
            }
            let Some(member) = self.members.get_mut(id) else { return Turn::Over };
            if !member.repairs.take(length, self.repair_share, now) {
                return Turn::Waits(member.repairs.pace.when(length));
            }
            member.repairs.waiting.pop_front();
            self.turn_taken += 1;
            if self.turn_taken >= TURN {
                self.turn_taken = 0;
                self.repair_turns.rotate_left(1);
            }
            self.single_bytes += length;
            self.spend_on_repair(length);
            return Turn::Sends(sequence, length);
        }
    }

    fn is_pending(&self, sequence: u64, target: RepairTarget) -> bool {
        self.ring.repair(sequence).is_some_and(|state| state.pending == Some(target))
    }

    /// Returns whether the repair allowance and the rate of the stream admit a repair of this many bytes.
    fn can_repair(&self, length: u64) -> bool {
        self.repair_allowance.has(length) && self.pacer.has(length)
    }

    /// Takes this many bytes from the repair allowance and the rate, if both admit them.
    fn spend_on_repair(&mut self, length: u64) -> bool {
        let can = self.can_repair(length);
        if can {
            self.repair_allowance.take(length);
            self.pacer.take(length);
        }
        can
    }

    /// Returns when a repair of this many bytes is admitted.
    fn repair_time(&self, length: u64) -> u64 {
        let paced = self.pacer.when(length);
        self.repair_allowance.when(length).max(paced)
    }

    /// Returns when the next repair is admitted, if any is queued.
    pub(super) fn next_repair_time(&self) -> u64 {
        let group_time = |sequence: &u64| {
            let length = self.ring.get(*sequence).len() as u64;
            self.repair_time(length).max(self.group_repairs.pace.when(length))
        };
        let group = self.repairs.front().map(group_time);
        let single = Some(self.repairs_at).filter(|_| !self.repair_turns.is_empty());
        group.unwrap_or(u64::MAX).min(single.unwrap_or(u64::MAX))
    }

    fn repair(&mut self, now: u64, sequence: u64, length: u64, to: Target) -> Transmit {
        self.ring.mark(sequence, 0, true);
        self.statistics.repair_bytes += length;
        if let Some(state) = self.ring.repair_mut(sequence) {
            state.repaired = state.pending.take().map(|target| (now, target));
        }
        Transmit::Repair { sequence, to }
    }

    /// Announces queued repairs to the group, so that subscribers do not request them meanwhile.
    fn confirm_waiting(&mut self, now: u64) -> Option<Transmit> {
        if now < self.confirmed_at || self.members.len() < 2 {
            return None;
        }
        self.confirm(now);
        self.outbox.pop().map(Transmit::Control)
    }

    fn confirm(&mut self, now: u64) {
        self.must_send_oldest = false;
        let oldest = self.ring.oldest_retained;
        let oldest_message = self.message_at(oldest);
        let coming = self.repairs.iter().copied();
        let mut coming: Vec<u64> =
            coming.filter(|sequence| self.is_pending(*sequence, RepairTarget::Group)).collect();
        coming.sort_unstable();
        coming.dedup();
        let mut list = NakWriter::new();
        for sequence in coming {
            if !list.add(sequence, 1) {
                break;
            }
        }
        let length = self.push_control(Target::Group, Kind::Ncf, Flags(0), |writer| {
            list.write_ncf(oldest, oldest_message, writer)
        });
        let interval = self.round_trip.min(CONFIRM_INTERVAL).max(self.pacer.spacing(length));
        self.confirmed_at = now + interval;
    }
}

/// The result of a subscriber's turn.
enum Turn {
    /// A repair: its sequence and length.
    Sends(u64, u64),
    /// Nothing is queued for it.
    Over,
    /// Its own allowance admits nothing before this time.
    Waits(u64),
    /// The allowance of all repairs admits nothing before this time.
    PublisherWaits(u64),
}

impl Member {
    fn adapt_repairs(&mut self, now: u64, floor: u64) {
        let round_trip = self.answer_time();
        self.repairs.adapt(now, round_trip, floor, true);
    }
}
