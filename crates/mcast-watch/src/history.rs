//! What a stream did in each of the latest intervals.

/// What came in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Datagrams.
    pub datagrams: u32,
    /// Bytes of payload.
    pub bytes: u64,
    /// What was found missing, in the stream's own unit.
    pub lost: u32,
}

/// A ring of the latest intervals.
#[derive(Clone, Debug)]
pub(crate) struct History {
    slots: [Slot; Self::LENGTH],
    /// The interval that was last written to.
    newest: u64,
}

impl History {
    /// How many intervals are remembered.
    pub(crate) const LENGTH: usize = 60;

    pub(crate) const fn starting_at(interval: u64) -> Self {
        const NOTHING: Slot = Slot { datagrams: 0, bytes: 0, lost: 0 };
        Self { slots: [NOTHING; Self::LENGTH], newest: interval }
    }

    /// The slot of this interval, to be written to; that of the newest if it is too old to be there.
    pub(crate) fn slot_mut(&mut self, interval: u64) -> &mut Slot {
        let ahead = interval.saturating_sub(self.newest).min(Self::LENGTH as u64);
        for cleared in interval - ahead..interval {
            self.slots[place(cleared + 1)] = Slot::default();
        }
        self.newest = self.newest.max(interval);
        let interval = if self.remembers(interval) { interval } else { self.newest };
        &mut self.slots[place(interval)]
    }

    /// What came in this interval, as far as it is remembered.
    pub(crate) fn slot(&self, interval: u64) -> Slot {
        if self.remembers(interval) { self.slots[place(interval)] } else { Slot::default() }
    }

    /// What came in the intervals before this one, the oldest first; not more than since `first`.
    pub(crate) fn before(&self, interval: u64, first: u64) -> Vec<Slot> {
        let start = interval.saturating_sub(Self::LENGTH as u64 - 1).max(first);
        (start..interval).map(|interval| self.slot(interval)).collect()
    }

    const fn remembers(&self, interval: u64) -> bool {
        interval <= self.newest && self.newest - interval < Self::LENGTH as u64
    }
}

const fn place(interval: u64) -> usize {
    (interval % History::LENGTH as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_counts_where_it_belongs() {
        let mut history = History::starting_at(5);
        history.slot_mut(5).datagrams += 1;
        history.slot_mut(7).datagrams += 1;
        history.slot_mut(6).datagrams += 4;
        let found: Vec<_> = history.before(8, 5).iter().map(|slot| slot.datagrams).collect();
        assert_eq!(found, [1, 4, 1]);
        assert_eq!(history.slot(8), Slot::default());
    }

    #[test]
    fn silence_clears_what_was_there_and_no_more() {
        let mut history = History::starting_at(0);
        for interval in 0..60 {
            history.slot_mut(interval).datagrams = 1;
        }
        history.slot_mut(62).datagrams = 1;
        let sum = |history: &History, until| {
            history.before(until, 0).iter().map(|slot| slot.datagrams).sum::<u32>()
        };
        // 4 to 59 are left of the sixty, and 62 came.
        assert_eq!(
            (sum(&history, 63), history.slot(2), history.slot(61)),
            (57, Slot::default(), Slot::default())
        );
        history.slot_mut(10_000).datagrams = 1;
        assert_eq!(sum(&history, 10_001), 1);
    }

    #[test]
    fn what_is_older_than_all_memory_is_not_lost() {
        let mut history = History::starting_at(100);
        history.slot_mut(1).datagrams += 1;
        assert_eq!(history.slot(100).datagrams, 1);
    }
}
