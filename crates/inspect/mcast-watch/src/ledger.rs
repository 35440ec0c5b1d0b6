//! Loss accounting for a protocol with 64-bit sequence numbers that marks retransmissions.
//!
//! A repair may arrive thousands of datagrams after the one it repairs, and must still be distinguished from a
//! duplicate.

use mcast_measure::{LossCounter, SequenceOrder};

/// Sequence information about a datagram, supplied by a caller that knows its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceInfo {
    /// The stream that the datagram belongs to.
    pub identity: StreamIdentity,
    /// Its sequence number; `None` for datagrams that are not numbered consecutively.
    pub number: Option<u64>,
    /// Whether it is a retransmission.
    pub repair: bool,
    /// If set, all numbers below this one have been sent.
    pub end: Option<u64>,
}

/// The identity of a stream as its datagrams state it, independent of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamIdentity {
    /// The stream id.
    pub stream: u64,
    /// The publisher's incarnation, which grows with each restart.
    pub incarnation: u32,
    /// Whether the contents are sealed and cannot be read without the key.
    pub sealed: bool,
}

/// Counts kept by a [`Ledger`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) received: u64,
    pub(crate) missing: u64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
    pub(crate) repairs: u64,
    pub(crate) restarts: u64,
}

/// The sequence numbers of a stream across all incarnations of its publisher.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    incarnation: u32,
    counter: LossCounter,
    /// The numbers of `counter` that arrived late as repairs, and those that were repaired without need.
    late_repairs: u64,
    duplicate_repairs: u64,
    repairs: u64,
    /// Counts of earlier incarnations.
    earlier: Counts,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            incarnation: 0,
            counter: LossCounter::of_session(),
            late_repairs: 0,
            duplicate_repairs: 0,
            repairs: 0,
            earlier: Counts::default(),
        }
    }

    pub(crate) fn observe(&mut self, info: &SequenceInfo) {
        let incarnation = info.identity.incarnation;
        let has_started = self.counter.next().is_some();
        if has_started && incarnation < self.incarnation {
            // From an earlier incarnation; subscribers drop it as well.
            return;
        }
        if has_started && incarnation > self.incarnation {
            let sums = self.sums();
            *self = Self { earlier: Counts { restarts: sums.restarts + 1, ..sums }, ..Self::new() };
        }
        self.incarnation = incarnation;
        if let Some(number) = info.number {
            self.count(number, info.repair);
        }
        if let Some(end) = info.end {
            self.counter.reach(end);
        }
    }

    pub(crate) const fn sums(&self) -> Counts {
        let (now, earlier) = (self.counter.counts(), self.earlier);
        let duplicates = now.duplicates - self.duplicate_repairs;
        Counts {
            received: earlier.received + now.received + duplicates,
            missing: earlier.missing + now.missing,
            duplicates: earlier.duplicates + duplicates,
            reordered: earlier.reordered + now.reordered - self.late_repairs,
            repairs: earlier.repairs + self.repairs,
            restarts: earlier.restarts + now.restarts,
        }
    }

    fn count(&mut self, number: u64, is_repair: bool) {
        self.repairs += u64::from(is_repair);
        // A repair for others, of what was sent before observation began.
        if self.counter.first().is_some_and(|first| number < first) {
            return;
        }
        match self.counter.record(number) {
            SequenceOrder::Late => self.late_repairs += u64::from(is_repair),
            SequenceOrder::Duplicate => self.duplicate_repairs += u64::from(is_repair),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn info(number: u64, repair: bool) -> SequenceInfo {
        let identity = StreamIdentity { stream: 1, incarnation: 1, sealed: false };
        SequenceInfo { identity, number: Some(number), repair, end: None }
    }

    fn end(number: u64) -> SequenceInfo {
        SequenceInfo { number: None, end: Some(number), ..info(0, false) }
    }

    fn after(all: impl IntoIterator<Item = SequenceInfo>) -> Counts {
        let mut ledger = Ledger::new();
        all.into_iter().for_each(|info| ledger.observe(&info));
        ledger.sums()
    }

    #[test]
    fn late_repair_is_neither_duplicate_nor_reordered() {
        let all = (1..=5_000).filter(|n| *n != 7).map(|n| info(n, false));
        let sums = after(all.chain([info(7, true), info(8, true), info(9, false)]));
        let expected = Counts { received: 5_001, duplicates: 1, repairs: 2, ..Counts::default() };
        assert_eq!(sums, expected);
    }

    #[test]
    fn late_original_counts_as_reordered() {
        let sums = after([1, 2, 5, 4, 3, 6].map(|n| info(n, false)));
        assert_eq!(sums, Counts { received: 6, reordered: 2, ..Counts::default() });
    }

    #[test]
    fn loss_at_the_end_is_detected_from_the_announced_end() {
        let sums = after([info(10, false), info(11, false), end(15), info(13, true)]);
        assert_eq!(sums, Counts { received: 3, missing: 2, repairs: 1, ..Counts::default() });
        assert_eq!(after([end(100), info(100, false)]), Counts { received: 1, ..Counts::default() });
    }

    #[test]
    fn numbers_sent_before_observation_are_ignored() {
        let sums = after([info(50, false), info(20, true), info(30, false), info(51, false)]);
        assert_eq!(sums, Counts { received: 2, repairs: 1, ..Counts::default() });
    }

    #[test]
    fn new_incarnation_resets_numbers_and_old_ones_are_ignored() {
        let life = |incarnation, number| {
            let info = info(number, false);
            SequenceInfo { identity: StreamIdentity { incarnation, ..info.identity }, ..info }
        };
        let sums = after([life(1, 1), life(1, 3), life(2, 1), life(1, 4), life(2, 2)]);
        assert_eq!(sums, Counts { received: 4, missing: 1, restarts: 1, ..Counts::default() });
    }

    #[test]
    fn forged_numbers_do_not_change_the_counts() {
        let sums = after([1, 2, u64::MAX, 3, u64::MAX - 7, 4, 1 << 40].map(|n| info(n, false)));
        assert_eq!(sums, Counts { received: 4, ..Counts::default() });
        let sums = after([1, 2, 1 << 40, (1 << 40) + 1, (1 << 40) + 2].map(|n| info(n, false)));
        assert_eq!(sums, Counts { received: 5, restarts: 1, ..Counts::default() });
        after([info(u64::MAX, false), info(u64::MAX, true), end(u64::MAX), end(0), info(0, false)]);
    }

    #[test]
    fn missing_numbers_of_discarded_gaps_stay_counted() {
        let every_other = (0..1_000).map(|n| info(1 + 2 * n, false));
        let sums = after(every_other.chain([info(2, true), info(1_998, true)]));
        assert_eq!(sums, Counts { received: 1_001, missing: 998, repairs: 2, ..Counts::default() });
    }

    proptest! {
        #[test]
        fn counts_match_a_set_based_model(
            numbers in prop::collection::vec((1_u64..60, any::<bool>(), any::<bool>()), 1..120),
        ) {
            let mut ledger = Ledger::new();
            let (mut came, mut next, mut floor) = (BTreeSet::new(), 0, 0);
            let mut expected = Counts::default();
            for (number, repair, is_end) in numbers {
                if next == 0 {
                    (next, floor) = (number, number);
                }
                if is_end {
                    ledger.observe(&end(number));
                    next = next.max(number);
                    continue;
                }
                ledger.observe(&info(number, repair));
                expected.repairs += u64::from(repair);
                if number < floor {
                    continue;
                }
                let is_new = came.insert(number);
                expected.received += u64::from(is_new || !repair);
                expected.duplicates += u64::from(!is_new && !repair);
                expected.reordered += u64::from(is_new && !repair && number < next);
                next = next.max(number + 1);
            }
            expected.missing = (floor..next).filter(|number| !came.contains(number)).count() as u64;
            prop_assert_eq!(ledger.sums(), expected);
        }
    }
}
