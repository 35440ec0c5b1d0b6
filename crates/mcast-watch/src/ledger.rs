//! Numbers that never wrap, of a protocol that says which of its datagrams are sent again.
//!
//! The gaps themselves are kept, not a window of the latest numbers: a repair may come thousands of datagrams
//! behind what it repairs, and is told from a copy however late it is.

use std::collections::VecDeque;

/// What somebody who knows the protocol says of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Numbered {
    /// Which stream it belongs to.
    pub identity: Identity,
    /// Its number in the stream; `None` for what is not numbered without gaps.
    pub number: Option<u64>,
    /// Whether it is sent again.
    pub repair: bool,
    /// All numbers before this one have been sent, if it says so.
    pub end: Option<u64>,
}

/// A stream by what its datagrams say, wherever they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The stream.
    pub stream: u64,
    /// The life of its sender; each has a greater one than the one before.
    pub incarnation: u32,
    /// Whether what it says is hidden from who has no key.
    pub sealed: bool,
}

/// What a ledger has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) received: u64,
    pub(crate) missing: u64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
    pub(crate) repairs: u64,
    pub(crate) restarts: u64,
}

/// The numbers of a stream, through all lives of its sender.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    incarnation: u32,
    /// The number that is due next; `None` before the first of this life.
    next: Option<u64>,
    /// Numbers before this one are no longer known one by one, or were sent before anybody looked.
    floor: u64,
    /// What is missing from there on: first numbers and those behind the last, rising.
    gaps: VecDeque<(u64, u64)>,
    /// What would follow the last number that was too far ahead to be believed.
    next_of_stray: Option<u64>,
    sums: Sums,
}

impl Ledger {
    /// Gaps beyond so many are counted, and no longer known: 2 KiB.
    const MOST_GAPS: usize = 128;
    /// Further ahead than this is no loss.
    const LONGEST_GAP: u64 = 1 << 24;

    pub(crate) fn observe(&mut self, told: &Numbered) {
        let incarnation = told.identity.incarnation;
        if self.next.is_some() && incarnation < self.incarnation {
            // An old life's: its receivers drop it, too.
            return;
        }
        if self.next.is_some() && incarnation > self.incarnation {
            let restarts = self.sums.restarts + 1;
            *self = Self { sums: Sums { restarts, ..self.sums }, ..Self::default() };
        }
        self.incarnation = incarnation;
        if let Some(number) = told.number {
            self.count(number, told.repair);
        }
        if let Some(end) = told.end {
            self.reach(end);
        }
    }

    pub(crate) const fn sums(&self) -> Sums {
        self.sums
    }

    fn count(&mut self, number: u64, repair: bool) {
        self.sums.repairs += u64::from(repair);
        let next = self.due_or(number);
        match number.checked_sub(next) {
            Some(ahead) if ahead <= Self::LONGEST_GAP => {
                self.miss(next, number);
                self.next = Some(number.saturating_add(1));
                self.next_of_stray = None;
                self.sums.received += 1;
            }
            Some(_) => self.stray(number),
            None => self.look_back(number, repair),
        }
    }

    /// All before this number have been sent.
    fn reach(&mut self, end: u64) {
        let next = self.due_or(end);
        if end > next && end - next <= Self::LONGEST_GAP {
            self.miss(next, end);
            self.next = Some(end);
        }
    }

    /// The number that is due; the first that is told is, and nobody looked before.
    fn due_or(&mut self, first: u64) -> u64 {
        *self.next.get_or_insert_with(|| {
            self.floor = first;
            first
        })
    }

    /// Opens a gap, and forgets the oldest if there are too many.
    fn miss(&mut self, first: u64, end: u64) {
        if first == end {
            return;
        }
        self.sums.missing += end - first;
        self.gaps.push_back((first, end));
        if self.gaps.len() > Self::MOST_GAPS
            && let Some((_, end)) = self.gaps.pop_front()
        {
            self.floor = end;
        }
    }

    /// A number that should have come before.
    fn look_back(&mut self, number: u64, repair: bool) {
        if number < self.floor {
            return;
        }
        let position = self.gaps.partition_point(|(_, end)| *end <= number);
        match self.gaps.get(position).copied() {
            Some((first, end)) if first <= number => {
                self.close(position, (first, end), number);
                self.sums.missing -= 1;
                self.sums.received += 1;
                self.sums.reordered += u64::from(!repair);
            }
            _ if !repair => {
                self.sums.received += 1;
                self.sums.duplicates += 1;
            }
            _ => {}
        }
    }

    /// Takes a number out of a gap, which may become two.
    fn close(&mut self, position: usize, (first, end): (u64, u64), number: u64) {
        let parts = [(first, number), (number + 1, end)];
        self.gaps.remove(position);
        for part in parts.into_iter().rev().filter(|(first, end)| first < end) {
            self.gaps.insert(position, part);
        }
        if self.gaps.len() > Self::MOST_GAPS
            && let Some((_, end)) = self.gaps.pop_front()
        {
            self.floor = end;
        }
    }

    /// Too far ahead to be a loss: believed once a second number follows it.
    fn stray(&mut self, number: u64) {
        if self.next_of_stray == Some(number) {
            self.gaps.clear();
            (self.next, self.floor, self.next_of_stray) = (Some(number.saturating_add(1)), number, None);
            self.sums.received += 1;
            self.sums.restarts += 1;
        } else {
            self.next_of_stray = Some(number.saturating_add(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn told(number: u64, repair: bool) -> Numbered {
        let identity = Identity { stream: 1, incarnation: 1, sealed: false };
        Numbered { identity, number: Some(number), repair, end: None }
    }

    fn end(number: u64) -> Numbered {
        Numbered { number: None, end: Some(number), ..told(0, false) }
    }

    fn after(all: impl IntoIterator<Item = Numbered>) -> Sums {
        let mut ledger = Ledger::default();
        all.into_iter().for_each(|told| ledger.observe(&told));
        ledger.sums()
    }

    #[test]
    fn a_repair_is_neither_a_copy_nor_out_of_order_however_late_it_comes() {
        let all = (1..=5_000).filter(|n| *n != 7).map(|n| told(n, false));
        let sums = after(all.chain([told(7, true), told(8, true), told(9, false)]));
        let expected = Sums { received: 5_001, duplicates: 1, repairs: 2, ..Sums::default() };
        assert_eq!(sums, expected);
    }

    #[test]
    fn what_is_late_by_itself_is_out_of_order() {
        let sums = after([1, 2, 5, 4, 3, 6].map(|n| told(n, false)));
        assert_eq!(sums, Sums { received: 6, reordered: 2, ..Sums::default() });
    }

    #[test]
    fn what_is_lost_at_the_end_is_known_from_who_tells_the_end() {
        let sums = after([told(10, false), told(11, false), end(15), told(13, true)]);
        assert_eq!(sums, Sums { received: 3, missing: 2, repairs: 1, ..Sums::default() });
        assert_eq!(after([end(100), told(100, false)]), Sums { received: 1, ..Sums::default() });
    }

    #[test]
    fn what_was_sent_before_anybody_looked_counts_for_nothing() {
        let sums = after([told(50, false), told(20, true), told(30, false), told(51, false)]);
        assert_eq!(sums, Sums { received: 2, repairs: 1, ..Sums::default() });
    }

    #[test]
    fn a_new_life_begins_anew_and_an_old_one_is_over() {
        let life = |incarnation, number| {
            let told = told(number, false);
            Numbered { identity: Identity { incarnation, ..told.identity }, ..told }
        };
        let sums = after([life(1, 1), life(1, 3), life(2, 1), life(1, 4), life(2, 2)]);
        assert_eq!(sums, Sums { received: 4, missing: 1, restarts: 1, ..Sums::default() });
    }

    #[test]
    fn one_made_up_number_spoils_nothing() {
        let sums = after([1, 2, u64::MAX, 3, u64::MAX - 7, 4, 1 << 40].map(|n| told(n, false)));
        assert_eq!(sums, Sums { received: 4, ..Sums::default() });
        let sums = after([1, 2, 1 << 40, (1 << 40) + 1, (1 << 40) + 2].map(|n| told(n, false)));
        assert_eq!(sums, Sums { received: 4, restarts: 1, ..Sums::default() });
        after([told(u64::MAX, false), told(u64::MAX, true), end(u64::MAX), end(0), told(0, false)]);
    }

    #[test]
    fn more_gaps_than_are_known_are_counted_all_the_same() {
        let every_other = (0..1_000).map(|n| told(1 + 2 * n, false));
        let sums = after(every_other.chain([told(2, true), told(1_998, true)]));
        assert_eq!(sums, Sums { received: 1_001, missing: 998, repairs: 2, ..Sums::default() });
    }

    proptest! {
        #[test]
        fn it_counts_as_a_plain_set_does(
            numbers in prop::collection::vec((1_u64..60, any::<bool>(), any::<bool>()), 1..120),
        ) {
            let mut ledger = Ledger::default();
            let (mut came, mut next, mut floor) = (BTreeSet::new(), 0, 0);
            let mut expected = Sums::default();
            for (number, repair, is_end) in numbers {
                if next == 0 {
                    (next, floor) = (number, number);
                }
                if is_end {
                    ledger.observe(&end(number));
                    next = next.max(number);
                    continue;
                }
                ledger.observe(&told(number, repair));
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
