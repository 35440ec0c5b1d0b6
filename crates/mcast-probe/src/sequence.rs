//! What sequence numbers tell: loss, duplicates and reordering.

/// How far back arrivals are remembered, in datagrams.
const WINDOW: u64 = 16_384;
const WORDS: usize = (WINDOW / 64) as usize;

/// What came of a stream of numbered datagrams, in bounded memory.
///
/// As long as nothing is missing it is a few counters. With the first gap it remembers which of
/// the last 16,384 came (2 kB); what comes later than that cannot be told from a duplicate and
/// is counted as [`too_late`](Self::too_late), as lost as before.
#[derive(Clone, Debug, Default)]
pub struct SequenceLog {
    started: bool,
    opened: bool,
    first: u64,
    /// One above the highest that came.
    next: u64,
    received: u64,
    duplicated: u64,
    reordered: u64,
    too_late: u64,
    sent: Option<u64>,
    /// Which of the last came; of no meaning while nothing is missing.
    window: Option<Box<[u64; WORDS]>>,
}

impl SequenceLog {
    /// One that has heard nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The beginning was heard: whatever is missing from number 0 on is lost.
    ///
    /// Without it, counting starts with the first datagram that comes.
    pub fn open(&mut self) {
        if !self.opened && self.first > 0 {
            self.move_first(0);
        }
        self.opened = true;
        self.started = true;
    }

    /// The end was heard: so many were sent.
    pub fn close(&mut self, sent: u64) {
        self.sent = Some(self.sent.map_or(sent, |before| before.max(sent)));
        self.started = true;
    }

    /// A datagram with this number came.
    pub fn record(&mut self, sequence: u64) {
        if !self.started || (self.next == 0 && !self.opened) {
            self.started = true;
            self.first = sequence;
            self.next = sequence;
        }
        if sequence >= self.next {
            self.advance(sequence);
        } else {
            self.look_back(sequence);
        }
    }

    /// A number above all before.
    fn advance(&mut self, sequence: u64) {
        let gapless = self.is_gapless();
        if gapless && sequence == self.next {
            self.next += 1;
            self.received += 1;
            return;
        }
        if gapless {
            self.remember_all();
        }
        let missing = self.next.max(sequence.saturating_sub(WINDOW))..sequence;
        missing.for_each(|missing| self.mark(missing, false));
        self.mark(sequence, true);
        self.next = sequence + 1;
        self.received += 1;
    }

    /// A number below the highest.
    fn look_back(&mut self, sequence: u64) {
        if sequence < self.first && !self.move_first_back_to(sequence) {
            self.too_late += 1;
        } else if self.is_gapless() {
            self.duplicated += 1;
        } else if self.next - sequence > WINDOW {
            self.too_late += 1;
        } else if self.has(sequence) {
            self.duplicated += 1;
        } else {
            self.mark(sequence, true);
            self.received += 1;
            self.reordered += 1;
        }
    }

    /// What was sent before the first that came, came after it: counting starts there instead,
    /// if that is near enough.
    fn move_first_back_to(&mut self, sequence: u64) -> bool {
        let near = self.next - sequence <= WINDOW;
        if near {
            self.move_first(sequence);
        }
        near
    }

    fn move_first(&mut self, to: u64) {
        if self.is_gapless() {
            self.remember_all();
        }
        let forgotten = to.max(self.next.saturating_sub(WINDOW))..self.first;
        forgotten.for_each(|missing| self.mark(missing, false));
        self.first = to;
    }

    fn is_gapless(&self) -> bool {
        self.received == self.next - self.first
    }

    /// Remembers that everything came so far.
    fn remember_all(&mut self) {
        match &mut self.window {
            Some(window) => window.fill(u64::MAX),
            None => self.window = Some(Box::new([u64::MAX; WORDS])),
        }
    }

    fn mark(&mut self, sequence: u64, came: bool) {
        if let Some(window) = &mut self.window {
            let (word, bit) = place_of(sequence);
            window[word] = if came { window[word] | bit } else { window[word] & !bit };
        }
    }

    fn has(&self, sequence: u64) -> bool {
        let (word, bit) = place_of(sequence);
        self.window.as_ref().is_some_and(|window| window[word] & bit != 0)
    }

    /// How many were sent, as far as is known: what the closing said, less what was sent before
    /// anything was heard.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.unwrap_or(0).max(self.next).saturating_sub(self.first)
    }

    /// How many different ones came.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// How many of those sent did not come.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.sent().saturating_sub(self.received)
    }

    /// How many came once more.
    #[must_use]
    pub const fn duplicated(&self) -> u64 {
        self.duplicated
    }

    /// How many came after one that was sent later.
    #[must_use]
    pub const fn reordered(&self) -> u64 {
        self.reordered
    }

    /// How many came too late to tell whether they had come before.
    #[must_use]
    pub const fn too_late(&self) -> u64 {
        self.too_late
    }

    /// How many were sent before the first that was heard, the beginning not having been heard.
    #[must_use]
    pub const fn unheard(&self) -> u64 {
        self.first
    }

    /// Whether the closing was heard.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.sent.is_some()
    }
}

fn place_of(sequence: u64) -> (usize, u64) {
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

    /// Sent, received, lost, duplicated, reordered.
    fn counts(log: &SequenceLog) -> [u64; 5] {
        [log.sent(), log.received(), log.lost(), log.duplicated(), log.reordered()]
    }

    #[test]
    fn in_order_takes_no_memory() {
        let log = log(0..100_000);
        assert_eq!(counts(&log), [100_000, 100_000, 0, 0, 0]);
        assert!(log.window.is_none());
    }

    #[test]
    fn gaps_are_loss_until_they_are_filled() {
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
    fn the_beginning_is_lost_only_if_it_was_heard_of() {
        let mut late = SequenceLog::new();
        [5, 6].into_iter().for_each(|number| late.record(number));
        assert_eq!((counts(&late), late.unheard()), ([2, 2, 0, 0, 0], 5));
        late.record(4);
        assert_eq!((counts(&late), late.unheard()), ([3, 3, 0, 0, 1], 4));
        late.open();
        assert_eq!((counts(&late), late.unheard()), ([7, 3, 4, 0, 1], 0));
        late.record(0);
        late.record(5);
        assert_eq!(counts(&late), [7, 4, 3, 1, 2]);
        assert_eq!(counts(&log([5, 6])), [7, 2, 5, 0, 0]);
    }

    #[test]
    fn the_closing_tells_what_is_missing_at_the_end() {
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
    fn what_comes_too_late_is_told_apart() {
        let mut log = log([0, 2]);
        (3..WINDOW + 3).for_each(|number| log.record(number));
        log.record(1);
        assert_eq!((log.too_late(), log.lost()), (1, 1));
        log.record(3);
        assert_eq!((log.too_late(), log.duplicated()), (1, 1));
    }

    #[test]
    fn the_window_survives_gaps_of_any_length() {
        for gap in [1, 63, 64, 65, WINDOW - 1, WINDOW, WINDOW + 1, 1 << 40] {
            let mut log = log([0, 2, 2 + gap]);
            log.record(2 + gap);
            assert_eq!((log.duplicated(), log.received()), (1, 3), "{gap}");
            log.record(1 + gap);
            assert_eq!((log.duplicated(), log.reordered()), if gap == 1 { (2, 0) } else { (1, 1) }, "{gap}");
        }
    }

    proptest! {
        /// Within the window the counts are those of somebody who remembers everything.
        #[test]
        fn counts_are_exact_within_the_window(
            opened: bool, start in 0_u64..100, numbers in proptest::collection::vec(0_u64..1_000, 0..2_000),
        ) {
            let mut log = SequenceLog::new();
            if opened {
                log.open();
            }
            let (mut seen, mut highest) = (HashSet::new(), None);
            let (mut duplicated, mut reordered) = (0, 0);
            for number in numbers.iter().map(|number| number + start) {
                log.record(number);
                if !seen.insert(number) {
                    duplicated += 1;
                } else if highest.is_some_and(|highest| number < highest) {
                    reordered += 1;
                }
                highest = highest.max(Some(number));
            }
            let first = if opened { Some(0) } else { seen.iter().min().copied() };
            let sent = highest.map_or(0, |highest| highest + 1 - first.unwrap_or(0));
            let received = seen.len() as u64;
            prop_assert_eq!(counts(&log), [sent, received, sent - received, duplicated, reordered]);
            prop_assert_eq!(log.too_late(), 0);
        }

        #[test]
        fn any_numbers_keep_the_books_straight(
            steps in proptest::collection::vec((0_u8..8, prop_oneof![0_u64..50_000, 0..=1_u64 << 62]), 0..200),
        ) {
            let mut log = SequenceLog::new();
            let mut came = 0;
            for (what, number) in steps {
                match what {
                    0 => log.open(),
                    1 => log.close(number),
                    _ => {
                        log.record(number);
                        came += 1;
                    }
                }
                prop_assert_eq!(log.received() + log.duplicated() + log.too_late(), came);
                prop_assert_eq!(log.sent(), log.received() + log.lost());
            }
        }
    }
}
