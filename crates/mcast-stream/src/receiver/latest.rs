//! Of each key, the latest message that was handed out.

use alloc::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Latest {
    all: BTreeMap<u64, u64>,
    most: usize,
}

impl Latest {
    pub(super) const fn new(most: usize) -> Self {
        Self { all: BTreeMap::new(), most }
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    /// Takes note of a message; `false` if a later one of its key was handed out.
    pub(super) fn is_news(&mut self, key: u64, number: u64) -> bool {
        match self.all.get_mut(&key) {
            Some(known) if *known > number => false,
            Some(known) => {
                *known = number;
                true
            }
            None => {
                if self.all.len() >= self.most {
                    // A key that is forgotten may show an outdated message once: better than no bound.
                    self.all.pop_first();
                }
                self.all.insert(key, number);
                true
            }
        }
    }
}
