//! Repairs: to one subscriber if only it requests a datagram, to the group if several do, within an allowance; and the
//! subscribers that repair for others, which heartbeats list.

use alloc::vec::Vec;

use super::members::{Member, Role};
use super::repair_scheduler::Repair;
use super::ring::RepairTarget;
use super::signing::{CONFIRMATION_INTERVAL, CONFIRMED_ENTRIES};
use super::{PublisherEvent, PublisherMachine, Transmit};
use crate::outbox::Target;
use crate::random::Random;
use crate::wire::{
    Flags, Kind, ListedRepairer, NakWriter, Ranges, RepairerList, Sequence, Status, SubscriberId,
};
use crate::{ClockTime, Nanos};

/// The shortest time between two confirmations is a round trip, but at most this.
const CONFIRM_INTERVAL: Nanos = Nanos::from_millis(10);
/// While repairs wait, confirmations use at most one part in this many of the bytes of repairs, except for one in
/// `MAX_CONFIRM_INTERVAL`: a slow link must not be filled with them.
const CONFIRM_SHARE: u64 = 16;
const MAX_CONFIRM_INTERVAL: Nanos = Nanos::from_millis(500);

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
    fn is_due_while_waiting(&self, now: ClockTime, repair_bytes: u64) -> bool {
        now >= self.at && (now >= self.late_at || repair_bytes >= self.repair_bytes)
    }

    /// Notes that one of this length was sent.
    fn record_sent(&mut self, now: ClockTime, interval: Nanos, length: u64, repair_bytes: u64) {
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
        self.statistics.naks += 1;
        if !self.members.get_mut(id).is_some_and(|member| member.may_nak(now)) {
            self.statistics.naks_refused += 1;
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
                let base = self.parity.block_of(sequence);
                if let Some((former, requested)) = block.take_if(|(known, _)| base != Some(*known)) {
                    self.repair_block(now, id, former, &requested);
                }
                match base {
                    Some(base) => block.get_or_insert((base, Vec::new())).1.push(sequence),
                    None => self.repairs.request(now, sequence, id, &mut self.members, &mut self.ring),
                }
            }
        }
        if let Some((base, requested)) = block {
            self.repair_block(now, id, base, &requested);
        }
        if let Some((first, end)) = unrecoverable {
            self.statistics.unrecoverable += end - first;
            self.confirmations.is_wanted = true;
            self.events.push(PublisherEvent::Unrecoverable(id, first, end));
        }
    }

    /// Returns the next repair that the rate and the allowances admit.
    pub(super) fn next_repair(&mut self, now: ClockTime) -> Option<Transmit> {
        if now >= self.confirmations.deadline() {
            return self.confirm(now);
        }
        let Self { members, ring, parity, pacer, .. } = self;
        if let Some(repair) = self.repairs.next(now, members, ring, parity, pacer) {
            return match repair.is_parity {
                true => self.repair_with_parity(now, repair),
                false => self.repair(now, repair),
            };
        }
        // Others must not request meanwhile what is queued for the group.
        let waits = self.repairs.next_time() != ClockTime::NEVER && self.members.len() > 1;
        let is_due = self.confirmations.is_due_while_waiting(now, self.statistics.repair_bytes);
        if !waits || !is_due {
            return None;
        }
        if self.repairs.coming(&self.members, &self.ring).is_empty() {
            self.confirmations.at = now + CONFIRM_INTERVAL;
            return None;
        }
        self.confirm(now)
    }

    fn repair(
        &mut self,
        now: ClockTime,
        Repair { sequence, length, target, .. }: Repair,
    ) -> Option<Transmit> {
        let to = match target {
            RepairTarget::Group => {
                self.statistics.group_repairs += 1;
                Target::Group
            }
            RepairTarget::Subscriber(id) => {
                let Some(member) = self.members.get(id) else {
                    impossible!(self, "a repair for a subscriber that is gone");
                    return None;
                };
                let address = member.address;
                self.statistics.single_repairs += 1;
                Target::Address(address)
            }
        };
        debug_assert!(length > 0 && sequence < self.ring.sent, "a repair of what was never sent");
        self.ring.mark(sequence, 0, true);
        self.statistics.repair_bytes += length;
        self.heartbeats.record_repair(now);
        if let Some(state) = self.ring.repair_mut(sequence) {
            state.repaired = state.pending.take().map(|target| (now, target));
        }
        Some(Transmit::Repair { sequence, to })
    }

    /// Confirms to the group which repairs are coming, so that subscribers do not request them meanwhile, and what is
    /// retained.
    fn confirm(&mut self, now: ClockTime) -> Option<Transmit> {
        let oldest = self.ring.oldest_retained;
        let oldest_message = self.message_at(oldest);
        let mut list = NakWriter::new();
        let (most, least_interval) = match &self.signing {
            Some(_) => (CONFIRMED_ENTRIES, CONFIRMATION_INTERVAL),
            None => (usize::MAX, Nanos::ZERO),
        };
        for sequence in self.repairs.coming(&self.members, &self.ring) {
            if list.len() >= most || !list.add(sequence, 1) {
                break;
            }
        }
        let length = self.push_control(Target::Group, Kind::Ncf, Flags(0), |writer| {
            list.write_ncf(oldest, oldest_message, writer)
        });
        let interval =
            self.round_trip.min(CONFIRM_INTERVAL).max(self.pacer.spacing(length)).max(least_interval);
        self.confirmations.record_sent(now, interval, length, self.statistics.repair_bytes);
        self.outbox.pop().map(Transmit::Control)
    }
}

/// Heartbeats list repairers at most this often: subscribers that lose nothing need none.
const LIST_INTERVAL: Nanos = Nanos::from_millis(250);
/// A subscriber that has been silent for longer, and for several status intervals, is not listed, and its address counts as
/// unproven.
const RECENT: Nanos = Nanos::from_secs(3);
const RECENT_STATUSES: u64 = 3;

/// The schedule of the lists.
#[derive(Debug)]
pub(super) struct RepairerDirectory {
    random: Random,
    list_at: ClockTime,
}

impl RepairerDirectory {
    pub(super) const fn new(seed: u64, now: ClockTime) -> Self {
        Self { random: Random::new(seed), list_at: now }
    }
}

/// Whether a subscriber with this status repairs for others, and receives what is being sent.
pub(super) const fn can_repair(status: &Status) -> bool {
    const NEITHER: u32 = Status::LEAVING | Status::PASSIVE | Status::CATCHING_UP | Status::ENDED;
    status.flags & (Status::REPAIRS | NEITHER) == Status::REPAIRS
}

impl PublisherMachine {
    /// Returns the repairers that the next heartbeat lists: some of them at random, so that others are listed each time.
    ///
    /// A heartbeat that an unproven address has requested lists none: it would be longer than what was paid for.
    pub(super) fn repairers_to_list(&mut self, now: ClockTime) -> RepairerList {
        let mut list = RepairerList::default();
        if now < self.directory.list_at || self.heartbeats.is_requested() {
            return list;
        }
        self.directory.list_at = now + LIST_INTERVAL;
        let recent = self.recent();
        let is_listed = |member: &Member| {
            member.repairs_for_others
                && member.role == Role::Awaited
                && now.since(member.last_heard) <= recent
        };
        let repairers = self.members.iter().filter(|(_, member)| is_listed(member));
        for (found, (id, member)) in repairers.enumerate() {
            let entry = entry(id, member);
            if !list.add(entry) {
                // Each of those found so far is listed with the same probability.
                let at = self.directory.random.index(found + 1);
                list.replace(at, entry);
            }
        }
        list
    }

    /// Returns for how long a subscriber that is silent counts as reached at the address that it has proven.
    pub(super) fn recent(&self) -> Nanos {
        RECENT.max(RECENT_STATUSES * self.status_interval())
    }
}

const fn entry(id: SubscriberId, member: &Member) -> ListedRepairer {
    ListedRepairer { tag: ListedRepairer::tag_of(id), address: member.address }
}
