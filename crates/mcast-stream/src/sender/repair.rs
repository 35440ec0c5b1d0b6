//! Repairs: to one receiver while one asks, to the group when several do, within an allowance.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::bucket::{Bucket, SECOND};
use super::congestion::{Change, HOPELESS, RateControl, Sample};
use super::members::Member;
use super::ring::Wanted;
use super::{Sender, SenderEvent, Transmit};
use crate::outbox::Target;
use crate::wire::{Flags, Kind, NakWriter, Ranges, ReceiverId};

/// Who asks again sooner than this after a repair was sent has asked before it came.
const LEAST_HOLDOFF: u64 = 200_000;
/// What one misses is sent to all at once if of late more than half of the losses were shared: to wait for the
/// second who asks would send it twice, or let many ask. In thousandths.
pub(super) const HALF: u32 = 500;
/// Repairs that may go to one receiver at once, in bytes.
const BURST: u64 = 131_072;
/// Repairs to one receiver before it is another's turn: enough for a train.
const TURN: usize = 32;
/// A sample of repairs has so many, and takes so long.
const SAMPLE_REPAIRS: u64 = 64;
const SAMPLE_TIME: u64 = SECOND / 50;
/// A sample of repairs to the group takes four times this at most, however far away somebody is.
const LONGEST_GROUP_SAMPLE: u64 = SECOND / 20;
/// Between two confirmations, at most.
const CONFIRM_INTERVAL: u64 = SECOND / 100;

/// Repairs to one receiver, or to the group: what waits, and how fast it may go. Those that must be sent again tell that the way is
/// too narrow for them.
#[derive(Debug)]
pub(crate) struct RepairFlow {
    waiting: VecDeque<u64>,
    pace: Bucket,
    control: RateControl,
    /// Since when it is counted how many went, of how many bytes, and how many were asked for again.
    since: u64,
    sent: u64,
    bytes: u64,
    lost: u64,
    has_waited: bool,
    /// Bytes that have gone in all.
    total: u64,
    /// What new data had added to the allowance when it was last looked at.
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

    /// Takes so many bytes from its allowance, to which new data has added `share` in all.
    fn take(&mut self, bytes: u64, share: u64, now: u64) -> bool {
        self.pace.pass(now);
        let added = share - core::mem::replace(&mut self.share, share);
        if self.control.rate().is_none() {
            self.pace.add(added);
        }
        let goes = self.pace.take(bytes);
        self.has_waited |= !goes;
        if goes {
            (self.sent, self.bytes, self.total) = (self.sent + 1, self.bytes + bytes, self.total + bytes);
        }
        goes
    }

    /// Looks now and then how many repairs were in vain, and goes as fast as the way allows.
    fn adapt(&mut self, now: u64, round_trip: u64, floor: u64, is_single: bool) {
        let elapsed = now.saturating_sub(self.since);
        if self.sent < SAMPLE_REPAIRS || elapsed < SAMPLE_TIME.max(4 * round_trip) {
            return;
        }
        let arrived = self.bytes - self.bytes * self.lost.min(self.sent) / self.sent;
        let sample = Sample { sent: self.sent, lost: self.lost, bytes: arrived, elapsed };
        let change = self.control.observe(now, sample, self.has_waited, false);
        // What does not come at all costs as much at any rate. Of repairs to the group somebody always misses some.
        if let Some(Change::Cleared { loss: HOPELESS.., .. }) = change
            && is_single
        {
            self.control.stay_slow();
        }
        self.pace.set_rate(self.control.rate().map_or(floor, |rate| rate.min(floor)));
        (self.since, self.sent, self.bytes, self.lost, self.has_waited) = (now, 0, 0, 0, false);
    }
}

impl Sender {
    /// Takes note of what a receiver misses.
    pub(super) fn on_nak(&mut self, now: u64, id: ReceiverId, missing: Ranges<'_>) {
        self.statistics.naks += 1;
        if !self.members.get_mut(id).is_some_and(|member| member.may_nak(now)) {
            self.statistics.naks_refused += 1;
            return;
        }
        let (trail, sent) = (self.ring.trail, self.ring.sent);
        let mut gone: Option<(u64, u64)> = None;
        // However often a nak names them, no more datagrams are looked at than there are.
        let mut left = self.ring.held();
        for (first, count) in missing {
            let end = first.saturating_add(u64::from(count));
            if first < trail {
                let (lost, lost_end) = gone.unwrap_or((first, first));
                gone = Some((lost.min(first), lost_end.max(end.min(trail))));
            }
            for sequence in first.max(trail)..end.min(sent) {
                if left == 0 {
                    return;
                }
                left -= 1;
                self.want(now, sequence, id);
            }
        }
        if let Some(member) = self.members.get_mut(id) {
            member.adapt_repairs(now, self.config.repair_floor);
        }
        let round_trip = self.round_trip.min(LONGEST_GROUP_SAMPLE);
        self.group_repairs.adapt(now, round_trip, self.config.repair_floor, false);
        if let Some((first, end)) = gone {
            self.statistics.unrecoverable += end - first;
            self.tell_trail = true;
            self.tell(SenderEvent::Unrecoverable(id, first, end));
        }
    }

    /// Takes note that a receiver misses a datagram, unless it was just sent again.
    fn want(&mut self, now: u64, sequence: u64, id: ReceiverId) {
        let Some(member) = self.members.get_mut(id) else { return };
        // Who is farther away learns of a repair later; who is near does not wait for that.
        let holdoff = member.answer_time().max(LEAST_HOLDOFF);
        let Some(state) = self.ring.repair_mut(sequence) else { return };
        if state.asked_by.is_some_and(|other| other != id) && !state.is_shared {
            state.is_shared = true;
            self.shared += (2 * HALF - self.shared) / 4;
        } else if state.asked_by.is_none() {
            self.shared -= self.shared / 16;
        }
        state.asked_by = Some(id);
        let is_recent = |at: u64| now.saturating_sub(at) < holdoff;
        let before = match (state.repaired, state.wanted) {
            (_, Wanted::ByGroup) => return,
            (_, Wanted::By(other)) if other == id => return,
            (_, Wanted::By(_)) => Wanted::ByGroup,
            (Some((at, Wanted::ByGroup)), _) if is_recent(at) => return,
            (Some((at, Wanted::By(other))), _) if is_recent(at) && other == id => return,
            (Some((at, Wanted::By(other))), _) if is_recent(at) && other != id => Wanted::ByGroup,
            (Some((_, Wanted::ByGroup)), _) => {
                self.group_repairs.lost += 1;
                Wanted::By(id)
            }
            (Some((_, Wanted::By(other))), _) if other == id => {
                member.repairs.lost += 1;
                Wanted::By(id)
            }
            _ => Wanted::By(id),
        };
        let is_common = self.members.len() > 1 && self.shared > HALF;
        let Some(state) = self.ring.repair_mut(sequence) else { return };
        state.wanted = if is_common { Wanted::ByGroup } else { before };
        match state.wanted {
            Wanted::ByGroup => self.repairs.push_back(sequence),
            _ => self.queue_for(id, sequence),
        }
    }

    fn queue_for(&mut self, id: ReceiverId, sequence: u64) {
        let Some(member) = self.members.get_mut(id) else { return };
        if member.repairs.waiting.is_empty() {
            self.repair_turns.push_back(id);
            self.repairs_at = 0;
        }
        member.repairs.waiting.push_back(sequence);
    }

    /// What a receiver that goes had asked for is asked for by nobody.
    pub(super) fn forget_repairs(&mut self, id: ReceiverId) {
        let Some(member) = self.members.get_mut(id) else { return };
        for sequence in core::mem::take(&mut member.repairs.waiting) {
            if let Some(state) = self.ring.repair_mut(sequence).filter(|state| state.wanted == Wanted::By(id))
            {
                state.wanted = Wanted::No;
            }
        }
        self.repair_turns.retain(|turn| *turn != id);
    }

    /// The next repair that rate and allowances let go.
    pub(super) fn next_repair(&mut self, now: u64) -> Option<Transmit> {
        if self.tell_trail && now >= self.confirmed_at {
            self.confirm(now);
            return self.outbox.pop().map(Transmit::Control);
        }
        let group = self.next_group_repair(now);
        if group.is_some() || now < self.repairs_at { group } else { self.next_single_repair(now) }
    }

    fn next_group_repair(&mut self, now: u64) -> Option<Transmit> {
        while let Some(sequence) = self.repairs.front().copied() {
            if self.is_wanted(sequence, Wanted::ByGroup) {
                let length = self.ring.get(sequence).len() as u64;
                let can = self.can_repair(length) && self.group_repairs.take(length, self.repair_share, now);
                if !can || !self.may_repair(length) {
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

    /// One receiver's turn after the other; who must wait for its own allowance holds up nobody else.
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
                Turn::SenderWaits(until) => {
                    self.repairs_at = until;
                    return None;
                }
            }
        }
        self.repairs_at = if earliest == u64::MAX { 0 } else { earliest };
        None
    }

    fn repair_for(&mut self, now: u64, id: ReceiverId) -> Turn {
        loop {
            let Some(member) = self.members.get_mut(id) else { return Turn::Over };
            let Some(sequence) = member.repairs.waiting.front().copied() else { return Turn::Over };
            if !self.is_wanted(sequence, Wanted::By(id)) {
                if let Some(member) = self.members.get_mut(id) {
                    member.repairs.waiting.pop_front();
                }
                continue;
            }
            let length = self.ring.get(sequence).len() as u64;
            if !self.can_repair(length) {
                return Turn::SenderWaits(self.repair_time(length));
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
            self.may_repair(length);
            return Turn::Sends(sequence, length);
        }
    }

    fn is_wanted(&self, sequence: u64, by: Wanted) -> bool {
        self.ring.repair(sequence).is_some_and(|state| state.wanted == by)
    }

    /// Whether the allowance of repairs, and the rate of everything, let so many bytes go.
    fn can_repair(&self, length: u64) -> bool {
        self.repair_allowance.has(length) && self.pace.as_ref().is_none_or(|pace| pace.has(length))
    }

    /// Takes them.
    fn may_repair(&mut self, length: u64) -> bool {
        let can = self.can_repair(length);
        if can {
            self.repair_allowance.take(length);
            if let Some(pace) = &mut self.pace {
                pace.take(length);
            }
        }
        can
    }

    /// When so many bytes may go as a repair.
    fn repair_time(&self, length: u64) -> u64 {
        let paced = self.pace.as_ref().map_or(0, |pace| pace.when(length));
        self.repair_allowance.when(length).max(paced)
    }

    /// When the next repair may go, if any waits.
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
            let wanted = core::mem::replace(&mut state.wanted, Wanted::No);
            state.repaired = Some((now, wanted));
        }
        Transmit::Repair { sequence, to }
    }

    /// When repairs must wait, tells the group what is coming, so that nobody asks meanwhile.
    fn confirm_waiting(&mut self, now: u64) -> Option<Transmit> {
        if now < self.confirmed_at || self.members.len() < 2 {
            return None;
        }
        self.confirm(now);
        self.outbox.pop().map(Transmit::Control)
    }

    fn confirm(&mut self, now: u64) {
        self.tell_trail = false;
        let trail = self.ring.trail;
        let trail_message = self.message_at(trail);
        let coming = self.repairs.iter().copied();
        let mut coming: Vec<u64> =
            coming.filter(|sequence| self.is_wanted(*sequence, Wanted::ByGroup)).collect();
        coming.sort_unstable();
        coming.dedup();
        let mut list = NakWriter::new();
        for sequence in coming {
            if !list.add(sequence, 1) {
                break;
            }
        }
        let length = self.push_control(Target::Group, Kind::Ncf, Flags(0), |writer| {
            list.write_ncf(trail, trail_message, writer)
        });
        self.confirmed_at = now + self.spaced(self.round_trip.min(CONFIRM_INTERVAL), length);
    }
}

/// What comes of a receiver's turn.
enum Turn {
    Sends(u64, u64),
    /// Nothing waits for it.
    Over,
    /// It must wait for its own allowance until then.
    Waits(u64),
    /// All must wait until then.
    SenderWaits(u64),
}

impl Member {
    fn adapt_repairs(&mut self, now: u64, floor: u64) {
        let round_trip = self.answer_time();
        self.repairs.adapt(now, round_trip, floor, true);
    }
}
