//! The groups that somebody has left, and that are asked about: does anybody else want them?

use core::time::Duration;

use super::Settings;
use super::asked::SourceList;
use crate::gmp::{Address, Sources};

/// Questions about single groups that are still to be asked, in memory of a fixed size.
#[derive(Clone, Debug)]
pub(super) struct Specific<A, const PENDING: usize> {
    pending: [Option<Pending<A>>; PENDING],
    overflowed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Pending<A> {
    group: A,
    sources: SourceList<A>,
    next: Duration,
    left: u8,
}

impl<A: Address, const PENDING: usize> Specific<A, PENDING> {
    pub(super) const fn new() -> Self {
        Self { pending: [const { None }; PENDING], overflowed: 0 }
    }

    /// Asks about a group from now on; one that is asked about already is not asked about more often
    /// (RFC 2236 section 3), but as a whole, if the sources are others.
    pub(super) fn add(&mut self, now: Duration, group: A, sources: Sources<'_, A>, settings: &Settings) {
        let sources = SourceList::new(sources);
        let known = self.pending.iter_mut().flatten().find(|pending| pending.group == group);
        if let Some(known) = known {
            if known.sources != sources {
                known.sources = SourceList::none();
            }
            return;
        }
        match self.pending.iter_mut().find(|pending| pending.is_none()) {
            Some(free) => *free = Some(Pending { group, sources, next: now, left: settings.robustness() }),
            None => self.overflowed = self.overflowed.saturating_add(1),
        }
    }

    /// The next question that is due.
    pub(super) fn due(&mut self, now: Duration, settings: &Settings) -> Option<(A, SourceList<A>)> {
        let slot = self.pending.iter_mut().find(|slot| slot.is_some_and(|pending| now >= pending.next))?;
        let mut pending = (*slot)?;
        let asked = (pending.group, pending.sources);
        pending.left = pending.left.saturating_sub(1);
        pending.next = now.saturating_add(settings.last_member_query_interval());
        *slot = (pending.left > 0).then_some(pending);
        Some(asked)
    }

    /// When the next question is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.pending.iter().flatten().map(|pending| pending.next).min()
    }

    pub(super) fn clear(&mut self) {
        self.pending = [const { None }; PENDING];
    }

    pub(super) const fn overflowed(&self) -> u64 {
        self.overflowed
    }
}
