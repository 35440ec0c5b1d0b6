//! The repairs that one subscriber requests: their queue and their rate.

use alloc::collections::{BTreeSet, VecDeque};

use super::auto_rate::{RepairCredit, SentRepairs};
use super::pacing::RepairPace;
use crate::ClockTime;
use crate::wire::Sequence;

/// The repairs to the group.
#[derive(Debug)]
pub(super) struct GroupRepairs {
    pub(super) pace: RepairPace,
    pub(super) sent: SentRepairs,
}

/// The repairs that one subscriber requests.
#[derive(Debug)]
pub(crate) struct RepairFlow {
    /// The datagrams to repair. Those that were repaired meanwhile for others are still in it.
    pub(super) waiting: VecDeque<Sequence>,
    /// The blocks of which parity must be sent, once for each symbol, and the length of its datagram.
    pub(super) parity: VecDeque<(Sequence, u64)>,
    pub(super) pace: RepairPace,
    pub(super) credit: RepairCredit,
}

impl RepairFlow {
    pub(super) fn new(floor: u64, datagram: usize, sent: &SentRepairs, now: ClockTime) -> Self {
        Self {
            waiting: VecDeque::new(),
            parity: VecDeque::new(),
            pace: RepairPace::new(floor, now),
            credit: RepairCredit::new(datagram, sent, now),
        }
    }

    /// Returns whether nothing is queued.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.parity.is_empty()
    }

    /// Queues a repair of one of at most `retained` datagrams.
    pub(super) fn push(&mut self, sequence: Sequence, retained: u64) {
        if self.waiting.len() as u64 >= 2 * retained {
            // A datagram that was repaired for others and requested again is in it several times.
            self.waiting = self.waiting.drain(..).collect::<BTreeSet<Sequence>>().into_iter().collect();
        }
        self.waiting.push_back(sequence);
    }

    /// Takes a repair of this many bytes to this subscriber, or to the group, from its allowances, to which new data
    /// has added `share` in all. `subscribers` is the number of subscribers.
    ///
    /// # Errors
    /// The time at which it will be admitted, if it is not.
    pub(super) fn take(
        &mut self,
        bytes: u64,
        group: &mut GroupRepairs,
        is_for_group: bool,
        share: u64,
        now: ClockTime,
        subscribers: u64,
    ) -> Result<(), ClockTime> {
        // Credit first: a subscriber that has none does not count as held back by the rate.
        self.credit.admit(bytes, now, subscribers, &mut self.pace)?;
        let pace = if is_for_group { &mut group.pace } else { &mut self.pace };
        if !pace.admits(bytes, share, now) {
            return Err(ClockTime(pace.bucket.available_at(bytes)));
        }
        pace.bucket.take(bytes);
        self.credit.record_sent(now, bytes, is_for_group, &mut group.sent);
        Ok(())
    }
}
