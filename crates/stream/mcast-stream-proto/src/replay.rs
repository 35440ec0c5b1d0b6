//! Replay protection: datagrams with a repeated or outdated count are rejected.

/// The greatest count received, and a bitmap of the 64 counts up to it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    greatest: u64,
    received: u64,
}

impl Counts {
    /// Returns whether this count is new.
    pub(crate) const fn is_new(&self, count: u64) -> bool {
        if count > self.greatest {
            return true;
        }
        let back = self.greatest - count;
        count > 0 && back < 64 && self.received >> back & 1 == 0
    }

    /// Records a count.
    pub(crate) const fn note(&mut self, count: u64) {
        if count > self.greatest {
            let forward = count - self.greatest;
            self.received = if forward < 64 { self.received << forward } else { 0 } | 1;
            self.greatest = count;
        } else if self.greatest - count < 64 {
            self.received |= 1 << (self.greatest - count);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_count_is_new_twice(counts in prop::collection::vec(0_u64..200, 1..200)) {
            let (mut window, mut seen, mut greatest) = (Counts::default(), BTreeSet::new(), 0);
            for count in counts {
                let expected = count > 0 && !seen.contains(&count) && count + 64 > greatest;
                prop_assert_eq!(window.is_new(count), expected, "{} after {:?}", count, seen);
                if expected {
                    window.note(count);
                    seen.insert(count);
                    greatest = greatest.max(count);
                }
            }
        }
    }
}
