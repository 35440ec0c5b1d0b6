//! The queues of repairs, as far as parity answers requests.

use core::time::Duration;

use crate::ClockTime;
use crate::publisher::members::Members;
use crate::publisher::repair_scheduler::RepairScheduler;
use crate::publisher::ring::{RepairTarget, Ring};
use crate::wire::{Sequence, SubscriberId};

impl RepairScheduler {
    /// Queues parity of a block for the group, because a subscriber needs this number of symbols. They wait in the queues of all who
    /// need them: the link of one may be slow.
    pub(super) fn request_parity(
        &mut self,
        base: Sequence,
        length: u64,
        symbols: u8,
        id: SubscriberId,
        members: &mut Members,
    ) {
        let Some(member) = members.get_mut(id).filter(|_| symbols > 0) else { return };
        if member.repairs.is_idle() {
            self.turns.push_back(id);
            self.wake();
        }
        let queued = member.repairs.parity.iter().filter(|(known, _)| *known == base).count();
        member.repairs.parity.extend((queued..usize::from(symbols)).map(|_| (base, length)));
    }

    /// Returns whether a repair that serves a subscriber waits, or was sent less than `holdoff` ago.
    pub(super) fn is_coming(
        &self,
        now: ClockTime,
        sequence: Sequence,
        id: SubscriberId,
        holdoff: Duration,
        ring: &Ring,
    ) -> bool {
        let serves = |target| target == RepairTarget::Group || target == RepairTarget::Subscriber(id);
        ring.repair(sequence).is_some_and(|state| {
            state.pending.is_some_and(serves)
                || state.repaired.is_some_and(|(at, target)| serves(target) && now.since(at) < holdoff)
        })
    }
}
