//! What is missing, and when to ask for it.

use alloc::collections::VecDeque;

/// More gaps than this are not told apart.
const MOST: usize = 4096;

/// Datagrams that are missing, all noticed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) noticed: u64,
    /// When to ask for it.
    pub(crate) due: u64,
    /// When it was last asked for, and how often.
    pub(crate) asked: u64,
    pub(crate) tries: u32,
}

/// Gaps, rising. What lies in one may have come nevertheless: who asks must look.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    all: VecDeque<Gap>,
}

impl Gaps {
    pub(crate) const fn new() -> Self {
        Self { all: VecDeque::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn first(&self) -> Option<&Gap> {
        self.all.front()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Gap> {
        self.all.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Gap> {
        self.all.iter_mut()
    }

    pub(crate) fn clear(&mut self) {
        self.all.clear();
    }

    /// When the first is due that is due first.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.all.iter().map(|gap| gap.due).min()
    }

    /// Adds one behind all others.
    pub(crate) fn open(&mut self, first: u64, end: u64, noticed: u64, due: u64) {
        let is_full = self.all.len() == MOST;
        match self.all.back_mut().filter(|_| is_full) {
            Some(last) => last.end = end,
            None => self.all.push_back(Gap { first, end, noticed, due, asked: 0, tries: 0 }),
        }
    }

    /// A datagram came: tells of the gap that it was missing in, if it was.
    pub(crate) fn fill(&mut self, sequence: u64) -> Option<Gap> {
        let index = self.all.partition_point(|gap| gap.end <= sequence);
        let gap = self.all.get_mut(index).filter(|gap| gap.first <= sequence)?;
        let whole = *gap;
        if gap.first + 1 == gap.end {
            self.all.remove(index);
        } else if gap.first == sequence {
            gap.first += 1;
        } else if gap.end == sequence + 1 {
            gap.end -= 1;
        } else if self.all.len() < MOST {
            self.all[index].end = sequence;
            self.all.insert(index + 1, Gap { first: sequence + 1, ..whole });
        }
        Some(whole)
    }

    /// A datagram that had come is missing again.
    pub(crate) fn reopen(&mut self, sequence: u64, noticed: u64, due: u64) {
        let index = self.all.partition_point(|gap| gap.end <= sequence);
        if self.all.len() < MOST && self.all.get(index).is_none_or(|gap| gap.first > sequence) {
            self.all
                .insert(index, Gap { first: sequence, end: sequence + 1, noticed, due, asked: 0, tries: 0 });
        }
    }

    /// Forgets what lies before a datagram.
    pub(crate) fn trim(&mut self, base: u64) {
        while self.all.front().is_some_and(|gap| gap.end <= base) {
            self.all.pop_front();
        }
        if let Some(gap) = self.all.front_mut() {
            gap.first = gap.first.max(base);
        }
    }

    /// A repair came of what was asked for then: what was asked for before it is due again by this time. Says whether
    /// there is such.
    pub(crate) fn overtaken(&mut self, asked: u64, sequence: u64, due: u64) -> bool {
        let mut some = false;
        for gap in &mut self.all {
            let is_before = gap.asked < asked || gap.asked == asked && gap.end <= sequence;
            if gap.tries > 0 && is_before && gap.due > due && gap.due != u64::MAX {
                gap.due = due;
                some = true;
            }
        }
        some
    }

    /// Asks for what lies in a range no sooner than this.
    pub(crate) fn postpone(&mut self, first: u64, end: u64, until: u64) {
        let index = self.all.partition_point(|gap| gap.end <= first);
        for gap in self.all.iter_mut().skip(index).take_while(|gap| gap.first < end) {
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
        fn gaps_hold_what_has_not_come(
            lengths in prop::collection::vec((1_u64..20, 1_u64..5), 1..30),
            come in prop::collection::vec(0_u64..600, 0..300),
            base in 0_u64..300,
        ) {
            let (mut gaps, mut missing, mut at) = (Gaps::default(), BTreeSet::new(), 0);
            for (length, skip) in lengths {
                gaps.open(at, at + length, at, 0);
                missing.extend(at..at + length);
                at += length + skip;
            }
            for sequence in come {
                prop_assert_eq!(gaps.fill(sequence).is_some(), missing.remove(&sequence));
            }
            gaps.trim(base);
            missing.retain(|sequence| *sequence >= base);
            let held: BTreeSet<u64> = gaps.all.iter().flat_map(|gap| gap.first..gap.end).collect();
            prop_assert_eq!(held, missing);
        }
    }
}
