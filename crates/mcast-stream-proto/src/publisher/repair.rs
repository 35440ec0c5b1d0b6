//! Repairs: to one subscriber if only it requests a datagram, to the group if several do, within an allowance.

use super::repair_scheduler::{GroupTurn, Repair};
use super::{PublisherEvent, PublisherMachine, Transmit};
use crate::SECOND;
use crate::outbox::Target;
use crate::wire::{Flags, Kind, NakWriter, Ranges, SubscriberId};

/// The longest time between two confirmations.
const CONFIRM_INTERVAL: u64 = SECOND / 100;

/// When to confirm to the group which repairs are coming and what is retained.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConfirmationSchedule {
    /// Whether a subscriber requested what is no longer retained.
    is_wanted: bool,
    /// The earliest time of the next confirmation.
    at: u64,
}

impl ConfirmationSchedule {
    pub(super) const fn new(now: u64) -> Self {
        Self { is_wanted: false, at: now }
    }

    /// Returns when a confirmation that is wanted is due; [`u64::MAX`] if none is wanted.
    pub(super) const fn deadline(&self) -> u64 {
        if self.is_wanted { self.at } else { u64::MAX }
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
                self.repairs.request(now, sequence, id, &mut self.members, &mut self.ring);
            }
        }
        self.repairs.adapt(now, id, &mut self.members, self.round_trip);
        if let Some((first, end)) = unrecoverable {
            self.statistics.unrecoverable += end - first;
            self.confirmations.is_wanted = true;
            self.events.push(PublisherEvent::Unrecoverable(id, first, end));
        }
    }

    /// Returns the next repair that the rate and the allowances admit.
    pub(super) fn next_repair(&mut self, now: u64) -> Option<Transmit> {
        if now >= self.confirmations.deadline() {
            return self.confirm(now);
        }
        match self.repairs.next_for_group(now, &self.ring, &mut self.pacer) {
            GroupTurn::Sends(repair) => {
                self.statistics.group_repairs += 1;
                return Some(self.repair(now, repair, Target::Group));
            }
            // Others must not request meanwhile what is queued for the group.
            GroupTurn::Waits if now >= self.confirmations.at && self.members.len() > 1 => {
                if let Some(confirmation) = self.confirm(now) {
                    return Some(confirmation);
                }
            }
            GroupTurn::Waits | GroupTurn::Over => {}
        }
        let Self { members, ring, pacer, .. } = self;
        let (id, repair) = self.repairs.next_for_subscriber(now, members, ring, pacer)?;
        let address = self.members.get(id)?.address;
        self.statistics.single_repairs += 1;
        Some(self.repair(now, repair, Target::Address(address)))
    }

    fn repair(&mut self, now: u64, Repair { sequence, length }: Repair, to: Target) -> Transmit {
        self.ring.mark(sequence, 0, true);
        self.statistics.repair_bytes += length;
        if let Some(state) = self.ring.repair_mut(sequence) {
            state.repaired = state.pending.take().map(|target| (now, target));
        }
        Transmit::Repair { sequence, to }
    }

    /// Confirms to the group which repairs are coming, so that subscribers do not request them meanwhile, and what is
    /// retained.
    fn confirm(&mut self, now: u64) -> Option<Transmit> {
        self.confirmations.is_wanted = false;
        let oldest = self.ring.oldest_retained;
        let oldest_message = self.message_at(oldest);
        let mut list = NakWriter::new();
        for sequence in self.repairs.coming(&self.ring) {
            if !list.add(sequence, 1) {
                break;
            }
        }
        let length = self.push_control(Target::Group, Kind::Ncf, Flags(0), |writer| {
            list.write_ncf(oldest, oldest_message, writer)
        });
        self.confirmations.at = now + self.round_trip.min(CONFIRM_INTERVAL).max(self.pacer.spacing(length));
        self.outbox.pop().map(Transmit::Control)
    }
}
