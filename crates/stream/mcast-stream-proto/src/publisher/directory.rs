//! The subscribers that repair for others, as heartbeats list them.

use super::PublisherMachine;
use super::members::{Member, Role};
use crate::ClockTime;
use crate::random::Random;
use crate::times::publisher::LIST_INTERVAL;
use crate::wire::{ListedRepairer, RepairerList, Status, SubscriberId};

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
        if now < self.scheduler.directory.list_at || self.scheduler.heartbeats.is_requested {
            return list;
        }
        self.scheduler.directory.list_at = now + LIST_INTERVAL;
        let recent = self.subscribers.recent();
        let is_listed = |member: &Member| {
            member.repairs_for_others
                && member.role == Role::Awaited
                && now.since(member.last_heard) <= recent
        };
        let repairers = self.subscribers.members.iter().filter(|(_, member)| is_listed(member));
        for (found, (id, member)) in repairers.enumerate() {
            let entry = entry(id, member);
            if !list.add(entry) {
                // Each of those found so far is listed with the same probability.
                let at = self.scheduler.directory.random.index(found + 1);
                list.replace(at, entry);
            }
        }
        list
    }
}

const fn entry(id: SubscriberId, member: &Member) -> ListedRepairer {
    ListedRepairer { tag: ListedRepairer::tag_of(id), address: member.address }
}
