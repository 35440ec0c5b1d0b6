//! Ranges of missing datagrams or messages, and when to request each.

use crate::ClockTime;
use alloc::collections::VecDeque;
use core::ops::{Add, Range};

/// Beyond this number, new gaps are merged into the last one.
const MAX_GAPS: usize = 4096;

/// A range of missing datagrams, or messages, that were noticed at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap<N> {
    /// The first missing datagram.
    pub first: N,
    /// One past the last.
    pub end: N,
    /// When it was noticed.
    pub noticed: ClockTime,
    /// When to request it.
    pub due: ClockTime,
    /// When it was last requested of the publisher.
    pub asked: ClockTime,
    /// How often it was requested of the publisher.
    pub tries: u32,
    /// When it was requested of a repairer, if it was. That comes before all requests of the publisher.
    pub asked_repairer: Option<ClockTime>,
}

impl<N> Gap<N> {
    const fn new(Range { start: first, end }: Range<N>, noticed: ClockTime, due: ClockTime) -> Self
    where
        N: Copy,
    {
        Self { first, end, noticed, due, asked: ClockTime(0), tries: 0, asked_repairer: None }
    }

    /// Returns whether it was never requested.
    #[must_use]
    pub const fn is_unrequested(&self) -> bool {
        self.tries == 0 && self.asked_repairer.is_none()
    }
}

/// Gaps in ascending order. Datagrams inside a gap may have arrived: check the window before requesting them.
#[derive(Debug, Default)]
pub struct Gaps<N> {
    all: VecDeque<Gap<N>>,
}

impl<N: Copy + Ord + Add<u64, Output = N>> Gaps<N> {
    /// Returns no gaps.
    #[must_use]
    pub const fn new() -> Self {
        Self { all: VecDeque::new() }
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns the first gap.
    #[must_use]
    pub fn first(&self) -> Option<&Gap<N>> {
        self.all.front()
    }

    /// Returns all gaps in order.
    pub fn iter(&self) -> impl Iterator<Item = &Gap<N>> {
        self.all.iter()
    }

    /// Returns all gaps in order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Gap<N>> {
        self.all.iter_mut()
    }

    /// Removes all gaps.
    pub fn clear(&mut self) {
        self.all.clear();
    }

    /// The earliest time at which one is due.
    #[must_use]
    pub fn next_due(&self) -> Option<ClockTime> {
        self.all.iter().map(|gap| gap.due).min()
    }

    /// Adds a gap after all others: `missing` was noticed, and must be requested, at these times.
    pub fn open(&mut self, missing: Range<N>, noticed: ClockTime, due: ClockTime) {
        debug_assert!(missing.start < missing.end, "an empty gap");
        debug_assert!(self.all.back().is_none_or(|last| last.end <= missing.start), "gaps out of order");
        let is_full = self.all.len() == MAX_GAPS;
        match self.all.back_mut().filter(|_| is_full) {
            Some(last) => last.end = missing.end,
            None => self.all.push_back(Gap::new(missing, noticed, due)),
        }
    }

    /// Removes a datagram that arrived; returns the gap that it was missing in, if any.
    pub fn fill(&mut self, sequence: N) -> Option<Gap<N>> {
        let index = self.all.partition_point(|gap| gap.end <= sequence);
        let gap = self.all.get_mut(index).filter(|gap| gap.first <= sequence)?;
        let whole = *gap;
        if gap.first + 1 == gap.end {
            self.all.remove(index);
        } else if gap.first == sequence {
            gap.first = gap.first + 1;
        } else if gap.end == sequence + 1 {
            gap.end = sequence;
        } else if self.all.len() < MAX_GAPS {
            self.all[index].end = sequence;
            self.all.insert(index + 1, Gap { first: sequence + 1, ..whole });
        }
        debug_assert!(self.all.len() <= MAX_GAPS, "more gaps than are remembered");
        Some(whole)
    }

    /// Returns the gap in which a datagram is missing.
    #[must_use]
    pub fn find(&self, sequence: N) -> Option<&Gap<N>> {
        let index = self.all.partition_point(|gap| gap.end <= sequence);
        self.all.get(index).filter(|gap| gap.first <= sequence)
    }

    /// Adds a datagram that had arrived and was discarded.
    pub fn reopen(&mut self, sequence: N, noticed: ClockTime, due: ClockTime) {
        let index = self.all.partition_point(|gap| gap.end <= sequence);
        if self.all.len() < MAX_GAPS && self.all.get(index).is_none_or(|gap| gap.first > sequence) {
            self.all.insert(index, Gap::new(sequence..sequence + 1, noticed, due));
        }
    }

    /// Removes everything before `base`.
    pub fn trim(&mut self, base: N) {
        while self.all.front().is_some_and(|gap| gap.end <= base) {
            self.all.pop_front();
        }
        if let Some(gap) = self.all.front_mut() {
            gap.first = gap.first.max(base);
            debug_assert!(gap.first < gap.end, "an empty gap");
        }
    }

    /// Notes a repair of a gap that was requested at `asked`: gaps that were requested of the same party before it are due
    /// again by `due`. `asked_of` returns when a gap was last requested, if it was requested of that party. Returns whether
    /// there are any.
    pub fn overtaken(
        &mut self,
        asked: ClockTime,
        sequence: N,
        due: ClockTime,
        asked_of: impl Fn(&Gap<N>) -> Option<ClockTime>,
    ) -> bool {
        let mut some = false;
        for gap in &mut self.all {
            let is_before = |at: ClockTime| at < asked || at == asked && gap.end <= sequence;
            if asked_of(gap).is_some_and(is_before) && gap.due > due && gap.due != ClockTime::NEVER {
                gap.due = due;
                some = true;
            }
        }
        some
    }

    /// Postpones the requests for a range until this time.
    pub fn postpone(&mut self, range: Range<N>, until: ClockTime) {
        let index = self.all.partition_point(|gap| gap.end <= range.start);
        for gap in self.all.iter_mut().skip(index).take_while(|gap| gap.first < range.end) {
            gap.due = gap.due.max(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn gaps_are_the_datagrams_that_did_not_arrive(
            lengths in prop::collection::vec((1_u64..20, 1_u64..5), 1..30),
            arrivals in prop::collection::vec(0_u64..600, 0..300),
            base in 0_u64..300,
        ) {
            let (mut gaps, mut missing, mut at) = (Gaps::default(), BTreeSet::new(), 0);
            for (length, skip) in lengths {
                gaps.open(at..at + length, ClockTime(at), ClockTime(0));
                missing.extend(at..at + length);
                at += length + skip;
            }
            for sequence in arrivals {
                prop_assert_eq!(gaps.fill(sequence).is_some(), missing.remove(&sequence));
            }
            gaps.trim(base);
            missing.retain(|sequence| *sequence >= base);
            let left: BTreeSet<u64> = gaps.all.iter().flat_map(|gap| gap.first..gap.end).collect();
            prop_assert_eq!(left, missing);
        }
    }
}
