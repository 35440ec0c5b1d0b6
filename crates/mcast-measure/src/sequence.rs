//! Loss, duplicates and reordering by sequence numbers.

/// Number of latest sequence numbers whose arrival is remembered.
const WINDOW: u64 = 16_384;
const WORDS: usize = (WINDOW / 64) as usize;

/// Counts of a stream of numbered datagrams, in bounded memory.
///
/// As long as nothing is missing, only a few counters are kept. From the first gap on, a bitmap (2 kB)
/// records which of the latest 16,384 numbers arrived. An older number cannot be distinguished from a
/// duplicate; it is counted as [`too_late`](Self::too_late) and remains counted as lost.
#[derive(Clone, Debug, Default)]
pub struct SequenceLog {
    has_start: bool,
    first: u64,
    /// One above the highest number received.
    next: u64,
    received: u64,
    duplicated: u64,
    reordered: u64,
    too_late: u64,
    sent: Option<u64>,
    /// Which of the latest numbers arrived; not maintained while nothing is missing.
    window: Option<Box<[u64; WORDS]>>,
}

impl SequenceLog {
    /// Creates an empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records that the start of the stream was observed: every missing number from 0 on is lost. Otherwise,
    /// counting starts with the first datagram that arrives.
    pub fn open(&mut self) {
        if !self.has_start && self.first > 0 {
            self.move_first(0);
        }
        self.has_start = true;
    }

    /// Records that the end of the stream was observed, after `sent` datagrams.
    pub fn close(&mut self, sent: u64) {
        self.sent = Some(self.sent.map_or(sent, |before| before.max(sent)));
    }

    /// Records a datagram with this number.
    pub fn record(&mut self, sequence: u64) {
        if self.next == 0 && !self.has_start {
            self.first = sequence;
            self.next = sequence;
        }
        if sequence >= self.next {
            self.advance(sequence);
        } else {
            self.record_older(sequence);
        }
    }

    /// Records a number above all previous ones.
    fn advance(&mut self, sequence: u64) {
        let gapless = self.is_gapless();
        if gapless && sequence == self.next {
            self.next += 1;
            self.received += 1;
            return;
        }
        if gapless {
            self.mark_all();
        }
        let missing = self.next.max(sequence.saturating_sub(WINDOW))..sequence;
        missing.for_each(|missing| self.mark(missing, false));
        self.mark(sequence, true);
        self.next = sequence + 1;
        self.received += 1;
    }

    /// Records a number below the highest one.
    fn record_older(&mut self, sequence: u64) {
        if sequence < self.first && !self.move_first_back_to(sequence) {
            self.too_late += 1;
        } else if self.is_gapless() {
            self.duplicated += 1;
        } else if self.next - sequence > WINDOW {
            self.too_late += 1;
        } else if self.is_marked(sequence) {
            self.duplicated += 1;
        } else {
            self.mark(sequence, true);
            self.received += 1;
            self.reordered += 1;
        }
    }

    /// Lets counting start at an earlier number than the first one received, if it is within the window.
    /// Returns whether it is.
    fn move_first_back_to(&mut self, sequence: u64) -> bool {
        let near = self.next - sequence <= WINDOW;
        if near {
            self.move_first(sequence);
        }
        near
    }

    fn move_first(&mut self, to: u64) {
        if self.is_gapless() {
            self.mark_all();
        }
        let missing = to.max(self.next.saturating_sub(WINDOW))..self.first;
        missing.for_each(|missing| self.mark(missing, false));
        self.first = to;
    }

    fn is_gapless(&self) -> bool {
        self.received == self.next - self.first
    }

    /// Marks all numbers so far as received.
    fn mark_all(&mut self) {
        match &mut self.window {
            Some(window) => window.fill(u64::MAX),
            None => self.window = Some(Box::new([u64::MAX; WORDS])),
        }
    }

    fn mark(&mut self, sequence: u64, received: bool) {
        if let Some(window) = &mut self.window {
            let (word, bit) = bit_of(sequence);
            window[word] = if received { window[word] | bit } else { window[word] & !bit };
        }
    }

    fn is_marked(&self, sequence: u64) -> bool {
        let (word, bit) = bit_of(sequence);
        self.window.as_ref().is_some_and(|window| window[word] & bit != 0)
    }

    /// Returns the number of datagrams sent, as far as known: the announced total, or one above the highest
    /// number received, minus those before the first.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.unwrap_or(0).max(self.next).saturating_sub(self.first)
    }

    /// Returns the number of distinct datagrams received.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Returns the number of datagrams sent but not received.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.sent().saturating_sub(self.received)
    }

    /// Returns the number of duplicates.
    #[must_use]
    pub const fn duplicated(&self) -> u64 {
        self.duplicated
    }

    /// Returns the number of datagrams received after one that was sent later.
    #[must_use]
    pub const fn reordered(&self) -> u64 {
        self.reordered
    }

    /// Returns the number of datagrams too old to tell whether they are duplicates.
    #[must_use]
    pub const fn too_late(&self) -> u64 {
        self.too_late
    }

    /// Returns the number of datagrams sent before the first one received, if the start was not observed.
    #[must_use]
    pub const fn before_first(&self) -> u64 {
        self.first
    }

    /// Returns whether the end of the stream was observed.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.sent.is_some()
    }
}

fn bit_of(sequence: u64) -> (usize, u64) {
    let position = sequence % WINDOW;
    ((position / 64) as usize, 1 << (position % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn log(numbers: impl IntoIterator<Item = u64>) -> SequenceLog {
        let mut log = SequenceLog::new();
        log.open();
        numbers.into_iter().for_each(|number| log.record(number));
        log
    }

    /// Returns sent, received, lost, duplicated and reordered.
    fn counts(log: &SequenceLog) -> [u64; 5] {
        [log.sent(), log.received(), log.lost(), log.duplicated(), log.reordered()]
    }

    #[test]
    fn in_order_stream_allocates_nothing() {
        let log = log(0..100_000);
        assert_eq!(counts(&log), [100_000, 100_000, 0, 0, 0]);
        assert!(log.window.is_none());
    }

    #[test]
    fn gaps_are_loss_until_filled() {
        let mut log = log([0, 1, 4]);
        assert_eq!(counts(&log), [5, 3, 2, 0, 0]);
        log.record(3);
        assert_eq!(counts(&log), [5, 4, 1, 0, 1]);
        log.record(3);
        assert_eq!(counts(&log), [5, 4, 1, 1, 1]);
        log.record(2);
        log.record(2);
        assert_eq!(counts(&log), [5, 5, 0, 2, 2]);
    }

    #[test]
    fn missing_start_is_lost_only_if_it_was_announced() {
        let mut late = SequenceLog::new();
        [5, 6].into_iter().for_each(|number| late.record(number));
        assert_eq!((counts(&late), late.before_first()), ([2, 2, 0, 0, 0], 5));
        late.record(4);
        assert_eq!((counts(&late), late.before_first()), ([3, 3, 0, 0, 1], 4));
        late.open();
        assert_eq!((counts(&late), late.before_first()), ([7, 3, 4, 0, 1], 0));
        late.record(0);
        late.record(5);
        assert_eq!(counts(&late), [7, 4, 3, 1, 2]);
        assert_eq!(counts(&log([5, 6])), [7, 2, 5, 0, 0]);
    }

    #[test]
    fn closing_reveals_loss_at_the_end() {
        let mut log = log(0..10);
        log.close(12);
        assert_eq!((counts(&log), log.is_closed()), ([12, 10, 2, 0, 0], true));
        log.close(11);
        assert_eq!(log.sent(), 12);
        let mut none = SequenceLog::new();
        none.open();
        none.close(7);
        assert_eq!(counts(&none), [7, 0, 7, 0, 0]);
    }

    #[test]
    fn datagrams_beyond_the_window_are_too_late() {
        let mut log = log([0, 2]);
        (3..WINDOW + 3).for_each(|number| log.record(number));
        log.record(1);
        assert_eq!((log.too_late(), log.lost()), (1, 1));
        log.record(3);
        assert_eq!((log.too_late(), log.duplicated()), (1, 1));
    }

    #[test]
    fn window_survives_gaps_of_any_length() {
        for gap in [1, 63, 64, 65, WINDOW - 1, WINDOW, WINDOW + 1, 1 << 40] {
            let mut log = log([0, 2, 2 + gap]);
            log.record(2 + gap);
            assert_eq!((log.duplicated(), log.received()), (1, 3), "{gap}");
            log.record(1 + gap);
            assert_eq!((log.duplicated(), log.reordered()), if gap == 1 { (2, 0) } else { (1, 1) }, "{gap}");
        }
    }

    proptest! {
        /// Within the window, the counts equal those of a model with unlimited memory.
        #[test]
        fn counts_are_exact_within_the_window(
            has_start: bool, start in 0_u64..100, numbers in proptest::collection::vec(0_u64..1_000, 0..2_000),
        ) {
            let mut log = SequenceLog::new();
            if has_start {
                log.open();
            }
            let (mut model, mut highest) = (HashSet::new(), None);
            let (mut duplicated, mut reordered) = (0, 0);
            for number in numbers.iter().map(|number| number + start) {
                log.record(number);
                if !model.insert(number) {
                    duplicated += 1;
                } else if highest.is_some_and(|highest| number < highest) {
                    reordered += 1;
                }
                highest = highest.max(Some(number));
            }
            let first = if has_start { Some(0) } else { model.iter().min().copied() };
            let sent = highest.map_or(0, |highest| highest + 1 - first.unwrap_or(0));
            let received = model.len() as u64;
            prop_assert_eq!(counts(&log), [sent, received, sent - received, duplicated, reordered]);
            prop_assert_eq!(log.too_late(), 0);
        }

        #[test]
        fn counts_are_consistent_for_any_numbers(
            operations in proptest::collection::vec((0_u8..8, prop_oneof![0_u64..50_000, 0..=1_u64 << 62]), 0..200),
        ) {
            let mut log = SequenceLog::new();
            let mut received = 0;
            for (operation, number) in operations {
                match operation {
                    0 => log.open(),
                    1 => log.close(number),
                    _ => {
                        log.record(number);
                        received += 1;
                    }
                }
                prop_assert_eq!(log.received() + log.duplicated() + log.too_late(), received);
                prop_assert_eq!(log.sent(), log.received() + log.lost());
            }
        }
    }
}
