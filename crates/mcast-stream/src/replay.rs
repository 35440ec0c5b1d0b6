//! Counts that were seen: what comes twice, or from too long ago, is not looked at.

/// The greatest count, and which of the 64 before it came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    greatest: u64,
    seen: u64,
}

impl Counts {
    /// Whether this one would be new.
    pub(crate) const fn is_new(&self, count: u64) -> bool {
        if count > self.greatest {
            return true;
        }
        let back = self.greatest - count;
        count > 0 && back < 64 && self.seen >> back & 1 == 0
    }

    /// Takes note of one.
    pub(crate) const fn note(&mut self, count: u64) {
        if count > self.greatest {
            let forward = count - self.greatest;
            self.seen = if forward < 64 { self.seen << forward } else { 0 } | 1;
            self.greatest = count;
        } else if self.greatest - count < 64 {
            self.seen |= 1 << (self.greatest - count);
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
        fn nothing_is_new_twice(counts in prop::collection::vec(0_u64..200, 1..200)) {
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
