//! Repairs: to one receiver while one asks, to the group when several do, within an allowance.

use super::ring::Wanted;
use super::{Sender, SenderEvent, Transmit};
use crate::outbox::Target;
use crate::wire::{Flags, Kind, NakWriter, Ranges, ReceiverId};

/// Who asks again sooner than this after a repair was sent has asked before it came.
const LEAST_HOLDOFF: u64 = 200_000;
/// In a group larger than this, what one misses is sent to all at once if most losses of late were
/// shared: to wait for the second who asks would let many ask.
const LARGE_GROUP: usize = crate::backoff::SMALL_GROUP as usize;
/// Of the share of losses that several have: one half.
pub(super) const HALF: u32 = 500;

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
        let mut left = self.ring.slots();
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
        if let Some((first, end)) = gone {
            self.statistics.unrecoverable += end - first;
            self.tell_trail = true;
            self.tell(SenderEvent::Unrecoverable(id, first, end));
        }
    }

    /// Takes note that a receiver misses a datagram, unless it was just sent again.
    fn want(&mut self, now: u64, sequence: u64, id: ReceiverId) {
        let holdoff = self.round_trip.max(LEAST_HOLDOFF);
        let at_once = self.members.len() > LARGE_GROUP && self.shared > HALF;
        let Some(slot) = self.ring.slot_mut(sequence) else { return };
        if slot.asked_by.is_some_and(|other| other != id) && !slot.is_shared {
            slot.is_shared = true;
            self.shared += (2 * HALF - self.shared) / 4;
        } else if slot.asked_by.is_none() {
            self.shared -= self.shared / 16;
        }
        slot.asked_by = Some(id);
        let recent = slot.repaired.filter(|(at, _)| now.saturating_sub(*at) < holdoff);
        let before = match (recent.map(|(_, wanted)| wanted), slot.wanted) {
            (Some(Wanted::ByGroup), _) | (_, Wanted::ByGroup) => return,
            (Some(Wanted::By(other)), Wanted::No) if other == id => return,
            (Some(other @ Wanted::By(_)), Wanted::No) => other,
            (_, wanted) => wanted,
        };
        slot.wanted = match before {
            Wanted::By(other) if other != id => Wanted::ByGroup,
            _ if at_once => Wanted::ByGroup,
            _ => Wanted::By(id),
        };
        if !slot.queued {
            slot.queued = true;
            self.repairs.push_back(sequence);
        }
    }

    /// The next repair that the allowance lets go.
    pub(super) fn next_repair(&mut self, now: u64) -> Option<Transmit> {
        if self.tell_trail && now >= self.confirmed_at {
            self.confirm(now);
            return self.outbox.pop().map(Transmit::Control);
        }
        while let Some(sequence) = self.repairs.front().copied() {
            let length = self.ring.get(sequence).len() as u64;
            let Some(slot) = self.ring.slot_mut(sequence) else {
                self.repairs.pop_front();
                continue;
            };
            if !self.repair_allowance.take(length) {
                return self.confirm_waiting(now);
            }
            let wanted = core::mem::replace(&mut slot.wanted, Wanted::No);
            slot.queued = false;
            slot.repaired = Some((now, wanted));
            self.repairs.pop_front();
            if let Some(pace) = &mut self.pace {
                pace.take(length);
            }
            return Some(Transmit::Repair { sequence, to: self.repair_to(sequence, wanted, length) });
        }
        None
    }

    fn repair_to(&mut self, sequence: u64, wanted: Wanted, length: u64) -> Target {
        self.ring.mark(sequence, 0, true);
        self.statistics.repair_bytes += length;
        let member = match wanted {
            Wanted::By(id) => self.members.get(id).filter(|member| member.proven),
            _ => None,
        };
        match member {
            Some(member) => {
                self.statistics.single_repairs += 1;
                Target::Address(member.address)
            }
            // Repairs to the group can be aimed at nobody.
            None => {
                self.statistics.group_repairs += 1;
                Target::Group
            }
        }
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
        self.confirmed_at = now + self.round_trip;
        let trail = self.ring.trail;
        let trail_message = self.message_at(trail);
        let mut list = NakWriter::new();
        let last = self.repairs.iter().copied().max().unwrap_or(0);
        let first = self.repairs.iter().copied().min().unwrap_or(1).max(trail);
        for sequence in first..=last {
            let is_coming = |wanted| matches!(wanted, Wanted::ByGroup);
            if self.ring.slot_mut(sequence).is_some_and(|slot| is_coming(slot.wanted))
                && !list.add(sequence, 1)
            {
                break;
            }
        }
        self.push_control(Target::Group, Kind::Ncf, Flags(0), |writer| {
            list.write_ncf(trail, trail_message, writer)
        });
    }
}
