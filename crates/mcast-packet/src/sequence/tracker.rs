//! The tracker: it remembers which of the latest numbers have come, and counts the rest.

/// Counts what is missing, doubled and out of order among numbers of any width, which start again at
/// zero behind the largest.
///
/// It takes 200 bytes however long the stream is. A number that comes late is found among the last
/// [`SequenceTracker::WINDOW`]; older ones, and leaps too long for a loss, are set apart as strays
/// until a second number in a row tells that the sender has started again.
#[derive(Clone, Debug)]
pub struct SequenceTracker {
    mask: u64,
    /// The number that should come next; `None` before the first.
    next: Option<u64>,
    /// Bit `n` of the window, counted from the lowest bit of the first word: the number `n + 1` before
    /// `next` has come, or lies before the stream's start.
    window: Window,
    /// What would follow the last number that did not fit in.
    next_of_stray: Option<u64>,
    counts: SequenceCounts,
}

/// What a [`SequenceTracker`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SequenceCounts {
    /// Numbers that came, however often and in whatever order.
    pub received: u64,
    /// Numbers that were skipped and have not come since. It goes down when one comes late.
    pub missing: u64,
    /// Numbers that came again.
    pub duplicates: u64,
    /// Numbers that came after higher ones, for the first time.
    pub reordered: u64,
    /// How often the sender has started again.
    pub restarts: u64,
    /// Numbers that fitted in nowhere: very old, very far ahead, or somebody else's.
    pub strays: u64,
}

/// What one number was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Observation {
    /// The first of the stream.
    First,
    /// The one that was due.
    InOrder,
    /// One further on.
    Gap {
        /// How many were skipped.
        missing: u64,
    },
    /// One that had been skipped.
    Late,
    /// One that had come already.
    Duplicate,
    /// One that fits in nowhere.
    Stray,
    /// The second of a stream that has started again; the first was called a stray.
    Restart,
}

impl SequenceTracker {
    /// How many of the latest numbers are remembered one by one.
    pub const WINDOW: u64 = Window::BITS;

    /// Further ahead than this is no loss: 16 million datagrams, or half the numbers there are.
    const LONGEST_GAP: u64 = 1 << 24;

    /// For numbers of so many bits, 1 to 64; what is outside is taken for the nearest of these.
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

    /// What has been counted so far.
    #[must_use]
    pub const fn counts(&self) -> SequenceCounts {
        self.counts
    }

    /// The number that is due next, once one has come.
    #[must_use]
    pub const fn due(&self) -> Option<u64> {
        self.next
    }

    /// Takes note of a datagram with this number; bits that the width does not have are ignored.
    pub fn observe(&mut self, number: u64) -> Observation {
        self.observe_run(number, 1)
    }

    /// Takes note of a datagram that has this number and, with it, so many in a row (MoldUDP64 has
    /// several messages in one). A datagram of none says only what is due next.
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
            _ if behind <= self.remembered() => self.look_back(behind, length),
            _ => self.stray(number, length),
        }
    }

    const fn longest_gap(&self) -> u64 {
        let half = self.mask >> 1;
        if half < Self::LONGEST_GAP { half } else { Self::LONGEST_GAP }
    }

    /// The window, or as much of it as cannot be taken for numbers ahead.
    const fn remembered(&self) -> u64 {
        let half = self.mask - self.mask / 2;
        if half < Self::WINDOW { half } else { Self::WINDOW }
    }

    fn start(&mut self, number: u64, length: u64) {
        self.next = Some(number.wrapping_add(length) & self.mask);
        self.window = Window::full();
        self.next_of_stray = None;
    }

    /// So many are skipped, and a run of this length follows.
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

    /// A run that starts so many before the one that is due; it may reach beyond that one.
    fn look_back(&mut self, behind: u64, length: u64) -> Observation {
        let known = length.min(behind);
        let (mut late, mut again) = (0, 0);
        for position in (behind - known)..behind {
            if self.window.set(position) { late += 1 } else { again += 1 }
        }
        self.counts.missing = self.counts.missing.saturating_sub(late);
        self.counts.reordered = self.counts.reordered.saturating_add(late);
        self.counts.duplicates = self.counts.duplicates.saturating_add(again);
        if length > behind {
            self.advance(0, length - behind);
        }
        self.next_of_stray = None;
        match (late, again) {
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

/// One bit for each of the latest numbers, the latest in the lowest.
#[derive(Clone, Debug)]
struct Window([u64; Self::WORDS]);

impl Window {
    const WORDS: usize = 16;
    const BITS: u64 = Self::WORDS as u64 * 64;

    const fn full() -> Self {
        Self([u64::MAX; Self::WORDS])
    }

    /// Makes room for so many newer numbers, all of which have come, or none.
    fn push(&mut self, count: u64, came: bool) {
        let fill = if came { u64::MAX } else { 0 };
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

    /// Notes that a number has come, and says whether that is news.
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
    fn a_wrap_is_no_loss_at_any_width() {
        for bits in [8, 16, 24, 32, 64] {
            let last = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
            let found = counts(bits, [last - 1, last, 0, 1]);
            assert_eq!(found, SequenceCounts { received: 4, ..SequenceCounts::default() }, "{bits}");
        }
    }

    #[test]
    fn what_is_skipped_is_missing_until_it_comes() {
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
    fn what_came_before_the_start_is_a_duplicate_of_nothing_missing() {
        assert_eq!(counts(16, [100, 99]).missing, 0);
    }

    #[test]
    fn a_sender_that_starts_again_is_noticed_with_its_second_datagram() {
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
    fn one_stray_changes_nothing() {
        let found = counts(64, [10, 11, u64::MAX / 2, 12, 13]);
        assert_eq!((found.missing, found.restarts, found.strays, found.received), (0, 0, 1, 5));
    }

    #[test]
    fn a_gap_longer_than_the_window_is_counted_whole() {
        assert_eq!(counts(32, [0, 100_001]).missing, 100_000);
        assert_eq!(counts(16, [0, 30_001]).missing, 30_000);
    }

    #[test]
    fn runs_are_counted_by_their_messages() {
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
