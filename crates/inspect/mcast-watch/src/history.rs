//! Per-interval counts of a stream over the most recent intervals.

/// Counts of one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IntervalCounts {
    /// Datagrams.
    pub datagrams: u32,
    /// Bytes of payload.
    pub bytes: u64,
    /// Newly missing sequence numbers, in the unit of its sequence numbers ([`Unit`](crate::Unit)).
    pub lost: u32,
}

/// A ring buffer of the most recent intervals.
#[derive(Clone, Debug)]
pub(crate) struct History {
    slots: [IntervalCounts; Self::LENGTH],
    /// The latest interval written to.
    newest: u64,
}

impl History {
    /// Number of intervals retained.
    pub(crate) const LENGTH: usize = 60;

    pub(crate) const fn starting_at(interval: u64) -> Self {
        const EMPTY: IntervalCounts = IntervalCounts { datagrams: 0, bytes: 0, lost: 0 };
        Self { slots: [EMPTY; Self::LENGTH], newest: interval }
    }

    /// Returns the counts of `interval` for writing, or those of the newest interval if it is too old to be
    /// retained.
    pub(crate) fn slot_mut(&mut self, interval: u64) -> &mut IntervalCounts {
        let ahead = interval.saturating_sub(self.newest).min(Self::LENGTH as u64);
        for skipped in interval - ahead..interval {
            self.slots[index_of(skipped + 1)] = IntervalCounts::default();
        }
        self.newest = self.newest.max(interval);
        let interval = if self.retains(interval) { interval } else { self.newest };
        &mut self.slots[index_of(interval)]
    }

    /// Returns the counts of `interval`; zero if it is not retained.
    pub(crate) fn slot(&self, interval: u64) -> IntervalCounts {
        if self.retains(interval) { self.slots[index_of(interval)] } else { IntervalCounts::default() }
    }

    /// Returns the counts of the retained intervals before `interval`, from `first` at the earliest, oldest
    /// first.
    pub(crate) fn before(&self, interval: u64, first: u64) -> Vec<IntervalCounts> {
        let start = interval.saturating_sub(Self::LENGTH as u64 - 1).max(first);
        (start..interval).map(|interval| self.slot(interval)).collect()
    }

    const fn retains(&self, interval: u64) -> bool {
        interval <= self.newest && self.newest - interval < Self::LENGTH as u64
    }
}

const fn index_of(interval: u64) -> usize {
    (interval % History::LENGTH as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_datagrams_count_in_their_own_interval() {
        let mut history = History::starting_at(5);
        history.slot_mut(5).datagrams += 1;
        history.slot_mut(7).datagrams += 1;
        history.slot_mut(6).datagrams += 4;
        let counts: Vec<_> = history.before(8, 5).iter().map(|slot| slot.datagrams).collect();
        assert_eq!(counts, [1, 4, 1]);
        assert_eq!(history.slot(8), IntervalCounts::default());
    }

    #[test]
    fn silence_clears_only_expired_intervals() {
        let mut history = History::starting_at(0);
        for interval in 0..60 {
            history.slot_mut(interval).datagrams = 1;
        }
        history.slot_mut(62).datagrams = 1;
        let sum = |history: &History, until| {
            history.before(until, 0).iter().map(|slot| slot.datagrams).sum::<u32>()
        };
        // Of the first sixty, intervals 4 to 59 remain; 62 is new.
        assert_eq!(
            (sum(&history, 63), history.slot(2), history.slot(61)),
            (57, IntervalCounts::default(), IntervalCounts::default())
        );
        history.slot_mut(10_000).datagrams = 1;
        assert_eq!(sum(&history, 10_001), 1);
    }

    #[test]
    fn datagrams_older_than_the_history_count_in_the_newest_interval() {
        let mut history = History::starting_at(100);
        history.slot_mut(1).datagrams += 1;
        assert_eq!(history.slot(100).datagrams, 1);
    }
}
