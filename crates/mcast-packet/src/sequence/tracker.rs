//! The tracker, which remembers which of the latest numbers were received, and counts.

/// Counts missing, duplicate and reordered sequence numbers of any width. Numbers wrap around to zero after
/// the largest.
///
/// A tracker takes 200 bytes regardless of the length of the stream. Late numbers are recognized within the
/// last [`SequenceTracker::WINDOW`] numbers. Older numbers, and jumps too long for a loss, are counted as
/// strays. Two strays in a row with consecutive numbers mean that the sender has restarted.
#[derive(Clone, Debug)]
pub struct SequenceTracker {
    mask: u64,
    /// The next expected number; `None` before the first.
    next: Option<u64>,
    /// Bit `n` of the window, counted from the lowest bit of the first word, is set if the number `n + 1`
    /// before `next` has been received, or is before the start of the stream.
    window: Window,
    /// The number that would follow the last stray.
    next_of_stray: Option<u64>,
    counts: SequenceCounts,
}

/// The counts of a [`SequenceTracker`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SequenceCounts {
    /// Numbers received, including duplicates and strays.
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
    /// Numbers outside the window and the longest gap: very old, very far ahead, or from another sender.
    pub strays: u64,
}

/// How a number relates to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Observation {
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
    /// A number outside the window and the longest gap.
    Stray,
    /// The second number after a restart of the sender. The first was reported as a stray.
    Restart,
}

impl SequenceTracker {
    /// The number of latest numbers that are remembered individually.
    pub const WINDOW: u64 = Window::BITS;

    /// The longest jump that counts as a loss: 16 million datagrams. For narrow numbers it is half of their
    /// range.
    const LONGEST_GAP: u64 = 1 << 24;

    /// Creates a tracker for numbers of this many bits, clamped to 1 to 64.
    #[must_use]
    pub const fn new(bits: u32) -> Self {
        let mask = match bits {
            0 => 1,
            1..64 => (1 << bits) - 1,
            _ => u64::MAX,
        };
        Self {
            mask,
            next: None,
            window: Window::full(),
            next_of_stray: None,
            counts: SequenceCounts {
                received: 0,
                missing: 0,
                duplicates: 0,
                reordered: 0,
                restarts: 0,
                strays: 0,
            },
        }
    }

    /// Returns the counts so far.
    #[must_use]
    pub const fn counts(&self) -> SequenceCounts {
        self.counts
    }

    /// Returns the next expected number; `None` before the first.
    #[must_use]
    pub const fn due(&self) -> Option<u64> {
        self.next
    }

    /// Records a datagram with this number. Bits beyond the width are ignored.
    pub fn observe(&mut self, number: u64) -> Observation {
        self.observe_run(number, 1)
    }

    /// Records a datagram that contains `length` consecutive numbers, starting with this one (a MoldUDP64
    /// datagram contains several messages). A length of 0 only announces the next number.
    pub fn observe_run(&mut self, number: u64, length: u64) -> Observation {
        let number = number & self.mask;
        self.counts.received = self.counts.received.saturating_add(length);
        let Some(next) = self.next else {
            self.start(number, length);
            return Observation::First;
        };
        let ahead = number.wrapping_sub(next) & self.mask;
        let behind = next.wrapping_sub(number) & self.mask;
        match (ahead, behind) {
            _ if ahead <= self.longest_gap() => self.advance(ahead, length),
            _ if behind <= self.look_back_limit() => self.look_back(behind, length),
            _ => self.stray(number, length),
        }
    }

    const fn longest_gap(&self) -> u64 {
        let half = self.mask >> 1;
        if half < Self::LONGEST_GAP { half } else { Self::LONGEST_GAP }
    }

    /// Returns how far back a number is looked up: the window, but at most half of the range, so that the
    /// number cannot be ahead.
    const fn look_back_limit(&self) -> u64 {
        let half = self.mask - self.mask / 2;
        if half < Self::WINDOW { half } else { Self::WINDOW }
    }

    fn start(&mut self, number: u64, length: u64) {
        self.next = Some(number.wrapping_add(length) & self.mask);
        self.window = Window::full();
        self.next_of_stray = None;
    }

    /// Skips `skipped` numbers and records `length` numbers after them.
    fn advance(&mut self, skipped: u64, length: u64) -> Observation {
        let next = self.next.unwrap_or(0);
        self.window.push(skipped, false);
        self.window.push(length, true);
        self.next = Some(next.wrapping_add(skipped).wrapping_add(length) & self.mask);
        self.next_of_stray = None;
        self.counts.missing = self.counts.missing.saturating_add(skipped);
        match skipped {
            0 => Observation::InOrder,
            missing => Observation::Gap { missing },
        }
    }

    /// Records `length` numbers that start `behind` numbers before the next expected one, and may extend
    /// beyond it.
    fn look_back(&mut self, behind: u64, length: u64) -> Observation {
        let old = length.min(behind);
        let (mut late, mut duplicates) = (0, 0);
        for position in (behind - old)..behind {
            if self.window.set(position) { late += 1 } else { duplicates += 1 }
        }
        self.counts.missing = self.counts.missing.saturating_sub(late);
        self.counts.reordered = self.counts.reordered.saturating_add(late);
        self.counts.duplicates = self.counts.duplicates.saturating_add(duplicates);
        if length > behind {
            self.advance(0, length - behind);
        }
        self.next_of_stray = None;
        match (late, duplicates) {
            (0, 0) => Observation::InOrder,
            (0, _) => Observation::Duplicate,
            _ => Observation::Late,
        }
    }

    fn stray(&mut self, number: u64, length: u64) -> Observation {
        if self.next_of_stray == Some(number) && length > 0 {
            self.start(number, length);
            self.counts.strays = self.counts.strays.saturating_sub(1);
            self.counts.restarts = self.counts.restarts.saturating_add(1);
            return Observation::Restart;
        }
        self.next_of_stray = Some(number.wrapping_add(length) & self.mask);
        self.counts.strays = self.counts.strays.saturating_add(1);
        Observation::Stray
    }
}

/// One bit for each of the latest numbers. The lowest bit stands for the latest number.
#[derive(Clone, Debug)]
struct Window([u64; Self::WORDS]);

impl Window {
    const WORDS: usize = 16;
    const BITS: u64 = Self::WORDS as u64 * 64;

    const fn full() -> Self {
        Self([u64::MAX; Self::WORDS])
    }

    /// Shifts in `count` newer numbers, either all received or all missing.
    fn push(&mut self, count: u64, received: bool) {
        let fill = if received { u64::MAX } else { 0 };
        let mut left = count.min(Self::BITS);
        while left > 0 {
            let bits = left.min(63);
            let mut carry = fill >> (64 - bits);
            for word in &mut self.0 {
                let above = *word >> (64 - bits);
                *word = *word << bits | carry;
                carry = above;
            }
            left -= bits;
        }
    }

    /// Marks a number as received. Returns whether it was missing.
    fn set(&mut self, position: u64) -> bool {
        let bit = 1 << (position % 64);
        let word = usize::try_from(position / 64).ok().and_then(|index| self.0.get_mut(index));
        match word {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(bits: u32, numbers: impl IntoIterator<Item = u64>) -> SequenceCounts {
        let mut tracker = SequenceTracker::new(bits);
        numbers.into_iter().for_each(|number| {
            tracker.observe(number);
        });
        tracker.counts()
    }

    #[test]
    fn wraparound_is_not_a_loss_at_any_width() {
        for bits in [8, 16, 24, 32, 64] {
            let last = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
            let found = counts(bits, [last - 1, last, 0, 1]);
            assert_eq!(found, SequenceCounts { received: 4, ..SequenceCounts::default() }, "{bits}");
        }
    }

    #[test]
    fn skipped_numbers_are_missing_until_received() {
        let mut tracker = SequenceTracker::new(32);
        assert_eq!(tracker.observe(5), Observation::First);
        assert_eq!(tracker.observe(6), Observation::InOrder);
        assert_eq!(tracker.observe(10), Observation::Gap { missing: 3 });
        assert_eq!(tracker.counts().missing, 3);
        assert_eq!(tracker.observe(8), Observation::Late);
        assert_eq!(tracker.observe(8), Observation::Duplicate);
        assert_eq!(tracker.observe(10), Observation::Duplicate);
        let expected =
            SequenceCounts { received: 6, missing: 2, duplicates: 2, reordered: 1, restarts: 0, strays: 0 };
        assert_eq!(tracker.counts(), expected);
    }

    #[test]
    fn number_before_the_start_does_not_change_missing() {
        assert_eq!(counts(16, [100, 99]).missing, 0);
    }

    #[test]
    fn restart_is_recognized_at_the_second_datagram() {
        let mut tracker = SequenceTracker::new(64);
        for number in 100_000..100_010 {
            tracker.observe(number);
        }
        assert_eq!(tracker.observe(0), Observation::Stray);
        assert_eq!(tracker.observe(1), Observation::Restart);
        assert_eq!(tracker.observe(2), Observation::InOrder);
        let found = tracker.counts();
        assert_eq!((found.missing, found.restarts, found.strays), (0, 1, 0));
    }

    #[test]
    fn single_stray_does_not_affect_other_counts() {
        let found = counts(64, [10, 11, u64::MAX / 2, 12, 13]);
        assert_eq!((found.missing, found.restarts, found.strays, found.received), (0, 0, 1, 5));
    }

    #[test]
    fn gap_longer_than_the_window_is_counted_completely() {
        assert_eq!(counts(32, [0, 100_001]).missing, 100_000);
        assert_eq!(counts(16, [0, 30_001]).missing, 30_000);
    }

    #[test]
    fn datagrams_with_several_numbers_are_counted_by_number() {
        let mut tracker = SequenceTracker::new(64);
        tracker.observe_run(1, 3);
        assert_eq!(tracker.observe_run(4, 0), Observation::InOrder);
        assert_eq!(tracker.observe_run(6, 2), Observation::Gap { missing: 2 });
        assert_eq!(tracker.observe_run(10, 0), Observation::Gap { missing: 2 });
        assert_eq!(tracker.observe_run(4, 2), Observation::Late);
        let found = tracker.counts();
        assert_eq!((found.received, found.missing, tracker.due()), (7, 2, Some(10)));
    }
}
