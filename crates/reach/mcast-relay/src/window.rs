//! Which numbers have been received.

/// The greatest number received, and a bitmap of those before it.
#[derive(Clone, Debug)]
pub(crate) struct SequenceWindow {
    greatest: u64,
    bits: Vec<u64>,
}

impl SequenceWindow {
    /// Creates a window of this many numbers, a multiple of 64. Numbers begin with 1.
    pub(crate) fn new(length: usize) -> Self {
        Self { greatest: 0, bits: vec![0; (length / 64).max(1)] }
    }

    /// Returns whether the number has not been received. One that is too old for the window counts as received.
    pub(crate) fn is_new(&self, number: u64) -> bool {
        if number > self.greatest {
            return true;
        }
        let (word, bit) = self.place(number);
        number > 0 && self.greatest - number < self.length() && self.bits[word] & bit == 0
    }

    /// Records a number. Returns whether it is the greatest so far.
    pub(crate) fn record(&mut self, number: u64) -> bool {
        let is_greatest = number > self.greatest;
        if is_greatest {
            if number - self.greatest >= self.length() {
                self.bits.fill(0);
            } else {
                for passed in self.greatest + 1..number {
                    let (word, bit) = self.place(passed);
                    self.bits[word] &= !bit;
                }
            }
            self.greatest = number;
        }
        let (word, bit) = self.place(number);
        if self.greatest - number < self.length() {
            self.bits[word] |= bit;
        }
        is_greatest
    }

    const fn length(&self) -> u64 {
        self.bits.len() as u64 * 64
    }

    const fn place(&self, number: u64) -> (usize, u64) {
        ((number / 64 % self.bits.len() as u64) as usize, 1 << (number % 64))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_number_is_new_twice(steps in prop::collection::vec((0_u64..400, prop::bool::weighted(0.02)), 1..300)) {
            let (mut window, mut received, mut greatest) = (SequenceWindow::new(128), BTreeSet::new(), 0_u64);
            for (number, jumps) in steps {
                let number = if jumps { number * 1_000 } else { greatest.saturating_sub(200) + number };
                let expected = number > 0 && !received.contains(&number) && number + 128 > greatest;
                prop_assert_eq!(window.is_new(number), expected, "{} after {}", number, greatest);
                if expected {
                    prop_assert_eq!(window.record(number), number > greatest);
                    received.insert(number);
                    greatest = greatest.max(number);
                }
            }
        }
    }
}
