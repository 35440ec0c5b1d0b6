//! Counts lost, duplicate and reordered datagrams by their sequence numbers, and measures the jitter of their arrivals.

use alloc::collections::VecDeque;
use core::time::Duration;

/// Counts missing, duplicate and reordered sequence numbers of any width, in bounded memory. Numbers wrap
/// around to zero after the largest.
///
/// The counter stores the gaps rather than the numbers received: in-order datagrams cost one comparison and
/// no memory. It keeps the latest 128 gaps (2 KiB). The missing numbers of older gaps stay counted, and a
/// number that might fill one of them is a stray.
///
/// ```
/// use mcast_measure::LossCounter;
///
/// let mut counter = LossCounter::new(16);
/// for number in [65_534, 65_535, 1] {
///     counter.record(number);
/// }
/// assert_eq!(counter.counts().missing, 1);
/// ```
#[derive(Clone, Debug)]
pub struct LossCounter {
    mask: u64,
    limits: Limits,
    /// The next expected number; `None` before the first.
    next: Option<u64>,
    /// How many numbers there have been since the start of the stream, received or not.
    span: u64,
    /// How many of the latest numbers are either received or in a stored gap.
    depth: u64,
    /// Missing numbers among the latest `depth`, as half-open ranges, oldest first. A range may wrap.
    gaps: VecDeque<(u64, u64)>,
    /// The number that would follow the last stray, and how many numbers that stray contained.
    stray: Option<(u64, u64)>,
    counts: LossCounts,
}

/// How far from the expected number another one is plausible.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// The longest jump that counts as a loss.
    longest_gap: u64,
    /// How many numbers before the next expected one are looked up.
    look_back: u64,
    /// How many numbers before the next expected one the stream may have started.
    start: u64,
    /// Whether numbers wrap, and old ones may belong to a restarted sender.
    is_circular: bool,
}

/// The counts of a [`LossCounter`]. Every recorded number is in exactly one of `received`, `duplicates` and
/// `strays`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LossCounts {
    /// Distinct numbers received.
    pub received: u64,
    /// Numbers that were skipped and have not been received since. The count decreases when one is received
    /// late.
    pub missing: u64,
    /// Numbers received again.
    pub duplicates: u64,
    /// Numbers received for the first time after higher ones.
    pub reordered: u64,
    /// Restarts of the sender.
    pub restarts: u64,
    /// Numbers too old or too far ahead to be related to the others: very late, forged, or of another sender.
    pub strays: u64,
}

/// How a number relates to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SequenceOrder {
    /// The first number of the stream.
    First,
    /// The expected number.
    InOrder,
    /// A number after the expected one.
    Gap {
        /// The number of skipped numbers.
        missing: u64,
    },
    /// A number that had been skipped.
    Late,
    /// A number that had already been received.
    Duplicate,
    /// A number that cannot be related to the others.
    Stray,
    /// The second number after a restart of the sender. The first was reported as a stray.
    Restart,
}

/// Returns how much was lost, in percent; 0 if nothing was sent.
#[must_use]
pub const fn lost_percent(lost: u64, sent: u64) -> f64 {
    if sent == 0 { 0.0 } else { lost as f64 * 100.0 / sent as f64 }
}

impl LossCounter {
    /// The number of latest numbers among which late ones of an unknown sender are recognized.
    pub const WINDOW: u64 = 1_024;
    /// The number of gaps that are stored.
    pub const MAX_GAPS: usize = 128;

    /// The longest jump that counts as a loss: 16 million datagrams of an unknown sender. For narrow numbers
    /// it is half of their range.
    const LONGEST_GAP: u64 = 1 << 24;
    /// The same for a session, whose numbers are trusted more: seven minutes at 10 million per second.
    const LONGEST_SESSION_GAP: u64 = 1 << 32;
    /// How far back the start of a session moves if its first datagrams are reordered.
    const SESSION_START: u64 = 16_384;

    /// Creates a counter for numbers of this many bits, clamped to 1 to 64, of a sender that may restart at
    /// any time: two strays in a row with consecutive numbers are a restart, and numbers that are older than
    /// [`WINDOW`](Self::WINDOW) are strays.
    #[must_use]
    pub const fn new(bits: u32) -> Self {
        let mask = match bits {
            0 => 1,
            1..64 => (1 << bits) - 1,
            _ => u64::MAX,
        };
        let half = mask >> 1;
        let look_back = if half < Self::WINDOW { mask - half } else { Self::WINDOW };
        let longest_gap = if half < Self::LONGEST_GAP { half } else { Self::LONGEST_GAP };
        let limits = Limits { longest_gap, look_back, start: look_back, is_circular: true };
        Self::with_limits(mask, limits)
    }

    /// Creates a counter for the 64-bit numbers of one session of a sender: an old number is late however old
    /// it is, and never means that the sender restarted. The numbers do not wrap.
    #[must_use]
    pub const fn of_session() -> Self {
        let limits = Limits {
            longest_gap: Self::LONGEST_SESSION_GAP,
            look_back: u64::MAX >> 1,
            start: Self::SESSION_START,
            is_circular: false,
        };
        Self::with_limits(u64::MAX, limits)
    }

    const fn with_limits(mask: u64, limits: Limits) -> Self {
        let counts =
            LossCounts { received: 0, missing: 0, duplicates: 0, reordered: 0, restarts: 0, strays: 0 };
        Self { mask, limits, next: None, span: 0, depth: 0, gaps: VecDeque::new(), stray: None, counts }
    }

    /// Records a datagram with this number. Bits beyond the width are ignored.
    pub fn record(&mut self, number: u64) -> SequenceOrder {
        self.record_range(number, 1)
    }

    /// Records a datagram that contains `length` consecutive numbers, starting with this one (a MoldUDP64
    /// datagram contains several messages). A length of 0 only announces the next number.
    pub fn record_range(&mut self, number: u64, length: u64) -> SequenceOrder {
        let number = number & self.mask;
        let Some(next) = self.next else {
            self.start(number, length);
            self.counts.received = self.counts.received.saturating_add(length);
            return SequenceOrder::First;
        };
        let (ahead, behind) = (self.distance(next, number), self.distance(number, next));
        if ahead <= self.limits.longest_gap {
            self.advance(ahead, length)
        } else if (self.limits.is_circular || number < next) && self.reach_back(behind) {
            self.look_back(number, behind, length)
        } else {
            self.record_stray(number, length, ahead < behind)
        }
    }

    /// Records that the stream started with `first`: what is missing from there on is lost.
    pub fn begin(&mut self, first: u64) {
        let first = first & self.mask;
        match (self.next, self.first()) {
            (None, _) => self.start(first, 0),
            (_, Some(start)) if self.distance(first, start) <= self.limits.longest_gap => {
                self.move_start(self.distance(first, start));
            }
            _ => {}
        }
    }

    /// Records that every number below `end` has been sent. An implausible end is ignored.
    pub fn reach(&mut self, end: u64) {
        let ahead = self.next.map_or(0, |next| self.distance(next, end));
        if ahead <= self.limits.longest_gap {
            self.record_range(end, 0);
        }
    }

    /// Returns the counts so far.
    #[must_use]
    pub const fn counts(&self) -> LossCounts {
        self.counts
    }

    /// Returns the first number of the stream; `None` if there is none, or if the numbers have wrapped since.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.next.filter(|_| self.span <= self.mask).map(|next| next.wrapping_sub(self.span) & self.mask)
    }

    /// Returns the next expected number; `None` before the first.
    #[must_use]
    pub const fn next(&self) -> Option<u64> {
        self.next
    }

    fn start(&mut self, number: u64, length: u64) {
        self.next = Some(number.wrapping_add(length) & self.mask);
        self.span = length;
        self.depth = length.min(self.limits.look_back);
        self.gaps.clear();
        self.stray = None;
    }

    /// Skips `skipped` numbers and records `length` numbers after them.
    fn advance(&mut self, skipped: u64, length: u64) -> SequenceOrder {
        self.stray = None;
        self.counts.received = self.counts.received.saturating_add(length);
        if let Some(next) = &mut self.next {
            let gap = (*next, next.wrapping_add(skipped) & self.mask);
            *next = gap.1.wrapping_add(length) & self.mask;
            let added = skipped.saturating_add(length);
            self.span = self.span.saturating_add(added);
            self.depth = self.depth.saturating_add(added).min(self.limits.look_back);
            if skipped > 0 {
                self.gaps.push_back(gap);
            }
        }
        self.counts.missing = self.counts.missing.saturating_add(skipped);
        if !self.gaps.is_empty() {
            self.forget_old_gaps();
        }
        match skipped {
            0 => SequenceOrder::InOrder,
            missing => SequenceOrder::Gap { missing },
        }
    }

    /// Discards gaps beyond the maximum or the look-back limit. Their numbers stay missing.
    fn forget_old_gaps(&mut self) {
        let Some(next) = self.next else { return };
        while let Some((first, end)) = self.gaps.front().copied() {
            let (oldest, newest) = (self.distance(first, next), self.distance(end, next));
            if self.gaps.len() > Self::MAX_GAPS {
                self.depth = self.depth.min(newest);
            } else if oldest <= self.limits.look_back {
                return;
            } else if newest < self.limits.look_back {
                let start = next.wrapping_sub(self.limits.look_back) & self.mask;
                self.gaps[0] = (start, end);
                return;
            }
            self.gaps.pop_front();
        }
    }

    /// Returns whether a number this far behind can be looked up. If it is shortly before the first number
    /// received, the stream started with it.
    fn reach_back(&mut self, behind: u64) -> bool {
        if behind > self.span && behind <= self.limits.start {
            self.move_start(behind - self.span);
        }
        behind <= self.depth
    }

    /// Moves the first number back by `missing`. It does not move if older gaps have been discarded, because
    /// their numbers would be indistinguishable from the new ones.
    fn move_start(&mut self, missing: u64) {
        let Some(first) = self.first().filter(|_| missing > 0 && self.depth == self.span) else { return };
        self.span = self.span.saturating_add(missing);
        self.depth = self.span.min(self.limits.look_back);
        self.gaps.push_front((first.wrapping_sub(missing) & self.mask, first));
        self.counts.missing = self.counts.missing.saturating_add(missing);
        self.forget_old_gaps();
    }

    /// Records `length` numbers that start `behind` numbers before the next expected one, and may extend
    /// beyond it.
    fn look_back(&mut self, number: u64, behind: u64, length: u64) -> SequenceOrder {
        let old = length.min(behind);
        let late =
            (0..old).filter(|offset| self.fill(number.wrapping_add(*offset) & self.mask)).count() as u64;
        let duplicates = old - late;
        self.counts.missing = self.counts.missing.saturating_sub(late);
        self.counts.received = self.counts.received.saturating_add(late);
        self.counts.reordered = self.counts.reordered.saturating_add(late);
        self.counts.duplicates = self.counts.duplicates.saturating_add(duplicates);
        if length > behind {
            self.advance(0, length - behind);
        }
        self.stray = None;
        match (late, duplicates) {
            (0, 0) => SequenceOrder::InOrder,
            (0, _) => SequenceOrder::Duplicate,
            _ => SequenceOrder::Late,
        }
    }

    /// Removes a number from the gap that contains it, which may split the gap. Returns whether there was one.
    fn fill(&mut self, number: u64) -> bool {
        let Some(next) = self.next else { return false };
        let behind = self.distance(number, next);
        let position = self.gaps.partition_point(|(_, end)| self.distance(*end, next) >= behind);
        let Some((first, end)) = self.gaps.get(position).copied() else { return false };
        if self.distance(first, next) < behind {
            return false;
        }
        let after = number.wrapping_add(1) & self.mask;
        match (first == number, after == end) {
            (true, true) => drop(self.gaps.remove(position)),
            (true, false) => self.gaps[position] = (after, end),
            (false, true) => self.gaps[position] = (first, number),
            (false, false) => {
                self.gaps[position] = (first, number);
                self.gaps.insert(position + 1, (after, end));
                self.forget_old_gaps();
            }
        }
        true
    }

    /// Records numbers that cannot be related to the others. The second of two in a row is a restart.
    fn record_stray(&mut self, number: u64, length: u64, is_ahead: bool) -> SequenceOrder {
        let may_restart = is_ahead || self.limits.is_circular;
        if let Some((_, before)) = self.stray.filter(|(next, _)| may_restart && *next == number && length > 0)
        {
            self.start(number.wrapping_sub(before) & self.mask, before.saturating_add(length));
            self.counts.strays = self.counts.strays.saturating_sub(before);
            self.counts.received = self.counts.received.saturating_add(before).saturating_add(length);
            self.counts.restarts = self.counts.restarts.saturating_add(1);
            return SequenceOrder::Restart;
        }
        self.stray = Some((number.wrapping_add(length) & self.mask, length));
        self.counts.strays = self.counts.strays.saturating_add(length);
        SequenceOrder::Stray
    }

    /// Returns how far it is forward from one number to another.
    const fn distance(&self, from: u64, to: u64) -> u64 {
        to.wrapping_sub(from) & self.mask
    }
}

/// Interarrival jitter as RTP defines it (RFC 3550 section 6.4.1 and appendix A.8): the smoothed difference
/// between the transit times of consecutive datagrams. It needs no synchronized clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jitter {
    /// The jitter in nanoseconds times 16, as in appendix A.8.
    sixteenfold: u64,
    transit: Option<i64>,
}

impl Jitter {
    /// Records the transit time of the next datagram in nanoseconds: arrival time by one clock minus send
    /// time by another.
    pub fn record(&mut self, transit: i64) {
        if let Some(before) = self.transit.replace(transit) {
            let difference = transit.abs_diff(before);
            let decay = self.sixteenfold.saturating_add(8) >> 4;
            self.sixteenfold = (self.sixteenfold - decay.min(self.sixteenfold)).saturating_add(difference);
        }
    }

    /// Returns the current jitter.
    #[must_use]
    pub const fn value(&self) -> Duration {
        Duration::from_nanos(self.sixteenfold >> 4)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn after(mut counter: LossCounter, numbers: impl IntoIterator<Item = u64>) -> LossCounts {
        numbers.into_iter().for_each(|number| {
            counter.record(number);
        });
        counter.counts()
    }

    fn counts(bits: u32, numbers: impl IntoIterator<Item = u64>) -> LossCounts {
        after(LossCounter::new(bits), numbers)
    }

    fn session(numbers: impl IntoIterator<Item = u64>) -> LossCounter {
        let mut counter = LossCounter::of_session();
        counter.begin(0);
        numbers.into_iter().for_each(|number| {
            counter.record(number);
        });
        counter
    }

    /// Returns received, missing, duplicates and reordered.
    fn summary(counter: &LossCounter) -> [u64; 4] {
        let LossCounts { received, missing, duplicates, reordered, .. } = counter.counts();
        [received, missing, duplicates, reordered]
    }

    #[test]
    fn in_order_stream_allocates_nothing() {
        let counter = session(0..100_000);
        assert_eq!((summary(&counter), counter.gaps.capacity()), ([100_000, 0, 0, 0], 0));
    }

    #[test]
    fn wraparound_is_not_a_loss_at_any_width() {
        for bits in [8, 16, 24, 32, 64] {
            let last = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
            let found = counts(bits, [last - 1, last, 0, 1]);
            assert_eq!(found, LossCounts { received: 4, ..LossCounts::default() }, "{bits}");
            let found = counts(bits, [last - 2, 1, last, 0, last]);
            assert_eq!((found.missing, found.reordered, found.duplicates), (1, 2, 1), "{bits}");
        }
    }

    #[test]
    fn skipped_numbers_are_missing_until_received() {
        let mut counter = LossCounter::new(32);
        assert_eq!(counter.record(5), SequenceOrder::First);
        assert_eq!(counter.record(6), SequenceOrder::InOrder);
        assert_eq!(counter.record(10), SequenceOrder::Gap { missing: 3 });
        assert_eq!(counter.counts().missing, 3);
        assert_eq!(counter.record(8), SequenceOrder::Late);
        assert_eq!(counter.record(8), SequenceOrder::Duplicate);
        assert_eq!(counter.record(10), SequenceOrder::Duplicate);
        assert_eq!(summary(&counter), [4, 2, 2, 1]);
    }

    #[test]
    fn number_just_before_the_first_is_its_late_predecessor() {
        let found = counts(16, [100, 98, 99]);
        assert_eq!((found.received, found.missing, found.reordered), (3, 0, 2));
    }

    #[test]
    fn restart_is_recognized_at_the_second_datagram() {
        let mut counter = LossCounter::new(64);
        for number in 100_000..100_010 {
            counter.record(number);
        }
        assert_eq!(counter.record(0), SequenceOrder::Stray);
        assert_eq!(counter.record(1), SequenceOrder::Restart);
        assert_eq!(counter.record(2), SequenceOrder::InOrder);
        let found = counter.counts();
        assert_eq!((found.missing, found.restarts, found.strays, found.received), (0, 1, 0, 13));
    }

    #[test]
    fn old_numbers_do_not_restart_a_session() {
        let mut counter = LossCounter::of_session();
        for number in (100_000..100_010).chain([0, 1, 2]) {
            counter.record(number);
        }
        let found = counter.counts();
        assert_eq!((found.received, found.restarts, found.strays), (10, 0, 3));
    }

    #[test]
    fn session_numbers_do_not_wrap() {
        let found = session([0, u64::MAX, 1]).counts();
        assert_eq!((found.received, found.missing, found.strays), (2, 0, 1));
    }

    #[test]
    fn single_stray_does_not_affect_other_counts() {
        let found = counts(64, [10, 11, u64::MAX / 2, 12, 13]);
        assert_eq!((found.missing, found.restarts, found.strays, found.received), (0, 0, 1, 4));
    }

    #[test]
    fn gap_longer_than_the_window_is_counted_completely() {
        assert_eq!(counts(32, [0, 100_001]).missing, 100_000);
        assert_eq!(counts(16, [0, 30_001]).missing, 30_000);
        assert_eq!(counts(32, [0, 100_001, 100_000, 50_000]).missing, 99_999, "only the first is late");
    }

    #[test]
    fn datagrams_with_several_numbers_are_counted_by_number() {
        let mut counter = LossCounter::new(64);
        counter.record_range(1, 3);
        assert_eq!(counter.record_range(4, 0), SequenceOrder::InOrder);
        assert_eq!(counter.record_range(6, 2), SequenceOrder::Gap { missing: 2 });
        assert_eq!(counter.record_range(10, 0), SequenceOrder::Gap { missing: 2 });
        assert_eq!(counter.record_range(4, 2), SequenceOrder::Late);
        assert_eq!((summary(&counter), counter.next()), ([7, 2, 0, 2], Some(10)));
    }

    #[test]
    fn missing_start_is_lost_only_if_it_was_announced() {
        let mut late = LossCounter::of_session();
        late.record_range(5, 2);
        assert_eq!((summary(&late), late.first()), ([2, 0, 0, 0], Some(5)));
        late.record(4);
        assert_eq!((summary(&late), late.first()), ([3, 0, 0, 1], Some(4)));
        late.begin(0);
        assert_eq!((summary(&late), late.first()), ([3, 4, 0, 1], Some(0)));
        late.record(0);
        late.record(5);
        assert_eq!(summary(&late), [4, 3, 1, 2]);
        assert_eq!(summary(&session([5, 6])), [2, 5, 0, 0]);
    }

    #[test]
    fn reaching_the_end_reveals_loss_there() {
        let mut counter = session(0..10);
        counter.reach(12);
        assert_eq!(summary(&counter), [10, 2, 0, 0]);
        counter.reach(11);
        counter.reach(u64::MAX);
        assert_eq!((counter.next(), summary(&counter)), (Some(12), [10, 2, 0, 0]));
        let mut none = session([]);
        none.reach(7);
        assert_eq!(summary(&none), [0, 7, 0, 0]);
    }

    #[test]
    fn numbers_of_discarded_gaps_stay_missing() {
        let gaps = LossCounter::MAX_GAPS as u64 + 10;
        let mut counter = session((0..=gaps).map(|number| 2 * number));
        assert_eq!(counter.gaps.len(), LossCounter::MAX_GAPS);
        assert_eq!(counter.record(1), SequenceOrder::Stray);
        assert_eq!(counter.record(2 * gaps - 1), SequenceOrder::Late);
        assert_eq!((counter.counts().missing, counter.counts().strays), (gaps - 1, 1));
    }

    #[test]
    fn late_number_is_recognized_after_gaps_of_any_length() {
        for gap in [1, 63, 64, 65, 16_384, 1 << 20, 1 << 32] {
            let mut counter = session([0, 2, 2 + gap, 2 + gap]);
            assert_eq!((counter.counts().duplicates, counter.counts().received), (1, 3), "{gap}");
            counter.record(1 + gap);
            let expected = if gap == 1 { (2, 0) } else { (1, 1) };
            assert_eq!((counter.counts().duplicates, counter.counts().reordered), expected, "{gap}");
        }
    }

    proptest! {
        #[test]
        fn unknown_senders_counts_equal_those_of_a_set(
            start: u64,
            bits in prop::sample::select(&[16u32, 24, 32, 48, 64][..]),
            steps in vec((0u64..6, 0u64..4), 1..300),
        ) {
            // Each step advances, and may then go back by a few numbers, to a skipped or a received one.
            let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
            let mut counter = LossCounter::new(bits);
            let mut seen = BTreeSet::new();
            let (mut head, mut duplicates, mut late) = (0u64, 0, 0);
            let mut record = |position: u64, head: u64| {
                counter.record(start.wrapping_add(position) & mask);
                if !seen.insert(position) {
                    duplicates += 1;
                } else if position < head {
                    late += 1;
                }
            };
            record(0, 0);
            for (ahead, back) in steps {
                head += ahead + 1;
                record(head, head);
                if back > 0 {
                    record(head.saturating_sub(back), head);
                }
            }
            let counts = counter.counts();
            prop_assert_eq!((counts.received, counts.missing), (seen.len() as u64, head + 1 - seen.len() as u64));
            prop_assert_eq!((counts.duplicates, counts.reordered), (duplicates, late));
            prop_assert_eq!((counts.restarts, counts.strays), (0, 0));
        }

        /// While there are few gaps, the counts equal those of a model with unlimited memory.
        #[test]
        fn session_counts_equal_those_of_a_set(
            has_start: bool, start in 0_u64..100, numbers in vec(0_u64..250, 0..500),
        ) {
            let mut counter = LossCounter::of_session();
            if has_start {
                counter.begin(0);
            }
            let (mut model, mut highest) = (HashSet::new(), None);
            let (mut duplicates, mut reordered) = (0, 0);
            for number in numbers.iter().map(|number| number + start) {
                counter.record(number);
                if !model.insert(number) {
                    duplicates += 1;
                } else if highest.is_some_and(|highest| number < highest) {
                    reordered += 1;
                }
                highest = highest.max(Some(number));
            }
            let first = if has_start { Some(0) } else { model.iter().min().copied() };
            let sent = highest.map_or(0, |highest| highest + 1 - first.unwrap_or(0));
            let received = model.len() as u64;
            prop_assert_eq!(summary(&counter), [received, sent - received, duplicates, reordered]);
            prop_assert_eq!(counter.counts().strays, 0);
        }

        #[test]
        fn counts_are_consistent_for_any_numbers(
            bits in 0_u32..70, is_session: bool,
            operations in vec((0_u8..8, prop_oneof![0_u64..50_000, any::<u64>()], 0_u64..20), 0..300),
        ) {
            let mut counter = if is_session { LossCounter::of_session() } else { LossCounter::new(bits) };
            let mut recorded = 0;
            for (operation, number, length) in operations {
                match operation {
                    0 => counter.begin(number),
                    1 => counter.reach(number),
                    _ => {
                        counter.record_range(number, length);
                        recorded += length;
                    }
                }
                let counts = counter.counts();
                prop_assert_eq!(counts.received + counts.duplicates + counts.strays, recorded);
                prop_assert!(counts.reordered <= counts.received && counter.gaps.len() <= LossCounter::MAX_GAPS);
                prop_assert!(counter.depth <= counter.limits.look_back);
                let stored: Vec<u64> = counter.gaps.iter().map(|(first, end)| counter.distance(*first, *end)).collect();
                prop_assert!(stored.iter().all(|length| *length > 0));
                prop_assert!(stored.iter().sum::<u64>() <= counts.missing);
            }
        }
    }

    #[test]
    fn even_arrivals_have_no_jitter_despite_clock_offset() {
        let mut jitter = Jitter::default();
        (0..100).for_each(|_| jitter.record(-3_600_000_000_000));
        assert_eq!(jitter.value(), Duration::ZERO);
    }

    #[test]
    fn jitter_converges_to_the_mean_difference() {
        let mut jitter = Jitter::default();
        (0..1_000).for_each(|n| jitter.record((n % 2) * 1_000));
        let converged = jitter.value().as_nanos();
        assert!((990..=1_000).contains(&converged), "{converged}");
        (0..1_000).for_each(|_| jitter.record(0));
        assert!(jitter.value().as_nanos() <= 1);
    }

    #[test]
    fn one_difference_counts_a_sixteenth() {
        let mut jitter = Jitter::default();
        [0, 1_600].into_iter().for_each(|transit| jitter.record(transit));
        assert_eq!(jitter.value(), Duration::from_nanos(100));
    }

    #[test]
    fn forged_times_do_not_overflow() {
        let mut jitter = Jitter::default();
        [i64::MIN, i64::MAX, i64::MIN, i64::MAX, 0].into_iter().for_each(|transit| jitter.record(transit));
        assert!(jitter.value() > Duration::ZERO);
    }
}
